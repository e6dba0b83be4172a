//! Attacks that no Rust compiler would produce: lies about results and arguments, lying allocators, invented handles,
//! and loops that cost the guest nothing. Each comes with its expected end and is put into [`frame`].

use super::ends::Ends::{Completed, Limit, TimedOut, Trapped};
use super::frame::{self, BARE, Trick, trick, worker};
use super::siege::{Guest, Siege};

/// Attacks that end by themselves or by a counted limit.
const COUNTED: &[Trick] = &[
    // Results.
    trick("returns a text beyond memory", Trapped("out of bounds"), "(call $reject (i32.const 0x7fff0000) (i32.const 64))"),
    trick("returns a text of 4 GiB", Trapped("out of bounds"), "(call $reject (i32.const 64) (i32.const -1))"),
    trick("returns all its memory as a text", Limit("call-size"), "(call $reject (i32.const 0) (i32.const 0x400000))"),
    trick("returns a text that is none", Trapped("invalid utf-8"), "(call $reject (i32.const 32) (i32.const 4))"),
    trick("returns a result beyond memory", Trapped("out of bounds"), "(i32.const -16)"),
    trick("returns a result at an odd place", Trapped("not aligned"), "(i32.const 1)"),
    trick(
        "returns a result of no kind",
        Trapped("discriminant"),
        "(i32.store (i32.const 0) (i32.const 7)) (i32.const 0)",
    ),
    trick(
        "returns a failure of no kind",
        Trapped("discriminant"),
        "(drop (call $reject (i32.const 0) (i32.const 1)))
         (i32.store (i32.const 4) (i32.const 255))
         (i32.const 0)",
    ),
    trick(
        "returns a delay of no kind",
        Trapped("discriminant"),
        "(drop (call $reject (i32.const 2) (i32.const 1)))
         (i32.store (i32.const 4) (i32.const 0))
         (i32.const 0)",
    ),
    trick("never comes back from its clean-up", Limit("fuel"), "(global.set $after (i32.const 1)) (call $ok)"),
    trick("traps in its clean-up", Trapped("unreachable"), "(global.set $after (i32.const 2)) (call $ok)"),
    trick(
        "calls the host in its clean-up",
        Trapped("cannot leave component instance"),
        "(global.set $after (i32.const 3)) (call $ok)",
    ),
    // Arguments of host calls.
    trick(
        "hands over a text beyond memory",
        Trapped("out of bounds"),
        "(call $store.open (i32.const -8) (i32.const 6) (i32.const 64)) (call $ok)",
    ),
    trick(
        "hands over a text that wraps around",
        Trapped("out of bounds"),
        "(call $store.open (i32.const 64) (i32.const -1) (i32.const 64)) (call $ok)",
    ),
    trick(
        "hands over a text that is none",
        Trapped("invalid utf-8"),
        "(call $store.open (i32.const 32) (i32.const 4) (i32.const 64)) (call $ok)",
    ),
    trick(
        "has the answer written beyond memory",
        Trapped("out of bounds"),
        "(call $store.open (i32.const 16) (i32.const 6) (i32.const -8)) (call $ok)",
    ),
    trick(
        "has the answer written to an odd place",
        Trapped("not aligned"),
        "(call $store.open (i32.const 16) (i32.const 6) (i32.const 65)) (call $ok)",
    ),
    trick(
        "hands over a list that wraps around",
        Trapped("list pointer/length out of bounds"),
        "(call $put (call $open) (i32.const 16) (i32.const 6) (i32.const 0x20000001)) (call $ok)",
    ),
    trick(
        "hands over a list of more than its memory",
        Trapped("out of bounds"),
        "(call $put (call $open) (i32.const 16) (i32.const 6) (i32.const 0x100000)) (call $ok)",
    ),
    trick(
        "hands over a list of empty texts",
        Limit("call-size"),
        "(memory.fill (i32.const 0x180000) (i32.const 0) (i32.const 0x280000))
         (call $put (call $open) (i32.const 16) (i32.const 6) (i32.const 150000)) (call $ok)",
    ),
    trick(
        "hands over a condition of no kind",
        Trapped("discriminant"),
        "(call $store.put (call $open) (i32.const 16) (i32.const 1) (i32.const 16) (i32.const 1)
            (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0) (i32.const 0) (i32.const 77) (i32.const 0) (i32.const 0) (i32.const 64))
         (call $ok)",
    ),
    trick(
        "hands over one handle a thousand times",
        Limit("handles"),
        "(local $at i32)
         (i32.store (i32.const 0x100000) (call $subscribe (i64.const 0)))
         (memory.copy (i32.const 0x100004) (i32.const 0x100000) (i32.const 4))
         (memory.copy (i32.const 0x100008) (i32.const 0x100000) (i32.const 8))
         (local.set $at (i32.const 16))
         (loop $more
            (memory.copy (i32.add (i32.const 0x100000) (local.get $at)) (i32.const 0x100000) (local.get $at))
            (local.set $at (i32.mul (local.get $at) (i32.const 2)))
            (br_if $more (i32.lt_u (local.get $at) (i32.const 4000))))
         (call $poll (i32.const 0x100000) (i32.const 1000) (i32.const 64))
         (call $ok)",
    ),
    // Allocators.
    trick(
        "allocates beyond memory",
        Trapped("beyond end of memory"),
        "(global.set $allocator (i32.const 1))
         (call $message.body (local.get $message) (i32.const 64)) (call $ok)",
    ),
    trick(
        "allocates at an odd place",
        Trapped("not aligned"),
        "(global.set $allocator (i32.const 2))
         (i32.store (i32.const 128) (call $subscribe (i64.const 0)))
         (call $poll (i32.const 128) (i32.const 1) (i32.const 64)) (call $ok)",
    ),
    trick(
        "traps while it allocates",
        Trapped("unreachable"),
        "(global.set $allocator (i32.const 3))
         (call $message.body (local.get $message) (i32.const 64)) (call $ok)",
    ),
    trick(
        "allocates for ever",
        Limit("fuel"),
        "(global.set $allocator (i32.const 4))
         (call $message.body (local.get $message) (i32.const 64)) (call $ok)",
    ),
    trick(
        "calls the host while it allocates",
        Trapped("cannot leave component instance"),
        "(global.set $allocator (i32.const 5))
         (call $message.body (local.get $message) (i32.const 64)) (call $ok)",
    ),
    trick(
        "recurses while it allocates",
        Limit("stack"),
        "(global.set $allocator (i32.const 6))
         (call $message.body (local.get $message) (i32.const 64)) (call $ok)",
    ),
    trick(
        "grows while it allocates",
        Limit("memory"),
        "(global.set $allocator (i32.const 7))
         (loop $again (call $message.body (local.get $message) (i32.const 64)) (br $again)) unreachable",
    ),
    // Handles.
    trick(
        "uses a store that it dropped",
        Trapped("unknown handle index"),
        "(local $store i32)
         (local.set $store (call $open))
         (call $store.drop (local.get $store))
         (call $put (local.get $store) (i32.const 16) (i32.const 1) (i32.const 0)) (call $ok)",
    ),
    trick(
        "drops a store twice",
        Trapped("unknown handle index"),
        "(local $store i32)
         (local.set $store (call $open))
         (call $store.drop (local.get $store))
         (call $store.drop (local.get $store)) (call $ok)",
    ),
    trick(
        "makes a handle up",
        Trapped("unknown handle index"),
        "(call $put (i32.const 77) (i32.const 16) (i32.const 1) (i32.const 0)) (call $ok)",
    ),
    trick(
        "makes a huge handle up",
        Trapped("unknown handle index"),
        "(call $put (i32.const -1) (i32.const 16) (i32.const 1) (i32.const 0)) (call $ok)",
    ),
    trick(
        "takes the message for a store",
        Trapped("handle index 1 used with the wrong type"),
        "(call $put (local.get $message) (i32.const 16) (i32.const 1) (i32.const 0)) (call $ok)",
    ),
    trick(
        "takes a store for the message",
        Trapped("used with the wrong type"),
        "(drop (call $message.receive-count (call $open))) (call $ok)",
    ),
    trick(
        "takes a thing of its own for a store",
        Trapped("used with the wrong type"),
        "(call $put (call $thing.new (i32.const 1)) (i32.const 16) (i32.const 1) (i32.const 0)) (call $ok)",
    ),
    trick(
        "looks into the message as if it were its own",
        Trapped("used with the wrong type"),
        "(drop (call $thing.rep (local.get $message))) (call $ok)",
    ),
    trick(
        "reads the message that it dropped",
        Trapped("unknown handle index"),
        "(call $message.drop (local.get $message))
         (call $message.body (local.get $message) (i32.const 64)) (call $ok)",
    ),
    trick(
        "makes things without end",
        Limit("handles"),
        "(loop $again (drop (call $thing.new (i32.const 1))) (br $again)) unreachable",
    ),
    trick(
        "opens stores without end",
        Limit("handles"),
        "(loop $again (drop (call $open)) (br $again)) unreachable",
    ),
    // Memory and tables.
    trick(
        "grows a table as far as it goes",
        Completed,
        "(loop $again
            (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 64)) (i32.const -1))))
         (call $ok)",
    ),
    trick(
        "cannot do without a larger table",
        Limit("table-elements"),
        "(if (i32.eq (table.grow $table (ref.null func) (i32.const 900000)) (i32.const -1)) (then unreachable))
         (call $ok)",
    ),
    trick(
        "fills a table for ever",
        Limit("fuel"),
        "(drop (table.grow $table (ref.null func) (i32.const 9000)))
         (loop $again
            (table.fill $table (i32.const 0) (ref.null func) (table.size $table))
            (br $again)) unreachable",
    ),
    trick(
        "copies a table for ever",
        Limit("fuel"),
        "(drop (table.grow $table (ref.null func) (i32.const 9000)))
         (loop $again
            (table.copy $table $table (i32.const 1) (i32.const 0) (i32.sub (table.size $table) (i32.const 1)))
            (br $again)) unreachable",
    ),
    trick(
        "asks for a table in vain for ever",
        Limit("fuel"),
        "(loop $again (drop (table.grow $table (ref.null func) (i32.const 900000))) (br $again)) unreachable",
    ),
    trick(
        "asks for memory in vain for ever",
        Limit("fuel"),
        "(loop $again (drop (memory.grow (i32.const 65000))) (br $again)) unreachable",
    ),
    trick(
        "asks for no more memory for ever",
        Limit("fuel"),
        "(loop $again (drop (memory.grow (i32.const 0))) (br $again)) unreachable",
    ),
    trick(
        "fills memory for ever",
        Limit("fuel"),
        "(loop $again (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x400000)) (br $again)) unreachable",
    ),
    trick(
        "copies memory for ever",
        Limit("fuel"),
        "(loop $again (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x3fffff)) (br $again)) unreachable",
    ),
    trick(
        "fills beyond its memory",
        Trapped("out of bounds memory access"),
        "(memory.fill (i32.const 0x3fff00) (i32.const 7) (i32.const 0x200)) (call $ok)",
    ),
    trick(
        "takes random bytes for ever",
        Limit("random-size"),
        "(loop $again (call $random (i64.const 65536) (i32.const 64)) (br $again)) unreachable",
    ),
];

/// Attacks that spend time in the host for nearly no fuel.
const TIMED: &[Trick] = &[
    trick(
        "reads the message for ever",
        TimedOut,
        "(loop $again (call $message.body (local.get $message) (i32.const 64)) (br $again)) unreachable",
    ),
    trick(
        "asks for the count of receives for ever",
        TimedOut,
        "(loop $again (drop (call $message.receive-count (local.get $message))) (br $again)) unreachable",
    ),
    trick(
        "opens a store of an absurd name for ever",
        TimedOut,
        "(loop $again (call $store.open (i32.const 0x100000) (i32.const 1000000) (i32.const 64)) (br $again))
         unreachable",
    ),
    trick(
        "puts with ten thousand names for ever",
        TimedOut,
        "(local $store i32)
         (local.set $store (call $open))
         (loop $again
            (call $put (local.get $store) (i32.const 16) (i32.const 6) (i32.const 10000)) (br $again)) unreachable",
    ),
    trick(
        "polls what is ready for ever",
        TimedOut,
        "(i32.store (i32.const 128) (call $subscribe (i64.const 0)))
         (loop $again (call $poll (i32.const 128) (i32.const 1) (i32.const 64)) (br $again)) unreachable",
    ),
    trick(
        "makes and drops things for ever",
        TimedOut,
        "(loop $again (call $thing.drop (call $thing.new (i32.const 1))) (br $again)) unreachable",
    ),
    trick(
        "waits for ever",
        TimedOut,
        "(i32.store (i32.const 128) (call $subscribe (i64.const -1)))
         (call $poll (i32.const 128) (i32.const 1) (i32.const 64)) (call $ok)",
    ),
];

#[test]
fn each_lie_of_a_guest_ends_its_task_and_nothing_else_is_touched() {
    let tricks: Vec<_> = COUNTED.iter().collect();
    let component = frame::component(&tricks, "", "");
    let options = ["--instances", "4", "--fuel", "50000000", "--timeout", "60s"];
    let mut siege = Siege::start(&BARE, |world| worker(world, &component, &options));
    let cases = frame::cases(&tricks);
    siege.storm_twice(&cases);
    siege.one_by_one(&cases);
    siege.end(&[]);
}

#[test]
fn guests_that_let_the_host_compute_are_stopped_in_time() {
    const BARE_FOR_LONG: Guest = Guest { pulse: None, ..BARE };
    let tricks: Vec<_> = TIMED.iter().collect();
    let component = frame::component(&tricks, "", "");
    // Few more instances than cases, so that the first storm uses the whole pool.
    let options = ["--instances", "9", "--fuel", "1000000000000000", "--timeout", "5s"];
    let mut siege = Siege::start(&BARE_FOR_LONG, |world| worker(world, &component, &options));
    siege.storm_twice(&frame::cases(&tricks));
    siege.end(&[]);
}
