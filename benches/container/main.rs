//! The time from starting a container of the image that ships to the end of its first task, and the sizes of the image and
//! of an idle worker.
//!
//!     cargo xtask bench container                              # writes docs/src/benchmarks/container.md
//!     cargo xtask bench container -- --quick                   # each start once, to see that it works
//!
//! The task is the example `thumbnail` with one photograph, whose message waits in the queue. Queue and stores are mounted
//! files and folders, and there is no network: no server shares the machine. Each start is made in a container, and as a
//! plain process of the program out of the image, with the same arguments, in turns: the difference is the container's part.
//!
//! The clock runs from before podman is asked until the worker logs that the task completed, by the time in that line. The
//! machine has to be idle: next to others that compute, all threads of a container get what one of theirs gets, and so
//! compiling takes longer there than in a process.
//!
//! `WASMRUN_BENCH_WITHOUT_COMPILER` may name a program without the compiler, to be measured too. It is built and linked as
//! the image's is:
//!
//!     cargo rustc --release --package wasmrun-worker --bin wasmrun --no-default-features --target-dir target/small -- \
//!         -Ctarget-feature=+crt-static -Cstrip=symbols
//!     WASMRUN_BENCH_WITHOUT_COMPILER=$PWD/target/small/release/wasmrun cargo xtask bench container

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod podman;
mod start;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wasmrun_benches::report::{Report, tenths, whole};
use wasmrun_benches::rounds::{Found, Samples, Way, interleaved};
use wasmrun_benches::run::{self, Size};
use wasmrun_benches::system::output;

use crate::podman::Podman;
use crate::start::{Place, Start, Times, World};

const WITHOUT_COMPILER: &str = "WASMRUN_BENCH_WITHOUT_COMPILER";
const STARTS: [(Start, &str); 4] = [
    (Start::Cold, "cold cache: the component is compiled"),
    (Start::Warm, "warm cache"),
    (Start::Precompiled, "precompiled"),
    (Start::Version, "`wasmrun --version`"),
];
/// What the allocator and the system do a moment after the last task isn't memory of an idle worker.
const REST: Duration = Duration::from_secs(2);

fn main() {
    let Some(size) = run::size("container") else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let podman = match Podman::find(scratch.path()) {
        Ok(podman) => podman,
        Err(why) => return println!("Skipped: {why}."),
    };
    let without_compiler = std::env::var_os(WITHOUT_COMPILER).map(PathBuf::from);
    let world = World::prepare(&podman, scratch.path(), without_compiler);
    let mut report = Report::new("container", size, &podman.version());
    starts(&mut report, &world, size);
    sizes(&mut report, &world, &podman);
    idle(&mut report, &world, size);
    report.write();
}

fn starts(report: &mut Report, world: &World, size: Size) {
    let mut cases: Vec<(Start, Place)> = STARTS
        .into_iter()
        .flat_map(|(start, _)| [(start, Place::Container), (start, Place::Process)])
        .collect();
    if world.without_compiler.is_some() {
        cases.push((Start::Precompiled, Place::WithoutCompiler));
    }
    let ways = cases.iter().map(|(start, place)| {
        let name = format!("{start:?} in {place:?}");
        Way::new(name, move |_| world.start(*start, *place))
    });
    let found = interleaved("Starts", size.pick(1, 40), ways.collect());
    let find = |start, place| {
        let index = cases.iter().position(|case| *case == (start, place))?;
        Some(figures(&found[index]))
    };
    let row = |what: &str, container: Option<Figures>, process: Option<Figures>| {
        let part =
            container.as_ref().zip(process.as_ref()).map(|(container, process)| container.p50 - process.p50);
        json!({
            "what": what,
            "container_p50": container.as_ref().map(|found| found.p50),
            "container_p95": container.as_ref().map(|found| found.p95),
            "container_ready": container.and_then(|found| found.ready),
            "process_p50": process.as_ref().map(|found| found.p50),
            "process_p95": process.as_ref().map(|found| found.p95),
            "process_ready": process.and_then(|found| found.ready),
            "part": part,
        })
    };
    let mut rows: Vec<Value> = STARTS
        .into_iter()
        .map(|(start, name)| row(name, find(start, Place::Container), find(start, Place::Process)))
        .collect();
    if let Some(found) = find(Start::Precompiled, Place::WithoutCompiler) {
        rows.push(row("precompiled, program without the compiler", None, Some(found)));
    }
    let columns = [
        ("", "what", whole as fn(f64) -> String),
        ("container: p50", "container_p50", whole),
        ("p95", "container_p95", whole),
        ("ready", "container_ready", whole),
        ("plain process: p50", "process_p50", whole),
        ("p95", "process_p95", whole),
        ("ready", "process_ready", whole),
        ("the container's part: p50", "part", whole),
    ];
    report.table("starts", &columns, rows);
    let of = |start| {
        let found = find(start, Place::Container).unwrap_or_default();
        format!("{:.0} ms (p95 {:.0} ms)", found.p50, found.p95)
    };
    let (cold, precompiled) = (of(Start::Cold), of(Start::Precompiled));
    report.text(
        "container",
        format!("wasmrun in a container, to the end of the first task: {cold} if compiled now, {precompiled} precompiled."),
    );
}

/// Milliseconds.
#[derive(Default)]
struct Figures {
    p50: f64,
    p95: f64,
    ready: Option<f64>,
}

fn figures(found: &Found<Times>) -> Figures {
    let end: Samples = found.rounds.iter().map(|times| times.end).collect();
    let ready: Samples = found.rounds.iter().filter_map(|times| times.ready).collect();
    let ready = (ready.count() > 0).then(|| ready.percentile(50.0));
    Figures { p50: end.percentile(50.0), p95: end.percentile(95.0), ready }
}

fn sizes(report: &mut Report, world: &World, podman: &Podman) {
    let row = |what: &str, bytes: u64| json!({"what": what, "mb": bytes as f64 / 1e6});
    let mut rows = vec![row("image, the compressed archive", podman.image_bytes())];
    rows.push(row("program with the compiler", program_bytes(&world.program, "included")));
    if let Some(program) = &world.without_compiler {
        rows.push(row("program without the compiler", program_bytes(program, "none")));
    }
    report.table("sizes", &[("", "what", tenths), ("MB", "mb", tenths)], rows);
}

/// The size of a program that tells it has the compiler, or has none.
fn program_bytes(file: &Path, compiler: &str) -> u64 {
    let version = output(Command::new(file).args(["--version", "--verbose"])).expect("it runs");
    let tells =
        |line: &str| line.strip_prefix("compiler").is_some_and(|rest| rest.trim().starts_with(compiler));
    assert!(version.lines().any(tells), "{}: compiler {compiler} is expected: {version}", file.display());
    fs::metadata(file).expect("the program").len()
}

fn idle(report: &mut Report, world: &World, size: Size) {
    let mut workers = vec![
        ("with the compiler, from the cache", Start::Warm, Place::Process),
        ("with the compiler, precompiled", Start::Precompiled, Place::Process),
    ];
    if world.without_compiler.is_some() {
        workers.push(("without the compiler, precompiled", Start::Precompiled, Place::WithoutCompiler));
    }
    let (rounds, pause) = size.pick((1, Duration::ZERO), (3, REST));
    let ways = workers
        .into_iter()
        .map(|(what, start, place)| Way::new(what, move |_| world.idle(start, place, pause)));
    let found = interleaved("Idle workers", rounds, ways.collect());
    let mib = f64::from(1 << 20);
    let row = |way: &Found<[f64; 2]>| {
        let [resident, anonymous] = [0, 1].map(|which: usize| way.median(|memory| memory[which] / mib));
        json!({"what": way.name, "resident_mib": resident, "anonymous_mib": anonymous})
    };
    let columns = [
        ("worker", "what", tenths as fn(f64) -> String),
        ("resident, MiB", "resident_mib", tenths),
        ("of that anonymous, MiB", "anonymous_mib", tenths),
    ];
    report.table("idle", &columns, found.iter().map(row).collect());
}
