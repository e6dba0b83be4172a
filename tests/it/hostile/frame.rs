//! A component that Rust's compiler wouldn't make: the frame `tests/guests/wat/bare.wat`, what a test adds to it, and
//! beside that what an honest task does, so that neighbours run the very component that attacks.

use super::ends::Ends::{self, Completed};
use super::ends::{Case, case};
use super::siege::Guest;
use crate::harness::{Command, World};
use std::fmt::Write as _;

/// The frame.
pub(super) const FRAME: &str = include_str!("../../guests/wat/bare.wat");
/// Where functions go that messages choose from, and what those need.
const CASES: &str = "    (;cases;)\n";
/// Where a component's other parts go.
const PARTS: &str = "  (;parts;)\n";

/// One thing that the guest can do, in words and in Wasm.
pub(super) struct Trick {
    pub(super) what: &'static str,
    pub(super) code: &'static str,
    pub(super) ends: Ends,
}

pub(super) const fn trick(what: &'static str, ends: Ends, code: &'static str) -> Trick {
    Trick { what, code, ends }
}

/// What honest tasks do; the first in all components.
const HONEST: [Trick; 2] = [
    // Puts an object under the name that the message goes on with.
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

/// Whatever component it is.
pub(super) const BARE: Guest = Guest {
    neighbour: |number| format!("00 neighbour-{number}"),
    worked: |world, number| {
        std::fs::read(world.path("out").join(format!("neighbour-{number}"))).is_ok_and(|put| put == b"o")
    },
    pulse: Some(|| format!("01 {}", HONEST[1].what)),
};

/// The text of a component that can do this.
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

/// That component.
pub(super) fn component(tricks: &[&Trick], fields: &str, parts: &str) -> Vec<u8> {
    wat::parse_str(text(tricks, fields, parts)).expect("a component")
}

/// The message that makes it do this.
pub(super) fn message(tricks: &[&Trick], what: &str) -> String {
    let index = tricks.iter().position(|trick| trick.what == what).expect("a trick");
    format!("{:02} {what}", HONEST.len() + index)
}

/// All that it can do.
pub(super) fn cases(tricks: &[&Trick]) -> Vec<Case> {
    tricks.iter().map(|trick| case(message(tricks, trick.what), trick.ends.clone())).collect()
}

/// A worker that runs it, with low limits, so that nothing takes long.
pub(super) fn worker(world: &World, component: &[u8], options: &[&str]) -> Command {
    world.write("component.wasm", component);
    world
        .wasmrun(["run", "component.wasm", "--queue", "sqlite:jobs.db", "--cache", "off"])
        .args(["--log", "info,wasmrun_runtime=debug", "--store", "output=dir:out:wo"])
        .args(["--memory", "16MiB", "--table-elements", "10000", "--handles", "32", "--object-size", "1MiB"])
        .args(options)
}
