//! How long it takes from starting a container of the image that ships to the end of its first task, and what the image
//! and an idle worker take.
//!
//!     cargo xtask bench container                              # writes docs/src/benchmarks/container.md and container.json
//!     cargo xtask bench container -- --quick                   # each start once, to see that it works
//!
//! The task is the example `thumbnail` with one photograph, whose message waits in the queue. The queue is a file and
//! the stores are folders, all mounted, and there is no network: what is measured is the container, the program and the
//! component, and no server that shares the machine with them. Each start is made in a container, and as a plain process
//! of the program out of the image, with the same arguments: the difference is the container's. They take turns, each
//! round in another order.
//!
//! The clock runs from before podman is asked until the worker logs that the task completed, by the time in that line:
//! neither the line's way here nor the container's end is part of it. The machine has to be idle: beside others that compute,
//! all threads of a container get what one of theirs gets, and so compiling takes longer there than in a process.
//!
//! `WASMRUN_BENCH_WITHOUT_COMPILER` may name a program without the compiler, to be measured beside it. It is built and
//! linked as the image's is:
//!
//!     cargo rustc --release --package wasmrun-worker --bin wasmrun --no-default-features --target-dir target/small -- \
//!         -Ctarget-feature=+crt-static -Cstrip=symbols
//!     WASMRUN_BENCH_WITHOUT_COMPILER=$PWD/target/small/release/wasmrun cargo xtask bench container

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod idle;
mod podman;
mod published;
mod report;
mod start;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wasmrun_benches::figures::Samples;
use wasmrun_benches::guests;
use wasmrun_benches::run::{self, Size};

use crate::podman::{Podman, said};
use crate::report::{Program, Report, Started};
use crate::start::{Place, Start, Times, World};

/// So many where time permits, …
const ROUNDS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(240);
/// … and no fewer: with them the 95th percentile is the second worst.
const LEAST_ROUNDS: usize = 20;
const WITHOUT_COMPILER: &str = "WASMRUN_BENCH_WITHOUT_COMPILER";

fn main() {
    let Some(size) = run::size("container") else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let podman = match Podman::find(scratch.path()) {
        Ok(podman) => podman,
        Err(why) => return println!("Skipped: {why}."),
    };
    let without_compiler = std::env::var_os(WITHOUT_COMPILER).map(PathBuf::from);
    let world = World::prepare(&podman, scratch.path(), without_compiler);
    let mut programs = vec![program("with the compiler", "included", &world.program)];
    programs
        .extend(world.without_compiler.as_deref().map(|file| program("without the compiler", "none", file)));

    let (rounds, starts) = starts(&world, size);
    let report = Report {
        rounds,
        podman: podman.described(),
        image_bytes: podman.image_bytes(),
        programs,
        starts,
        idle: idle::measure(&world, size),
    };
    report.print();
    if size == Size::Full {
        report.write(&guests::repository().join("docs/src/benchmarks")).expect("a report");
    }
}

/// How many rounds there were, and what each start took.
fn starts(world: &World, size: Size) -> (usize, Vec<Started>) {
    let mut ways: Vec<(Start, Place)> = Start::ALL
        .into_iter()
        .flat_map(|start| [Place::Container, Place::Process].map(|place| (start, place)))
        .collect();
    if world.without_compiler.is_some() {
        ways.push((Start::Precompiled, Place::WithoutCompiler));
    }
    let mut found: Vec<Vec<Times>> = vec![Vec::new(); ways.len()];
    let (began, mut rounds) = (Instant::now(), 0);
    let goes_on = |rounds| match size {
        Size::Quick => rounds < 1,
        Size::Full => rounds < LEAST_ROUNDS || (rounds < ROUNDS && began.elapsed() < PATIENCE),
    };
    while goes_on(rounds) {
        rounds += 1;
        eprintln!("Round {rounds} …");
        for turn in 0..ways.len() {
            let turn = (turn + rounds) % ways.len();
            let (start, place) = ways[turn];
            found[turn].push(world.start(start, place));
        }
    }
    let started = ways.into_iter().zip(found).map(|((start, place), times)| {
        let ready: Vec<f64> = times.iter().filter_map(|times| times.ready).collect();
        let end = Samples::new(times.iter().map(|times| times.end).collect());
        Started {
            start,
            place,
            ready_p50: (!ready.is_empty()).then(|| Samples::new(ready).percentile(50.0)),
            p50: end.percentile(50.0),
            p95: end.percentile(95.0),
        }
    });
    (rounds, started.collect())
}

/// A program that has or hasn't the compiler, as it says itself.
fn program(what: &'static str, compiler: &str, file: &Path) -> Program {
    let version = said(Command::new(file).args(["--version", "--verbose"])).expect("it runs");
    let says_so =
        |line: &str| line.strip_prefix("compiler").is_some_and(|rest| rest.trim().starts_with(compiler));
    assert!(version.lines().any(says_so), "{} is no program {what}", file.display());
    Program { what, bytes: fs::metadata(file).expect("the program").len() }
}
