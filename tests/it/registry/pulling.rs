//! A component of a registry runs, its digest is named, and it's pulled and compiled once.

use super::{invoke, push};
use crate::harness::{Depth, DockerRegistry, World, get, guest, status, wait_for_tasks, wait_until, why};
use serde_json::Value;
use std::fs;

#[test]
fn a_component_of_a_registry_is_pulled_and_compiled_once_and_runs_without_it_by_its_digest() {
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::new();
    let url = registry.url("guests/empty:1");
    let pinned = push(&world, "empty", &url);
    let (_, digest) = pinned.split_once('@').expect("a digest");
    let first = invoke(&world, &url).succeeds();
    let fetched = first.logs_of("fetched the component");
    assert_eq!((fetched.len(), &fetched[0]["digest"]), (1, &Value::from(digest)), "{first}");
    assert_eq!(first.logs_of("compiled the component").len(), 1, "{first}");
    let second = invoke(&world, &url).succeeds();
    assert!(second.logs_of("fetched the component").is_empty(), "{second}");
    assert_eq!(second.logs_of("found the component in the cache").len(), 1, "{second}");
    assert!(second.logs_of("compiled the component").is_empty(), "{second}");
    // A tag is looked up at each start, and a digest isn't.
    drop(registry);
    invoke(&world, &url).fails_with(3, "cannot be reached");
    invoke(&world, &pinned).succeeds();
    // A damaged file of the cache is not run.
    for entry in fs::read_dir(world.path("cache")).expect("a directory") {
        let path = entry.expect("a file").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sha256-")) {
            fs::write(path, "damaged").expect("written");
        }
    }
    invoke(&world, &pinned).fails_with(3, "cannot be reached");
}

#[test]
fn what_names_a_component_of_a_registry_names_its_digest() {
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::with_queue(&["--max-receives", "1"]);
    let pinned = push(&world, "misbehave", &registry.url("guests/misbehave:1"));
    let name = format!("misbehave:1@{}", pinned.split_once('@').expect("a digest").1);
    world.write(
        "wasmrun.toml",
        format!(
            "component = '{}'\nqueue = 'sqlite:jobs.db'\nusage = 'usage.jsonl'",
            registry.url("guests/misbehave:1")
        ),
    );
    world.send(["reject no"]);
    let worker = world.wasmrun(["run", "--config", "wasmrun.toml", "--status", "0", "--emf", "Test"]);
    let worker = worker.args(World::grants()).start();
    let address = worker.listens_on();
    wait_for_tasks(address, 1);
    wait_until("the message is dead-lettered", || world.dead() == Depth::visible(1));
    assert_eq!(status(address)["component"], name.as_str());
    let metrics = get(address, "/metrics").body;
    assert!(metrics.contains(&format!("component=\"{name}\"")), "{metrics}");
    worker.signal(rustix::process::Signal::TERM);
    let output = worker.finish();
    // A series of metrics doesn't change its name with each digest.
    assert!(output.stdout.iter().any(|line| line.contains("\"service\":\"misbehave\"")), "{output}");
    assert_eq!(world.usage()[0]["component"], name.as_str());
    let letter = world.dead_letters().remove(0);
    assert_eq!(why(&letter)["component"], name.as_str());
}

#[test]
fn a_tag_that_moves_is_a_new_version_of_the_component() {
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::with_queue(&[]);
    let url = registry.url("guests/any:1");
    push(&world, "empty", &url);
    let options =
        ["--component-refresh", "1s", "--instances", "4", "--usage", "usage.jsonl", "--cache", "cache"];
    let worker = world.wasmrun(["run", &url, "--queue", "sqlite:jobs.db"]).args(options).start_ready();
    let pinned = push(&world, "misbehave", &url);
    worker.until_logged("\"all new tasks run a new version of the component\"");
    world.send(["ok"]);
    world.wait_until_empty();
    worker.stop();
    let name = format!("any:1@{}", pinned.split_once('@').expect("a digest").1);
    assert_eq!(world.usage()[0]["component"], name.as_str());
}

#[test]
fn a_component_of_a_registry_is_inspected_and_compiled_like_a_file() {
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::new();
    let url = registry.url("empty:1");
    let pinned = push(&world, "empty", &url);
    let inspected = world.wasmrun(["inspect", &url]).succeeds();
    assert_eq!(inspected.stdout[0], format!("component  {pinned}"));
    let of_file = world.wasmrun(["inspect"]).arg(guest("empty")).succeeds();
    assert_eq!(inspected.stdout[1..], of_file.stdout[1..]);
    world.wasmrun(["compile", &url, "-o", "empty.cwasm"]).succeeds();
    let compiled = world.wasmrun(["invoke", "empty.cwasm", "--precompiled", "--message", "x"]);
    compiled.succeeds();
    world
        .wasmrun(["invoke", &url, "--precompiled", "--message", "x"])
        .fails_with(2, "only from a local file");
}

#[test]
fn what_is_not_in_the_registry_or_no_component_is_named() {
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::new();
    let pinned = push(&world, "empty", &registry.url("a:1"));
    let digest = pinned.split_once("sha256:").expect("a digest").1;
    invoke(&world, &registry.url("a:2")).fails_with(2, "there is no such artefact");
    invoke(&world, &registry.url("b:1")).fails_with(2, "there is no such artefact");
    let other = digest.chars().rev().collect::<String>();
    invoke(&world, &registry.url(&format!("a@sha256:{other}"))).fails_with(2, "there is no such artefact");
    invoke(&world, &registry.url("a")).fails_with(2, "neither a tag nor a digest");
    let index = "application/vnd.oci.image.index.v1+json";
    let content = format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[]}}"#);
    registry.put_manifest("a", "index", index, &content);
    invoke(&world, &registry.url("a:index")).fails_with(2, "an index of several artefacts");
    let invalid = invoke(&world, "oci://127.0.0.1:1/A:1");
    invalid.fails_with(2, "is not a repository");
    let config = world.wasmrun(["run", "oci://me:secret@r.test/a:1", "--queue", "sqlite:next.db"]);
    let error = config.fails_with(2, "`docker login`");
    assert!(!error.error().contains("secret"), "{error}");
}
