//! With keys, only components run that one of them signed.

use super::signing::{Key, SIGN, digest, payload, put_bundles, put_tag};
use super::{invoke, push};
use crate::harness::{Command, DockerRegistry, World, get, guest, status};

const REFUSED: &str = "\"kept the component: its new version cannot run\"";
const TOOK_OVER: &str = "\"all new tasks run a new version of the component\"";

/// A registry with the artefact `a:1`, and a key whose public half is `cosign.pub`.
struct Signed {
    registry: DockerRegistry,
    world: World,
    key: Key,
    url: String,
    /// Digest of the artefact.
    artefact: String,
}

impl Signed {
    /// Returns `None` without the registry.
    fn new() -> Option<Self> {
        let (registry, world, key) = (DockerRegistry::start()?, World::with_queue(&[]), Key::new());
        let url = registry.url("a:1");
        let pinned = push(&world, "empty", &url);
        let artefact = pinned.split_once('@').expect("a digest").1.to_owned();
        world.write("cosign.pub", key.pem());
        Some(Self { registry, world, key, url, artefact })
    }

    fn invoke(&self) -> Command {
        invoke(&self.world, &self.url).args(["--verify-key", "cosign.pub"])
    }

    fn put_tag(&self, signatures: &[(String, String)]) {
        put_tag(&self.registry, &self.artefact, signatures);
    }

    fn put_bundles(&self, bundles: &[String]) {
        put_bundles(&self.registry, &self.artefact, bundles);
    }
}

/// A text of simple signing, with its signature.
fn simple(key: &Key, artefact: &str) -> (String, String) {
    let text = payload(artefact);
    let signature = key.sign(text.as_bytes());
    (text, signature)
}

#[test]
fn an_unsigned_component_is_neither_pulled_nor_run_from_the_cache() {
    let Some(signed) = Signed::new() else { return };
    let unsigned = signed.invoke().fails_with(2, &format!("{} is not signed", signed.artefact));
    assert!(!unsigned.to_string().contains("fetched the component"), "{unsigned}");
    // Without a key, it runs. Then its code is in the cache, too.
    invoke(&signed.world, &signed.url).succeeds();
    let pinned = format!("{}@{}", signed.registry.url("a"), signed.artefact);
    for url in [&signed.url, &pinned] {
        let unsigned = invoke(&signed.world, url).args(["--verify-key", "cosign.pub"]);
        let unsigned = unsigned.fails_with(2, "is not signed");
        assert!(!unsigned.to_string().contains("found the component"), "{unsigned}");
    }
    signed.put_tag(&[simple(&signed.key, &signed.artefact)]);
    let run = signed.invoke().succeeds();
    assert_eq!(run.logs_of("found the component in the cache").len(), 1, "{run}");
    signed.world.wasmrun(["inspect", &signed.url, "--verify-key", "cosign.pub"]).succeeds();
    let compile = ["compile", &signed.url, "--verify-key", "cosign.pub", "-o", "a.cwasm"];
    signed.world.wasmrun(compile).succeeds();
}

#[test]
fn a_signature_in_the_layout_of_a_tag_is_of_the_key_the_artefact_and_the_text() {
    let Some(signed) = Signed::new() else { return };
    let (ours, theirs) = (&signed.key, Key::new());
    let (text, signature) = simple(ours, &signed.artefact);
    let other_kind = text.replace("cosign container image signature", "a claim");
    let of_other_kind = ours.sign(other_kind.as_bytes());
    for (text, signature, said) in [
        (text.clone(), theirs.sign(text.as_bytes()), "1 made with another key or for other content"),
        (text.replace("r.test", "x.test"), signature.clone(), "1 made with another key or for other content"),
        (text.clone(), signature[..signature.len() - 4].to_owned(), "1 made with another key"),
        (text.clone(), format!("{signature}!"), "1 malformed"),
        (text.clone(), String::new(), "1 made with another key"),
        (other_kind, of_other_kind, "1 an attestation or another text"),
    ] {
        signed.put_tag(&[(text, signature)]);
        let refused = signed.invoke().fails_with(2, "is not signed by a key of --verify-key");
        assert!(refused.error().contains(said), "{refused}");
    }
    let other = simple(ours, &digest(b"another artefact"));
    signed.put_tag(std::slice::from_ref(&other));
    signed.invoke().fails_with(2, "1 made for another artefact");
    // One that is valid is enough.
    signed.put_tag(&[other, simple(&theirs, &signed.artefact), (text, signature)]);
    signed.invoke().succeeds();
}

#[test]
fn a_signature_in_a_bundle_is_of_the_key_the_artefact_and_the_content() {
    let Some(signed) = Signed::new() else { return };
    let (ours, theirs, artefact) = (&signed.key, Key::new(), &*signed.artefact);
    let right = ours.bundle(artefact, SIGN);
    let mut other_payload = right.clone();
    other_payload["dsseEnvelope"]["payload"] =
        ours.bundle(&digest(b"x"), SIGN)["dsseEnvelope"]["payload"].clone();
    let mut other_type = right.clone();
    other_type["dsseEnvelope"]["payloadType"] = "text/plain".into();
    let mut twice = right.clone();
    let signature = right["dsseEnvelope"]["signatures"][0].clone();
    twice["dsseEnvelope"]["signatures"] = vec![signature.clone(), signature].into();
    let mut old = right.clone();
    old["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into();
    let mut empty = right.clone();
    empty.as_object_mut().expect("an object").remove("dsseEnvelope");
    let manifest = signed.registry.manifest("a", "1");
    let message = ours.message_bundle(manifest.as_bytes());
    for (bundle, said) in [
        (theirs.bundle(artefact, SIGN), "1 made with another key or for other content"),
        (other_payload, "1 made with another key or for other content"),
        (ours.bundle(&digest(b"another artefact"), SIGN), "1 made for another artefact"),
        (ours.bundle(artefact, "https://slsa.dev/provenance/v1"), "1 an attestation"),
        (other_type, "1 an attestation"),
        (twice, "1 malformed"),
        (old, "1 malformed"),
        (empty, "1 malformed"),
        (ours.message_bundle(b"another manifest"), "1 made with another key or for other content"),
        (theirs.message_bundle(manifest.as_bytes()), "1 made with another key or for other content"),
    ] {
        signed.put_bundles(&[bundle.to_string()]);
        let refused = signed.invoke().fails_with(2, "is not signed by a key of --verify-key");
        assert!(refused.error().contains(said), "{bundle}: {refused}");
    }
    let right = right.to_string();
    signed.put_bundles(&[right[..right.len() / 2].to_owned()]);
    signed.invoke().fails_with(2, "1 malformed");
    for bundle in [right, message.to_string()] {
        signed.put_bundles(&[theirs.bundle(artefact, SIGN).to_string(), bundle]);
        signed.invoke().succeeds();
    }
}

#[test]
fn a_file_of_two_keys_takes_signatures_of_both_while_keys_are_rotated() {
    let Some(signed) = Signed::new() else { return };
    let new = Key::new();
    signed.put_tag(&[simple(&signed.key, &signed.artefact)]);
    signed.world.write("cosign.pub", format!("{}# from May\n{}", signed.key.pem(), new.pem()));
    signed.invoke().succeeds();
    signed.put_bundles(&[new.bundle(&signed.artefact, SIGN).to_string()]);
    signed.world.write("cosign.pub", new.pem());
    signed.invoke().succeeds();
    signed.put_bundles(&[]);
    signed.invoke().fails_with(2, "1 made with another key");
}

#[test]
fn keys_are_named_by_a_flag_a_variable_or_the_configuration_or_are_written_out() {
    let Some(signed) = Signed::new() else { return };
    let world = &signed.world;
    world.write("wasmrun.toml", "[registry]\nverify-key = 'cosign.pub'");
    let pem = signed.key.pem();
    world.write("written.toml", format!("[registry]\nverify-key = '''\n{pem}'''"));
    let ways = || {
        let plain = || invoke(world, &signed.url);
        [
            plain().arg(format!("--verify-key={pem}")),
            plain().args(["--verify-key", &pem]),
            plain().env("WASMRUN_VERIFY_KEY", "cosign.pub"),
            plain().env("WASMRUN_VERIFY_KEY", &pem),
            plain().args(["--config", "wasmrun.toml"]),
            plain().args(["--config", "written.toml"]),
        ]
    };
    let _ = ways().map(|way| way.fails_with(2, "is not signed"));
    signed.put_tag(&[simple(&signed.key, &signed.artefact)]);
    let _ = ways().map(Command::succeeds);
    for (name, content, said) in [
        ("empty.pub", "", "it holds no public key in PEM"),
        (
            "cosign.key",
            "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nx\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----",
            "a private key",
        ),
        ("long.pub", &"x".repeat(70_000), "larger than"),
    ] {
        world.write(name, content);
        invoke(world, &signed.url).args(["--verify-key", name]).fails_with(2, said);
    }
    invoke(world, &signed.url).args(["--verify-key", "missing.pub"]).fails_with(2, "missing.pub");
    for wrong in ["", "--until-empty"] {
        let wrong = invoke(world, &signed.url).args(["--verify-key", wrong]).ends().exited_with(2);
        assert!(wrong.to_string().contains("expected a file with public keys"), "{wrong}");
    }
    let push = world.wasmrun(["push", "x.wasm", &signed.url, "--verify-key", "cosign.pub"]);
    push.ends().exited_with(2);
    // A guest that could write the file would choose who signs.
    let writable = ["--verify-key", "cosign.pub", "--store", "all=dir:.:rw"];
    invoke(world, &signed.url).args(writable).fails_with(2, "holds the file of --verify-key");
}

#[test]
fn with_keys_no_component_is_used_whose_signatures_nobody_finds() {
    let world = World::with_queue(&[]);
    world.write("cosign.pub", Key::new().pem());
    let file = guest("empty").display().to_string();
    let said = "with --verify-key: signatures are found only in a registry";
    for component in [&*file, "s3://components/x.wasm"] {
        invoke(&world, component).args(["--verify-key", "cosign.pub"]).fails_with(2, said);
        let run = world.wasmrun(["run", component, "--queue", "sqlite:jobs.db", "--check"]);
        run.args(["--verify-key", "cosign.pub"]).fails_with(2, said);
        world.wasmrun(["inspect", component, "--verify-key", "cosign.pub"]).fails_with(2, said);
        let compile = ["compile", component, "-o", "x.cwasm", "--verify-key", "cosign.pub"];
        world.wasmrun(compile).fails_with(2, said);
    }
    world.wasmrun(["compile", &file, "-o", "x.cwasm"]).succeeds();
    let precompiled = ["--precompiled", "--verify-key", "cosign.pub"];
    invoke(&world, "x.cwasm").args(precompiled).fails_with(2, said);
    let dev = world.wasmrun(["dev"]).env("WASMRUN_VERIFY_KEY", "cosign.pub");
    dev.fails_with(2, "the component of a project is a file");
}

#[test]
fn a_container_gets_the_keys_themselves() {
    let world = World::new();
    let key = Key::new();
    world.write("cosign.pub", key.pem());
    let component = "component = 'oci://r.test/a:1'";
    let settings = "queue = 'https://sqs.eu-west-1.amazonaws.com/123456789012/jobs'\n[registry]\nverify-key = 'cosign.pub'\nplain-http = true";
    world.write("wasmrun.toml", format!("{component}\n{settings}"));
    world.write("file.toml", format!("component = '/x.wasm'\n{settings}"));
    let manifest = |platform: &str, config: &str| {
        world.wasmrun(["manifest", platform, "--name", "thumbs", "--config", config])
    };
    let body = key.pem().lines().nth(1).expect("a key").to_owned();
    for platform in ["ecs", "kubernetes"] {
        let printed = manifest(platform, "wasmrun.toml").succeeds();
        let text = printed.stdout.join("\n");
        assert!(text.contains("--verify-key=-----BEGIN PUBLIC KEY-----"), "{printed}");
        assert!(text.contains(&body), "{printed}");
        manifest(platform, "file.toml").fails_with(2, "signatures are found only in a registry");
    }
    let ecs = manifest("ecs", "wasmrun.toml").succeeds();
    assert!(ecs.stdout.iter().any(|line| line.contains("\"--registry-plain-http\"")), "{ecs}");
    std::fs::remove_file(world.path("cosign.pub")).expect("removed");
    manifest("ecs", "wasmrun.toml").fails_with(2, "cosign.pub");
}

#[test]
fn an_unsigned_version_is_refused_once_and_taken_when_it_is_signed() {
    let Some(signed) = Signed::new() else { return };
    let world = &signed.world;
    signed.put_tag(&[simple(&signed.key, &signed.artefact)]);
    let options = ["--verify-key", "cosign.pub", "--component-refresh", "1s", "--instances", "4"];
    let worker = world.wasmrun(["run", &signed.url, "--queue", "sqlite:jobs.db"]).args(options);
    let worker = worker.args(["--cache", "cache", "--status", "0"]).start();
    let address = worker.listens_on();
    worker.until_logged("\"ready\"");
    let first = format!("a:1@{}", signed.artefact);
    let pinned = push(world, "misbehave", &signed.url);
    let artefact = pinned.split_once('@').expect("a digest").1;
    let second = format!("a:1@{artefact}");
    worker.until_logged(REFUSED);
    let line = worker.logs_with(REFUSED).remove(0);
    assert_eq!((&line["component"], &line["refused"]), (&first.clone().into(), &second.clone().into()));
    assert!(line["error"].as_str().is_some_and(|error| error.contains("is not signed")), "{line}");
    assert_eq!(status(address)["component"], first.as_str());
    put_tag(&signed.registry, artefact, &[simple(&Key::new(), artefact)]);
    worker.until_logged_times(2, REFUSED);
    // It is refused for another reason, and each reason is counted once, though it is looked for each second.
    put_tag(&signed.registry, artefact, &[simple(&signed.key, artefact)]);
    worker.until_logged(TOOK_OVER);
    let metrics = get(address, "/metrics").body;
    let refused = "wasmrun_component_refreshes_total{result=\"refused\"} 2";
    assert!(metrics.contains(refused), "{metrics}");
    assert!(metrics.contains("wasmrun_component_refreshes_total{result=\"failed\"} 0"), "{metrics}");
    assert_eq!(status(address)["component"], second.as_str());
    world.send(["ok"]);
    world.wait_until_empty();
    worker.stop();
}
