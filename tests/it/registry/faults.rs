//! Registries that misbehave: each fault is one sentence, in bounded time, and nothing of it is run.

use super::signing::digest;
use super::{helper, with_helper};
use crate::harness::{Answer, Command, Output, Raw, Request, Stub, World, guest};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MANIFEST: &str = "/v2/a/manifests/1";
const BLOB: &str = "/v2/a/blobs/";

fn component() -> Vec<u8> {
    std::fs::read(guest("empty")).expect("a component")
}

fn manifest_of(component: &[u8], size: u64) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"{0}","size":1}},"layers":[{{"mediaType":"application/wasm","digest":"{0}","size":{size}}}]}}"#,
        digest(component)
    )
}

fn is_blob(request: &Request) -> bool {
    request.target.starts_with(BLOB)
}

/// The answers of a registry that has the artefact `a:1`.
fn right(request: &Request) -> Answer {
    let component = component();
    let manifest = manifest_of(&component, component.len() as u64);
    match &*request.target {
        MANIFEST => {
            Answer::new(200, manifest.clone()).with("docker-content-digest", digest(manifest.as_bytes()))
        }
        target if target.starts_with(BLOB) => Answer::new(200, component),
        _ => Answer::new(404, ""),
    }
}

/// A registry that answers for the manifest as `manifest` says, and for the rest as it should.
fn manifest(manifest: impl Fn() -> Answer + Send + Sync + 'static) -> Stub {
    Stub::answering(move |request| if request.target == MANIFEST { manifest() } else { right(request) })
}

/// A registry that answers for the component as `blob` says, and for the rest as it should.
fn blob(blob: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Stub {
    Stub::answering(move |request| if is_blob(request) { blob(request) } else { right(request) })
}

/// A registry that asks for a token of its realm.
fn with_realm(token: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Stub {
    Stub::answering(move |request| match request.target.starts_with("/token") {
        true => token(request),
        false => match request.header("authorization") {
            "Bearer abc" => right(request),
            _ => challenge(&format!("http://{}/token", request.header("host"))),
        },
    })
}

fn challenge(realm: &str) -> Answer {
    let value = format!("Bearer realm=\"{realm}\",service=\"test\"");
    Answer::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}"#)
        .with("www-authenticate", value)
}

fn inspect(world: &World, endpoint: &str) -> Command {
    let host = endpoint.trim_start_matches("http://");
    world.wasmrun(["inspect", &format!("oci://{host}/a:1"), "--cache", "off"])
}

#[track_caller]
fn fails(world: &World, stub: &Stub, code: i32, said: &str) -> Output {
    inspect(world, &stub.endpoint()).fails_with(code, said)
}

#[test]
fn a_registry_that_stops_is_given_up() {
    let world = World::new();
    let silent = manifest(|| Answer::Never);
    let realm = with_realm(|_| Answer::Never);
    let stalling = Raw::serving(|first, client| {
        let component = component();
        let content = if first.contains(MANIFEST) {
            manifest_of(&component, component.len() as u64).into_bytes()
        } else {
            component
        };
        let _ = write!(client, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", content.len());
        let sent = if first.contains(MANIFEST) { content.len() } else { content.len() / 2 };
        let _ = client.write_all(&content[..sent]);
        // Until the client gives up.
        let _ = std::io::Read::read(client, &mut [0]);
    });
    let stalling = stalling.endpoint();
    let asking = with_realm(|_| Answer::new(200, ""));
    let helped = World::new();
    helped.write(".docker/config.json", r#"{"credsStore": "test"}"#);
    helper(&helped, "exec sleep 600");
    // All at once, as each takes some seconds.
    let running = [
        (inspect(&world, &silent.endpoint()).start(), "no response in time"),
        (inspect(&world, &realm.endpoint()).start(), "no response in time"),
        (inspect(&world, &stalling).start(), "the response stopped"),
        (
            with_helper(&helped, inspect(&helped, &asking.endpoint())).start(),
            "docker-credential-test fails for",
        ),
    ];
    for (process, said) in running {
        process.finish().failed_with(3, said);
    }
}

#[test]
fn content_that_is_not_what_was_announced_is_not_taken() {
    let world = World::new();
    let size = component().len();
    let damaged = blob(|_| {
        let mut content = component();
        content[100] ^= 1;
        Answer::new(200, content)
    });
    fails(&world, &damaged, 3, "sends the component with the digest sha256:");
    let short = blob(|_| Answer::new(200, &component()[1..]));
    fails(&world, &short, 3, &format!("sends {} bytes instead of the {size}", size - 1));
    let cut = blob(move |_| Answer::new(200, &component()[..1000]).with("content-length", size));
    fails(&world, &cut, 3, &format!("only 1000 of the {size} bytes of the component"));
    let missing = blob(|_| Answer::new(404, r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"gone"}]}"#));
    fails(&world, &missing, 3, "404 (BLOB_UNKNOWN gone)");
    let huge = manifest(|| Answer::new(200, manifest_of(&component(), 1 << 40)));
    fails(&world, &huge, 2, "it has 1099511627776 bytes, and 134217728 bytes are allowed");
    assert!(!huge.seen().iter().any(is_blob), "nothing of it is read");
    let endless = Raw::serving(|first, client| {
        let component = component();
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        if first.contains(MANIFEST) {
            let _ = client.write_all(manifest_of(&component, component.len() as u64).as_bytes());
        } else {
            while client.write_all(&component).is_ok() {}
        }
    });
    let endless = inspect(&world, &endless.endpoint());
    endless.fails_with(3, &format!("sends more than the {size} bytes"));
    let pinned = Stub::answering(|request| {
        if is_blob(request) { right(request) } else { Answer::new(200, manifest_of(&component(), 1)) }
    });
    let host = pinned.endpoint().replace("http://", "");
    let url = format!("oci://{host}/a@{}", digest(b"another manifest"));
    world.wasmrun(["inspect", &url, "--cache", "off"]).fails_with(3, "sends a manifest with the digest");
}

#[test]
fn a_manifest_that_is_none_or_of_another_thing_is_refused() {
    let world = World::new();
    let whole = || manifest_of(&component(), 1);
    let cut = manifest(move || Answer::new(200, &whole()[..50]).with("content-length", 400));
    fails(&world, &cut, 3, "does not send the whole manifest");
    fails(&world, &manifest(move || Answer::new(200, &whole()[..50])), 2, "its manifest cannot be read");
    let other = manifest(move || Answer::new(200, whole()).with("docker-content-digest", digest(b"x")));
    fails(&world, &other, 3, "sends a manifest with the digest");
    let long = manifest(|| Answer::new(200, vec![b' '; (4 << 20) + 1]));
    fails(&world, &long, 2, "larger than 4194304 bytes");
    let index =
        || r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    fails(&world, &manifest(move || Answer::new(200, index())), 2, "an index of several artefacts");
    let image = manifest_of(&component(), 1)
        .replace("vnd.wasm.config.v0", "vnd.oci.image.config.v1")
        .replace("application/wasm", "application/vnd.oci.image.layer.v1.tar+gzip");
    fails(&world, &manifest(move || Answer::new(200, image.clone())), 2, "a container image");
    let page = manifest(|| Answer::new(200, "<html>log in</html>").with("content-type", "text/html"));
    fails(&world, &page, 2, "its manifest cannot be read");
}

#[test]
fn a_busy_registry_or_realm_is_asked_again_but_not_for_long() {
    let world = World::new();
    let broken = manifest(|| Answer::new(500, r#"{"errors":[{"code":"UNKNOWN","message":"a\u001b[2Jb"}]}"#));
    let output = fails(&world, &broken, 3, "500 (UNKNOWN a");
    assert!(!output.error().contains('\u{1b}'), "{output}");
    assert_eq!(broken.seen().len(), 3);
    let tries = AtomicUsize::new(0);
    let busy = Stub::answering(move |request| match tries.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => Answer::new(503, ""),
        _ => right(request),
    });
    inspect(&world, &busy.endpoint()).succeeds();
    let tries = AtomicUsize::new(0);
    let busy = with_realm(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::new(503, ""),
        _ => Answer::new(200, r#"{"token":"abc"}"#),
    });
    inspect(&world, &busy.endpoint()).succeeds();
    let refusing = manifest(|| Answer::new(418, ""));
    fails(&world, &refusing, 3, "answered 418");
    assert_eq!(refusing.seen().len(), 1);
}

#[test]
fn a_registry_that_always_asks_for_a_token_is_not_asked_for_ever() {
    let world = World::new();
    let greedy = Stub::answering(|request| match request.target.starts_with("/token") {
        true => Answer::new(200, r#"{"token":"abc"}"#),
        false => challenge(&format!("http://{}/token", request.header("host"))),
    });
    fails(&world, &greedy, 3, "access denied");
    assert_eq!(greedy.seen().len(), 3, "the manifest, the token, and the manifest again");
    fails(&world, &manifest(|| Answer::new(401, "")), 3, "without saying how to log in");
    fails(
        &world,
        &manifest(|| challenge("http://elsewhere.test/token")),
        3,
        "without TLS: they are not sent",
    );
    fails(&world, &manifest(|| challenge("file:///etc/passwd")), 3, "names no realm");
    let long = format!("{{\"token\":\"{}\"}}", "x".repeat(1 << 20));
    for (answer, said) in [
        (Answer::new(500, ""), "issues no token: it answered 500"),
        (Answer::new(403, ""), "access denied"),
        (Answer::new(302, "").with("location", "/token"), "issues no token: it answered 302"),
        (Answer::new(200, "{}"), "its answer has none"),
        (Answer::new(200, r#"{"token":"a\nb"}"#), "its answer has none"),
        (Answer::new(200, long), "its answer is too long"),
    ] {
        fails(&world, &with_realm(move |_| answer.clone()), 3, said);
    }
    let right = with_realm(|_| Answer::new(200, r#"{"access_token":"abc"}"#));
    inspect(&world, &right.endpoint()).succeeds();
    let token = &right.seen()[1];
    assert_eq!(token.target, "/token?scope=repository%3Aa%3Apull&service=test");
    assert_eq!(token.header("authorization"), "", "there is no credential");
}

#[test]
fn what_a_realm_answers_is_not_shown_as_it_may_repeat_the_credential() {
    let world = World::new();
    let echo = with_realm(|request| {
        let sent = request.header("authorization");
        Answer::new(400, format!(r#"{{"errors":[{{"code":"E","message":"echo {sent}"}}]}}"#))
    });
    let host = echo.endpoint().trim_start_matches("http://").to_owned();
    world.write(".docker/config.json", format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6c2VjcmV0"}}}}}}"#));
    let output = fails(&world, &echo, 3, "issues no token: it answered 400");
    assert_eq!(echo.seen()[1].header("authorization"), "Basic bWU6c2VjcmV0", "the realm had it");
    assert!(!output.to_string().contains("bWU6c2VjcmV0"), "{output}");
}

#[test]
fn a_redirect_is_followed_without_the_token_and_not_for_ever() {
    let world = World::new();
    let elsewhere = Arc::new(Stub::answering(|_| Answer::new(200, component())));
    let to = elsewhere.endpoint();
    let leading = Stub::answering(move |request| match &*request.target {
        "/token" | "/token?scope=repository%3Aa%3Apull&service=test" => {
            Answer::new(200, r#"{"token":"abc"}"#)
        }
        _ if request.header("authorization") != "Bearer abc" => {
            challenge(&format!("http://{}/token", request.header("host")))
        }
        target if target.starts_with(BLOB) => {
            Answer::new(307, "").with("location", format!("{to}/store?signature=x"))
        }
        _ => right(request),
    });
    inspect(&world, &leading.endpoint()).succeeds();
    let asked = elsewhere.seen();
    assert_eq!((asked.len(), asked[0].target.as_str()), (1, "/store?signature=x"));
    assert_eq!(asked[0].header("authorization"), "");
    let round = blob(|request| Answer::new(302, "").with("location", &request.target));
    fails(&world, &round, 3, "redirects more than 5 times");
    for location in ["", "ftp://elsewhere.test/", "http://me:secret@elsewhere.test/", "http://[", "relative"]
    {
        let away = blob(move |_| Answer::new(302, "").with("location", location));
        fails(&world, &away, 3, "leads to a place that is no URL");
    }
    let denied = blob(|_| Answer::new(403, r#"{"errors":[{"code":"DENIED","message":"no"}]}"#));
    fails(&world, &denied, 3, "403 (DENIED no)");
}

#[test]
fn a_tag_that_changes_while_it_is_pulled_gives_one_artefact_or_the_other() {
    let world = World::new();
    let times = Arc::new(AtomicUsize::new(0));
    let counted = times.clone();
    // Each answer for the tag is another manifest of the same component.
    let changing = Stub::answering(move |request| match request.target.as_str() {
        MANIFEST => {
            let padding = " ".repeat(counted.fetch_add(1, Ordering::SeqCst));
            let size = component().len() as u64;
            Answer::new(200, manifest_of(&component(), size) + &padding)
        }
        _ => right(request),
    });
    for time in 0..2 {
        let output = inspect(&world, &changing.endpoint()).succeeds();
        let size = component().len() as u64;
        let manifest = manifest_of(&component(), size) + &" ".repeat(time);
        let url = changing.endpoint().replace("http://", "oci://");
        assert_eq!(output.stdout[0], format!("component  {url}/a:1@{}", digest(manifest.as_bytes())));
    }
    assert_eq!(times.load(Ordering::SeqCst), 2, "the tag is looked up once at each start");
}
