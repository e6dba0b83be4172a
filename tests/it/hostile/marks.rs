//! Marks that a task leaves in its memory, its tables and its globals, which no later task finds.

use super::ends::Ends::{Completed, Rejected};
use super::frame::{self, Trick, trick, worker};
use crate::harness::World;

/// Marks that a task leaves where the next task may look: a global, a table, memory.
const MARKS: [Trick; 3] = [
    trick("leaves marks", Completed, concat!("(call $leave)", "(call $ok)")),
    trick("looks for marks", Completed, "(call $look)"),
    // Shows that the marks can be found.
    trick("leaves marks and looks for them", Rejected("marked"), "(call $leave) (call $look)"),
];

/// The functions that the marking attacks call.
const MARKING: &str = r#"
    (data (i32.const 256) "marked")
    (elem declare func $leave)
    (func $leave
      (global.set $canary (i32.const 0x5eed))
      (drop (table.grow $table (ref.func $leave) (i32.const 1000)))
      (table.fill $table (i32.const 0) (ref.func $leave) (table.size $table))
      (drop (memory.grow (i32.const 64)))
      (memory.fill (i32.const 0x180000) (i32.const 171) (i32.const 0x600000)))
    ;; Memory and table that the other task had come with a growth.
    (func $look (result i32) (local $at i32)
      (drop (table.grow $table (ref.null func) (i32.const 500)))
      (drop (memory.grow (i32.const 64)))
      (block $seen
        (br_if $seen (global.get $canary))
        (loop $next
          (br_if $seen (i32.eqz (ref.is_null (table.get $table (local.get $at)))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $at) (table.size $table))))
        (local.set $at (i32.const 0x180000))
        (loop $next
          (br_if $seen (i64.ne (i64.load (local.get $at)) (i64.const 0)))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $next (i32.lt_u (local.get $at) (i32.const 0x780000))))
        (return (call $ok)))
      (call $reject (i32.const 256) (i32.const 6)))"#;

/// The pool has one slot more than there are concurrent tasks. Whichever slots it alternates between, some reader gets
/// a slot that a writer had.
fn a_task_finds_no_marks_of_the_ones_before_it(allocator: &str) {
    let tricks: Vec<_> = MARKS.iter().collect();
    let component = frame::component(&tricks, MARKING, "");
    let [leaves, looks, both] = MARKS.map(|trick| frame::message(&tricks, trick.what));
    let world = World::with_queue(&["--max-receives", "1"]);
    let rounds: Vec<_> = "wr wwrr wwwrrr wrr wwr wwrr wr"
        .chars()
        .filter(|task| *task != ' ')
        .map(|task| if task == 'w' { &leaves } else { &looks })
        .collect();
    world.send(rounds.iter().copied().chain([&both]));
    let options = ["--until-empty", "--instances", "1", "--allocator", allocator];
    let output = worker(&world, &component, &options).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], rounds.len(), "{output}");
    let dead = world.dead_letters();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["body"], both);
}

#[test]
fn a_task_finds_no_marks_of_the_ones_before_it_in_the_pool() {
    a_task_finds_no_marks_of_the_ones_before_it("pooling");
}

#[test]
fn a_task_finds_no_marks_of_the_ones_before_it_on_demand() {
    a_task_finds_no_marks_of_the_ones_before_it("on-demand");
}
