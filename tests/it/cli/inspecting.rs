//! `wasmrun inspect`: of how many parts a component consists, and whether its limits allow them.

use crate::harness::{World, guest};
use serde_json::json;

/// A command with a second core instance. The body of its last function is wrong, so it can't be compiled.
const BROKEN: &str = r#"(component
    (core module $m (memory 20) (table 7 funcref) (func (export "run") (result i32) i32.const 0))
    (core module (func (result i32)))
    (core instance (instantiate $m))
    (core instance $i (instantiate $m))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;

#[test]
fn the_parts_of_a_component_are_shown_beside_the_limits() {
    let world = World::new();
    let inspect = || world.wasmrun(["inspect"]).arg(guest("thumbnail"));
    let text = inspect().succeeds();
    let parts = text.stdout.iter().find(|line| line.starts_with("parts")).expect("parts");
    assert!(parts.ends_with(" core instances (limit 64)"), "{text}");
    let json = inspect().arg("--json").succeeds().json();
    let instances = &json["parts"]["core_instances"];
    assert_eq!((&instances["limit"], &instances["raise"]), (&json!(64), &json!(null)));
    let needed = instances["needed"].as_u64().expect("a number");
    // With this number the component fits, and with one fewer it does not.
    inspect().args(["--core-instances", &needed.to_string()]).succeeds();
    let flag = format!("--core-instances {needed}");
    let fewer = (needed - 1).to_string();
    inspect().args(["--core-instances", &fewer]).fails_with(2, &flag);
    let json = inspect().args(["--json", "--core-instances", &fewer]).ends().exited_with(2).json();
    assert_eq!(json["parts"]["core_instances"]["raise"], flag);
    assert_eq!(json["world"], "wasmrun:task/task@0.1.0");
}

#[test]
fn what_exceeds_its_limits_is_refused_before_it_is_compiled_with_the_flags_that_would_do() {
    let world = World::with_queue(&[]);
    world.write("broken.wasm", wat::parse_str(BROKEN).expect("a component"));
    let few = ["--core-instances", "1", "--memory", "1MiB", "--table-elements", "13"];
    let says = "2 core instances, more than the limit of 1: --core-instances 2; and 2.5 MiB of memory at the start, more than the limit of 1.0 MiB: --memory 2560KiB; and 14 table elements at the start, more than the limit of 13: --table-elements 14";
    for command in [
        world.wasmrun(["inspect", "broken.wasm"]),
        world.wasmrun(["run", "broken.wasm", "--queue", "sqlite:jobs.db"]),
        world.wasmrun(["invoke", "broken.wasm", "--message", "x"]),
    ] {
        command.args(few).args(["--cache", "off"]).fails_with(2, says);
    }
    let enough = ["--core-instances", "2", "--memory", "2560KiB", "--table-elements", "14"];
    world
        .wasmrun(["inspect", "broken.wasm", "--cache", "off"])
        .args(enough)
        .fails_with(2, "the component is invalid");
}

#[test]
fn a_core_module_is_told_how_its_language_makes_a_component() {
    let world = World::new();
    for (language, says) in [
        ("Rust", "`cargo build --target wasm32-wasip2`"),
        ("C11", "`wasm-tools component new`"),
        ("Go", "-buildmode=c-shared"),
    ] {
        let text = format!(r#"(module (@producers (language "{language}" "")))"#);
        world.write("module.wasm", wat::parse_str(text).expect("a module"));
        let output = world.wasmrun(["inspect", "module.wasm"]).fails_with(2, "core module");
        assert!(output.error().contains(says), "{output}");
    }
}

#[test]
fn an_import_with_a_label_is_named_with_the_interface_that_it_implements() {
    let world = World::with_queue(&[]);
    let text = r#"(component
        (import "sessions" (implements "wasi:keyvalue/store@0.2.0-draft2") (instance (export "open" (func))))
        (import "wasi:keyvalue/store@0.2.0-draft2" (instance (export "open" (func))))
        (instance $handler)
        (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#;
    world.write("labels.wasm", wat::parse_str(text).expect("a component"));
    let named = "sessions (implements wasi:keyvalue/store@0.2.0-draft2)";
    let output = world.wasmrun(["inspect", "--cache", "off", "labels.wasm"]).fails_with(2, "sessions");
    assert!(output.stdout.iter().any(|line| line.ends_with(named)), "{output}");
    let json =
        world.wasmrun(["inspect", "--json", "--cache", "off", "labels.wasm"]).ends().exited_with(2).json();
    assert_eq!(json["imports"], json!([named, "wasi:keyvalue/store@0.2.0-draft2"]));
    for command in [
        world.wasmrun(["run", "labels.wasm", "--queue", "sqlite:jobs.db"]),
        world.wasmrun(["invoke", "labels.wasm", "--message", "x"]),
    ] {
        let says = "sessions (it implements wasi:keyvalue/store@0.2.0-draft2 under a label of its own: import the interface by its name)";
        command.args(["--cache", "off"]).fails_with(2, says);
    }
}
