//! SQS and S3 on other servers, each for what it does better than ministack, so that no test result depends on the
//! quirks of one server.

use crate::harness::{Amazon, Command, Faults, World};
use serde_json::json;

const ROLE: &str = "arn:aws:iam::123456789012:role/thumbs";

/// One task of `misbehave` that reads from one bucket and writes to another.
fn invoke(world: &World, amazon: &Amazon, message: &str) -> Command {
    let command = world.wasmrun(["invoke", "--json", "--memory", "4MiB", "--message", message]);
    amazon.environment(command.misbehaving("s3://bucket-in/from:ro", "s3://bucket-out/to:rw"))
}

#[test]
fn objects_of_any_size_are_written_read_copied_and_listed_where_signatures_are_checked() {
    let Some(amazon) = Amazon::seaweed() else { return };
    amazon.create_buckets();
    let world = World::new();
    let content: Vec<u8> = (0..9_000_000_u32).map(|index| (index % 251) as u8).collect();
    amazon.put("bucket-in", "from/large a+ü", content.clone());
    amazon.put("bucket-in", "from/small", "hello");
    amazon.put("bucket-in", "outside", "secret");
    let outcome = |message: &str| {
        let output = invoke(&world, &amazon, message).ends();
        (output.json()["outcome"].as_str().expect("text").to_owned(), output)
    };
    for message in [
        "copy small copied",
        "write-bytes 9000000 written",
        "write-bytes 0 empty",
        "put-new once x",
        "writer-unfinished never",
        "range 1 3 small",
    ] {
        let (outcome, output) = outcome(message);
        assert_eq!(outcome, "completed", "{message}: {output}");
    }
    let (twice, output) = outcome("put-new once y");
    assert_eq!(
        (twice.as_str(), &output.json()["reason"]),
        ("rejected", &json!("precondition-failed")),
        "{output}"
    );
    let (_, output) = outcome("list ");
    assert!(output.stderr.iter().any(|line| line.contains("listed 2: large a+\u{fc} small")), "{output}");
    assert_eq!(amazon.keys("bucket-out"), ["to/copied", "to/empty", "to/once", "to/written"]);
    assert_eq!(amazon.get("bucket-out", "to/written").expect("an object").0.len(), 9_000_000);
    assert_eq!(amazon.get("bucket-out", "to/copied").expect("an object").0, b"hello");
    assert_eq!(amazon.unfinished("bucket-out"), 0);
    let (deleted, output) = outcome("delete once");
    assert_eq!(deleted, "completed", "{output}");
    assert!(amazon.get("bucket-out", "to/once").is_none());

    let wrong = invoke(&world, &amazon, "ok").env("AWS_SECRET_ACCESS_KEY", "wrong");
    let wrong = wrong.fails_with(3, "cannot use the store s3://bucket-in/from");
    assert!(wrong.error().contains("SignatureDoesNotMatch"), "{wrong}");
}

#[test]
fn a_worker_assumes_a_role_for_what_it_writes() {
    let Some(amazon) = Amazon::moto() else { return };
    let (world, queue) = (World::new(), amazon.create_jobs(30, 3));
    amazon.notify("bucket-in", "jobs");
    amazon.put("bucket-in", "from/a", "hello");
    amazon.wait_for_messages(&queue, 1);
    let run = world
        .wasmrun(["run", "--queue", "jobs", "--until-empty", "--assume-role", &format!("output={ROLE}")])
        .misbehaving("s3://bucket-in/from:ro", "s3://bucket-out/to:rw");
    let output = amazon.environment(run).succeeds();
    assert!(amazon.get("bucket-out", "to/a").is_some(), "{output}");
    assert_eq!(amazon.depth(&queue), [0; 3]);
}

/// Reads are left out: this proxy sends no content lengths, without which nothing is read. `objects` tests truncated
/// reads.
#[test]
fn throttling_and_lost_connections_cost_time_only() {
    const MESSAGES: usize = 40;
    let Some((world, amazon, queue)) = Amazon::with_jobs(30, 3) else { return };
    amazon.send_all(&queue, (0..MESSAGES).map(|index| format!("put k{index:02} x")));
    let rules = json!([
        {"service": "sqs", "operation": "ReceiveMessage", "times": 2, "error": {"code": "RequestThrottled", "status": 403}},
        {"service": "sqs", "operation": "DeleteMessageBatch", "times": 2, "reset": true},
        {"service": "s3", "operation": "PutObject", "times": 4, "error": {"code": "SlowDown", "status": 503}},
        {"service": "s3", "operation": "PutObject", "times": 2, "reset": true},
    ]);
    let Some(faults) = Faults::before(&amazon.endpoint, &rules) else { return };
    let run = world
        .wasmrun(["run", "--queue", "jobs", "--until-empty", "--instances", "4"])
        .misbehaving("s3://bucket-in/from:ro", "s3://bucket-out/to:rw");
    let output = amazon.environment(run).env("AWS_ENDPOINT_URL", &faults.endpoint).succeeds();
    assert_eq!(amazon.keys("bucket-out").len(), MESSAGES, "{output}");
    assert_eq!(output.summary()["dead_lettered"], 0, "{output}");
    assert_eq!(amazon.depth(&queue), [0; 3], "{output}");
}
