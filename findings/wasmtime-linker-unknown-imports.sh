#!/usr/bin/env bash
# wasmtime 48.0.8: component::Linker::define_unknown_imports_as_traps stubs imports that the linker knows. Instantiation
# matches an import to a compatible version of an interface (an import of @0.2.6 finds @0.2.9), but this function looks for
# the exact name only. It defines a trap under the older name, and the exact name wins over the compatible one.
#
# So a host that adds WASI 0.2 and then stubs the rest for a component built against an older 0.2.x gets a component that
# instantiates and traps at its first call of a clock, where the same linker without the stubs runs it. Define traps for the
# interfaces that are really missing instead.
#
# Seen: as the linker is: 7
#       with unknown imports as traps: unknown import: `example:clocks/clock@0.2.6#now` has not been defined
#
# Needs cargo.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cargo init --quiet --name finding --vcs none
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
wasmtime = { version = "=48.0.8", default-features = false, features = ["component-model", "cranelift", "runtime", "std", "wat"] }
TOML
cat > src/main.rs <<'RUST'
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Result, Store};

/// Imports one function of version 0.2.6 of an interface, and exports it lifted again.
const COMPONENT: &str = r#"(component
    (import "example:clocks/clock@0.2.6" (instance $clock (export "now" (func (result u32)))))
    (core func $lowered (canon lower (func $clock "now")))
    (core module $module
        (import "clock" "now" (func $now (result i32)))
        (func (export "run") (result i32) (call $now)))
    (core instance $instance (instantiate $module
        (with "clock" (instance (export "now" (func $lowered))))))
    (func (export "run") (result u32) (canon lift (core func $instance "run"))))"#;

fn run(engine: &Engine, linker: &Linker<()>, component: &Component) -> Result<u32> {
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, component)?;
    let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run")?;
    Ok(run.call(&mut store, ())?.0)
}

fn main() -> Result<()> {
    let engine = Engine::default();
    let component = Component::new(&engine, COMPONENT)?;
    let mut linker = Linker::new(&engine);
    linker.instance("example:clocks/clock@0.2.9")?.func_wrap("now", |_, ()| Ok((7_u32,)))?;
    println!("as the linker is: {}", run(&engine, &linker, &component)?);

    linker.define_unknown_imports_as_traps(&component)?;
    match run(&engine, &linker, &component) {
        Ok(number) => println!("with unknown imports as traps: {number}"),
        Err(error) => println!("with unknown imports as traps: {}", error.root_cause()),
    }
    Ok(())
}
RUST
cargo run --quiet > seen

cat seen
diff - seen <<'EXPECTED'
as the linker is: 7
with unknown imports as traps: unknown import: `example:clocks/clock@0.2.6#now` has not been defined
EXPECTED
