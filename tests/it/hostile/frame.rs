//! A component that no Rust compiler would produce: the frame `tests/guests/wat/bare.wat` with the attacks that a test
//! adds. It also contains what an honest task does, so that neighbours run the same component as the attackers.

use super::ends::Ends::{self, Completed};
use super::ends::{Case, case};
use super::siege::Guest;
use crate::harness::{Command, World};
use std::fmt::Write as _;

/// Text of the frame.
pub(super) const FRAME: &str = include_str!("../../guests/wat/bare.wat");
/// Where the functions that messages select, and the functions they need, are inserted.
const CASES: &str = "    (;cases;)\n";
/// Where other parts of the component are inserted.
const PARTS: &str = "  (;parts;)\n";

/// One action of the guest, as a description and as WebAssembly text.
pub(super) struct Trick {
    pub(super) what: &'static str,
    pub(super) code: &'static str,
    pub(super) ends: Ends,
}

pub(super) const fn trick(what: &'static str, ends: Ends, code: &'static str) -> Trick {
    Trick { what, code, ends }
}

/// The actions of honest tasks, which come first in every component.
const HONEST: [Trick; 2] = [
    // Puts an object whose key is the rest of the message.
    trick(
        "puts an object",
        Completed,
        "(local $bytes i32)
         (local.set $bytes (i32.sub (i32.load (i32.const 68)) (i32.const 3)))
         (call $put (call $open) (i32.const 0x100003) (local.get $bytes) (i32.const 0))
         (if (i32.load8_u (i32.const 64)) (then (return (call $reject (i32.const 16) (i32.const 6)))))
         (call $ok)",
    ),
    trick(
        "waits for 4 seconds",
        Completed,
        "(i32.store (i32.const 128) (call $subscribe (i64.const 4000000000)))
         (call $poll (i32.const 128) (i32.const 1) (i32.const 64))
         (call $ok)",
    ),
];

/// The guest description that fits every component built from the frame.
pub(super) const BARE: Guest = Guest {
    neighbour: |number| format!("00 neighbour-{number}"),
    result: |world, number| {
        let key = format!("neighbour-{number}");
        std::fs::read(world.path("out").join(&key)).is_ok_and(|put| put == b"o").then_some(key)
    },
    pulse: Some(|| format!("01 {}", HONEST[1].what)),
};

/// The text of a component with these tricks.
pub(super) fn text(tricks: &[&Trick], fields: &str, parts: &str) -> String {
    let all = || HONEST.iter().chain(tricks.iter().copied());
    let mut cases = format!("    (table $cases {} funcref)\n", all().count());
    cases.push_str("    (elem (table $cases) (i32.const 0) func");
    for index in 0..all().count() {
        let _ = write!(cases, " $case{index}");
    }
    cases.push_str(")\n");
    cases.push_str(fields);
    for (index, Trick { what, code, .. }) in all().enumerate() {
        let _ = writeln!(
            cases,
            "    ;; {what}\n    (func $case{index} (type $case) (param $message i32) (result i32) {code})"
        );
    }
    assert_eq!([CASES, PARTS].map(|place| FRAME.matches(place).count()), [1, 1]);
    FRAME.replace(CASES, &cases).replace(PARTS, parts)
}

/// The component of that text.
pub(super) fn component(tricks: &[&Trick], fields: &str, parts: &str) -> Vec<u8> {
    wat::parse_str(text(tricks, fields, parts)).expect("a component")
}

/// The message that makes the component perform this trick.
pub(super) fn message(tricks: &[&Trick], what: &str) -> String {
    let index = tricks.iter().position(|trick| trick.what == what).expect("a trick");
    format!("{:02} {what}", HONEST.len() + index)
}

/// The cases of all these tricks.
pub(super) fn cases(tricks: &[&Trick]) -> Vec<Case> {
    tricks.iter().map(|trick| case(message(tricks, trick.what), trick.ends.clone())).collect()
}

/// A worker that runs the component with low limits, so that nothing takes long.
pub(super) fn worker(world: &World, component: &[u8], options: &[&str]) -> Command {
    world.write("component.wasm", component);
    world
        .wasmrun(["run", "component.wasm", "--queue", "sqlite:jobs.db", "--cache", "off"])
        .args(["--log", "info,wasmrun_runtime=debug", "--store", "output=dir:out:wo"])
        .args(["--memory", "16MiB", "--table-elements", "10000", "--handles", "32", "--object-size", "1MiB"])
        .args(options)
}
