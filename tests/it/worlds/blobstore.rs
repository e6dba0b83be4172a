//! Components that read and write objects through `wasi:blobstore`.

use super::{drafts, said};
use crate::harness::{Stub, World, guest};
use serde_json::json;
use std::fs;

const DENIED: &str = "access denied: no grant of a container allows this, or the store refuses it";

#[test]
fn an_object_is_streamed_into_another_and_counted_like_any() {
    let world = World::new();
    let text = "red apple\n".repeat(100_000);
    world.write("in/fruit", &text);
    let report = drafts(&world, "upper input fruit output FRUIT").succeeds().json();
    assert_eq!(world.read("out/FRUIT"), text.to_uppercase().as_bytes());
    let stores = &report["usage"]["stores"];
    assert_eq!(stores["input"]["bytes_read"], 1_000_000, "{report}");
    assert_eq!(stores["output"]["bytes_written"], 1_000_000, "{report}");
}

#[test]
fn a_content_is_read_in_whole_in_part_and_as_a_stream() {
    let world = World::new();
    world.write("in/text", "0123456789");
    world.write("in/empty", "");
    for (message, says) in [
        ("get-all input text", "10 0123456789"),
        ("get input text 0 0", "1 0"),
        ("get input text 3 5", "3 345"),
        ("get input text 8 1000", "2 89"),
        ("get input text 10 20", "0 "),
        ("get input text 0 18446744073709551615", "10 0123456789"),
        ("get input text 5 4", "the range ends before it starts"),
        ("get-all input empty", "0 "),
        ("get input empty 0 0", "0 "),
        ("count input text", "10"),
        ("count input empty", "0"),
        ("get-all input gone", "there is no such object"),
    ] {
        assert_eq!(said(drafts(&world, message)), says, "{message}");
    }
    world.write("in/large", vec![b'x'; 2 << 20]);
    let small = ["--memory", "16MiB", "--object-size", "1MiB"];
    let reason = said(drafts(&world, "get-all input large").args(small));
    assert!(reason.ends_with("read it as a stream"), "{reason}");
    assert_eq!(said(drafts(&world, "count input large").args(small)), (2 << 20).to_string());
}

#[test]
fn a_content_is_an_object_once_it_is_finished_and_not_before() {
    let world = World::new();
    for (message, bytes) in [
        ("put output a 0", 0),
        ("put output a 1", 1),
        ("put output a 3000000", 3_000_000),
        ("put-first output a 5000", 5000),
        ("put-first output a 250000", 250_000),
        ("write-without-waiting output a 1000000", 1_000_000),
    ] {
        assert_eq!(said(drafts(&world, message)), "done", "{message}");
        assert_eq!(world.read("out/a").len(), bytes, "{message}");
        fs::remove_file(world.path("out/a")).expect("removed");
    }
    let reason = said(drafts(&world, "put-first output a 300000"));
    assert!(reason.contains("wait for write-data"), "{reason}");
    assert_eq!(
        said(drafts(&world, "finish-nowhere")),
        "nothing is written: write-data did not name an object"
    );
    assert_eq!(said(drafts(&world, "body-twice")), "true");
    assert_eq!(said(drafts(&world, "write-twice output a")), "the value is written to an object already");
    drafts(&world, "put-unfinished output a 3000000").succeeds();
    for (message, outcome) in [
        ("finish-with-stream output a", "trapped"),
        ("drop-with-stream output a", "trapped"),
        ("write-too-much output a", "trapped"),
    ] {
        assert_eq!(drafts(&world, message).ends().outcome().0, outcome, "{message}");
    }
    let waits = drafts(&world, "put-unfinished-and-wait output a 3000000").args(["--timeout", "1s"]);
    assert_eq!(waits.ends().outcome().0, "timed-out");
    assert_eq!(world.keys("out"), [""; 0]);
    let parts = fs::read_dir(world.path("out/.wasmrun/tmp")).map(Iterator::count).unwrap_or_default();
    assert_eq!(parts, 0);
}

#[test]
fn each_call_needs_the_grant_and_its_mode() {
    let world = World::new();
    world.write("in/text", "secret");
    world.write("out/text", "x");
    for message in [
        "get-all elsewhere text",
        "get-all dir:in text",
        "put elsewhere a 1",
        "put input a 1",
        "delete input text",
        "list elsewhere",
        "copy-object input text elsewhere a",
        "copy-object elsewhere a output a",
        "copy-object output text input a",
        "move-object input text input other",
        "long-name 100000",
        "get-all input ../out/text",
    ] {
        let report = drafts(&world, message).ends().json();
        assert_eq!(report["reason"], DENIED, "{message}: {report}");
        assert_eq!(report["usage"]["refusals"], 1, "{message}: {report}");
    }
    for (message, says) in
        [("exists input", "Ok(true)"), ("exists elsewhere", "Ok(false)"), ("get-all output text", "1 x")]
    {
        assert_eq!(said(drafts(&world, message)), says);
    }
    let write_only = world
        .wasmrun(["invoke", "--json", "--message", "get-all output text"])
        .arg(guest("drafts"))
        .args(["--store", "output=dir:out:wo"]);
    assert_eq!(said(write_only), DENIED);
    assert_eq!(world.keys("in"), ["text"]);
    assert_eq!(world.keys("out"), ["text"]);
}

#[test]
fn objects_are_listed_named_copied_moved_and_deleted() {
    let world = World::new();
    for key in ["a", "b", "c", "d"] {
        world.write(&format!("out/{key}"), key);
    }
    world.write("in/in", "from in");
    for (message, says) in [
        ("list output", "a b c d"),
        ("skip output 3", "Ok((3, false))"),
        ("skip output 18446744073709551615", "Ok((4, true))"),
        ("has output a", "Ok(true)"),
        ("has output e", "Ok(false)"),
        ("info output a", "output a 1 true"),
        ("info output e", "there is no such object"),
        ("container output", "output 0"),
        ("copy-object input in output copied", "done"),
        ("move-object output a output moved", "done"),
        ("move-object output b output b", "move-object: source and destination are the same object"),
        ("delete output c", "done"),
        ("delete output gone", "done"),
        ("delete-all output d gone", "done"),
        ("list output", "b copied moved"),
    ] {
        assert_eq!(said(drafts(&world, message)), says, "{message}");
    }
    assert_eq!(world.read("out/copied"), b"from in");
    assert_eq!(world.read("out/moved"), b"a");
}

#[test]
fn what_no_grant_can_say_is_refused_by_name() {
    let world = World::new();
    world.write("out/text", "x");
    for (message, what) in [
        ("create new", "create-container is not offered"),
        ("create output", "create-container is not offered"),
        ("remove output", "delete-container is not offered"),
        ("clear output", "clear is not offered"),
        ("move-object output text input text", "move-object between containers is not offered"),
    ] {
        let reason = said(drafts(&world, message));
        assert!(reason.starts_with(what), "{message}: {reason}");
    }
    assert_eq!(world.keys("out"), ["text"]);
}

#[test]
fn what_is_read_and_written_counts_against_the_limits_of_the_task() {
    let world = World::new();
    world.write("in/large", vec![b'x'; 2 << 20]);
    let ended = |message: &str, limit: [&str; 2]| drafts(&world, message).args(limit).ends().outcome();
    let limit = |name: &str| ("limit-exceeded".to_owned(), name.to_owned());
    assert_eq!(ended("count input large", ["--read-size", "1MiB"]), limit("read-size"));
    assert_eq!(ended("get-all input large", ["--read-size", "1MiB"]), limit("read-size"));
    assert_eq!(ended("put output a 2000000", ["--write-size", "1MiB"]), limit("write-size"));
    assert_eq!(ended("count input large", ["--store-calls", "3"]), limit("store-calls"));
    // A read that the guest doesn't wait for is a call as well.
    assert_eq!(ended("abandon-on input large", ["--store-calls", "100"]), limit("store-calls"));
    assert_eq!(ended("list-on output", ["--store-calls", "100"]), limit("store-calls"));
    for message in
        ["values-on", "streams-on input large", "containers-on output", "messages-on", "metadata-on"]
    {
        assert_eq!(ended(message, ["--handles", "32"]), limit("handles"), "{message}");
    }
    assert_eq!(world.keys("out"), [""; 0]);
}

/// Unlike a program on its standard input, the guest is told; it fails, and the store's outage isn't held against it.
#[test]
fn a_content_that_breaks_off_is_an_error_of_its_stream() {
    let world = World::new();
    let stub = Stub::breaking_off();
    let command = world
        .wasmrun(["invoke", "--json", "--message", "upper input large output result"])
        .arg(guest("drafts"))
        .args(["--store", "input=s3://bucket/from:ro", "--store", "output=dir:out:wo", "--timeout", "20s"]);
    let report = stub.environment(command).ends().exited_with(1).json();
    assert_eq!(report["outcome"], "host-failed", "{report}");
    assert!(report["usage"]["bytes_read"].as_u64() > Some(0), "{report}");
    assert_eq!(world.keys("out"), [""; 0]);
}

#[test]
fn without_a_store_the_interfaces_are_there_and_each_call_is_refused() {
    let world = World::new();
    let command = world.wasmrun(["invoke", "--json", "--message", "get-all output a"]).arg(guest("drafts"));
    let output = command.ends();
    assert_eq!(output.outcome(), ("retry".into(), DENIED.into()));
    let noted = output.logs_of("an imported interface has no grant, and its calls are refused");
    let flags: Vec<_> = noted.iter().map(|note| note["flag"].clone()).collect();
    assert_eq!(flags, [json!("--store ALIAS=URL:MODE"), json!("--send ALIAS=URL")], "{output}");
    let interfaces = noted[0]["interfaces"].as_str().expect("names");
    assert!(interfaces.contains("wasi:blobstore/container@"), "{output}");
}
