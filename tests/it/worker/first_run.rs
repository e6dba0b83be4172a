//! The first minutes: `wasmrun run COMPONENT --queue URL`, whether or not the queue exists or names a dead-letter queue.

use crate::harness::{Amazon, Output, World, get, guest, status, wait_until};
use serde_json::json;

const NO_DEAD_LETTERS: &str = "no dead-letter queue: rejected messages are tried again";
const CREATED: &str = "created the queue";

/// Number of occurrences of a text in the output.
fn said(output: &Output, text: &str) -> usize {
    output.stdout.iter().chain(&output.stderr).filter(|line| line.contains(text)).count()
}

#[test]
fn without_a_dead_letter_queue_rejected_messages_are_tried_again_and_never_deleted() {
    let world = World::with_queue(&["--dead-letter", "none"]);
    world.send(["reject it", "ok"]);
    let worker = world.run("misbehave").args(["--status", "0", "--backoff", "1ms..50ms"]).start();
    let address = worker.listens_on();
    wait_until("the rejected message was tried again and again", || {
        status(address)["outcomes"]["rejected"].as_u64() >= Some(5)
    });
    let metrics = get(address, "/metrics").body;
    assert!(metrics.contains("\nwasmrun_dead_letter_queue 0\n"), "{metrics}");
    assert!(metrics.contains("\nwasmrun_messages_dead_lettered_total 0\n"), "{metrics}");
    assert_eq!(status(address)["has_dead_letter_queue"], false);
    let output = worker.stop();
    assert_eq!(said(&output, NO_DEAD_LETTERS), 1, "{output}");
    let logs = output.logs();
    let warning = logs.iter().find(|log| log["level"] == "WARN").expect("a warning");
    assert!(warning["message"].as_str().is_some_and(|text| text.contains("--dead-letter URL")), "{warning}");
    assert_eq!(warning["longest_backoff"], "50ms");
    assert_eq!(world.depth().total(), 1, "it is still there");
}

#[test]
fn with_a_dead_letter_queue_nothing_is_said_of_it_and_the_metric_is_one() {
    let world = World::with_queue(&[]);
    let worker = world.run("misbehave").args(["--status", "0"]).start();
    let metrics = get(worker.listens_on(), "/metrics").body;
    assert!(metrics.contains("\nwasmrun_dead_letter_queue 1\n"), "{metrics}");
    let output = worker.stop();
    assert_eq!(said(&output, "dead-letter queue"), 0, "{output}");
}

#[test]
fn a_check_names_a_missing_dead_letter_queue() {
    let world = World::with_queue(&["--dead-letter", "none"]);
    let output = world.run("misbehave").arg("--check").succeeds();
    assert!(output.stdout[0].starts_with("ok: "), "{output}");
    assert!(output.stdout[1].starts_with("there is no dead-letter queue"), "{output}");
}

#[test]
fn a_queue_of_sqs_without_a_dead_letter_queue_is_worked_on() {
    let Some(amazon) = Amazon::start() else { return };
    // The dead-letter queue itself has no dead-letter queue.
    let queue = amazon.create_queue("jobs", 30, 3).replace("jobs", "dead");
    amazon.send(&queue, "ok");
    let world = World::new();
    let run = world.wasmrun(["run", "--until-empty", "--queue", &queue]).arg(guest("empty"));
    let output = amazon.environment(run).succeeds();
    output.has_outcomes(&json!({"completed": 1}));
    assert_eq!(said(&output, NO_DEAD_LETTERS), 1, "{output}");
}

#[test]
fn a_queue_in_a_file_that_does_not_exist_is_created_and_said_once() {
    let world = World::new();
    let run =
        |queue: &'static str| world.wasmrun(["run", "--until-empty", "--queue", queue]).arg(guest("empty"));
    for queue in ["sqlite:new.db", "sqlite:new.db#second"] {
        let first = run(queue).succeeds();
        assert_eq!(said(&first, CREATED), 1, "{first}");
        assert_eq!(first.summary()["tasks"], 0);
        let second = run(queue).succeeds();
        assert_eq!(said(&second, CREATED), 0, "{second}");
        // The queue is created as `enqueue` creates it.
        let stats = world.wasmrun(["queue", "stats", queue, "--json"]).succeeds().json();
        assert!(stats["dead_letter"].as_str().is_some_and(|url| url.ends_with("new.db#dead")), "{stats}");
    }
    world.write("empty.db", "");
    assert_eq!(said(&run("sqlite:empty.db").succeeds(), CREATED), 1);
}

#[test]
fn a_worker_that_created_its_queue_shows_the_url_of_that_queue() {
    let world = World::new();
    let worker =
        world.wasmrun(["run", "--queue", "sqlite:new.db", "--status", "0"]).arg(guest("empty")).start();
    let shown = status(worker.listens_on())["queue"].clone();
    let url = shown.as_str().expect("a URL");
    assert!(url.starts_with("sqlite:/") && url.ends_with("/new.db"), "{url}");
    worker.stop();
}

/// A user who mistypes a queue's name and makes another mistake must not find a new file of that name.
#[test]
fn a_run_that_is_refused_creates_no_queue() {
    let world = World::new();
    world.write("text.wasm", "no component");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its port").port().to_string();
    let run =
        |component: &str| world.wasmrun(["run", "--until-empty", "--queue", "sqlite:typo.db", component]);
    let empty = guest("empty");
    let empty = empty.to_str().expect("text");
    for (command, code, said) in [
        (run("missing.wasm"), 2, "cannot read the component missing.wasm"),
        (run("text.wasm"), 2, "not WebAssembly"),
        (run(empty).args(["--store", "input=dir:missing:ro"]), 3, "dir:missing"),
        (run(empty).args(["--send", "next=sqlite:missing.db"]), 3, "there is no queue sqlite:missing.db"),
        (run(empty).args(["--dead-letter", "sqlite:missing.db"]), 3, "there is no queue sqlite:missing.db"),
        (run(empty).args(["--body-store", "dir:in"]), 2, "the body store"),
        (run(empty).args(["--usage", "in"]), 3, "cannot use the usage file"),
        (run(empty).args(["--timeout", "13h"]), 2, "--max-visibility"),
        (run(empty).args(["--status", &port]), 3, "cannot listen on"),
    ] {
        command.fails_with(code, said);
        assert!(!world.path("typo.db").exists(), "{said}");
    }
    world.write("seen", "my notes\n");
    let enqueue = |options: [&str; 4]| world.wasmrun(["enqueue", "--queue", "sqlite:typo.db"]).args(options);
    enqueue(["--store", "input=dir:in", "--seen", "seen"])
        .fails_with(2, "is not one that --seen has written");
    enqueue(["--message", "x", "--message", ""]).fails_with(2, "cannot be sent");
    assert!(!world.path("typo.db").exists());
    assert_eq!(said(&run(empty).succeeds(), CREATED), 1);
    assert!(world.path("typo.db").exists());
}

#[test]
fn a_check_creates_no_queue_and_says_that_run_would() {
    let world = World::new();
    let check = || world.wasmrun(["run", "--check", "--queue", "sqlite:new.db"]).arg(guest("empty"));
    let output = check().succeeds();
    assert_eq!(
        output.stdout,
        [
            "ok: sqlite:new.db and the component are ready",
            "the queue sqlite:new.db does not exist yet: `wasmrun run` creates it"
        ]
    );
    assert!(!world.path("new.db").exists());
    // Everything else is checked.
    check().args(["--timeout", "13h"]).fails_with(2, "--max-visibility");
    check().args(["--dead-letter", "sqlite:missing.db"]).fails_with(3, "there is no queue sqlite:missing.db");
    let grants = ["--store", "output=dir:.:rw"];
    check().args(grants).fails_with(2, "is writable and holds the queue");
    let elsewhere = world.wasmrun(["run", "--check", "--queue", "sqlite:next.db#other"]).arg(guest("empty"));
    assert_eq!(said(&elsewhere.succeeds(), "`wasmrun run` creates it"), 1);
    world.wasmrun(["queue", "stats", "sqlite:next.db#other"]).fails_with(3, "there is no queue \"other\"");
}
