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

const WARM_STARTS: usize = 30;
const COLD_STARTS: usize = 3;

fn main() {
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let directory = tempfile::tempdir().expect("a directory");
    let world = World::new(directory.path());
    let cold = (0..if quick { 1 } else { COLD_STARTS }).map(|n| world.start(&format!("cold-{n}"))).collect();
    let warm = (0..if quick { 1 } else { WARM_STARTS }).map(|_| world.start("cold-0")).collect();
    println!("start to first completed task, ms  median      p95");
    print_row("cold (compiles the component)", cold);
    print_row("warm (takes it from the cache)", warm);
}

fn print_row(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    println!("{name:<32} {:>8.1} {:>8.1}", at(0.5), at(0.95));
}

struct World<'a> {
    directory: &'a Path,
    component: PathBuf,
    photographs: PathBuf,
}

impl<'a> World<'a> {
    fn new(directory: &'a Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let guests =
            std::env::var_os("WASMRUN_GUESTS").map_or_else(|| root.join("target/guests"), PathBuf::from);
        let component = guests.join("thumbnail.wasm");
        assert!(component.exists(), "run `cargo xtask guests` first");
        std::fs::create_dir(directory.join("out")).expect("a directory");
        Self { directory, component, photographs: root.join("demo/photographs") }
    }

    fn wasmrun(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasmrun"));
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
            if line.expect("text").contains(r#""message":"Completed.""#) && completed.is_none() {
                completed = Some(began.elapsed());
            }
        }
        assert!(worker.wait().expect("an exit").success());
        completed.expect("a completed task")
    }
}
