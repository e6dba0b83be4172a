//! What isolation costs: the same task as a function call, in the bare engine, in wasmrun, and in processes, sandboxes
//! and containers.
//!
//!     cargo xtask bench isolation                                     # writes docs/src/benchmarks/isolation.md
//!     cargo xtask bench isolation -- --quick                          # a few of each, to see that it works
//!     cargo xtask bench isolation -- --only limits                    # one of the modules below, without a page
//!
//! | module | measures |
//! |---|---|
//! | [`start`] | a whole task, from asking for it to its end: an empty one, and one that hashes a megabyte |
//! | [`density`] | memory of a waiting task, and how many fit in 1 GiB; [`holders`] hold them |
//! | [`limits`] | what each guard of a task adds to a thumbnail |
//! | [`neighbours`] | a task and a timer next to tasks that spin |
//!
//! [`ways`] lists the ways to run a task: [`running`] is wasmrun in this process, [`native`] and [`sandbox`] are outside.
//! [`memory`] reads the system's figures. A sandbox that doesn't work on this machine is skipped, and the page says so.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod density;
mod holders;
mod limits;
mod memory;
mod native;
mod neighbours;
mod running;
mod sandbox;
mod start;
mod ways;

use std::process::Command;
use wasmrun_benches::report::Report;
use wasmrun_benches::run::Only;
use wasmrun_benches::system::output;
use wasmrun_benches::{guests, run};

use crate::native::Program;
use crate::sandbox::Sandbox;

fn main() {
    if let Some(arguments) = run::child_arguments(density::HOLD) {
        return density::hold(&arguments);
    }
    if let Some(arguments) = run::child_arguments(limits::THUMBNAILS) {
        return limits::thumbnails(&arguments);
    }
    let Some(size) = run::size("isolation") else { return };
    let only = Only::given();

    memory::adopt_orphans();
    let scratch = tempfile::tempdir().expect("a directory");
    let program = Program::build(scratch.path());
    let (sandboxes, skipped) = sandbox::available(&program, scratch.path());
    let mut report = Report::new("isolation", size, &with(&sandboxes, &skipped));
    if only.wants("start") {
        start::measure(&mut report, &program, &sandboxes, size);
    }
    if only.wants("density") {
        density::measure(&mut report, scratch.path(), &sandboxes, size);
    }
    if only.wants("limits") {
        limits::measure(&mut report, size);
    }
    if only.wants("neighbours") {
        neighbours::measure(&mut report, &program, size);
    }
    sandboxes.iter().for_each(Sandbox::remove);
    if only.is_all() {
        report.write();
    }
}

/// The versions of what is compared, and what is missing here.
fn with(sandboxes: &[Sandbox], skipped: &[String]) -> String {
    let lock = std::fs::read_to_string(guests::repository().join("Cargo.lock")).unwrap_or_default();
    let wasmtime =
        lock.split_once("name = \"wasmtime\"\nversion = \"").and_then(|(_, rest)| rest.split('"').next());
    let rustc = output(Command::new("rustc").arg("--version")).unwrap_or_default();
    let mut with: Vec<String> = sandboxes.iter().map(Sandbox::version).collect();
    with.push(rustc.trim().into());
    with.push(concat!("wasmrun ", env!("CARGO_PKG_VERSION")).into());
    with.push(format!("wasmtime {}", wasmtime.unwrap_or_default()));
    with.extend(skipped.iter().map(|skipped| format!("without {skipped}")));
    with.join(", ")
}
