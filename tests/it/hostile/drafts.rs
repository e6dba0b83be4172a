//! Attacks by a component of `wasi:messaging` and `wasi:blobstore`, on what only these have: messages and contents that
//! the host holds, and streams.

use super::ends::Ends::{Completed, Limit, Retry, TimedOut, Trapped};
use super::ends::{Case, case};
use super::siege::{Guest, Siege};
use crate::harness::{Command, World};
use std::fs;

const DRAFTS: Guest = Guest {
    neighbour: |number| format!("work neighbour-{number}"),
    result: |world, number| {
        let key = format!("neighbour-{number}");
        fs::read(world.path("out").join(&key))
            .is_ok_and(|content| content.starts_with(format!("{key} ").as_bytes()))
            .then_some(key)
    },
    pulse: Some(|| "pulse 4000".into()),
};
/// The same guest without a pulse, for cases that last for four seconds themselves.
const FOR_LONG: Guest = Guest { pulse: None, ..DRAFTS };

fn worker(world: &World) -> Command {
    world.write("in/object", vec![b'x'; 256 << 10]);
    world
        .run("drafts")
        .args(["--memory", "16MiB", "--object-size", "1MiB", "--log-size", "16KiB", "--handles", "32"])
        .args(["--read-size", "256MiB", "--write-size", "16MiB", "--store-calls", "1000"])
        .args(["--sent-messages", "100"])
}

/// Cases that end by computing or by a counted limit. None leaves an object.
fn counted() -> Vec<Case> {
    vec![
        case("messages-on", Limit("handles")),
        case("metadata-on", Limit("handles")),
        case("values-on", Limit("handles")),
        case("streams-on input object", Limit("handles")),
        case("containers-on input", Limit("handles")),
        case("abandon-on input object", Limit("store-calls")),
        case("list-on input", Limit("store-calls")),
        case("put-on output never", Limit("write-size")),
        case("put-unfinished output never 2000000", Completed),
        case("finish-with-stream output never", Trapped("")),
        case("drop-with-stream output never", Trapped("")),
        case("write-too-much output never", Trapped("permitted")),
        case("name-length 1000000", Retry("denied: no grant names this topic")),
        case(
            "long-name 1000000",
            Retry("access denied: no grant of a container allows this, or the store refuses it"),
        ),
        case("long-key input 1000000", Retry("the key cannot be used: it is longer than 1,024 bytes")),
        case("spin", Limit("fuel")),
        case("panic", Trapped("at once")),
        case(format!("message {}", "x".repeat(1_000_000)), Retry("None None None")),
    ]
}

#[test]
fn each_hostile_component_of_the_drafts_ends_as_it_must_and_nothing_else_is_touched() {
    let mut siege = Siege::start(&DRAFTS, |world| {
        worker(world).args(["--fuel", "2000000000", "--instances", "4", "--timeout", "60s"])
    });
    let cases = counted();
    siege.storm_twice(&cases);
    siege.one_by_one(&cases);
    siege.end(&[]);
}

#[test]
fn components_of_the_drafts_that_only_the_clock_can_end_are_ended_by_the_clock() {
    let mut siege = Siege::start(&FOR_LONG, |world| {
        worker(world).args(["--fuel", "1000000000000000", "--instances", "20", "--timeout", "5s"])
    });
    let cases = ["spin", "sleep", "put-unfinished-and-wait output never 2000000"];
    siege.storm(&cases.map(|message| case(message, TimedOut)));
    siege.end(&[]);
}
