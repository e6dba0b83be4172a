//! Files that aren't runnable components: one sentence that says why, and exit code 2.

use crate::harness::{World, guest};
use std::fs;

/// A file with bad content, and the error message for it.
struct BadFile {
    name: &'static str,
    content: Vec<u8>,
    says: &'static [&'static str],
}

/// `run`, `invoke` and `inspect` refuse it with the same sentence.
#[track_caller]
fn refused_everywhere(world: &World, path: &str, says: &[&str]) {
    let commands = [
        world.wasmrun(["run", "--queue", "sqlite:jobs.db", path]).args(World::grants()),
        world.wasmrun(["invoke", "--message", "x", path]).args(World::grants()),
        world.wasmrun(["inspect", path]),
    ];
    let mut errors = Vec::new();
    for command in commands {
        let output = command.arg("--cache").arg("off").fails_with(2, path);
        for text in says {
            assert!(output.error().contains(text), "{text:?} in {output}");
        }
        errors.push(output.error().to_owned());
    }
    errors.dedup();
    assert_eq!(errors.len(), 1, "{errors:?}");
}

/// `wat` checks the syntax only, so the component may be invalid.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a component")
}

#[test]
fn what_is_no_component_is_named_for_what_it_is() {
    let world = World::with_queue(&[]);
    let empty = fs::read(guest("empty")).expect("a guest");
    let bad = [
        BadFile { name: "empty.wasm", content: Vec::new(), says: &["the file is empty"] },
        BadFile {
            name: "picture.jpg",
            content: b"\xff\xd8\xff\xe0 JFIF".to_vec(),
            says: &["not WebAssembly"],
        },
        BadFile { name: "text.wat", content: b"(component)".to_vec(), says: &["not WebAssembly"] },
        BadFile {
            name: "module.wasm",
            content: component("(module (func (export \"handle\")))"),
            says: &["core module", "wasm32-wasip2"],
        },
        BadFile { name: "future.wasm", content: b"\0asm\x0d\x00\x02\x00".to_vec(), says: &["version"] },
        BadFile { name: "truncated.wasm", content: empty[..empty.len() / 2].to_vec(), says: &["invalid"] },
        BadFile { name: "header.wasm", content: empty[..6].to_vec(), says: &["truncated"] },
    ];
    for BadFile { name, content, says } in bad {
        world.write(name, content);
        refused_everywhere(&world, name, says);
    }
    refused_everywhere(&world, "missing.wasm", &["No such file"]);
    refused_everywhere(&world, "in", &["not a regular file"]);
    refused_everywhere(&world, "/dev/zero", &["not a regular file"]);
    refused_everywhere(&world, ".", &["not a regular file"]);
}

/// Cut between two sections, the file is a valid component in which something is missing.
#[test]
fn a_component_truncated_anywhere_is_refused_in_one_sentence() {
    let world = World::new();
    let whole = fs::read(guest("empty")).expect("a guest");
    let mut random = fastrand::Rng::with_seed(6);
    let lengths = (1..20).chain((0..30).map(|_| random.usize(20..whole.len())));
    for length in lengths.chain([whole.len() - 1]) {
        world.write("truncated.wasm", &whole[..length]);
        world
            .wasmrun(["invoke", "--message", "x", "--cache", "off", "truncated.wasm"])
            .fails_with(2, "truncated.wasm");
    }
}

#[test]
fn random_bytes_are_refused_in_one_sentence() {
    let world = World::with_queue(&[]);
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..30 {
        let mut bytes = vec![0; random.usize(1..5000)];
        random.fill(&mut bytes);
        if round % 2 == 0 {
            // Valid at first glance.
            bytes.splice(..0, *b"\0asm\x0d\x00\x01\x00");
        }
        world.write("random.wasm", bytes);
        world.wasmrun(["inspect", "--cache", "off", "random.wasm"]).fails_with(2, "random.wasm");
    }
}

/// Some changes have no effect, and none causes more than an error sentence.
#[test]
fn a_component_with_wrong_bytes_is_refused_or_runs() {
    let world = World::new();
    let whole = fs::read(guest("empty")).expect("a guest");
    let mut random = fastrand::Rng::with_seed(8);
    let mut refused = 0;
    for _ in 0..40 {
        let mut bytes = whole.clone();
        let place = random.usize(8..bytes.len());
        bytes[place] = random.u8(..);
        world.write("changed.wasm", bytes);
        let output = world.wasmrun(["invoke", "--message", "x", "--cache", "off", "changed.wasm"]).ends();
        match output.status.code() {
            Some(0 | 1) => {}
            Some(2) => {
                output.error();
                refused += 1;
            }
            code => panic!("{code:?}: {output}"),
        }
    }
    assert!(refused > 0);
}

const COMMAND: &str = r#"(component
    (core module $m (func (export "run") (result i32) i32.const 0))
    (core instance $i (instantiate $m))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $interface (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $interface)))"#;
const STRANGE_IMPORT: &str = r#"(component
    (import "acme:billing/ledger@1.2.3" (instance (export "post" (func))))
    (instance $handler)
    (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#;
const FUTURE_INTERFACE: &str = r#"(component
    (import "wasmrun:task/object-store@0.9.0" (instance (export "sell" (func))))
    (instance $handler)
    (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#;
const EMPTY_HANDLER: &str = r#"(component
    (instance $handler)
    (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#;

#[test]
fn a_component_of_another_world_is_told_what_it_lacks() {
    let world = World::with_queue(&[]);
    let lacks_handler = "does not export wasmrun:task/handler@0.1.0";
    for (name, text, says) in [
        ("nothing.wasm", "(component)", &[lacks_handler, "cdylib"][..]),
        ("strange.wasm", STRANGE_IMPORT, &["acme:billing/ledger@1.2.3"]),
        ("future.wasm", FUTURE_INTERFACE, &["wasmrun:task/object-store@0.9.0"]),
        ("hollow.wasm", EMPTY_HANDLER, &["handle"]),
    ] {
        world.write(name, component(text));
        for command in [
            world.wasmrun(["run", "--queue", "sqlite:jobs.db", name]).args(World::grants()),
            world.wasmrun(["invoke", "--message", "x", name]).args(World::grants()),
        ] {
            let output = command.args(["--cache", "off"]).fails_with(2, name);
            for text in says {
                assert!(output.error().contains(text), "{text:?} in {output}");
            }
        }
        // Inspecting shows the rest of it as well.
        let output = world.wasmrun(["inspect", "--cache", "off", name]).fails_with(2, name);
        assert!(output.stdout.iter().any(|line| line.starts_with("world      none: ")), "{output}");
    }
}

#[test]
fn inspect_says_which_world_a_component_fits() {
    let world = World::new();
    world.write("command.wasm", component(COMMAND));
    let thumbnail = guest("thumbnail").display().to_string();
    for (name, fits) in [("command.wasm", "wasi:cli/command@0.2"), (&*thumbnail, "wasmrun:task/task@0.1.0")] {
        let output = world.wasmrun(["inspect", name]).succeeds();
        assert!(output.stdout.contains(&format!("world      {fits}")), "{output}");
        assert_eq!(world.wasmrun(["inspect", "--json", name]).succeeds().json()["world"], fits);
    }
}

/// A component's author chooses its names. This name would start a second line.
#[test]
fn a_component_cannot_write_lines_of_its_own_into_our_errors() {
    let world = World::new();
    let text = r#"(component
        (core module $m (import "a\n\1b[2Jerror: forged" "b" (func)))
        (core instance (instantiate $m)))"#;
    world.write("forging.wasm", component(text));
    let output = world.wasmrun(["inspect", "--cache", "off", "forging.wasm"]).fails_with(2, "forging.wasm");
    assert!(!output.error().chars().any(char::is_control), "{output}");

    world.write("two\nlines.wasm", "x");
    let output = world.wasmrun(["inspect", "two\nlines.wasm"]).fails_with(2, "not WebAssembly");
    assert!(output.error().contains(r"two\nlines.wasm"), "{output}");
}

#[test]
fn a_component_cannot_write_lines_of_its_own_into_what_inspect_says() {
    let world = World::new();
    let text = r#"(component
        (import "url=<x\1b[2J\nworld      wasmrun:task/task@0.1.0\n\c2\9b2J>" (func))
        (instance $handler)
        (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#;
    let name = "forging\nworld      wasmrun:task/task@0.1.0";
    world.write(name, component(text));
    let output = world.wasmrun(["inspect", "--cache", "off", name]).fails_with(2, "forging");
    let worlds: Vec<&String> = output.stdout.iter().filter(|line| line.starts_with("world")).collect();
    let [of_it] = worlds[..] else { panic!("{output}") };
    assert!(of_it.starts_with("world      none: "), "{output}");
    assert!(of_it.contains("url=<x"), "{output}");
    assert!(output.stdout.iter().all(|line| !line.contains(char::is_control)), "{output}");
}

#[test]
fn a_component_that_cannot_start_is_found_before_any_message_is_received() {
    let world = World::with_queue(&[]);
    let run = |options: &[&str]| world.run("misbehave").args(["--until-empty"]).args(options);
    let output = run(&["--memory", "64KiB"]).fails_with(2, ": --memory ");
    assert!(output.error().contains("misbehave.wasm") && output.error().contains("64.0 KiB"), "{output}");
    for allocator in ["pooling", "on-demand"] {
        let few = ["--table-elements", "1", "--allocator", allocator];
        run(&few).fails_with(2, ": --table-elements ");
    }
}
