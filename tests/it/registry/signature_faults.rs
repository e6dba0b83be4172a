//! Registries whose signatures are damaged, huge, endless or slow: each ends in bounded requests and time.

use super::signing::{
    BUNDLE, INDEX, Key, MANIFEST, SIGN, descriptor, digest, index, manifest, payload, simple_layer,
};
use crate::harness::{Answer, Output, Request, Stub, World, guest};
use serde_json::{Value, json};

/// What a registry has, and what it answers for signatures.
struct Registry {
    component: Vec<u8>,
    manifest: String,
    artefact: String,
}

impl Registry {
    fn new() -> Self {
        let component = std::fs::read(guest("empty")).expect("a component");
        let config = descriptor("application/vnd.wasm.config.v0+json", b"{}");
        let layers = [descriptor("application/wasm", &component)];
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
        let artefact = digest(manifest.as_bytes());
        Self { component, manifest, artefact }
    }

    fn tag(&self) -> String {
        self.artefact.replace(':', "-")
    }

    /// Starts a server that has the artefact `a:1`. The rest is answered by `rest`, which gets the path after the
    /// repository.
    fn serve(self, rest: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static) -> Stub {
        Stub::answering(move |request| {
            let path = request.target.strip_prefix("/v2/a/").unwrap_or_default();
            match path {
                "manifests/1" => Answer::new(200, self.manifest.clone()),
                path if path == format!("blobs/{}", digest(&self.component)) => {
                    Answer::new(200, self.component.clone())
                }
                path => rest(path).unwrap_or_else(|| Answer::new(404, "")),
            }
        })
    }
}

/// The keys of a test, and a program that asks a registry with them.
struct Asking {
    world: World,
    key: Key,
}

impl Asking {
    fn new() -> Self {
        let (world, key) = (World::new(), Key::new());
        world.write("cosign.pub", key.pem());
        Self { world, key }
    }

    fn inspect(&self, stub: &Stub) -> crate::harness::Command {
        let url = format!("oci://{}/a:1", stub.endpoint().trim_start_matches("http://"));
        self.world.wasmrun(["inspect", &url, "--cache", "off", "--verify-key", "cosign.pub"])
    }

    #[track_caller]
    fn fails(&self, stub: &Stub, code: i32, said: &str) -> Output {
        let output = self.inspect(stub).fails_with(code, said);
        let blob = |request: &&Request| request.target.ends_with(&digest(&Registry::new().component));
        assert_eq!(stub.seen().iter().filter(blob).count(), 0, "the component is not read: {output}");
        output
    }
}

fn listing(content: impl Into<Vec<u8>>) -> Answer {
    Answer::new(200, content).with("content-type", INDEX)
}

/// The layers of a manifest with the tag, without their content.
fn tagged(artefact: &str, layers: &[Value]) -> Answer {
    Answer::new(200, manifest(artefact, layers).to_string())
}

#[test]
fn what_is_damaged_is_no_signature_and_does_not_hide_one() {
    let asking = Asking::new();
    let artefact = Registry::new().artefact;
    let text = payload(&artefact);
    let layer = simple_layer(&text, &asking.key.sign(text.as_bytes()));
    let blob = format!("blobs/{}", digest(text.as_bytes()));
    let tag = format!("manifests/{}.sig", Registry::new().tag());
    let serve = |referrers: Answer, manifest: Answer, content: Answer| {
        let (tag, blob) = (tag.clone(), blob.clone());
        Registry::new().serve(move |path| match path {
            path if path == tag => Some(manifest.clone()),
            path if path == blob => Some(content.clone()),
            path if path.starts_with("referrers/") => Some(referrers.clone()),
            _ => None,
        })
    };
    let none = || listing(index(&[], BUNDLE));
    let right = || tagged(&artefact, std::slice::from_ref(&layer));
    let content = || Answer::new(200, text.clone());
    asking.inspect(&serve(none(), right(), content())).succeeds();
    // Answers of registries that keep no list, and of damaged ones: the other layout has the signature.
    for referrers in [
        Answer::new(404, ""),
        Answer::new(400, ""),
        Answer::new(405, ""),
        Answer::new(200, "<html></html>").with("content-type", "text/html"),
        listing("<html></html>"),
        listing(vec![b'x'; (4 << 20) + 1]),
        Answer::new(418, ""),
        Answer::new(403, ""),
    ] {
        asking.inspect(&serve(referrers, right(), content())).succeeds();
    }
    let other = text.replace("r.test", "x.test");
    for (content, said) in [
        (Answer::new(200, other), "sends a signature with the digest"),
        (Answer::new(200, &text[1..]), "bytes instead of the"),
        (Answer::new(404, ""), "does not have a signature"),
    ] {
        asking.fails(&serve(none(), right(), content), 3, said);
    }
    for (manifest, code, said) in [
        (Answer::new(200, "{"), 2, "1 malformed"),
        (Answer::new(200, "[".repeat(1 << 20)), 2, "1 malformed"),
        (Answer::new(200, vec![b' '; (4 << 20) + 1]), 3, "larger than 4194304 bytes"),
        (Answer::new(500, ""), 3, "is signed: "),
        (right().with("docker-content-digest", digest(b"x")), 3, "sends a manifest with the digest"),
    ] {
        let output = asking.fails(&serve(none(), manifest, content()), code, said);
        assert!(code == 2 || output.error().contains("cannot find out whether sha256:"), "{output}");
    }
    let mut huge = layer.clone();
    huge["size"] = (1_u64 << 40).into();
    let huge = serve(none(), tagged(&artefact, &[huge]), content());
    asking.fails(&huge, 2, "1 too large");
    assert!(!huge.seen().iter().any(|request| request.target.ends_with(&blob)), "nothing of it is read");
    let mut unsigned = layer.clone();
    unsigned["annotations"] = Value::Null;
    let mut unknown = layer.clone();
    unknown["digest"] = "sha512:00".into();
    asking.fails(&serve(none(), tagged(&artefact, &[unsigned, unknown]), content()), 2, "2 malformed");
}

#[test]
fn no_more_signatures_are_looked_at_than_a_bound() {
    let asking = Asking::new();
    let artefact = Registry::new().artefact;
    let text = payload(&artefact);
    let layers: Vec<_> = (0..5000).map(|_| simple_layer(&text, "AAAA")).collect();
    let (tag, blob) = (format!("manifests/{}.sig", Registry::new().tag()), digest(text.as_bytes()));
    let answer = tagged(&artefact, &layers);
    let many = Registry::new().serve(move |path| match path {
        path if path == tag => Some(answer.clone()),
        path if path.ends_with(&blob) => Some(Answer::new(200, text.clone())),
        _ => None,
    });
    asking.fails(&many, 2, "64 made with another key or for other content; it has more than are looked at");
    assert!(many.seen().len() < 80, "{} requests", many.seen().len());

    // Pages that lead to each other, and each list many manifests that have no layers, or are lists themselves.
    let entries = |kind: &str| {
        let entry = |number: usize| json!({"mediaType": kind, "artifactType": BUNDLE, "digest": digest(&number.to_le_bytes()), "size": 9});
        json!({"schemaVersion": 2, "manifests": (0..2000).map(entry).collect::<Vec<_>>()}).to_string()
    };
    for (kind, most) in [(MANIFEST, 80), (INDEX, 12)] {
        let page = listing(entries(kind)).with("link", "</v2/a/referrers/next>; rel=\"next\"");
        let round = Registry::new().serve(move |path| path.starts_with("referrers/").then(|| page.clone()));
        asking.fails(&round, 2, "is not signed");
        assert!(round.seen().len() < most, "{} requests", round.seen().len());
    }
}

#[test]
fn a_bundle_is_found_on_a_later_page_of_the_list_behind_other_artefacts() {
    let asking = Asking::new();
    let artefact = Registry::new().artefact;
    let bundle = asking.key.bundle(&artefact, SIGN).to_string();
    let of_bundle = manifest(&artefact, &[descriptor(BUNDLE, bundle.as_bytes())]).to_string();
    // Some clients list the media type of the configuration in place of the artefact's type.
    for kind in [BUNDLE, "application/vnd.oci.empty.v1+json", ""] {
        let (of_bundle, bundle) = (of_bundle.clone(), bundle.clone());
        let kind = kind.to_owned();
        let stub = Registry::new().serve(move |path| {
            let others: Vec<_> = (0..100).map(|number| number.to_string()).collect();
            if path.starts_with("referrers/sha256:") && path.ends_with("?page=2") {
                return Some(listing(index(std::slice::from_ref(&of_bundle), &kind)));
            }
            if path.starts_with("referrers/") {
                let next = format!("</v2/a/{path}?page=2>; rel=\"next\"");
                return Some(listing(index(&others, "application/spdx+json")).with("link", next));
            }
            let found = [&of_bundle, &bundle].into_iter().find(|it| path.ends_with(&digest(it.as_bytes())));
            found.map(|content| Answer::new(200, content.clone()))
        });
        asking.inspect(&stub).succeeds();
    }
}

#[test]
fn a_signature_is_found_among_more_attestations_than_are_looked_at() {
    let asking = Asking::new();
    let artefact = Registry::new().artefact;
    let bundle = asking.key.bundle(&artefact, SIGN).to_string();
    let of_bundle = manifest(&artefact, &[descriptor(BUNDLE, bundle.as_bytes())]).to_string();
    for (is_annotated, is_found) in [(true, true), (false, false)] {
        let others = (0..200).map(|number| number.to_string());
        let all: Vec<_> = others.chain([of_bundle.clone()]).collect();
        let mut list: Value = serde_json::from_str(&index(&all, BUNDLE)).expect("JSON");
        if is_annotated {
            list["manifests"][200]["annotations"] = json!({"dev.sigstore.bundle.predicateType": SIGN});
        }
        let (of_bundle, bundle) = (of_bundle.clone(), bundle.clone());
        let stub = Registry::new().serve(move |path| {
            if path.starts_with("referrers/") {
                return Some(listing(list.to_string()));
            }
            let found = [&of_bundle, &bundle].into_iter().find(|it| path.ends_with(&digest(it.as_bytes())));
            found.map(|content| Answer::new(200, content.clone()))
        });
        if is_found {
            asking.inspect(&stub).succeeds();
        } else {
            asking.fails(&stub, 2, "is not signed; it has more than are looked at");
        }
    }
}

#[test]
fn a_registry_that_is_silent_about_signatures_is_given_up() {
    let asking = Asking::new();
    let silent = Registry::new().serve(|path| path.starts_with("referrers/").then_some(Answer::Never));
    asking.fails(&silent, 3, "no response in time");
}
