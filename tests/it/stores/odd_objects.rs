//! Objects with unusual headers, versions and keys. The writers of objects choose these, and must not be able to stop a
//! worker with them.

use crate::harness::{Amazon, Answer, Command, Depth, Request, Stub, World, event, guest};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

/// "Zoë" in ISO 8859-1, as old clients send it.
const LATIN: &[u8] = b"Zo\xeb";

/// Puts an object with a header of arbitrary bytes, which no current client would send.
fn put_with(amazon: &Amazon, path: &str, name: &str, value: &[u8]) {
    let mut connection = TcpStream::connect(amazon.address()).expect("a connection");
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 5\r\n{name}: ",
        amazon.address()
    );
    connection.write_all(&[head.as_bytes(), value, b"\r\n\r\nhello"].concat()).expect("sent");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

/// A worker on a local queue that allows a single receive, with stores in two buckets.
fn worker(world: &World) -> Command {
    let command = world.wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty"]).logging_tasks();
    command.misbehaving("s3://bucket-in/from:ro", "s3://bucket-out/to:rw")
}

#[test]
fn an_object_with_metadata_that_is_no_text_is_read_like_any_other() {
    for server in [Amazon::start, Amazon::moto] {
        let Some(amazon) = server() else { return };
        amazon.create_buckets();
        put_with(&amazon, "/bucket-in/from/latin", "x-amz-meta-author", LATIN);
        put_with(&amazon, "/bucket-in/from/utf-8", "x-amz-meta-author", "Zoë".as_bytes());
        put_with(&amazon, "/bucket-in/from/word", "x-amz-meta-author", b"=?UTF-8?Q?Zo=C3=AB?=");
        let world = World::with_queue(&["--max-receives", "1"]);
        let objects = ["latin", "utf-8", "word"];
        let messages: Vec<_> = objects
            .iter()
            .flat_map(|key| {
                ["get KEY", "head KEY", "range 1 3 KEY", "copy KEY copied-KEY"]
                    .map(|to| to.replace("KEY", key))
            })
            .collect();
        world.send(&messages);
        let output = amazon.environment(worker(&world)).succeeds();
        output.has_outcomes(&json!({"completed": messages.len()}));
        assert_eq!(world.dead(), Depth::EMPTY);
        // The SDK can't read these objects' headers, so only the keys are compared.
        assert_eq!(amazon.keys("bucket-out"), objects.map(|key| format!("to/copied-{key}")));
        let copied = amazon.s3.head_object().bucket("bucket-out").key("to/copied-word").send();
        let metadata = amazon.wait(copied).expect("an object").metadata.expect("metadata");
        assert_eq!(metadata["author"], "=?UTF-8?Q?Zo=C3=AB?=");
    }
}

/// One task of `misbehave` that reads from a bucket and writes to another store.
fn invoke(world: &World, stub: &Stub, message: &str, output: &str) -> Command {
    let command = world.wasmrun(["invoke", "--json", "--message", message]);
    stub.environment(command.misbehaving("s3://bucket-in/from:ro", &format!("{output}:rw")))
}

/// An S3 server that holds the object `from/x` with these headers.
fn holding(headers: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> Stub {
    Stub::answering(move |request| {
        let is_there = request.target.split('?').next() == Some("/bucket-in/from/x");
        match &*request.method {
            "HEAD" if is_there => headers(Answer::new(200, "").with("content-length", 5)),
            "GET" if is_there => headers(Answer::new(200, "hello")),
            "PUT" => Answer::new(200, "").with("etag", "\"put\""),
            _ => Answer::no_such_key(),
        }
    })
}

/// Headers that the SDK parses, and that an object's writer may have chosen or another server may format differently.
#[test]
fn no_header_of_an_object_is_a_failure_of_its_store() {
    let world = World::new();
    let headers: [(&str, &[u8]); 16] = [
        ("last-modified", b"yesterday"),
        ("last-modified", LATIN),
        ("expires", LATIN),
        ("expires", b"never"),
        ("cache-control", LATIN),
        ("content-disposition", LATIN),
        ("content-type", LATIN),
        ("x-amz-storage-class", LATIN),
        ("x-amz-website-redirect-location", LATIN),
        ("x-amz-tagging-count", b"many"),
        ("x-amz-mp-parts-count", b"-"),
        ("x-amz-missing-meta", b"1.5"),
        ("x-amz-delete-marker", b"perhaps"),
        ("x-amz-object-lock-retain-until-date", b"0"),
        ("x-amz-server-side-encryption-bucket-key-enabled", b"2"),
        ("x-amz-meta-", LATIN),
    ];
    for (name, value) in headers {
        let stub = holding(move |answer| answer.with("etag", "\"abc\"").with_bytes(name, value));
        for message in ["head x", "get x"] {
            let output = invoke(&world, &stub, message, "dir:out").ends();
            assert_eq!(output.json()["outcome"], "completed", "{name}: {message}: {output}");
        }
    }
}

#[test]
fn what_is_left_out_of_an_object_is_in_the_log() {
    let world = World::new();
    let stub = holding(|answer| answer.with("etag", "\"abc\"").with_bytes("x-amz-meta-author", LATIN));
    let output = invoke(&world, &stub, "head x", "dir:out").succeeds();
    let notes = output.logs_of("left out unreadable object headers");
    assert_eq!(notes[0]["headers"], "x-amz-meta-author", "{output}");
    assert!(notes[0]["object"].as_str().expect("text").ends_with("/bucket-in/from/x"), "{output}");
}

/// Copies through this process, and within S3 if an object is too large for a single copy.
#[test]
fn metadata_beyond_ascii_goes_with_a_copy() {
    let world = World::new();
    let has = |answer: Answer| {
        let answer = answer.with("etag", "\"abc\"").with("x-amz-meta-author", "=?UTF-8?Q?Zo=C3=AB?=");
        answer.with("x-amz-meta-town", "Köln").with("x-amz-meta-plain", "text")
    };
    let is_whole = |request: &Request| {
        let town = request.header("x-amz-meta-town");
        (request.header("x-amz-meta-author"), request.header("x-amz-meta-plain"))
            == ("=?UTF-8?B?Wm/Dqw==?=", "text")
            && town == "=?UTF-8?B?S8O2bG4=?="
    };
    // From S3 to a directory and back, by the host and by a guest.
    for how in ["copy", "put-like"] {
        let stub = holding(has);
        invoke(&world, &stub, &format!("{how} x y"), "dir:out").succeeds();
        let back = world.wasmrun(["invoke", "--json", "--message", &format!("{how} y z")]);
        stub.environment(back.misbehaving("dir:out:ro", "s3://bucket-out/to:rw")).succeeds();
        let put = stub.seen().into_iter().find(|request| request.method == "PUT").expect("a write");
        assert!(is_whole(&put), "{how}: {put:?}");
    }
    // Uploads in parts.
    let stub = Stub::answering(move |request| match &*request.method {
        "HEAD" => has(Answer::new(200, "").with("content-length", (5_u64 << 30) + 1)),
        "POST" if request.target.contains("uploads") => Answer::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>",
        ),
        "POST" => Answer::new(
            200,
            "<CompleteMultipartUploadResult><ETag>\"done\"</ETag></CompleteMultipartUploadResult>",
        ),
        "PUT" => Answer::new(200, "<CopyPartResult><ETag>\"part\"</ETag></CopyPartResult>"),
        _ => Answer::no_such_key(),
    });
    let copy = invoke(&world, &stub, "copy x y", "s3://bucket-out/to");
    copy.args(["--read-size", "8GiB", "--write-size", "8GiB"]).succeeds();
    let begun =
        stub.seen().into_iter().find(|request| request.target.contains("uploads")).expect("an upload");
    assert!(is_whole(&begun), "{begun:?}");
}

fn announcement(key: &str, version: Option<&str>) -> String {
    event("bucket-in", &[json!({"key": key, "versionId": version})]).to_string()
}

#[test]
fn a_server_that_ignores_versions_hands_over_nothing_in_their_place() {
    let world = World::new();
    let versions = [(Some("v-1"), true), (Some("v-2"), false), (Some("null"), false), (None, false)];
    for (answered, is_right) in versions {
        let stub = holding(move |answer| {
            let answer = answer.with("etag", "\"abc\"");
            answered.map_or(answer.clone(), |version| answer.with("x-amz-version-id", version))
        });
        let announced = announcement("from/x", Some("v-1"));
        let output = invoke(&world, &stub, &announced, "dir:out").ends();
        let report: Value = output.json();
        if is_right {
            assert_eq!(report["outcome"], "completed", "{answered:?}: {output}");
        } else {
            assert_eq!(report["outcome"], "host-failed", "{answered:?}: {output}");
            assert!(report["reason"].as_str().expect("text").contains("\"v-1\" was asked for"), "{output}");
        }
        let component = std::fs::read(guest("empty")).expect("a component");
        let stub = Stub::answering(move |_| {
            let answer = Answer::new(200, component.clone()).with("etag", "\"abc\"");
            answered.map_or(answer.clone(), |version| answer.with("x-amz-version-id", version))
        });
        let run = stub.environment(world.wasmrun([
            "invoke",
            "s3://components/x.wasm?version=v-1",
            "--message",
            "x",
        ]));
        if is_right {
            run.succeeds();
        } else {
            run.fails_with(3, "version \"v-1\" was asked for");
        }
    }
}

/// Keys that are valid in S3 and don't lead out of a prefix, however they are normalized.
const ODD_KEYS: [&str; 6] = ["/lead", "//two", "./dot", "a/./b", "a//b", "end/"];

#[test]
fn odd_keys_of_s3_are_asked_for_as_they_are() {
    let world = World::new();
    for key in ODD_KEYS {
        let stub = Stub::answering(|request| match &*request.method {
            "HEAD" => Answer::new(200, "").with("content-length", 5).with("etag", "\"abc\""),
            "GET" if request.is_probe() => Answer::no_such_key(),
            "GET" => Answer::new(200, "hello").with("etag", "\"abc\""),
            "PUT" if !request.header("x-amz-copy-source").is_empty() => {
                Answer::new(200, "<CopyObjectResult><ETag>\"copy\"</ETag></CopyObjectResult>")
            }
            "PUT" => Answer::new(200, "").with("etag", "\"put\""),
            _ => Answer::new(204, ""),
        });
        let asked = |message: &str| {
            let before = stub.seen().len();
            let output = invoke(&world, &stub, message, "s3://bucket-out/to").ends();
            assert_eq!(output.json()["outcome"], "completed", "{message}: {output}");
            let seen = stub.seen().into_iter().skip(before);
            let mut seen: Vec<_> = seen.filter(|request| !request.is_probe()).collect();
            seen.pop().expect("a request")
        };
        let path = |request: &Request| request.target.split('?').next().unwrap_or_default().to_owned();
        let (from, to) = (format!("/bucket-in/from/{key}"), format!("/bucket-out/to/{key}"));
        assert_eq!(path(&asked(&format!("get {key}"))), from);
        assert_eq!(path(&asked(&format!("head {key}"))), from);
        assert_eq!(path(&asked(&format!("put {key} text"))), to);
        assert_eq!(path(&asked(&format!("delete {key}"))), to);
        let copied = asked(&format!("copy {key} {key}"));
        assert_eq!((path(&copied), copied.header("x-amz-copy-source")), (to, &from[1..]));
        // A message announces the key, and the output has the same key.
        assert_eq!(
            path(&asked(&announcement(&format!("from/{key}"), None))),
            format!("/bucket-out/to/{key}")
        );
    }
}

/// A server that checks signatures would refuse a path that was normalized on the way.
#[test]
fn objects_of_odd_keys_are_read_and_written_on_a_server() {
    let Some(amazon) = Amazon::start() else { return };
    amazon.create_buckets();
    for key in ODD_KEYS {
        amazon.put("bucket-in", &format!("from/{key}"), "hello");
    }
    let world = World::with_queue(&["--max-receives", "1"]);
    let messages = ODD_KEYS.map(|key| announcement(&format!("from/{key}"), None));
    world.send(&messages);
    let output = amazon.environment(worker(&world)).succeeds();
    output.has_outcomes(&json!({"completed": messages.len()}));
    let mut keys = ODD_KEYS.map(|key| format!("to/{key}"));
    keys.sort();
    assert_eq!(amazon.keys("bucket-out"), keys, "{output}");
    let listed = |prefix: &str| {
        let command = world.wasmrun(["invoke", "--json", "--message", &format!("list {prefix}")]);
        let command = command.misbehaving("s3://bucket-in/from:ro", "dir:out:rw");
        let output = amazon.environment(command).succeeds();
        output.logs_of("Guest")[0]["text"].as_str().expect("text").to_owned()
    };
    assert_eq!(listed("/"), "listed 2: //two /lead");
    assert_eq!(listed("."), "listed 1: ./dot");
    assert_eq!(listed("a/"), "listed 2: a/./b a//b");
}

#[test]
fn a_key_that_could_lead_out_is_called_what_it_is() {
    let world = World::new();
    let stub = holding(|answer| answer.with("etag", "\"abc\""));
    for (key, why) in [
        ("from/../x", "`..` segment"),
        ("from/a/../../x", "`..` segment"),
        ("from/./", "nothing but slashes"),
    ] {
        let output = invoke(&world, &stub, &announcement(key, None), "dir:out").ends().exited_with(1);
        assert_eq!(output.json()["outcome"], "rejected", "{output}");
        let reason = output.json()["reason"].as_str().expect("text").to_owned();
        assert!(reason.contains(why), "{key}: {reason}");
    }
    for (message, reason) in
        [("get ../x", "access-denied"), ("get .", "nothing but slashes"), ("get a/..", "access-denied")]
    {
        let output = invoke(&world, &stub, message, "dir:out").ends().exited_with(1);
        assert!(output.json()["reason"].as_str().expect("text").contains(reason), "{message}: {output}");
    }
    assert!(!stub.seen().iter().any(|request| request.target.contains("..")), "nothing is asked for");
}

#[test]
fn a_directory_says_which_keys_it_cannot_hold() {
    let world = World::new();
    for (key, why) in [("/a", "slash"), ("a//b", "slash"), ("./a", "`.`"), ("a/./b", "`.`"), ("a/", "slash")]
    {
        for message in [format!("get {key}"), format!("put {key} x")] {
            let (outcome, reason) = world.outcome(&message);
            assert_eq!(outcome, "rejected", "{message}: {reason}");
            assert!(
                reason.contains("cannot be used in a directory") && reason.contains(why),
                "{message}: {reason}"
            );
        }
    }
}

#[test]
fn a_page_of_no_objects_has_none() {
    let world = World::new();
    world.write("in/a", "hello");
    let stub = Stub::answering(|request| match request.target.contains("list-type=2") {
        true => {
            Answer::new(200, "<ListBucketResult><Contents><Key>from/a</Key></Contents></ListBucketResult>")
        }
        false => Answer::no_such_key(),
    });
    for message in ["list-none ", "list-none a", "list-none /"] {
        assert_eq!(world.outcome(message).0, "completed", "{message}");
        let output = invoke(&world, &stub, message, "dir:out").ends();
        assert_eq!(output.json()["outcome"], "completed", "{message}: {output}");
    }
    // A prefix of a leading slash is a prefix like any other.
    assert_eq!(world.outcome("list /").0, "completed");
    let output = invoke(&world, &stub, "list /", "dir:out").ends();
    assert_eq!(output.json()["outcome"], "completed", "{output}");
}
