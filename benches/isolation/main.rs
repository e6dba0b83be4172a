//! What isolation costs: the same task as a function call, in the bare engine, in wasmrun, and in processes, sandboxes
//! and containers.
//!
//!     cargo xtask bench isolation                                     # writes docs/src/benchmarks/
//!     cargo xtask bench isolation -- --quick --output /tmp/isolation  # each thing a few times, to see that it works
//!     cargo xtask bench isolation -- --only limits                    # one of the modules below, without a report
//!
//! | module | measures |
//! |---|---|
//! | [`start`] | a whole task, from asking for it to its end: an empty one, and one that hashes a megabyte |
//! | [`density`] | what a waiting task keeps in memory, and how many fit in 1 GiB; [`holders`] hold them |
//! | [`limits`] | what each guard of a task adds to a thumbnail |
//! | [`neighbours`] | a task beside tasks that spin, and a timer beside them |
//!
//! [`ways`] lists the ways to run a task: [`alone`] and [`worker`] are in this process, [`program`] and [`sandbox`]
//! outside. [`report`] and [`plots`] write down what was found; [`machine`] says where, [`memory`] reads the
//! system's figures. What is missing on a machine is skipped, and the report says so.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod alone;
mod density;
mod holders;
mod limits;
mod machine;
mod memory;
mod neighbours;
mod plots;
mod program;
mod report;
mod sandbox;
mod start;
mod ways;
mod worker;

use std::path::PathBuf;
use wasmrun_benches::guests;
use wasmrun_benches::run::{self, Size};

use crate::program::Program;
use crate::report::Report;
use crate::sandbox::Sandbox;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // This program again, as a child.
    if density::is_child(&arguments) {
        return density::child(&arguments);
    }
    if limits::is_child(&arguments) {
        return limits::child(&arguments);
    }
    let Some(size) = run::size("isolation") else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let output = value(&arguments, "--output").map(PathBuf::from).unwrap_or_else(|| match size {
        Size::Full => guests::repository().join("docs/src/benchmarks"),
        Size::Quick => scratch.path().join("report"),
    });

    // Whatever a sandbox leaves to the system when it ends is counted, and is ended, as a child of ours.
    memory::adopt_orphans();
    let program = Program::build(scratch.path());
    let (sandboxes, skipped) = sandbox::available(&program, scratch.path());
    for skipped in &skipped {
        println!("Skipped: {skipped}.");
    }
    if let Some(module) = value(&arguments, "--only") {
        only(module, &program, &sandboxes, size);
        return sandbox::remove(sandboxes);
    }
    let report = Report {
        machine: machine::describe(),
        versions: machine::versions(&sandboxes),
        skipped,
        start: start::measure(&program, &sandboxes, size),
        density: density::measure(&program, &sandboxes, size),
        limits: limits::measure(size),
        neighbours: neighbours::measure(&program, size),
    };
    sandbox::remove(sandboxes);
    report.write(&output).expect("a report");
    plots::draw(&report, &output).expect("plots");
    println!("Written to {}.", output.display());
}

/// Measures one thing, which is printed.
fn only(module: &str, program: &Program, sandboxes: &[Sandbox], size: Size) {
    match module {
        "start" => drop(start::measure(program, sandboxes, size)),
        "density" => drop(density::measure(program, sandboxes, size)),
        "limits" => drop(limits::measure(size)),
        "neighbours" => drop(neighbours::measure(program, size)),
        _ => eprintln!("--only is one of start, density, limits and neighbours."),
    }
}

/// What follows a flag.
fn value<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let flag = arguments.iter().position(|argument| argument == flag)?;
    arguments.get(flag + 1).map(String::as_str)
}
