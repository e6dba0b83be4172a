//! Attacks by a program with `main`, on what only commands have: connected streams, variables and exit codes.

use super::ends::Ends::{Limit, Rejected, Retry, TimedOut, Trapped};
use super::ends::{Case, case};
use super::siege::{Guest, Siege};
use crate::harness::{Command, World};
use std::fs;

const PROGRAM: Guest = Guest {
    neighbour: |number| format!("work neighbour-{number}"),
    result: |world, number| {
        let begins = format!("neighbour-{number} ");
        output_with(world, |content| content.starts_with(begins.as_bytes()))
    },
    pulse: Some(|| "pulse 4000".into()),
};
/// The same guest without a pulse, for cases that last for four seconds themselves.
const FOR_LONG: Guest = Guest { pulse: None, ..PROGRAM };

fn worker(world: &World) -> Command {
    world.write("in/a", vec![1; 500_000]);
    world
        .run("program")
        .args(["--output-object", "output:{id}", "--memory", "16MiB", "--object-size", "1MiB"])
        .args(["--dir", "/in=input", "--dir", "/files=output:files/:wo"])
        .args(["--log-size", "16KiB", "--handles", "32", "--write-size", "16MiB"])
}

/// Cases that end by computing or by a counted limit. None completes, so that only neighbours leave an object.
fn counted() -> Vec<Case> {
    vec![
        case("write-on", Limit("write-size")),
        case("print-on", Limit("write-size")),
        case("write-without-waiting 18446744073709551615", Limit("write-size")),
        case("write-too-much", Trapped("permitted")),
        case("zeroes", Trapped("zeroes")),
        case("write-and exit 2000000 75", Retry("exited with status 75")),
        case("write-and exit 2000000 65", Rejected("exited with status 65")),
        case("write-and exit 2000000 255", Trapped("exited with status 255")),
        case("write-and spin 2000000", Limit("fuel")),
        case("write-and panic 2000000", Trapped("half-way")),
        case("std-exit -1", Trapped("exited with status 1")),
        case("std-exit 256", Trapped("exited with status 1")),
        case("spin", Limit("fuel")),
        case("alloc", Limit("memory")),
        case("handles", Limit("handles")),
        case(format!("count {}", "x".repeat(1_000_000)), Rejected("0")),
        case("file open-on /in/a", Limit("handles")),
        case("file stream-on in/a", Limit("handles")),
        case("file list-on in", Limit("handles")),
        case("file write-on /files", Limit("handles")),
        case("file grow-on /files/x", Limit("write-size")),
        case("file make-on /files", Rejected("error: QuotaExceeded")),
        case(format!("file read /in/{}", "../".repeat(100_000)), Rejected("error: InvalidFilename")),
        case("file read /../../etc/passwd", Rejected("error: PermissionDenied")),
    ]
}

#[test]
fn each_hostile_command_ends_as_it_must_and_nothing_else_is_touched() {
    let mut siege = Siege::start(&PROGRAM, |world| {
        worker(world).args(["--fuel", "2000000000", "--instances", "4", "--timeout", "60s"])
    });
    let cases = counted();
    siege.storm_twice(&cases);
    siege.one_by_one(&cases);
    siege.idle();
    remove_pulses(&siege.world);
    siege.end(&[]);
}

/// The key of the output with this content. It is the ID of a message, which the test doesn't know.
pub(super) fn output_with(world: &World, is_it: impl Fn(&[u8]) -> bool) -> Option<String> {
    let entries = fs::read_dir(world.path("out")).expect("a directory").flatten();
    let mut files = entries.filter(|entry| entry.path().is_file());
    let output = files.find(|entry| fs::read(entry.path()).is_ok_and(|content| is_it(&content)))?;
    output.file_name().into_string().ok()
}

/// Removes the outputs of the pulses, which completed.
pub(super) fn remove_pulses(world: &World) {
    for entry in fs::read_dir(world.path("out")).expect("a directory").flatten() {
        if fs::read(entry.path()).is_ok_and(|content| content == b"pulse") {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
}

#[test]
fn commands_that_only_the_clock_can_end_are_ended_by_the_clock() {
    let mut siege = Siege::start(&FOR_LONG, |world| {
        worker(world).args(["--fuel", "1000000000000000", "--instances", "20", "--timeout", "5s"])
    });
    let cases = ["spin", "sleep", "write-and sleep 2000000", "write-and spin 2000000"];
    siege.storm(&cases.map(|message| case(message, TimedOut)));
    siege.end(&[]);
}
