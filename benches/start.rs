//! How long a worker takes from its start to the end of its first task, with the example `thumbnail`.
//!
//!     cargo xtask bench start
//!
//! Each start is the real program on a `sqlite:` queue and `dir:` stores. The clock runs in the parent, from before
//! the program is spawned until its log says that the task completed, so that it's an upper bound of the time since
//! `main`. A cold start compiles the component; a warm one finds it in the cache.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wasmrun_benches::figures::{Samples, micros};
use wasmrun_benches::guests;
use wasmrun_benches::run::{self, Size};

const WARM_STARTS: usize = 30;
const COLD_STARTS: usize = 3;

fn main() {
    let (cold_starts, warm_starts) = match run::size("start") {
        None => return,
        Some(Size::Quick) => (1, 1),
        Some(Size::Full) => (COLD_STARTS, WARM_STARTS),
    };
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::new(directory.path());
    let cold = (0..cold_starts).map(|n| world.start(&format!("cold-{n}"))).collect();
    let warm = (0..warm_starts).map(|_| world.start("cold-0")).collect();
    println!("start to first completed task, ms  median      p95");
    print_row("cold (compiles the component)", cold);
    print_row("warm (takes it from the cache)", warm);
}

fn print_row(name: &str, times: Vec<Duration>) {
    let times = Samples::new(times.into_iter().map(micros).collect());
    println!("{name:<32} {:>8.1} {:>8.1}", times.percentile(50.0) / 1e3, times.percentile(95.0) / 1e3);
}

struct World<'a> {
    directory: &'a Path,
    program: PathBuf,
    component: PathBuf,
    photographs: PathBuf,
}

impl<'a> World<'a> {
    fn new(directory: &'a Path) -> Self {
        std::fs::create_dir(directory.join("out")).expect("a directory");
        let program = guests::target().join("release/wasmrun");
        assert!(program.is_file(), "there is no {}: run cargo build --release", program.display());
        let photographs = guests::repository().join("demo/photographs");
        Self { directory, program, component: guests::path("thumbnail"), photographs }
    }

    fn wasmrun(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.directory).stdout(Stdio::null());
        command
    }

    /// One message, one worker.
    fn start(&self, cache: &str) -> Duration {
        let store = |alias: &str, path: &Path, mode: &str| format!("{alias}=dir:{}{mode}", path.display());
        let enqueued = self
            .wasmrun()
            .args(["enqueue", "--queue", "sqlite:jobs.db", "--prefix", "rocket"])
            .args(["--store", &store("input", &self.photographs, "")])
            .status()
            .expect("wasmrun");
        assert!(enqueued.success());

        let began = Instant::now();
        let mut worker = self
            .wasmrun()
            .arg("run")
            .arg(&self.component)
            .args(["--queue", "sqlite:jobs.db", "--cache", cache, "--until-empty", "--log", "debug"])
            .args(["--log-format", "json"])
            .args(["--store", &store("input", &self.photographs, ":ro")])
            .args(["--store", &store("output", &self.directory.join("out"), ":rw")])
            .stderr(Stdio::piped())
            .spawn()
            .expect("wasmrun");
        let log = BufReader::new(worker.stderr.take().expect("a pipe"));
        let mut completed = None;
        for line in log.lines() {
            if line.expect("text").contains(r#""message":"task completed""#) && completed.is_none() {
                completed = Some(began.elapsed());
            }
        }
        assert!(worker.wait().expect("an exit").success());
        completed.expect("a completed task")
    }
}
