//! A component with a large snapshot, such as an interpreter: each task finds it as it was built.

use crate::harness::World;

/// Pages of 4 KiB of the guest's memory, and bytes of one.
const PAGES: u32 = 2048;
const PAGE: u32 = 4096;
/// Every sixteenth page has a word of the snapshot.
const EVERY: u32 = 16;
/// The word, at this offset of a page.
const WORD: &str = "snapshot";
const OFFSET: u32 = 1024;
/// Elements of the table: several pages of the host.
const ELEMENTS: u32 = 4096;

/// Returns a component that checks its memory (8 MiB, with a snapshot across it) and its table `times` times, each time
/// before it overwrites every other page, so that more than a thousand ranges are dirty, fills the table and grows the
/// memory. It traps if anything isn't as it was built.
fn component(times: usize) -> Vec<u8> {
    let (words, checks): (String, String) = (
        (0..PAGES / EVERY)
            .map(|page| format!("(data (i32.const {}) \"{WORD}\")", page * EVERY * PAGE + OFFSET))
            .collect(),
        "(call $check)".repeat(times),
    );
    let word = u64::from_le_bytes(WORD.as_bytes().try_into().expect("eight bytes"));
    let text = format!(
        r#"(component
          (import "wasmrun:task/message@0.1.0" (instance $message (export "message" (type (sub resource)))))
          (alias export $message "message" (type $message'))
          (core module $main
            (memory (export "memory") 128)
            (table $table {ELEMENTS} funcref)
            (global $grown (mut i32) (i32.const 0))
            (elem declare func $check)
            {words}
            (func $check (local $page i32) (local $at i32)
              (loop $next
                (local.set $at (i32.add (i32.mul (local.get $page) (i32.const {PAGE})) (i32.const {OFFSET})))
                (if (i64.ne (i64.load (local.get $at))
                    (select (i64.const {word}) (i64.const 0)
                      (i32.eqz (i32.rem_u (local.get $page) (i32.const {EVERY})))))
                  (then unreachable))
                (if (i32.eqz (i32.and (local.get $page) (i32.const 1)))
                  (then (i64.store (local.get $at) (i64.const -1))))
                (local.set $page (i32.add (local.get $page) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $page) (i32.const {PAGES}))))
              (local.set $page (i32.const 0))
              (loop $next
                (if (i32.eqz (ref.is_null (table.get $table (local.get $page)))) (then unreachable))
                (table.set $table (local.get $page) (ref.func $check))
                (local.set $page (i32.add (local.get $page) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $page) (i32.const {ELEMENTS}))))
              (if (i32.ne (memory.grow (i32.const 1)) (i32.const 128)) (then unreachable))
              (if (i64.ne (i64.load (i32.const {end})) (i64.const 0)) (then unreachable))
              (i64.store (i32.const {end}) (i64.const -1))
              (if (global.get $grown) (then unreachable))
              (global.set $grown (i32.const 1)))
            (func (export "handle") (param i32) (result i32) {checks} (i32.const 0)))
          (core instance $main (instantiate $main))
          (alias core export $main "memory" (core memory $memory))
          (type $retry (record (field "delay-seconds" (option u32)) (field "reason" string)))
          (export $retry' "retry-request" (type $retry))
          (type $failure (variant (case "retry" $retry') (case "reject" string)))
          (export $failure' "failure" (type $failure))
          (func $handle (param "message" (own $message')) (result (result (error $failure')))
            (canon lift (core func $main "handle") (memory $memory)))
          (instance $handler
            (export "retry-request" (type $retry')) (export "failure" (type $failure'))
            (export "handle" (func $handle)))
          (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#,
        end = PAGES * PAGE + OFFSET,
    );
    wat::parse_str(text).expect("a component")
}

fn every_task_finds_the_snapshot(allocator: &str) {
    const TASKS: usize = 12;
    let world = World::with_queue(&["--max-receives", "1"]);
    let outcomes = |times| {
        world.write("snapshot.wasm", component(times));
        world.send(["x"; TASKS]);
        let output = world
            .wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty", "--instances", "2"])
            .args(["--max-consecutive-failures", "off", "--allocator", allocator, "snapshot.wasm"])
            .succeeds();
        output.summary()["outcomes"].clone()
    };
    assert_eq!(outcomes(1), serde_json::json!({"completed": TASKS}));
    // The check finds what a task wrote.
    assert_eq!(outcomes(2), serde_json::json!({"trapped": TASKS}));
}

#[test]
fn every_task_finds_the_snapshot_of_its_component_in_the_pool() {
    every_task_finds_the_snapshot("pooling");
}

#[test]
fn every_task_finds_the_snapshot_of_its_component_on_demand() {
    every_task_finds_the_snapshot("on-demand");
}
