//! Grants by key: a task reaches its key's part of a store, whatever its guest and its message try.

use crate::harness::{Amazon, Command, Depth, World, event, field, guest, why};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const QUEUE: &str = "sqlite:jobs.db";
/// The stores `input` and `output` of each key.
const STORES: [&str; 2] = ["dir:t/{key}/in:ro", "dir:t/{key}/out:rw"];

/// A world in which each of three keys has objects in its part of the stores.
fn world() -> World {
    let world = World::with_queue(&["--max-receives", "1"]);
    for key in ["acme", "beta", "evil"] {
        world.write(&format!("t/{key}/in/object"), format!("input of {key}"));
        world.write(&format!("t/{key}/out/own"), format!("output of {key}"));
        world.write(&format!("t/{key}/secret"), format!("secret of {key}"));
    }
    world
}

/// A worker with stores by key that runs until the queue is empty.
fn worker(world: &World, source: &str) -> Command {
    world
        .wasmrun(["run", "--queue", QUEUE, "--until-empty", "--usage", "usage.jsonl", "--key", source])
        .logging_tasks()
        .misbehaving(STORES[0], STORES[1])
        .args(["--max-consecutive-failures", "off"])
}

/// One task of a message with this group.
fn invoke(world: &World, key: &str, message: &str) -> Command {
    world
        .wasmrun(["invoke", "--json", "--key", "group", "--group", key, "--message", message])
        .misbehaving(STORES[0], STORES[1])
}

/// A notification that announces an object of the directory `t`.
fn announcement(world: &World, key: &str) -> String {
    event(&world.bucket("t"), &[json!({"key": key, "size": 1})]).to_string()
}

/// All files below a directory with their contents, without the store's own folder.
fn files(world: &World, directory: &str) -> BTreeMap<String, Vec<u8>> {
    fn add(root: &Path, path: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(path).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_symlink() || path.ends_with(".wasmrun") {
                continue;
            }
            if path.is_dir() {
                add(root, &path, files);
            } else {
                let key = path.strip_prefix(root).expect("below").display().to_string();
                files.insert(key, fs::read(&path).expect("a file"));
            }
        }
    }
    let (root, mut found) = (world.path(directory), BTreeMap::new());
    add(&root, &root, &mut found);
    found
}

/// The messages in the dead-letter queue by their bodies, with the reasons.
fn reasons(world: &World) -> Vec<(String, String)> {
    let letters = world.dead_letters();
    let reason = |letter: &Value| (letter["body"].to_string(), field(&why(letter), "reason").to_owned());
    letters.iter().map(reason).collect()
}

#[test]
fn two_keys_use_their_own_parts_of_the_same_stores() {
    let world = world();
    let bodies = ["get object", "list ", "copy object copied", "put new content", "delete own"];
    for key in ["acme", "beta"] {
        world.send_of("--group", key, bodies);
    }
    let output = worker(&world, "group").succeeds();
    output.has_outcomes(&json!({"completed": 10}));
    let found = files(&world, "t");
    for key in ["acme", "beta"] {
        assert_eq!(found[&format!("{key}/out/copied")], format!("input of {key}").as_bytes());
        assert_eq!(found[&format!("{key}/out/new")], b"content");
        assert!(!found.contains_key(&format!("{key}/out/own")), "{found:?}");
    }
    assert_eq!(found["evil/out/own"], b"output of evil");
    let said: Vec<_> = output.logs().iter().map(|line| line["text"].to_string()).collect();
    assert_eq!(said.iter().filter(|text| text.contains("listed 1: object")).count(), 2, "{output}");
}

#[test]
fn no_key_of_an_object_leads_out_of_a_part() {
    let world = world();
    world.write("secret", "secret");
    for store in ["in", "out"] {
        symlink(world.path("secret"), world.path("t/evil").join(store).join("link")).expect("a link");
        symlink(world.path("t/acme"), world.path("t/evil").join(store).join("up")).expect("a link");
    }
    let before = (files(&world, "t"), world.read("secret"));
    // Each key that might lead out of a store, with every operation.
    for secret in ["secret", "t/acme/secret"] {
        let absolute = world.path(secret).display().to_string();
        let (outcome, reason) = invoke(&world, "evil", &format!("keys {absolute}")).ends().outcome();
        assert_eq!(outcome, "completed", "{reason}");
    }
    for key in ["../../acme/in/object", "../secret", "acme/in/object", "/acme/in/object", "object/../../acme"]
    {
        for command in
            ["get @input", "head @input", "get @output", "put @output", "list @output", "delete @output"]
        {
            let message = format!("{command} {key} text");
            let output = invoke(&world, "evil", &message).ends();
            assert!(!output.to_string().contains("of acme"), "{message}: {output}");
        }
    }
    fs::remove_dir_all(world.path("t/evil/out/acme")).expect("what it wrote into its own part");
    assert_eq!((files(&world, "t"), world.read("secret")), before);
}

#[test]
fn an_error_that_a_guest_sees_does_not_name_its_part() {
    let world = world();
    symlink(world.path("t/acme"), world.path("t/evil/in/link")).expect("a link");
    for message in ["get a//b", "get .wasmrun/x", "get link", "get object/below", "put @output own/below x"] {
        let (outcome, reason) = invoke(&world, "evil", message).ends().outcome();
        assert_eq!(outcome, "rejected", "{message}");
        assert!(!reason.contains("evil"), "{message}: {reason}");
    }
}

#[test]
fn a_key_that_could_lead_elsewhere_ends_its_message_without_a_run() {
    let world = world();
    let long = "x".repeat(300);
    let cut = "x".repeat(256);
    let hostile = [
        ".",
        "..",
        "../acme",
        "acme/../beta",
        "/acme",
        "acme/",
        "acme/in",
        "acme\\",
        "..\\acme",
        "%2e%2e",
        "acme%2f..%2fbeta",
        "%61cme",
        "%2561cme",
        "acme+",
        "acme ",
        " acme",
        "acme.",
        ".acme",
        "acme\u{301}",
        "acm\u{e9}",
        "\u{ff41}cme",
        "acme\u{200b}",
        "ACME",
        "Acme",
        "-",
        "acme?x",
        "acme#x",
        "acme&x",
        "acme;x",
        "acme:x",
        "acme~1",
        "acme*",
        "{key}",
        "${key}",
        ".wasmrun",
        "acme\n",
        &long,
        &cut,
    ];
    let before = files(&world, "t");
    for key in hostile {
        world.send_of("--attribute", key, ["put @output planted x"]);
    }
    // A message without a key has no part.
    world.send(["put @output planted x"]);
    let output = worker(&world, "attribute:tenant").succeeds();
    output.has_outcomes(&json!({"rejected": hostile.len() + 1}));
    assert_eq!(files(&world, "t"), before);
    let reasons = reasons(&world);
    assert_eq!(reasons.len(), hostile.len() + 1);
    assert!(reasons.iter().all(|(_, reason)| reason.contains("unusable key: ")), "{reasons:?}");
    let usage = world.usage();
    assert!(usage.iter().all(|record| record["fuel"] == 0), "{usage:?}");
}

#[test]
fn another_keys_object_is_not_granted_and_stops_nobody() {
    let world = world();
    // Before any task has completed, a missing grant could be the operator's mistake.
    for object in ["acme/in/object", "beta/in/object", "acme/secret", "evil/in/../../acme/in/object"] {
        world.send_of("--group", "evil", [announcement(&world, object)]);
    }
    world.send_of("--group", "acme", [announcement(&world, "acme/in/object")]);
    let output = worker(&world, "group").succeeds();
    output.has_outcomes(&json!({"completed": 1, "rejected": 4}));
    assert_eq!(files(&world, "t/evil/out").len(), 1);
    assert!(files(&world, "t/acme/out").contains_key("object"), "{output}");
    let reasons = reasons(&world);
    assert!(
        reasons.iter().all(|(_, reason)| reason.contains("no grant") || reason.contains("`..`")),
        "{reasons:?}"
    );
}

#[test]
fn a_key_of_the_objects_place_follows_the_object() {
    let world = world();
    for key in ["acme", "beta"] {
        // What the sender says of itself doesn't count.
        world.send_of("--group", "evil", [announcement(&world, &format!("{key}/in/object"))]);
    }
    // S3 sends this event when notifications are set up.
    world.send([r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"bucket"}"#]);
    let output = worker(&world, "object-prefix:1").succeeds();
    output.has_outcomes(&json!({"completed": 3}));
    for key in ["acme", "beta"] {
        assert!(files(&world, &format!("t/{key}/out")).contains_key("object"), "{output}");
    }
    assert_eq!(files(&world, "t/evil/out").len(), 1);
}

#[test]
fn a_dead_letter_is_run_again_with_the_grants_of_its_key() {
    let world = world();
    world.send_of("--group", "acme", ["get missing"]);
    worker(&world, "group").succeeds();
    let dead = world.dead_letters();
    let id = dead[0]["id"].as_str().expect("an id");
    world.write("t/acme/in/missing", "found");
    let replay = |options: &[&str]| {
        let command = world.wasmrun(["replay", "--json", "sqlite:jobs.db#dead", id]);
        command.misbehaving(STORES[0], STORES[1]).args(options)
    };
    let output = replay(&["--key", "group"]).succeeds();
    assert!(output.to_string().contains("got 5 bytes: found"), "{output}");
    replay(&[]).fails_with(2, "add --key");
}

#[test]
fn what_makes_no_sense_with_a_key_is_refused_at_the_start() {
    let world = world();
    for (options, says) in [
        (
            "--store more=dir:t/{key}:ro",
            "the store more has {key} in its prefix, and no key of messages is set: add --key",
        ),
        ("--key object-prefix:2 --store more=dir:t/{key}:ro", "use --key object-prefix:1"),
        ("--key group --store more=dir:t/x{key}:ro", "{key} has to be a whole segment"),
        ("--key group --store more=s3://{key}/in:ro", "{key} cannot stand for a bucket"),
        ("--key group --store more=dir:t/{key}/{key}:ro", "only once"),
        ("--key group --store more=dir:t/{key}:ro --store shared=dir:t:ro", "give them separate prefixes"),
        (
            "--key group --store more=dir:t/{key}:ro --store shared=dir:t/acme:ro",
            "give them separate prefixes",
        ),
        ("--key group --keyvalue more=sqlite:{key}.db:rw", "only the prefix of a --store can have"),
        ("--key group --send more=sqlite:{key}.db", "only the prefix of a --store can have"),
    ] {
        let command = world.run("misbehave").arg("--check").args(options.split(' '));
        let output = command.fails_with(2, says);
        assert_eq!(output.stderr.len(), 1, "{options}: {output}");
    }
    let serve = world.wasmrun(["serve", "--check"]).arg(guest("misbehave"));
    serve.args(["--store", "more=dir:t/{key}:ro"]).fails_with(2, "a service has no keys");
    let output = world
        .run("misbehave")
        .args(["--check", "--key", "group", "--store", "more=dir:t/{key}:ro"])
        .succeeds();
    assert!(output.stdout.iter().any(|line| line.starts_with("ok")), "{output}");
}

#[test]
fn keys_share_a_bucket_and_reach_their_own_prefixes() {
    let Some(amazon) = Amazon::moto() else { return };
    amazon.create_buckets();
    for key in ["acme", "Acme", "beta", "evil"] {
        amazon.put("bucket-in", &format!("t/{key}/in/object"), format!("input of {key}"));
        amazon.put("bucket-in", &format!("t/{key}/out/own"), format!("output of {key}"));
    }
    let world = World::with_queue(&["--max-receives", "1"]);
    let worker = || {
        let command = world
            .wasmrun(["run", "--queue", QUEUE, "--until-empty", "--key", "attribute:tenant"])
            .logging_tasks()
            .misbehaving("s3://bucket-in/t/{key}/in:ro", "s3://bucket-in/t/{key}/out:rw")
            .args(["--max-consecutive-failures", "off"]);
        amazon.environment(command)
    };
    // A copy within S3 stays in the part, and upper case is another key.
    for key in ["acme", "Acme"] {
        let bodies = ["get object", "copy object copied", "put new content", "delete own", "list @output "];
        world.send_of("--attribute", key, bodies);
    }
    let output = worker().succeeds();
    output.has_outcomes(&json!({"completed": 10}));
    let before = amazon.keys("bucket-in");
    assert_eq!(amazon.get("bucket-in", "t/Acme/out/copied").expect("an object").0, b"input of Acme");
    assert!(!before.contains(&"t/acme/out/own".to_owned()) && before.contains(&"t/beta/out/own".to_owned()));

    let absolute = "t/acme/in/object";
    let mut attacks: Vec<String> = Vec::new();
    for key in
        ["../../acme/in/object", "../../../t/acme/in/object", absolute, "/t/acme/in/object", "%2e%2e/object"]
    {
        for command in ["get @input", "head @input", "get @output", "list @output", "delete @output"] {
            attacks.push(format!("{command} {key}"));
        }
    }
    world.send_of("--attribute", "evil", attacks);
    for key in ["..", "acme/..", "%2e%2e", "evil/../acme", "acme/in", "acm\u{e9}"] {
        world.send_of("--attribute", key, ["put @output planted x", "list @output "]);
    }
    let output = worker().succeeds();
    assert_eq!(amazon.keys("bucket-in"), before);
    assert!(!output.to_string().contains("of acme"), "{output}");
    assert_ne!(world.dead(), Depth::EMPTY);
}
