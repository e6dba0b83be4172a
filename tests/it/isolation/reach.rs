//! What a guest can see and touch: only what it was granted.

use crate::harness::{World, keys};
use serde_json::Value;

const SECRETS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

#[track_caller]
fn reason(report: &Value) -> &str {
    report["reason"].as_str().expect("a reason")
}

#[test]
fn a_guest_sees_the_environment_that_it_was_granted_and_nothing_of_the_workers() {
    let world = World::new();
    let command =
        SECRETS.iter().fold(world.invoke("misbehave", "env"), |command, key| command.env(key, "SECRET"));
    let report = command
        .env("INHERITED", "from the worker")
        .env("NOT_GRANTED", "SECRET")
        .args(["--env", "GIVEN=a=b", "--env", "INHERITED", "--env", "AWS_REGION=mars"])
        .ends()
        .json();
    assert_eq!(reason(&report), "AWS_REGION=mars GIVEN=a=b INHERITED=from the worker");
}

#[test]
fn a_guest_has_no_arguments_no_files_and_no_network() {
    let world = World::new();
    assert_eq!(world.outcome("args").1, "0 ");
    assert_eq!(world.outcome("preopens").1, "none");
    let sockets = world.outcome("sockets").1;
    let answers: Vec<_> = sockets.split(' ').map(|answer| answer.split_once('=')).collect();
    assert_eq!(answers.len(), 4, "{sockets}");
    assert!(answers.iter().all(|answer| answer.is_some_and(|(_, result)| result != "ok")), "{sockets}");
}

#[test]
fn a_store_is_read_and_written_as_its_mode_says() {
    let world = World::new();
    world.write("in/a", "content");
    world.write("out/a", "content");
    let ok = ("completed".to_owned(), String::new());
    let denied = ("rejected".to_owned(), "access-denied".to_owned());
    // `input` is read-only, and `output` is write-only here.
    let outcome = |message: &str| {
        let command = world.wasmrun(["invoke", "--json", "--message", message]);
        command.misbehaving("dir:in:ro", "dir:out:wo").ends().outcome()
    };
    for allowed in ["get a", "head a", "list ", "put b text", "write-bytes 10 c", "copy a d", "delete d"] {
        assert_eq!(outcome(allowed), ok, "{allowed}");
    }
    for forbidden in [
        "put @input b text",
        "write-bytes @input 10 b",
        "delete @input a",
        "get @output a",
        "head @output a",
        "list @output ",
        "open-readers @output 1 a",
        "get @nothing a",
        "send @nothing 1",
    ] {
        assert_eq!(outcome(forbidden), denied, "{forbidden}");
    }
    assert_eq!(world.keys("in"), ["a"]);
    assert_eq!(world.keys("out"), ["a", "b", "c"]);
}

#[test]
fn a_refusal_is_in_the_log_in_the_usage_and_in_the_summary() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let refused = ["put @input b text", "get @nothing a", "send @nothing 1", "get ../a"];
    let reasons = ["its mode is ro", "no such grant", "no such grant", "the key \"../a\" has a `..` segment"];
    for (message, reason) in refused.into_iter().zip(reasons) {
        let output = world.invoke("misbehave", message).ends().exited_with(1);
        assert_eq!(output.json()["usage"]["refusals"], 1, "{message}: {output}");
        let said = output.logs_of("refused a host call");
        assert!(said.len() == 1 && said[0]["text"] == reason, "{message}: {output}");
    }
    // After a completed task, refused calls only affect the tasks that make them.
    world.send(["ok"]);
    world.send(refused);
    let output = world.run("misbehave").args(["--until-empty", "--instances", "1"]).succeeds();
    assert_eq!(output.summary()["refusals"], refused.len(), "{output}");
}

#[test]
fn a_guest_that_is_refused_again_and_again_cannot_flood_the_log() {
    let world = World::new();
    // Tries every key that might lead out of a store with every operation. Other tests check the results.
    let output = world.invoke("misbehave", "keys /secret").ends();
    let refusals = output.json()["usage"]["refusals"].as_u64().expect("a number");
    let (told, more) =
        (output.logs_of("refused a host call"), "more host calls failed than are logged one by one");
    assert_eq!(told.len(), 20, "{output}");
    assert!(output.logs_of(more)[0]["refused"] == refusals - 20, "{refusals}: {output}");
}

#[test]
fn no_key_leads_out_of_a_store() {
    let world = World::new();
    world.write("secret", "secret");
    for store in ["in", "out"] {
        std::fs::create_dir(world.path(store).join("sub")).expect("a directory");
        std::os::unix::fs::symlink(world.path("secret"), world.path(store).join("link")).expect("a link");
        std::os::unix::fs::symlink(world.path("."), world.path(store).join("up")).expect("a link");
    }
    let absolute = world.path("secret").display().to_string();
    for key in
        ["../secret", "sub/../../secret", "./../secret", &absolute, "up/secret", "link", ".wasmrun/lock"]
    {
        for command in [format!("get {key}"), format!("head {key}"), format!("put {key} text")] {
            let (outcome, reason) = world.outcome(&command);
            assert_eq!(outcome, "rejected", "{command}: {reason}");
        }
    }
    assert_eq!(world.read("secret"), b"secret");
    let listed = world.invoke("misbehave", "list ").succeeds();
    assert_eq!(listed.logs_of("Guest")[0]["text"], "listed 0: ", "{listed}");
}

/// The pool reuses the memory, tables and stack of earlier tasks. It has one slot more than there are concurrent tasks.
/// Whichever slots it alternates between, some reader gets a slot that a writer had.
fn a_task_finds_nothing_of_the_ones_before_it(allocator: &str) {
    const ROUNDS: &str = "wr wwrr wwwrrr wrr wwr wwrr wr";
    let world = World::with_queue(&["--max-receives", "1"]);
    let tasks: Vec<_> = ROUNDS.chars().filter(|task| *task != ' ').collect();
    let messages = tasks.iter().map(|task| if *task == 'w' { "canary-write 171" } else { "canary-read 171" });
    // The last message shows that the check can find something.
    world.send(messages.chain(["canary-write-read 171"]));
    let output = world
        .run("misbehave")
        .args(["--until-empty", "--instances", "1", "--allocator", allocator])
        .succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], tasks.len(), "{output}");
    let dead = world.dead_letters();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["body"], "canary-write-read 171");
}

#[test]
fn a_task_finds_nothing_of_the_ones_before_it_in_the_pool() {
    a_task_finds_nothing_of_the_ones_before_it("pooling");
}

#[test]
fn a_task_finds_nothing_of_the_ones_before_it_on_demand() {
    a_task_finds_nothing_of_the_ones_before_it("on-demand");
}

#[test]
fn the_worker_says_where_instances_come_from() {
    let world = World::with_queue(&[]);
    world.send(["ok"]);
    for (option, expected) in [("auto", "pooling"), ("pooling", "pooling"), ("on-demand", "on-demand")] {
        let output = world.run("misbehave").args(["--until-empty", "--allocator", option]).succeeds();
        assert_eq!(output.logs_of("ready")[0]["allocator"], expected);
    }
}

#[test]
fn an_object_that_was_not_finished_is_never_there() {
    let world = World::new();
    for message in ["writer-unfinished a", "writer-leaked b", "open-writers 5 c"] {
        assert_eq!(world.outcome(message).0, "completed", "{message}");
    }
    assert!(world.keys("out").is_empty());
    let left_behind = keys(&world.path("out/.wasmrun/tmp"));
    assert!(left_behind.is_empty(), "{left_behind:?}");
}

#[test]
fn neighbours_compute_on_while_guests_spin() {
    let world = World::in_memory_with_queue(&["--max-receives", "1"]);
    world.send(["loop", "loop-host", "memory-fill", "loop"].into_iter().chain(["ok"; 20]));
    let output = world
        .run("misbehave")
        .args(["--until-empty", "--instances", "5", "--threads", "2"])
        .args(["--fuel", "1000000000000000", "--timeout", "6s"])
        .succeeds();
    let summary = output.summary();
    assert_eq!(summary["outcomes"]["timed-out"], 4, "{output}");
    assert_eq!(summary["outcomes"]["completed"], 20, "{output}");
    // The one instance that doesn't spin runs all of them before the spinners time out.
    let logs = output.logs();
    let first = |message: &str, from_end: bool| {
        let mut logs = logs.iter().filter(|log| log["message"] == message);
        let log = if from_end { logs.next_back() } else { logs.next() };
        log.expect("a log line")["timestamp"].to_string()
    };
    assert!(first("task completed", true) < first("task did not complete", false), "{output}");
}
