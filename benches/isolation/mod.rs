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

pub(crate) mod density;
mod holders;
pub(crate) mod limits;
mod memory;
mod native;
mod neighbours;
mod running;
mod sandbox;
mod start;
mod ways;

use self::native::Program;
use self::sandbox::Sandbox;
use std::process::Command;
use wasmrun_benches::{Arguments, Report, WASMRUN, output, repository};

pub(crate) fn measure(arguments: &Arguments) {
    memory::adopt_orphans();
    let scratch = tempfile::tempdir().expect("a directory");
    let program = Program::build(scratch.path());
    let (sandboxes, skipped) = sandbox::available(&program, scratch.path());
    let mut report = Report::new("isolation", arguments, &versions(&sandboxes, &skipped));
    if arguments.wants("start") {
        start::measure(&mut report, &program, &sandboxes);
    }
    if arguments.wants("density") {
        density::measure(&mut report, scratch.path(), &sandboxes);
    }
    if arguments.wants("limits") {
        limits::measure(&mut report);
    }
    if arguments.wants("neighbours") {
        neighbours::measure(&mut report, &program);
    }
    sandboxes.iter().for_each(Sandbox::remove);
    report.write();
}

/// The versions of what is compared, and what is missing here.
fn versions(sandboxes: &[Sandbox], skipped: &[String]) -> String {
    let lock = std::fs::read_to_string(repository().join("Cargo.lock")).unwrap_or_default();
    let wasmtime =
        lock.split_once("name = \"wasmtime\"\nversion = \"").and_then(|(_, rest)| rest.split('"').next());
    let rustc = output(Command::new("rustc").arg("--version")).unwrap_or_default();
    let mut versions: Vec<String> = sandboxes.iter().map(Sandbox::version).collect();
    versions.push(rustc.trim().into());
    versions.push(WASMRUN.into());
    versions.push(format!("wasmtime {}", wasmtime.unwrap_or_default()));
    versions.extend(skipped.iter().map(|skipped| format!("without {skipped}")));
    versions.join(", ")
}
