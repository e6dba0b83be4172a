//! Objects on the standard input of commands, and the keys of objects on both streams.

use super::{ended, said};
use crate::harness::{Command, Stub, World, event, guest};
use serde_json::json;

/// S3's notification of objects in the store `in`.
fn announcement(world: &World, keys: &[&str]) -> String {
    let objects: Vec<_> = keys.iter().map(|key| json!({"key": key, "size": 5})).collect();
    event(&world.bucket("in"), &objects).to_string()
}

/// One task of the guest `program` with these arguments, for objects of `in`.
fn program(world: &World, arguments: &str, keys: &[&str]) -> Command {
    super::program(world, arguments, &announcement(world, keys))
}

#[test]
fn a_filter_without_an_sdk_turns_each_announced_object_into_another() {
    let world = World::with_queue(&[]);
    world.write("in/fruit.list", "red apple\ngreen pear\nred cherry\n");
    world.write("in/2026/none.list", "nothing\n");
    world.announce();
    let output = world
        .run("filter")
        .args(["--arg", "red", "--output-object", "output:{dir}/{stem}-red.txt", "--until-empty"])
        .succeeds();
    output.each_ran_once(2);
    assert_eq!(world.read("out/fruit-red.txt"), b"red apple\nred cherry\n");
    assert_eq!(world.read("out/2026/none-red.txt"), b"");
    let summary = output.summary();
    assert_eq!((&summary["bytes_read"], &summary["bytes_written"]), (&json!(40), &json!(21)), "{output}");
}

#[test]
fn the_announced_object_is_standard_input_and_named_in_variables() {
    let world = World::new();
    world.write("in/a/b.txt", "12345");
    let keys = ["a/b.txt"];
    for reading in ["count", "read-without-waiting"] {
        assert_eq!(said(program(&world, reading, &keys)), "5", "{reading}");
    }
    assert_eq!(said(program(&world, "read-all-at-once", &keys)), "Ok(5)");
    for (name, value) in [("STORE", "input"), ("KEY", "a/b.txt"), ("CHANGE", "created"), ("SIZE", "5")] {
        assert_eq!(said(program(&world, &format!("say WASMRUN_OBJECT_{name}"), &keys)), value);
    }
    // The event itself, for a program that wants it.
    let event = announcement(&world, &keys);
    assert_eq!(said(program(&world, "count", &keys).arg("--raw-body")), event.len().to_string());
}

#[test]
fn another_object_can_be_standard_input() {
    let world = World::new();
    world.write("in/a/b.jpg", "picture");
    world.write("in/a/b.json", "{}");
    let command = program(&world, "count", &["a/b.jpg"]).args(["--input-object", "input:{dir}/{stem}.json"]);
    assert_eq!(said(command), "2");
    let fixed = || world.invoke("program", "x").args(["--arg", "count"]);
    assert_eq!(said(fixed().args(["--input-object", "input:a/b.json"])), "2");
    let reason = said(fixed().args(["--input-object", "input:{stem}.json"]));
    assert!(reason.contains("the message announces none"), "{reason}");
}

#[test]
fn a_message_whose_object_cannot_be_read_is_rejected_with_the_reason() {
    let world = World::new();
    world.write("in/a", "1");
    let reason = said(program(&world, "count", &["gone"]));
    assert_eq!(reason, "standard input: there is no such object (\"gone\" in the store input)");
    let reason = said(program(&world, "count", &["a", "a"]));
    assert!(reason.starts_with("the message announces 2 objects"), "{reason}");
    // Nothing was started, and nothing is written.
    let output = program(&world, "write 10", &["gone"]).args(["--output-object", "output:{key}"]).ends();
    assert_eq!(output.json()["outcome"], "rejected");
    assert_eq!(world.keys("out"), [""; 0]);
}

#[test]
fn no_key_of_a_message_leads_out_of_a_store() {
    let world = World::new();
    world.write("secret", "SECRET");
    world.write("in/a", "1");
    for id in ["../secret", "x/../../secret", "..", "/", "a/..", "", &"x".repeat(2000)] {
        let command = world.invoke("program", "x").args(["--arg", "write", "--arg", "1", "--message-id", id]);
        let (outcome, reason) = ended(command.args(["--output-object", "output:{id}"]));
        assert_eq!(outcome, "rejected", "{id:?}: {reason}");
        let command = world.invoke("program", "x").args(["--arg", "count", "--message-id", id]);
        let (outcome, reason) = ended(command.args(["--input-object", "input:{id}"]));
        assert!(outcome == "rejected" && reason != "6", "{id:?}: {reason}");
    }
    assert_eq!(world.read("secret"), b"SECRET");
    assert_eq!(world.keys("out"), [""; 0]);
}

#[test]
fn what_is_read_from_the_input_counts_against_the_limits_of_the_task() {
    let world = World::new();
    world.write("in/large", vec![b'x'; 2 << 20]);
    let read = |limit: [&str; 2]| ended(program(&world, "count", &["large"]).args(limit));
    assert_eq!(read(["--read-size", "2MiB"]), ("rejected".into(), (2 << 20).to_string()));
    assert_eq!(read(["--read-size", "1MiB"]), ("limit-exceeded".into(), "read-size".into()));
    assert_eq!(read(["--store-calls", "3"]), ("limit-exceeded".into(), "store-calls".into()));
    // An input that is never read costs its opening alone.
    let report = program(&world, "ok", &["large"]).succeeds().json();
    assert_eq!(report["usage"]["stores"]["input"], json!({"calls": 1, "bytes_read": 0, "bytes_written": 0}));
}

/// Many programs take an error for the end of their input, and would complete with a part of it.
#[test]
fn an_input_that_breaks_off_is_never_taken_for_the_whole() {
    let world = World::new();
    let stub = Stub::breaking_off();
    let command = world
        .wasmrun(["invoke", "--json", "--message", "x", "--arg", "cat", "--input-object", "input:large"])
        .arg(guest("program"))
        .args(["--store", "input=s3://bucket/from:ro", "--store", "output=dir:out:wo"])
        .args(["--output-object", "output:result", "--timeout", "20s"]);
    let report = stub.environment(command).ends().exited_with(1).json();
    assert_eq!(report["outcome"], "host-failed", "{report}");
    assert!(report["usage"]["bytes_read"].as_u64() > Some(0), "{report}");
    assert_eq!(world.keys("out"), [""; 0]);
}
