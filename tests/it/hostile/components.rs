//! Components that are hostile by their structure. A component that can't start within the limits is refused with one
//! sentence before any message is received. The others are stopped like any guest.

use super::ends::Case;
use super::ends::Ends::{Completed, Limit, Trapped};
use super::frame::{self, BARE, FRAME, trick, worker};
use super::siege::Siege;
use crate::harness::World;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Creates a component with the given core modules and instances. The last instance, `main`, exports `memory`,
/// `realloc` and `handle`, which takes the message's handle and returns the address of the result.
fn component(parts: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "wasmrun:task/message@0.1.0" (instance $message
                (export "message" (type $message (sub resource)))
                (export "[method]message.receive-count" (func (param "self" (borrow $message)) (result u32)))))
            (alias export $message "message" (type $message'))
            (core func $receive-count (canon lower (func $message "[method]message.receive-count")))
            {parts}
            (type $retry (record (field "delay-seconds" (option u32)) (field "reason" string)))
            (export $retry' "retry-request" (type $retry))
            (type $failure (variant (case "retry" $retry') (case "reject" string)))
            (export $failure' "failure" (type $failure))
            (func $handle (param "message" (own $message')) (result (result (error $failure')))
                (canon lift (core func $main "handle") (memory $main "memory") (realloc (func $main "realloc"))))
            (instance $handler (export "handle" (func $handle)))
            (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#
    );
    wat::parse_str(text).expect("a component")
}

/// Creates a component of one module with these fields, plus those that every module needs.
fn module(fields: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $module
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            {fields})
        (core instance $main (instantiate $module))"#
    ))
}

/// A task that does nothing.
const OK: &str = r#"(func (export "handle") (param i32) (result i32) (i32.const 0))"#;

/// Asserts that the component is refused within 30 seconds with a message that contains `says`, and that no message is
/// received.
#[track_caller]
pub(super) fn refused(component: &[u8], options: &[&str], says: &str) {
    let world = World::with_queue(&[]);
    world.send(["never received"]);
    let began = Instant::now();
    let output = worker(&world, component, &["--instances", "4"])
        // An option overrides this variable.
        .env("WASMRUN_FUEL", "50000000")
        .args(options)
        .fails_with(2, says);
    assert!(output.error().len() < 2048, "{output}");
    assert!(!output.error().chars().any(char::is_control), "{output}");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(world.peek("sqlite:jobs.db")[0]["receive_count"], 0);
}

#[test]
fn a_component_whose_start_never_ends_is_refused() {
    let spins = module(&format!("(func $start (loop $again (br $again))) (start $start) {OK}"));
    refused(&spins, &[], "raise --fuel");
    refused(&spins, &["--fuel", "1000000000000000", "--timeout", "1s"], "raise --timeout");
}

/// The error names the limit that ended the start, not one that was hit earlier and survived.
#[test]
fn a_component_that_copes_with_a_refusal_at_its_start_is_told_what_ended_it() {
    let start = |body: &str| {
        let fields = format!("(table $t 0 funcref) (func $start {body}) (start $start) {OK}");
        module(&fields)
    };
    let memory = start("(loop $again (drop (memory.grow (i32.const 1))) (br $again))");
    let table = start("(loop $again (drop (table.grow $t (ref.null func) (i32.const 1))) (br $again))");
    let recursion = start("(drop (memory.grow (i32.const 60000))) (call $start)");
    let gives_up = start("(if (i32.lt_s (memory.grow (i32.const 60000)) (i32.const 0)) (then unreachable))");
    for allocator in ["pooling", "on-demand"] {
        let options = ["--allocator", allocator];
        refused(&memory, &options, "burns more fuel to start than its limit of 50000000: raise --fuel");
        refused(&table, &options, "raise --fuel");
        refused(&recursion, &options, "raise --stack");
        refused(&gives_up, &options, "raise --memory");
    }
}

#[test]
fn a_component_whose_start_waits_for_ever_is_refused() {
    let waits = component(&format!(
        r#"(import "wasi:io/poll@0.2.0" (instance $poll
            (export "pollable" (type $pollable (sub resource)))
            (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
        (alias export $poll "pollable" (type $pollable'))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (alias outer 1 $pollable' (type $pollable''))
            (export "pollable" (type $pollable (eq $pollable'')))
            (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
        (core func $block (canon lower (func $poll "[method]pollable.block")))
        (core func $subscribe (canon lower (func $clock "subscribe-duration")))
        (core module $module
            (import "host" "block" (func $block (param i32)))
            (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func $start (call $block (call $subscribe (i64.const -1))))
            (start $start)
            {OK})
        (core instance $main (instantiate $module
            (with "host" (instance (export "block" (func $block)) (export "subscribe" (func $subscribe))))))"#
    ));
    refused(&waits, &["--timeout", "1s"], "raise --timeout");
}

#[test]
fn a_component_whose_start_traps_is_refused_in_one_short_line() {
    // The function's name is a megabyte long and would take several lines on a terminal.
    let name = "forged\\n\\1b[2J".repeat(80_000);
    let traps = module(&format!(
        r#"(func $"{name}" unreachable) (func $start (call $"{name}")) (start $start) {OK}"#
    ));
    refused(&traps, &[], "unreachable");
}

#[test]
fn a_component_of_more_parts_than_a_task_may_have_is_refused() {
    let of = |number: usize| {
        component(&format!(
            r#"(core module $empty) {} (core module $module
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                {OK})
            (core instance $main (instantiate $module))"#,
            "(core instance (instantiate $empty))".repeat(number)
        ))
    };
    let memories = module(&format!("{} {OK}", "(memory 1)".repeat(8)));
    let tables = module(&format!("{} {OK}", "(table 1 funcref)".repeat(17)));
    for allocator in ["pooling", "on-demand"] {
        let options = ["--allocator", allocator];
        refused(&of(900), &options, "901 core instances, more than the limit of 64: --core-instances 901");
        // The engine's own limit applies first.
        refused(&of(1000), &options, "instances count exceeds limit of 1000");
        refused(&memories, &options, "9 memories, more than the limit of 8: --memories 9");
        refused(&tables, &options, "17 tables, more than the limit of 16: --tables 17");
    }
}

#[test]
fn what_a_component_starts_with_counts_as_what_it_grows_to() {
    let memories = module(&format!("(memory 200) (memory 200) {OK}"));
    let tables = module(&format!("(table 60000 funcref) (table 60000 funcref) {OK}"));
    let data = module(&format!(
        r#"(memory $big 800) (data (memory $big) (i32.const 0) "{}") {OK}"#,
        "x".repeat(50 << 20)
    ));
    for allocator in ["pooling", "on-demand"] {
        let options = ["--allocator", allocator];
        refused(&memories, &options, ": --memory 25664KiB");
        refused(&tables, &options, ": --table-elements 120000");
        refused(&data, &options, ": --memory 51264KiB");
    }
}

/// The component has nearly a thousand core instances and a huge data segment, which each task must find unchanged.
#[test]
fn a_component_of_as_many_parts_as_the_user_allows_is_stopped_as_any_guest_is() {
    // Together with the frame's instances, this is close to the engine's own limit.
    const EMPTY: usize = 980;
    let parts = format!("(core module $empty) {}", "(core instance (instantiate $empty))".repeat(EMPTY));
    let fields = format!(
        r#"(memory $huge 130) (data (memory $huge) (i32.const 0) "{}")
        (func $spoil
            (if (i32.ne (i32.load8_u $huge (i32.const 8388607)) (i32.const 120)) (then (loop $again (br $again))))
            (memory.fill $huge (i32.const 0) (i32.const 1) (i32.const 8388608)))"#,
        "x".repeat(8 << 20)
    );
    let spoils = trick("spoils its data", Completed, "(call $spoil) (call $ok)");
    let traps = trick("spoils its data and traps", Trapped("unreachable"), "(call $spoil) unreachable");
    let component = frame::component(&[&spoils, &traps], &fields, &parts);
    for allocator in ["pooling", "on-demand"] {
        let options = ["--core-instances", "1000", "--instances", "4", "--allocator", allocator];
        let mut siege = Siege::start(&BARE, |world| worker(world, &component, &options));
        siege.storm_twice(&frame::cases(&[&spoils, &traps, &spoils, &traps, &spoils, &traps]));
        siege.end(&[]);
    }
}

/// The start function drops an invalid handle for every other message.
#[test]
fn what_the_engine_refuses_to_code_that_runs_at_the_start_is_the_guests_fault() {
    let drops = component(&format!(
        r#"(import "wasi:random/random@0.2.0" (instance $random
            (export "get-random-u64" (func (result u64)))))
        (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type $pollable (sub resource)))))
        (alias export $poll "pollable" (type $pollable'))
        (core func $random (canon lower (func $random "get-random-u64")))
        (core func $drop (canon resource.drop $pollable'))
        (core module $module
            (import "host" "random" (func $random (result i64)))
            (import "host" "drop" (func $drop (param i32)))
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func $start (if (i32.eqz (i32.and (i32.wrap_i64 (call $random)) (i32.const 1)))
                (then (call $drop (i32.const 77)))))
            (start $start)
            {OK})
        (core instance $main (instantiate $module
            (with "host" (instance (export "random" (func $random)) (export "drop" (func $drop))))))"#
    ));
    let world = World::new();
    world.write("drops.wasm", &drops);
    let outcome_of = |number: usize| {
        // A message's random numbers are the same on each run, including those drawn when the component starts before
        // the first message.
        let id = number.to_string();
        let message = ["--deterministic", "--message-id", &id, "--message", "any"];
        let output = world.wasmrun(["invoke", "--json", "drops.wasm"]).args(message).ends();
        output.json()["outcome"].as_str().expect("an outcome").to_owned()
    };
    let outcomes: Vec<_> = (0..12).map(outcome_of).collect();
    assert!(outcomes.iter().all(|outcome| ["completed", "trapped"].contains(&&**outcome)), "{outcomes:?}");
    assert!(outcomes.iter().any(|outcome| outcome == "trapped"), "{outcomes:?}");
}

/// Ten thousand functions, some of which are called.
fn functions() -> String {
    let of = |index| {
        format!("(func $times{index} (param i64) (result i64) (i64.mul (local.get 0) (i64.const {index})))")
    };
    (0..10_000).map(of).collect()
}

/// Six memories in addition to those of the frame and of the other component. The function grows each in turn and
/// writes to it.
fn memories() -> String {
    const MEMORIES: std::ops::RangeInclusive<u32> = 1..=6;
    let mut fields: String = MEMORIES.map(|index| format!("(memory $m{index} 1)")).collect();
    fields.push_str("(func $grow (loop $again");
    for index in MEMORIES {
        let _ = write!(fields, "(if (i32.eq (memory.grow $m{index} (i32.const 4)) (i32.const -1)) (then unreachable))
            (memory.fill $m{index} (i32.const 0) (i32.const 1) (i32.mul (memory.size $m{index}) (i32.const 65536)))");
    }
    fields.push_str("(br $again)))");
    fields
}

/// A function whose stack frame holds thousands of numbers.
fn frames() -> String {
    const LOCALS: usize = 8000;
    let mut fields = String::from("(func $descend (param i32) (result i32)");
    fields.push_str(&"(local i64)".repeat(LOCALS));
    // All locals are alive across the call.
    for index in 1..LOCALS {
        let _ = write!(fields, "(local.set {index} (i64.load offset={} (i32.const 0)))", index * 8);
    }
    fields.push_str("(local.set 0 (call $descend (i32.add (local.get 0) (i32.const 1))))");
    for index in 1..LOCALS {
        let _ = write!(fields, "(local.set 0 (i32.xor (local.get 0) (i32.wrap_i64 (local.get {index}))))");
    }
    fields.push_str("(local.get 0))");
    fields
}

/// Puts another component's function, which takes a string, where the frame finds it.
const HANDS_OVER: &str = r#"
    (import "take" (func $take (param "text" string)))
    (core func $take (canon lower (func $take) (memory $mem)))
    (core module $hand
        (import "memory" "allocators" (table $allocators 16 funcref))
        (import "other" "take" (func $take (param i32 i32)))
        (elem (table $allocators) (i32.const 15) func $take))
    (core instance (instantiate $hand
        (with "memory" (instance $memory)) (with "other" (instance (export "take" (func $take))))))"#;

/// Creates a component that contains that other component and the one of this text. They use different string
/// encodings, so that the engine's own helpers transcode.
fn beside_another(handler: &str) -> Vec<u8> {
    let (_, frame) = FRAME.split_once("(component\n").expect("the frame");
    let (imports, _) = frame.split_once("  ;; A resource type of the component").expect("its imports");
    let (_, handler) = handler.split_once("(component\n").expect("a component");
    let text = format!(
        r#"(component
            {imports}
            (component $other
                (core module $module
                    (memory (export "memory") 64)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
                    (func (export "take") (param i32 i32)))
                (core instance $main (instantiate $module))
                (func (export "take") (param "text" string)
                    (canon lift (core func $main "take") string-encoding=utf16
                        (memory $main "memory") (realloc (func $main "realloc")))))
            (component $handler
            {handler}
            (instance $other (instantiate $other))
            (instance $handler (instantiate $handler
                (with "wasmrun:task/message@0.1.0" (instance $message))
                (with "wasmrun:task/object-store@0.1.0" (instance $object-store))
                (with "wasi:random/random@0.2.0" (instance $random))
                (with "wasi:io/poll@0.2.0" (instance $poll))
                (with "wasi:clocks/monotonic-clock@0.2.0" (instance $clock))
                (with "take" (func $other "take"))))
            (export "wasmrun:task/handler@0.1.0" (instance $handler "wasmrun:task/handler@0.1.0")))"#
    );
    wat::parse_str(text).expect("a component")
}

/// Starts a siege with a component that combines all of these.
fn monstrous(allocator: &str) -> (Siege, Vec<Case>) {
    let tricks = [
        trick("grows its memories in turn", Limit("memory"), "(call $grow) unreachable"),
        trick(
            "calls some of ten thousand functions",
            Completed,
            "(if (i64.ne (call $times9999 (call $times5000 (call $times1 (i64.const 3)))) (i64.const 149985000))
                (then unreachable))
             (call $ok)",
        ),
        trick("descends with huge frames", Limit("stack"), "(call $descend (i32.const 0))"),
        trick(
            "hands texts to another component for ever",
            Trapped("without a moment at which it could be interrupted"),
            "(loop $again
                (call_indirect $allocators (param i32 i32)
                    (i32.const 0x180000) (i32.const 2000000) (i32.const 15))
                (br $again)) unreachable",
        ),
    ];
    let tricks: Vec<_> = tricks.iter().collect();
    let fields = [functions(), memories(), frames()].concat();
    let component = beside_another(&frame::text(&tricks, &fields, HANDS_OVER));
    let options =
        ["--instances", "4", "--fuel", "1000000000000", "--timeout", "60s", "--allocator", allocator];
    let siege = Siege::start(&BARE, |world| worker(world, &component, &options));
    (siege, [frame::cases(&tricks), frame::cases(&tricks)].concat())
}

#[test]
fn a_monstrous_component_is_stopped_as_any_guest_is() {
    let (mut siege, cases) = monstrous("pooling");
    siege.storm(&cases);
    siege.end(&[]);
}

#[test]
fn a_monstrous_component_leaves_no_memory_behind() {
    let (mut siege, cases) = monstrous("on-demand");
    siege.storm_twice(&cases);
    siege.end(&[]);
}

#[test]
fn the_names_in_a_component_are_no_way_to_flood_the_log() {
    let name = "x".repeat(1 << 20);
    let mut fields: String = (0..20)
        .map(|index| format!(r#"(func $named{index} (@name "{index}{name}") (call $named{}))"#, index + 1))
        .collect();
    fields.push_str("(func $named20 unreachable)");
    let calls = trick("traps in long names", Trapped("unreachable"), "(call $named0) (call $ok)");
    let component = frame::component(&[&calls], &fields, "");
    // One thread, because the backtrace is as long as all names together, and the thread's allocator keeps that memory.
    let options = ["--instances", "4", "--threads", "1", "--timeout", "60s"];
    let mut siege = Siege::start(&BARE, |world| worker(world, &component, &options));
    siege.storm_twice(&frame::cases(&[&calls; 4]));
    let log = siege.end(&[]);
    let bytes: usize = log.stderr.iter().map(String::len).sum();
    assert!(bytes < 200_000, "{bytes}");
}
