//! Other clients read what is pushed, and their artefacts run: byte for byte.

use super::{invoke, push};
use crate::harness::{Answer, Command, DockerRegistry, Stub, World, guest, installed, program};
use serde_json::Value;
use std::fs;

/// Runs a program of Python with ORAS.
fn oras(world: &World, code: &str, arguments: &[&str]) -> Option<()> {
    let python = program("python3")?;
    let command = Command::new(python, &world.path(".")).args(["-c", code]).args(arguments);
    command.succeeds();
    Some(())
}

const PULL: &str = "
import oras.client, sys
client = oras.client.OrasClient(insecure=True, tls_verify=False)
client.pull(target=sys.argv[1], outdir='pulled')
";
const PUSH: &str = "
import oras.client, sys
client = oras.client.OrasClient(insecure=True, tls_verify=False)
client.push(target=sys.argv[1], files=[sys.argv[2] + ':application/wasm'], disable_path_validation=True)
";

#[test]
fn oras_pulls_what_wasmrun_pushes_and_wasmrun_runs_what_oras_pushes() {
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::new();
    push(&world, "empty", &registry.url("a/ours:1"));
    let host = registry.host();
    if oras(&world, PULL, &[&format!("{host}/a/ours:1")]).is_none() {
        return;
    }
    assert_eq!(world.read("pulled/empty.wasm"), fs::read(guest("empty")).expect("a component"));
    let path = guest("empty").display().to_string();
    oras(&world, PUSH, &[&format!("{host}/a/theirs:1"), &path]);
    invoke(&world, &registry.url("a/theirs:1")).succeeds();
}

#[test]
fn wkg_pulls_what_wasmrun_pushes_and_wasmrun_runs_what_wkg_pushes() {
    let Some(wkg) = installed("wkg", "WASMRUN_WKG") else { return };
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::new();
    push(&world, "empty", &registry.url("a/ours:1"));
    let host = registry.host();
    let wkg = |arguments: &[&str]| {
        world.program(&wkg).arg("oci").args(arguments).args(["--insecure", &host]).succeeds();
    };
    wkg(&["pull", &format!("{host}/a/ours:1"), "--output", "pulled.wasm"]);
    assert_eq!(world.read("pulled.wasm"), fs::read(guest("empty")).expect("a component"));
    let path = guest("empty").display().to_string();
    wkg(&["push", &format!("{host}/a/theirs:1"), &path]);
    invoke(&world, &registry.url("a/theirs:1")).succeeds();
}

#[test]
fn a_component_is_pushed_to_the_same_digest_again_and_says_where_it_comes_from() {
    let Some(registry) = DockerRegistry::start() else { return };
    let world = World::new();
    let described = wat::parse_str(
        r#"(component (@custom "source" "https://git.test/x") (@custom "licenses" "MIT") (@custom "authors" "me"))"#,
    );
    world.write("x.wasm", described.expect("a component"));
    let push = |to: &str| world.wasmrun(["push", "x.wasm", &registry.url(to), "--json"]);
    let first = push("x:1").succeeds().json();
    assert_eq!(
        first["reference"],
        format!("{}@{}", registry.url("x:1"), first["digest"].as_str().expect("text"))
    );
    assert_eq!(push("x:2").succeeds().json()["digest"], first["digest"], "nothing depends on the time");
    let dated = push("x:3").env("SOURCE_DATE_EPOCH", "1790000000").succeeds().json();
    assert_ne!(dated["digest"], first["digest"]);
    push("x:3").env("SOURCE_DATE_EPOCH", "now").fails_with(2, "SOURCE_DATE_EPOCH");
    // The layout that the Wasm OCI artefact of the CNCF's TAG Runtime prescribes.
    let read = |path: &str| -> Value {
        let url = format!("http://{}/v2/x/{path}", registry.host());
        let code = "import sys, urllib.request\nrequest = urllib.request.Request(sys.argv[1], headers={'accept': 'application/vnd.oci.image.manifest.v1+json'})\nsys.stdout.write(urllib.request.urlopen(request).read().decode())";
        Command::new("python3", &world.path(".")).args(["-c", code, &url]).succeeds().json()
    };
    let manifest = read("manifests/3");
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    let annotations = manifest["annotations"].as_object().expect("annotations");
    let annotations: Vec<_> = annotations.iter().map(|(name, value)| (&name[25..], value.as_str())).collect();
    assert_eq!(
        annotations,
        [
            ("authors", Some("me")),
            ("created", Some("2026-09-21T14:13:20Z")),
            ("licenses", Some("MIT")),
            ("source", Some("https://git.test/x"))
        ]
    );
    let config = read(&format!("blobs/{}", manifest["config"]["digest"].as_str().expect("a digest")));
    assert_eq!(config["created"], "2026-09-21T14:13:20Z");
    assert_eq!((&config["architecture"], &config["os"]), (&"wasm".into(), &"wasip2".into()));
    assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
    assert_eq!(config["component"], serde_json::json!({"exports": [], "imports": []}));
}

#[test]
fn only_a_component_is_pushed_and_only_to_a_tag() {
    let world = World::new();
    world.write("text.wasm", "no component");
    world.write("module.wasm", b"\0asm\x01\0\0\0");
    let to = "oci://127.0.0.1:1/a:1";
    world.wasmrun(["push", "text.wasm", to]).fails_with(2, "not a component");
    world.wasmrun(["push", "module.wasm", to]).fails_with(2, "a core module");
    world.wasmrun(["push", "missing.wasm", to]).fails_with(2, "missing.wasm");
    world.wasmrun(["push", to, "text.wasm"]).fails_with(2, "name a .wasm file");
    let pushed = |to: &str| world.wasmrun(["push"]).arg(guest("empty")).arg(to);
    pushed("s3://bucket/a").fails_with(2, "oci://HOST/REPOSITORY:TAG");
    pushed("oci://127.0.0.1:1/a").fails_with(2, "neither a tag nor a digest");
    let digest = "0".repeat(64);
    pushed(&format!("oci://127.0.0.1:1/a@sha256:{digest}")).fails_with(2, "pushed to a tag");
    pushed(to).fails_with(3, "cannot be reached");
}

/// As the Artifact Registry of Google does.
#[test]
fn a_registry_that_wants_the_length_of_no_content_is_told_it() {
    let world = World::new();
    let strict = Stub::answering(|request| match &*request.method {
        "HEAD" => Answer::new(404, ""),
        _ if request.header("content-length").is_empty() => Answer::new(411, ""),
        "POST" => Answer::new(202, "").with("location", "/v2/a/blobs/uploads/1"),
        _ => Answer::new(201, ""),
    });
    let to = format!("{}/a:1", strict.endpoint().replace("http://", "oci://"));
    world.wasmrun(["push"]).arg(guest("empty")).arg(to).succeeds();
}
