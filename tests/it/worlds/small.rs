//! The smaller worlds of wasmrun's own WIT package.

use crate::harness::{World, guest};

#[test]
fn a_component_of_a_smaller_world_runs_as_any_task() {
    let world = World::new();
    let inspected = world.wasmrun(["inspect", "--json"]).arg(guest("small")).succeeds().json();
    assert_eq!(inspected["world"], "wasmrun:task/task@0.1.0", "{inspected}");
    let imports = inspected["imports"].as_array().expect("names").iter().filter_map(|name| name.as_str());
    let ours: Vec<&str> = imports.filter(|name| name.starts_with("wasmrun:task/")).collect();
    assert_eq!(ours, ["wasmrun:task/message@0.1.0", "wasmrun:task/object-store@0.1.0"]);
    world.invoke("small", "hello").succeeds();
    assert_eq!(world.read("out/message"), b"hello");
}
