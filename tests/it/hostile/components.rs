//! Components that are hostile as a whole, by what they consist of: those that can't start within the limits are
//! refused before any message is received, in a sentence; the others are stopped as any guest is.

use super::siege::Ends::{Completed, Limit, Trapped};
use super::siege::{Case, Ends, Guest, Siege, case};
use crate::harness::{Command, Output, World};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// The frame of a component: these core modules and instances are its own, and the last instance, `main`, exports
/// `memory`, `realloc` and `handle`, which takes the message's handle and returns where the result lies.
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

/// A component of one module that consists of this, beside what each must have.
fn module(fields: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $module
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            {fields})
        (core instance $main (instantiate $module))"#
    ))
}

/// What a task does that has nothing to do.
const OK: &str = r#"(func (export "handle") (param i32) (result i32) (i32.const 0))"#;

fn worker(world: &World, component: &[u8]) -> Command {
    world.write("component.wasm", component);
    world
        .wasmrun(["run", "component.wasm", "--queue", "sqlite:jobs.db", "--cache", "off"])
        .args(["--log", "info,wasmrun_runtime=debug", "--memory", "16MiB", "--instances", "4"])
        // An option wins over it.
        .env("WASMRUN_FUEL", "50000000")
}

/// It says so, soon, and no message was received.
#[track_caller]
fn refused(component: &[u8], options: &[&str], says: &str) {
    let world = World::with_queue(&[]);
    world.send(["never received"]);
    let began = Instant::now();
    let output = worker(&world, component).args(options).fails_with(2, says);
    assert!(output.error().len() < 2048, "{output}");
    assert!(!output.error().chars().any(char::is_control), "{output}");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(world.peek("sqlite:jobs.db")[0]["receive_count"], 0);
}

/// All of its tasks end so.
#[track_caller]
fn ends(component: &[u8], options: &[&str], expected: Ends) -> Output {
    const ITSELF: Guest =
        Guest { neighbour: |_| unreachable!(), worked: |_, _| true, pulse: || unreachable!() };
    let mut siege = Siege::start(&ITSELF, |world| worker(world, component).args(options));
    let cases: Vec<Case> = (0..8).map(|n| case(n.to_string(), expected.clone())).collect();
    siege.alike(&cases);
    siege.end()
}

#[test]
fn a_component_whose_start_never_ends_is_refused() {
    let spins = module(&format!("(func $start (loop $again (br $again))) (start $start) {OK}"));
    refused(&spins, &[], "fuel");
    refused(&spins, &["--fuel", "1000000000000000", "--timeout", "1s"], "longer than the timeout");
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
    refused(&waits, &["--timeout", "1s"], "longer than the timeout");
}

#[test]
fn a_component_whose_start_traps_is_refused_in_one_short_line() {
    // Its name is a megabyte long and would be several lines on a terminal.
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
        refused(&of(900), &options, "raise --core-instances");
        // The engine's own bound comes first.
        refused(&of(1000), &options, "instances count exceeds limit of 1000");
        refused(&memories, &options, "raise --memories");
        refused(&tables, &options, "raise --tables");
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
        refused(&memories, &options, "raise --memory");
        refused(&tables, &options, "raise --table-elements");
        refused(&data, &options, "raise --memory");
    }
}

#[test]
fn memory_is_bounded_in_the_sum_of_many_memories() {
    let mut fields = "(memory $m1 1) (memory $m2 1) (memory $m3 1) (memory $m4 1) (memory $m5 1) (memory $m6 1) (memory $m7 1)".to_owned();
    fields.push_str(r#"(func (export "handle") (param i32) (result i32) (loop $again"#);
    for index in 1..8 {
        let _ = write!(fields, "(if (i32.eq (memory.grow $m{index} (i32.const 4)) (i32.const -1)) (then unreachable))
            (memory.fill $m{index} (i32.const 0) (i32.const 1) (i32.mul (memory.size $m{index}) (i32.const 65536)))");
    }
    fields.push_str("(br $again)) unreachable)");
    for allocator in ["pooling", "on-demand"] {
        ends(&module(&fields), &["--allocator", allocator, "--fuel", "1000000000"], Limit("memory"));
    }
}

#[test]
fn a_component_of_ten_thousand_functions_runs_or_is_refused_soon() {
    let mut fields = String::from(OK);
    for index in 0..10_000 {
        let _ = write!(fields, "(func (param i64) (result i64) (i64.mul (local.get 0) (i64.const {index})))");
    }
    ends(&module(&fields), &[], Completed);
}

#[test]
fn frames_of_any_size_end_at_the_stacks_limit() {
    const LOCALS: usize = 8000;
    let mut fields = String::from("(func $descend (param i32) (result i32)");
    fields.push_str(&"(local i64)".repeat(LOCALS));
    // All of them are alive across the call.
    for index in 1..LOCALS {
        let _ = write!(fields, "(local.set {index} (i64.load offset={} (i32.const 0)))", index * 8);
    }
    fields.push_str("(local.set 0 (call $descend (i32.add (local.get 0) (i32.const 1))))");
    for index in 1..LOCALS {
        let _ = write!(fields, "(local.set 0 (i32.xor (local.get 0) (i32.wrap_i64 (local.get {index}))))");
    }
    fields.push_str("(local.get 0))");
    fields.push_str(r#"(func (export "handle") (param i32) (result i32) (call $descend (local.get 0)))"#);
    ends(&module(&fields), &[], Limit("stack"));
}

#[test]
fn the_names_in_a_component_are_no_way_to_flood_the_log() {
    let name = "x".repeat(1 << 20);
    let mut fields = String::new();
    for index in 0..20 {
        // The first function is the allocator that each module has.
        let _ = write!(fields, r#"(func $"{index}{name}" (call {}))"#, index + 2);
    }
    fields.push_str("(func unreachable)");
    fields.push_str(r#"(func (export "handle") (param i32) (result i32) (call 1) (i32.const 0))"#);
    let log = ends(&module(&fields), &[], Trapped("unreachable"));
    let bytes: usize = log.stderr.iter().map(String::len).sum();
    assert!(bytes < 200_000, "{bytes}");
}

/// Two components side by side in one. The one that handles messages hands texts to the other, without end; they
/// encode them differently, so that the engine's own helpers carry them.
#[test]
fn a_component_whose_parts_hand_texts_to_each_other_is_stopped_in_time() {
    let text = r#"(component
        (import "wasmrun:task/message@0.1.0" (instance $message (export "message" (type (sub resource)))))
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
            (import "message" (instance $message (export "message" (type (sub resource)))))
            (import "take" (func $take (param "text" string)))
            (alias export $message "message" (type $message'))
            (core module $memory (memory (export "memory") 32))
            (core instance $memory (instantiate $memory))
            (core func $take (canon lower (func $take) (memory $memory "memory")))
            (core module $module
                (import "other" "take" (func $take (param i32 i32)))
                (func (export "handle") (param i32) (result i32)
                    (loop $again (call $take (i32.const 0) (i32.const 2000000)) (br $again))
                    unreachable))
            (core instance $main (instantiate $module
                (with "other" (instance (export "take" (func $take))))))
            (type $retry (record (field "delay-seconds" (option u32)) (field "reason" string)))
            (export $retry' "retry-request" (type $retry))
            (type $failure (variant (case "retry" $retry') (case "reject" string)))
            (export $failure' "failure" (type $failure))
            (func $handle (param "message" (own $message')) (result (result (error $failure')))
                (canon lift (core func $main "handle") (memory $memory "memory")))
            (export "handle" (func $handle)))
        (instance $other (instantiate $other))
        (instance $handler (instantiate $handler
            (with "message" (instance $message)) (with "take" (func $other "take"))))
        (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#;
    let component = wat::parse_str(text).expect("a component");
    let options = ["--fuel", "1000000000000", "--timeout", "60s"];
    ends(&component, &options, Trapped("without a moment at which it could be interrupted"));
}
