//! Components that would cost the compiler hours or gigabytes, and the confinement of the process that compiles.

use crate::harness::{Process, World, process_status, repository, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A command with these core modules and types: a component that can't run isn't compiled.
fn command(parts: &str) -> Vec<u8> {
    let text = format!(
        r#"(component {parts}
            (core module $main (func (export "run") (result i32) (i32.const 0)))
            (core instance $i (instantiate $main))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $interface (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $interface)))"#
    );
    wat::parse_str(text).expect("a component")
}

/// A component of one function with this body.
fn function(locals: usize, body: &str) -> Vec<u8> {
    let locals = "i32 ".repeat(locals);
    command(&format!("(core module (func (local {locals}) {body}))"))
}

/// Nested loops: each level costs the compiler a block, and its costs grow with the square of the blocks' depth.
fn nested_loops(depth: usize) -> Vec<u8> {
    function(0, &format!("{}{}", "loop\n".repeat(depth), "end\n".repeat(depth)))
}

/// Each of many branches may have changed each of many locals.
fn many_choices(locals: usize, branches: usize) -> Vec<u8> {
    let branch = |i: usize| {
        let (from, to) = (i % locals, i * 7 % locals);
        format!("local.get 0\nif\nlocal.get {from}\ni32.const 1\ni32.add\nlocal.set {to}\nend\n")
    };
    let branches: String = (0..branches).map(branch).collect();
    function(locals, &format!("loop\n{branches}local.get 0\nbr_if 0\nend\n"))
}

/// Takes a minute or more to compile, and less memory than the compiler may use.
fn slow() -> Vec<u8> {
    let depth = 100_000;
    function(0, &format!("{}{}", "i32.const 1\nif\n".repeat(depth), "end\n".repeat(depth)))
}

/// Calls that return a thousand values, so that the code is many times longer than the component.
fn much_code() -> Vec<u8> {
    let results = "i64 ".repeat(1000);
    let values = "i64.const 1\n".repeat(1000);
    let drops = "drop\n".repeat(1000);
    let calls = format!("call $many\n{drops}").repeat(200);
    command(&format!("(core module (func $many (result {results}) {values}) (func {calls}))"))
}

#[test]
fn a_component_that_explodes_in_the_compiler_is_refused_for_what_it_takes() {
    let world = World::with_queue(&[]);
    world.write("loops.wasm", nested_loops(100_000));
    world.write("choices.wasm", many_choices(5_000, 20_000));
    for name in ["loops.wasm", "choices.wasm"] {
        for command in [
            world.wasmrun(["inspect", name]),
            world.wasmrun(["run", "--queue", "sqlite:jobs.db", name]).args(World::grants()),
        ] {
            // Without the flag, the same happens later.
            let output = command
                .args(["--compile-memory", "96MiB", "--cache", "off"])
                .fails_with(2, "takes more than 96.0 MiB of memory");
            assert!(output.error().contains(name) && output.error().contains("--compile-memory"), "{output}");
        }
    }
}

#[test]
fn a_small_component_may_take_little_memory_without_any_flag() {
    let world = World::new();
    world.write("choices.wasm", many_choices(5_000, 20_000));
    // 256 MiB, and 64 bytes for each of the component's 280,000 bytes; or half of the memory of a smaller machine.
    world.wasmrun(["inspect", "choices.wasm", "--cache", "off"]).fails_with(2, "MiB of memory");
}

#[test]
fn a_component_that_takes_the_compiler_long_is_refused_for_its_time() {
    let world = World::new();
    world.write("slow.wasm", slow());
    let output = world
        .wasmrun([
            "inspect",
            "slow.wasm",
            "--compile-time",
            "1s",
            "--compile-memory",
            "2GiB",
            "--cache",
            "off",
        ])
        .fails_with(2, "takes longer than 1 seconds of computing");
    assert!(output.error().contains("--compile-time"), "{output}");
}

#[test]
fn a_component_that_becomes_too_much_code_is_refused_for_it() {
    let world = World::new();
    world.write("much.wasm", much_code());
    let inspect =
        |memory: &str| world.wasmrun(["inspect", "much.wasm", "--compile-memory", memory, "--cache", "off"]);
    inspect("2GiB").succeeds();
    inspect("10MiB").fails_with(2, "--compile-memory");
}

#[test]
fn ten_thousand_functions_and_wide_types_are_fine() {
    let world = World::new();
    let functions = "(func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))".repeat(10_000);
    let targets = "0 ".repeat(60_000);
    let fields: String = (0..1_000).map(|i| format!("(field \"f{i}\" (list (tuple u8 string)))")).collect();
    let parts = format!(
        "(core module {functions} (func (block (br_table {targets} (i32.const 0))))) (type (record {fields}))"
    );
    world.write("large.wasm", command(&parts));
    world.wasmrun(["inspect", "large.wasm", "--cache", "off"]).succeeds();
}

/// Nested types, each twice as large as the one before.
#[test]
fn types_that_double_are_refused_at_once() {
    let world = World::new();
    let doubling: String = (1..60).map(|i| format!("(type $t{i} (tuple $t{0} $t{0}))", i - 1)).collect();
    world.write("types.wasm", command(&format!("(type $t0 (tuple u8 u8)) {doubling}")));
    world.wasmrun(["inspect", "types.wasm", "--cache", "off"]).fails_with(2, "type size");
}

/// Starts a worker that compiles a slow component. Returns the worker and the compiler's process ID.
fn compiling(world: &World) -> (Process, i32) {
    world.write("slow.wasm", slow());
    let worker = world
        .wasmrun(["inspect", "slow.wasm", "--compile-time", "50s", "--cache", "off"])
        .env("SECRET", "of the worker")
        .start();
    let mut compiler = None;
    wait_until("there is a compiler that is confined", || {
        compiler = child_of(&worker.proc());
        compiler.is_some_and(|child| {
            status(child, "NoNewPrivs").as_deref() == Some("1") && descriptors_may_be(child) == Some(3)
        })
    });
    (worker, compiler.expect("a compiler"))
}

fn child_of(parent: &Path) -> Option<i32> {
    let tasks = fs::read_dir(parent.join("task")).ok()?;
    let children = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .collect::<String>();
    children.split_whitespace().next()?.parse().ok()
}

fn status(process: i32, field: &str) -> Option<String> {
    process_status(Path::new(&format!("/proc/{process}")), field)
}

/// The hard limit of a resource, as `/proc` shows it.
fn limit(process: i32, name: &str) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn descriptors_may_be(process: i32) -> Option<u64> {
    limit(process, "Max open files")
}

#[test]
fn the_compiler_has_three_pipes_no_environment_and_bounds() {
    let world = World::new();
    let (worker, compiler) = compiling(&world);
    let proc = PathBuf::from(format!("/proc/{compiler}"));

    // Files that were open before these tests are inherited by every process. Files that the worker opened aren't.
    let mut handed_on =
        Command::new("sh").args(["-c", "exec readlink /proc/self/fd/*"]).output().expect("a list").stdout;
    handed_on.retain(u8::is_ascii);
    let handed_on = String::from_utf8(handed_on).expect("text").lines().count() - 3;
    let kinds: Vec<_> = fs::read_dir(proc.join("fd"))
        .expect("descriptors")
        .map(|entry| fs::read_link(entry.expect("a descriptor").path()).expect("what it is"))
        .collect();
    assert_eq!(kinds.len(), 3 + handed_on, "{kinds:?}");
    let environment = fs::read_to_string(proc.join("environ")).expect("an environment");
    assert!(
        environment.split_terminator('\0').all(|variable| variable.starts_with("RAYON_")),
        "{environment:?}"
    );
    assert_eq!(fs::read_link(proc.join("cwd")).expect("a directory"), PathBuf::from("/"));
    assert_eq!(limit(compiler, "Max cpu time"), Some(51));
    assert_eq!(limit(compiler, "Max core file size"), Some(0));
    assert_eq!(limit(compiler, "Max file size"), Some(0));
    let bytes = limit(compiler, "Max data size").expect("a bound on memory");
    assert!(bytes <= 320 << 20, "{bytes}");

    // The compiler exits however the worker ends.
    drop(worker.kill());
    wait_until("the compiler is gone", || {
        status(compiler, "State").is_none_or(|state| state.starts_with('Z'))
    });
}

#[test]
fn a_compiler_whose_parent_is_another_does_nothing() {
    let world = World::new();
    for arguments in [&[][..], &["1"], &["100000000", "1", "1"], &["x", "y", "z"]] {
        let output = world.wasmrun(["__compile"]).args(arguments).input("").ends().exited_with(2);
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output}");
    }
}

#[test]
fn a_compiler_that_is_killed_is_reported() {
    let world = World::new();
    let (worker, compiler) = compiling(&world);
    kill_process(Pid::from_raw(compiler).expect("a process"), Signal::TERM).expect("killed");
    let output = worker.finish().failed_with(2, "the compiler fails on the component");
    assert!(output.error().contains("slow.wasm"), "{output}");
}

/// Runs the command with each component that fuzzing found, compiling in the program itself and in its child process,
/// with 512 MiB for either.
fn each_that_fuzzing_found(command: &[&str]) {
    let world = World::new();
    let corpus = fs::read_dir(repository().join("fuzz/corpus/component")).expect("a corpus");
    let mut looked_at = 0;
    for file in corpus {
        let bytes = fs::read(file.expect("a file").path()).expect("its content");
        world.write("found.wasm", wasmrun_properties::component_of(&bytes));
        let output = world
            .wasmrun_after("ulimit -d 524288")
            .args(command)
            .args(["found.wasm", "--cache", "off"])
            .within(Duration::from_secs(30))
            .ends();
        // The component is either used or refused. Anything else, such as a signal or a panic's exit code, is a
        // failure.
        let code = output.status.code();
        assert!(code.is_some_and(|code| code < 2) || !output.failed_with(2, "").error().is_empty());
        looked_at += 1;
    }
    assert!(looked_at > 100, "{looked_at}");
}

#[test]
fn what_fuzzing_found_is_inspected_or_refused_within_bounds() {
    each_that_fuzzing_found(&["inspect"]);
}

#[test]
fn what_fuzzing_found_is_run_or_refused_within_bounds() {
    each_that_fuzzing_found(&["invoke", "--message", "hello", "--fuel", "10000000", "--memory", "16MiB"]);
}
