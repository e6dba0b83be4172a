//! Attacks that a Rust program can try, by the guest `misbehave`, which does what its message says.

use super::ends::Ends::{Completed, Limit, Rejected, RejectedWith, Retry, TimedOut, Trapped};
use super::ends::{Case, Ends, case};
use super::siege::{Guest, Siege};
use crate::harness::{Command, World};
use sha2::{Digest, Sha256};

/// Number of rounds that a neighbour computes, which takes some milliseconds.
const ROUNDS: u32 = 3000;

const MISBEHAVE: Guest = Guest {
    neighbour: |number| format!("work neighbour-{number} {ROUNDS}"),
    result: |world, number| {
        let key = format!("neighbour-{number}");
        let hash = (0..ROUNDS).fold(Sha256::digest(&key), |hash, _| Sha256::digest(hash));
        std::fs::read(world.path("out").join(&key))
            .is_ok_and(|written| written == format!("{hash:x}").as_bytes())
            .then_some(key)
    },
    pulse: Some(|| "sleep 4000".into()),
};
/// The same guest without a pulse, for cases that last for four seconds themselves.
const FOR_LONG: Guest = Guest { pulse: None, ..MISBEHAVE };

/// The objects in the output store before the attack.
const THERE: [&str; 3] = ["link", "object", "up"];

/// Pads a command to the maximum size of a message.
fn padded(command: &str) -> String {
    let padding = (1 << 20) - command.len() - 1;
    format!("{command} {}", "x".repeat(padding))
}

/// A worker that runs `misbehave`, with objects in its stores and a secret next to them.
fn worker(world: &World) -> Command {
    world.write("in/object", vec![b'x'; 256 << 10]);
    world.write("out/object", "object");
    world.write("secret", "SECRET");
    for store in ["in", "out"] {
        for (link, to) in [("link", "secret"), ("up", ".")] {
            let link = world.path(store).join(link);
            std::os::unix::fs::symlink(world.path(to), link).expect("a link");
        }
    }
    // Low limits, so that nothing takes long.
    world
        .run("misbehave")
        .args(["--memory", "16MiB", "--object-size", "1MiB", "--log-size", "16KiB", "--handles", "32"])
        .args(["--read-size", "16MiB", "--write-size", "16MiB", "--random-size", "1MiB"])
        .args(["--sent-messages", "100"])
}

/// Cases that end by computing or by a counted limit, never by the clock.
const COUNTED: &[(&str, Ends)] = &[
    // Computing.
    ("loop", Limit("fuel")),
    ("memory-fill", Limit("fuel")),
    ("memory-copy", Limit("fuel")),
    ("recurse", Limit("stack")),
    ("recurse-host", Limit("stack")),
    ("panic at once", Trapped("at once")),
    ("panic-bytes 1000000", Trapped("panicked at")),
    ("abort", Trapped("unreachable")),
    ("unreachable", Trapped("unreachable")),
    ("divide-by-zero", Trapped("integer divide by zero")),
    ("out-of-bounds", Trapped("out of bounds memory access")),
    ("stack-array", Trapped("out of bounds memory access")),
    ("exit 0", Trapped("exited with status 0 without returning")),
    ("exit 3", Trapped("exited with status 1 without returning")),
    ("exit-half-way half", Trapped("exited with status 0 without returning")),
    ("retry 4294967295 never", Retry("never")),
    ("reject no", Rejected("no")),
    ("reject-bytes 100000", RejectedWith("xxxxx")),
    // Memory.
    ("alloc", Limit("memory")),
    ("alloc-catch 4000", Completed),
    ("grow", Completed),
    ("realloc 4294967295 1", Trapped("unreachable")),
    ("realloc 1073741824 65536", Limit("memory")),
    ("realloc 0 0", Rejected("got 0 bytes, aligned to 0")),
    // Handles.
    ("use-after-drop", Trapped("unknown handle index")),
    ("use-handle 0", Trapped("unknown handle index")),
    ("use-handle 4000000000", Trapped("unknown handle index")),
    ("use-message-as-store", Trapped("handle index 1 used with the wrong type")),
    ("drop-twice", Trapped("unknown handle index")),
    ("finish-twice", Trapped("unknown handle index")),
    ("copy-to-itself", Rejected("Ok(6)")),
    ("open-readers 1000 object", Limit("handles")),
    ("open-writers 1000 never-", Limit("handles")),
    ("pollables 1000", Limit("handles")),
    ("writer-unfinished never", Completed),
    ("writer-leaked never", Completed),
    // Logs.
    ("log-bytes 1000000", Completed),
    ("log-call 1073741824", Limit("memory")),
    ("log-call 8000000", Limit("call-size")),
    ("log-call 1000000", Trapped("permitted")),
    ("log-lines 10000000", Completed),
    ("log 1000 line", Completed),
    ("zeroes 18446744073709551615", Trapped("zeroes")),
    ("zeroes 65537", Trapped("zeroes")),
    ("blocking-zeroes 18446744073709551615", Trapped("zeroes")),
    ("stdin", Rejected("closed")),
    // Random bytes and time.
    ("random 18446744073709551615", Limit("random-size")),
    ("random 2000000", Limit("random-size")),
    ("loop-host random", Limit("random-size")),
    ("loop-host insecure-random", Limit("random-size")),
    // Stores.
    ("loop-host head", Limit("store-calls")),
    ("loop-host list", Limit("store-calls")),
    ("loop-host readers", Limit("store-calls")),
    ("loop-host writers", Limit("store-calls")),
    ("loop-host empty-messages", Limit("sent-messages")),
    ("read-again object", Limit("read-size")),
    ("write-on never", Limit("write-size")),
    ("copy-again object again", Limit("read-size")),
    ("metadata 1 3000", RejectedWith("other: metadata is at most 2,048 bytes")),
    ("metadata 50000 0", Limit("call-size")),
    ("metadata 100 20000", Limit("call-size")),
    ("absurd-ranges object", Completed),
    ("normal-forms", Completed),
    // Queues.
    ("send 10000", Limit("sent-messages")),
    ("send-batches 1000 10", Limit("sent-messages")),
    ("send-batches 1 11", RejectedWith("invalid-message: ")),
    ("send-batches 1 50000", Limit("call-size")),
    ("send-bytes 1048577", RejectedWith("invalid-message: the message has 1048577 bytes")),
    ("send-bytes 8000000", Limit("call-size")),
    ("send-invalid", Completed),
    // The outside world.
    ("args", Rejected("0 ")),
    ("env", Rejected("")),
    ("preopens", Rejected("none")),
    (
        "sockets",
        Rejected(
            "connect=access-denied listen=access-denied udp=access-denied lookup=permanent-resolver-failure",
        ),
    ),
];

/// The same cases, and those whose message is long or names a path.
fn counted(world: &World) -> Vec<Case> {
    let secret = world.path("secret").display().to_string();
    let cases = COUNTED.iter().map(|(message, ends)| case(*message, ends.clone()));
    cases
        .chain([case(padded("leak-bodies"), Limit("memory")), case(format!("keys {secret}"), Completed)])
        .collect()
}

/// Cases that only the clock ends, because they use up no counted limit.
fn timed() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "loop",
        "loop-host",
        "memory-fill",
        "memory-copy",
        // Leaves time for some calls before the end, even if each time slice is long in coming.
        "call-after 3000",
        "sleep-forever",
        "poll-forever 1",
        "poll-forever 30",
        "loop-host attributes",
        "loop-host environment",
        "loop-host clocks",
        "loop-host timers",
        "loop-host polls",
        "loop-host stdout",
        "loop-host lines",
        "loop-host zeroes",
        "loop-host open",
        "loop-host denied",
        "loop-host absurd-keys",
        "loop-host head",
        "loop-host list",
        "loop-host readers",
        "loop-host writers",
        "loop-host waits",
    ]
    .map(|message| case(message, TimedOut))
    .into();
    cases.push(case(padded("loop-host body"), TimedOut));
    cases
}

#[test]
fn each_hostile_task_ends_as_it_must_and_nothing_else_is_touched() {
    let mut siege = Siege::start(&MISBEHAVE, |world| {
        let counted = ["--fuel", "200000000", "--store-calls", "2000"];
        worker(world).args(counted).args(["--instances", "4", "--timeout", "60s"])
    });
    let cases = counted(&siege.world);
    // All cases at once also warm up the worker.
    siege.storm_twice(&cases);
    siege.one_by_one(&cases);
    // No objects of tasks that ended half-way or whose writes were refused.
    siege.end(&[&THERE[..], &["again", "finished", "nf-\u{e9}", "nf-e\u{301}"]].concat());
}

fn besieged_for_long(allocator: &str) -> Siege {
    Siege::start(&FOR_LONG, |world| {
        let unbounded = ["--fuel", "1000000000000000", "--store-calls", "1000000000"];
        worker(world).args(unbounded).args(["--instances", "60", "--timeout", "5s", "--allocator", allocator])
    })
}

#[test]
fn what_only_the_clock_can_end_is_ended_by_the_clock() {
    let mut siege = besieged_for_long("pooling");
    siege.storm(&timed());
    siege.end(&[&THERE[..], &["at-the-end"]].concat());
}

#[test]
fn what_only_the_clock_can_end_leaves_no_memory_behind() {
    let mut siege = besieged_for_long("on-demand");
    siege.storm_twice(&timed());
    siege.end(&[&THERE[..], &["at-the-end"]].concat());
}

#[test]
fn waiting_is_bounded_apart_from_computing() {
    const BUSY: Guest = Guest { pulse: Some(|| "busy 4000".into()), ..MISBEHAVE };
    let mut siege = Siege::start(&BUSY, |world| {
        // A fast machine burns the usual amount of fuel during four busy seconds.
        let limits = ["--timeout", "60s", "--blocked-time", "2s", "--fuel", "1000000000000"];
        worker(world).args(["--instances", "8"]).args(limits)
    });
    let waits = ["sleep-forever", "poll-forever 1", "poll-forever 30", "loop-host waits", "waits 100 50"];
    let mut cases: Vec<_> = waits.map(|message| case(message, Limit("blocked-time"))).into();
    cases.push(case("busy 2500", Completed));
    cases.push(case("waits 10 50", Completed));
    siege.storm_twice(&cases);
    siege.end(&THERE);
}

#[test]
fn a_task_among_sixty_three_that_spin_completes_before_them() {
    let spinners: Vec<Case> = (0..63).map(|_| case("loop", TimedOut)).collect();
    let mut siege = Siege::start(&MISBEHAVE, |world| {
        worker(world).args(["--instances", "64", "--timeout", "4s", "--fuel", "1000000000000"])
    });
    siege.surround(&spinners);
    siege.end(&THERE);
}

#[test]
fn a_gibibyte_that_a_task_may_have_is_too_much_to_hand_over() {
    let mut siege = Siege::start(&MISBEHAVE, |world| {
        world.run("misbehave").args(["--instances", "3", "--memory", "1200MiB"])
    });
    siege.storm_twice(&[case("log-untouched 1073741824", Limit("call-size"))]);
    siege.end(&[]);
}
