//! Where components come from: buckets, and code that was compiled before.

use crate::harness::{Amazon, Command, World, guest};
use sha2::{Digest, Sha256};

fn component(name: &str) -> Vec<u8> {
    std::fs::read(guest(name)).expect("a component")
}

/// A server with a component in a versioned bucket, and the component's version.
fn cloud() -> Option<(World, Amazon, String)> {
    let amazon = Amazon::start()?;
    amazon.create_bucket("components");
    amazon.keep_versions("components");
    let version = amazon.put_version("components", "guests/empty.wasm", component("empty"));
    Some((World::new(), amazon, version))
}

fn invoke(world: &World, amazon: &Amazon, url: &str) -> Command {
    amazon.environment(world.wasmrun(["invoke", url, "--message", "x"]))
}

#[test]
fn a_component_in_a_bucket_is_fetched_at_each_start_and_compiled_once() {
    let Some((world, amazon, _)) = cloud() else { return };
    let run = || {
        let command = invoke(&world, &amazon, "s3://components/guests/empty.wasm");
        command.args(["--cache", "cache", "--log-format", "json"]).succeeds()
    };
    let (first, second) = (run(), run());
    for output in [&first, &second] {
        assert_eq!(output.logs_of("fetched the component").len(), 1, "{output}");
    }
    assert_eq!(first.logs_of("compiled the component").len(), 1, "{first}");
    assert!(second.logs_of("compiled the component").is_empty(), "{second}");
}

#[test]
fn a_pinned_component_stays_when_its_object_is_overwritten() {
    let Some((world, amazon, version)) = cloud() else { return };
    amazon.put_version("components", "guests/empty.wasm", "something else");
    let url = "s3://components/guests/empty.wasm";
    invoke(&world, &amazon, &format!("{url}?version={version}")).succeeds();
    invoke(&world, &amazon, url).fails_with(2, "this is not WebAssembly");
    let unpinned = invoke(&world, &amazon, &format!("{url}?etag=0123456789abcdef"));
    unpinned.fails_with(2, "0123456789abcdef is wanted");
    let unknown = invoke(&world, &amazon, &format!("{url}?version=00000000-0000-0000-0000-000000000000"));
    unknown.fails_with(2, "no such version");
}

#[test]
fn a_component_that_is_not_there_or_too_large_is_not_waited_for() {
    let Some((world, amazon, _)) = cloud() else { return };
    invoke(&world, &amazon, "s3://components/missing.wasm").fails_with(2, "there is no such object");
    invoke(&world, &amazon, "s3://missing-bucket/x.wasm").fails_with(3, "there is no such bucket");
    invoke(&world, &amazon, "s3://components").fails_with(2, "write s3://BUCKET/KEY");
    amazon.put("components", "large.wasm", vec![0; (128 << 20) + 1]);
    invoke(&world, &amazon, "s3://components/large.wasm").fails_with(2, "larger than");
}

/// Creates a world with precompiled code of a component.
fn compiled(options: &[&str]) -> World {
    let world = World::new();
    let compile = world.wasmrun(["compile"]).arg(guest("misbehave")).args(["-o", "misbehave.cwasm"]);
    compile.args(options).succeeds();
    world
}

fn run_compiled(world: &World, options: &[&str]) -> Command {
    let command = world.wasmrun(["invoke", "misbehave.cwasm", "--message", "put a text"]);
    command.args(World::grants()).args(options)
}

#[test]
fn code_that_was_compiled_before_runs_without_compiling_or_a_cache() {
    for options in [&["--cache", "off"][..], &["--cache", "off", "--portable"]] {
        let world = compiled(options);
        let output = run_compiled(&world, &["--precompiled", "--log-format", "json"]).succeeds();
        assert!(output.logs_of("compiled the component").is_empty(), "{output}");
        assert_eq!(world.read("out/a"), b"text");
    }
}

#[test]
fn code_runs_only_where_it_was_asked_for_and_only_as_it_was_compiled() {
    let world = compiled(&[]);
    run_compiled(&world, &[]).fails_with(2, "run it with --precompiled");
    run_compiled(&world, &["--precompiled", "--deterministic"]).fails_with(2, "without --deterministic");
    let component = world.wasmrun(["invoke", "--message", "ok", "--precompiled"]).arg(guest("misbehave"));
    component.args(World::grants()).fails_with(2, "leave out --precompiled");
    world
        .wasmrun(["invoke", "s3://components/misbehave.cwasm", "--precompiled", "--message", "ok"])
        .args(World::grants())
        .fails_with(2, "only from a local file");
}

#[test]
fn damaged_code_and_code_of_another_engine_is_refused_in_one_sentence() {
    let world = compiled(&[]);
    let whole = world.read("misbehave.cwasm");
    let refused = |content: &[u8], why: &str| {
        world.write("misbehave.cwasm", content);
        run_compiled(&world, &["--precompiled"]).fails_with(2, why);
    };
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    refused(&damaged, "damaged");
    refused(&whole[..whole.len() - 1], "damaged");
    refused(b"", "is not precompiled code");
    // Code of another version is reported as such, and so is code for another CPU; both files are intact.
    let (content, _) = whole.split_at(whole.len() - 32);
    let cpu = std::env::consts::ARCH.as_bytes();
    let cpu = content.windows(cpu.len()).position(|bytes| bytes == cpu).expect("the code names its CPU");
    for (changed, why) in [(content.len() - 1, "another version of wasmrun"), (cpu, "for another CPU")] {
        let mut foreign = content.to_vec();
        foreign[changed] ^= 1;
        let digest = Sha256::digest(&foreign);
        refused(&[&foreign[..], &digest[..]].concat(), why);
    }
}

#[test]
fn code_that_others_can_write_to_is_not_run() {
    use std::os::unix::fs::PermissionsExt;
    let world = compiled(&[]);
    let open = std::fs::Permissions::from_mode(0o664);
    std::fs::set_permissions(world.path("misbehave.cwasm"), open).expect("set");
    run_compiled(&world, &["--precompiled"]).fails_with(2, "chmod go-w");
}

#[test]
fn code_is_looked_at_as_it_was_compiled_and_does_not_replace_its_component() {
    let world = compiled(&["--deterministic"]);
    world.wasmrun(["inspect", "misbehave.cwasm", "--precompiled"]).succeeds();
    world.write("x.wasm", component("empty"));
    world.wasmrun(["compile", "x.wasm", "-o", "./x.wasm"]).fails_with(2, "would replace the component");
    assert_eq!(world.read("x.wasm"), component("empty"));
}

#[test]
fn what_is_compiled_is_a_component_for_wasmrun_and_replaces_a_file_in_one_step() {
    let world = World::new();
    world.write("text.wasm", "no component");
    world.write("old.cwasm", "old");
    world.wasmrun(["compile", "text.wasm", "-o", "old.cwasm"]).fails_with(2, "this is not WebAssembly");
    assert_eq!(world.read("old.cwasm"), b"old");
    let elsewhere = world.wasmrun(["compile", "-o", "missing/new.cwasm"]).arg(guest("empty"));
    elsewhere.fails_with(3, "missing/new.cwasm");
    world.wasmrun(["compile", "-o", "old.cwasm"]).arg(guest("empty")).succeeds();
    assert!(world.read("old.cwasm").starts_with(b"\x7fELF"));
}

#[test]
fn the_program_says_what_it_was_built_with() {
    let world = World::new();
    let short = world.wasmrun(["--version"]).succeeds();
    assert_eq!(short.stdout, [format!("wasmrun {}", env!("CARGO_PKG_VERSION"))]);
    let long = world.wasmrun(["--version", "--verbose"]).succeeds();
    for fact in ["commit ", "rustc ", "target ", "wasmtime ", "compiler   included", "licence    Apache-2.0"]
    {
        assert!(long.stdout.iter().any(|line| line.starts_with(fact)), "{fact}: {long}");
    }
}
