//! Twelve hostile tenants and a good one share a queue. The tasks of the good one complete, and no tenant reads the data of
//! another.

use crate::harness::{Amazon, Command, Output, World};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const QUEUE: &str = "sqlite:jobs.db";
/// Number of messages of the good tenant.
const GOOD: usize = 20;
/// What only the good tenant may read.
const SECRET: &str = "what belongs to good alone";

/// What each hostile tenant sends. `{t}` is the place of all tenants' parts: an absolute path, or a bucket's prefix.
const HOSTILE: [(&str, &[&str]); 12] = [
    ("spinner", &["loop"; 2]),
    ("sleeper", &["sleep-forever"; 2]),
    ("hoarder", &["alloc", "grow", "memory-fill", "leak-bodies"]),
    ("caller", &["loop-host body", "loop-host clocks"]),
    ("talker", &["loop-host stdout", "loop-host lines", "log-bytes 100000000", "log-lines 1000000"]),
    ("crasher", &["recurse", "abort", "panic at once", "unreachable"]),
    ("liar", &["use-after-drop", "use-handle 7", "use-message-as-store", "realloc 4294967295 4294967295"]),
    ("flooder", &["send 100000", "send-bytes 100000000", "open-writers 100000 x", "put-nonce x"]),
    (
        "reader",
        &["get ../../good/in/0", "get @output ../../good/in/0", "get {t}/good/in/0", "head ../../good/in/0"],
    ),
    (
        "copier",
        &["copy ../../good/in/0 taken", "copy {t}/good/in/0 taken", "list ../../good/", "list @output ../"],
    ),
    (
        "writer",
        &[
            "put @output ../../good/out/0 x",
            "put @output {t}/good/out/0 x",
            "delete ../../good/in/0",
            "delete {t}/good/in/0",
        ],
    ),
    ("prober", &["canary-read 1000", "env", "preopens", "keys {t}/good/in/0"]),
];

/// Keys that could be taken for the good tenant's. Their messages try to read and to replace its objects.
const KEYS: [&str; 8] =
    ["../good", "good/", "good/in", "GOOD", "good.", "%67ood", "evil/../good", "go\u{200b}od"];

/// All messages of hostile tenants, each with its key.
fn attacks(parts: &str) -> Vec<(String, String)> {
    let of_tenants = HOSTILE.iter().flat_map(|(key, bodies)| bodies.iter().map(move |body| (*key, *body)));
    let of_keys = KEYS.iter().flat_map(|key| [(*key, "get 0"), (*key, "put @output 0 x")]);
    of_tenants.chain(of_keys).map(|(key, body)| (key.to_owned(), body.replace("{t}", parts))).collect()
}

fn good_messages() -> Vec<String> {
    (0..GOOD).map(|number| format!("copy {number} {number}")).collect()
}

/// A worker with few permits, which the spinners and sleepers alone could take.
fn worker(world: &World) -> Command {
    world
        .wasmrun(["run", "--until-empty", "--usage", "usage.jsonl", "--max-per-key", "1"])
        .args(["--instances", "4", "--timeout", "500ms", "--memory", "64MiB"])
        .args(["--max-consecutive-failures", "off", "--on", "retry=dead-letter"])
        .logging_tasks()
}

/// Checks what the worker said and recorded: all messages of `good` completed, and nothing that others said
/// has the secret.
fn check(world: &World, output: &Output, attacks: usize) {
    let (good, hostile): (Vec<_>, Vec<_>) =
        world.usage().into_iter().partition(|record| record["key"] == "good");
    assert!(good.iter().all(|record| record["outcome"] == "completed"), "{good:?}");
    // On SQS, a hostile message may run more than once.
    let hostile: HashSet<_> = hostile.iter().map(|record| record["message_id"].to_string()).collect();
    assert_eq!((good.len(), hostile.len()), (GOOD, attacks), "{output}");
    let said = output.logs().into_iter().filter(|line| line["key"] != "good");
    for line in said.map(|line| line.to_string()) {
        assert!(!line.contains(SECRET), "{line}");
    }
}

/// All files below a directory that have the secret, as paths from it.
fn files_with_secret(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if String::from_utf8_lossy(&fs::read(&path).expect("a file")).contains(SECRET) {
                found.push(path.strip_prefix(root).expect("below").display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn twelve_hostile_tenants_harm_nobody_on_one_machine() {
    let world = World::with_queue(&["--max-receives", "1"]);
    for number in 0..GOOD {
        world.write(&format!("t/good/in/{number}"), format!("{SECRET}: {number}"));
    }
    for key in HOSTILE.map(|(key, _)| key).iter().chain(&["good"]) {
        world.write(&format!("t/{key}/out/own"), *key);
    }
    let attacks = attacks(&world.path("t").display().to_string());
    let send = |key: &str, body: &str| {
        world.send_of("--attribute", key, [body]);
    };
    // The hostile messages come first.
    attacks.iter().for_each(|(key, body)| send(key, body));
    good_messages().iter().for_each(|body| send("good", body));
    let output = worker(&world)
        .args(["--queue", QUEUE, "--key", "attribute:tenant"])
        .misbehaving("dir:t/{key}/in:ro", "dir:t/{key}/out:rw")
        .succeeds();
    check(&world, &output, attacks.len());
    let mut expected: Vec<_> =
        (0..GOOD).flat_map(|number| [format!("good/in/{number}"), format!("good/out/{number}")]).collect();
    expected.sort();
    assert_eq!(files_with_secret(&world.path("t")), expected);
    for number in 0..GOOD {
        let (read, written) = (format!("t/good/in/{number}"), format!("t/good/out/{number}"));
        assert_eq!(world.read(&read), format!("{SECRET}: {number}").into_bytes());
        assert_eq!(world.read(&written), world.read(&read));
    }
    // Whatever they sent and whatever is kept of their failures.
    for queue in [QUEUE, "sqlite:jobs.db#dead", "sqlite:next.db"] {
        let letters = Value::from(world.peek(queue)).to_string();
        assert!(!letters.contains(SECRET), "{queue}: {letters}");
    }
}

/// Number of messages of each hostile tenant that are sent before those of the good one.
const BACKLOG: usize = 6;
/// Number of messages of the good tenant that come after them.
const SHORT: usize = 10;
/// What each hostile tenant sends, if all of its tasks take as long as they may.
const LONG: [&str; 4] = ["loop", "sleep-forever", "loop-host body", "loop-host clocks"];

#[test]
fn a_good_tenant_is_not_behind_the_backlogs_of_hostile_ones_where_the_queue_sees_the_keys() {
    let world = World::in_memory_with_queue(&["--max-receives", "1"]);
    for (index, (key, _)) in HOSTILE.iter().enumerate() {
        world.send_with(&["--group", key], [LONG[index % LONG.len()]; BACKLOG]);
    }
    world.send_with(&["--group", "good"], ["ok"; SHORT]);
    let output = worker(&world)
        .args(["--queue", QUEUE, "--key", "group"])
        .misbehaving("dir:in:ro", "dir:out:rw")
        .succeeds();
    // The tasks are recorded in the order in which they ended.
    let is_good: Vec<bool> = world.usage().iter().map(|record| record["key"] == "good").collect();
    let hostile = HOSTILE.len() * BACKLOG;
    assert_eq!((is_good.len(), is_good.iter().filter(|good| **good).count()), (SHORT + hostile, SHORT));
    let last = is_good.iter().rposition(|good| *good).expect("a task");
    // Tenants get the same time, and one hostile task takes that of all tasks of the good one, unless the machine is
    // very busy. In the order of the queue, all of them would end before.
    let before = last + 1 - SHORT;
    println!("{before} of {hostile} hostile tasks ended before the last one of the good tenant");
    assert!(before < hostile * 2 / 3, "{before} of {hostile}: {output}");
}

#[test]
fn twelve_hostile_tenants_harm_nobody_on_sqs_and_s3() {
    let Some((world, amazon, queue)) = Amazon::with_jobs(30, 4) else { return };
    for number in 0..GOOD {
        amazon.put("bucket-in", &format!("t/good/in/{number}"), format!("{SECRET}: {number}"));
    }
    for key in HOSTILE.map(|(key, _)| key).iter().chain(&["good"]) {
        amazon.put("bucket-in", &format!("t/{key}/out/own"), *key);
    }
    let attacks = attacks("t");
    let good = good_messages().into_iter().map(|body| (body, "good".to_owned()));
    let messages = attacks.iter().map(|(key, body)| (body.clone(), key.clone()));
    amazon.send_all_with(&queue, "tenant", messages.chain(good));
    let command = worker(&world)
        .args(["--queue", &queue, "--key", "attribute:tenant"])
        .misbehaving("s3://bucket-in/t/{key}/in:ro", "s3://bucket-in/t/{key}/out:rw");
    let output = amazon.environment(command).succeeds();
    check(&world, &output, attacks.len());
    for key in amazon.keys("bucket-in") {
        let (content, _) = amazon.get("bucket-in", &key).expect("an object");
        let is_secret = String::from_utf8_lossy(&content).contains(SECRET);
        let is_good = key.starts_with("t/good/") && !key.ends_with("/own");
        assert_eq!(is_secret, is_good, "{key}");
    }
    for number in 0..GOOD {
        let (content, _) = amazon.get("bucket-in", &format!("t/good/out/{number}")).expect("an output");
        assert_eq!(content, format!("{SECRET}: {number}").into_bytes());
    }
    let letters = json!(amazon.dead_letters()).to_string();
    assert!(!letters.contains(SECRET), "{letters}");
}
