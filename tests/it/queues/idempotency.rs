//! The advice in docs/src/guides/idempotency.md: messages that arrive twice, at once, late, or in the wrong order.

use crate::harness::{Amazon, Depth, World, event, guest};
use serde_json::{Value, json};

/// The event that S3 would send for an object of `in`.
fn created(key: &str, sequencer: &str, version: Option<&str>) -> Value {
    event("dir:in", &[json!({"key": key, "sequencer": sequencer, "versionId": version})])
}

/// Runs a worker on these messages, each of them sent twice and all at once.
fn run_twice(world: &World, messages: &[String]) {
    let twice: Vec<&String> = messages.iter().chain(messages).collect();
    world.send(twice);
    let output = world.run("careful").args(["--until-empty", "--instances", "8"]).succeeds();
    let completed = &output.summary()["outcomes"]["completed"];
    assert_eq!(*completed, messages.len() * 2, "{output}");
    assert_eq!(world.depth(), Depth::EMPTY);
}

/// The event with the path of this world's `in` as the bucket's name.
fn in_world(world: &World, event: &Value) -> String {
    event
        .to_string()
        .replace("dir:in", &format!("dir:{}", world.path("in").canonicalize().expect("a path").display()))
}

#[test]
fn an_output_whose_key_the_input_decides_is_there_once_however_often_the_message_comes() {
    let world = World::with_queue(&[]);
    world.write("in/a.txt", "hello");
    run_twice(&world, &[in_world(&world, &created("a.txt", "0A", None))]);
    assert_eq!(world.read("out/versions/a.txt/only"), b"HELLO");
    assert_eq!(world.keys("out/versions/a.txt"), ["only"]);
}

#[test]
fn what_is_put_if_absent_is_done_by_one_of_all_tasks_that_try_it_at_once() {
    let world = World::with_queue(&[]);
    world.send(["charge 7"; 40]);
    let output = world.run("careful").args(["--until-empty", "--instances", "8"]).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 40, "{output}");
    let logged = |text: &str| output.logs_of("Guest").iter().filter(|line| line["text"] == text).count();
    assert_eq!((logged("charged 7"), logged("7 was charged before")), (1, 39), "{output}");
    assert_eq!(world.read("out/receipts/7"), b"the receipt of 7");
}

#[test]
fn the_newest_version_wins_in_whichever_order_events_come() {
    const OLD_AND_NEW: [&str; 2] = ["0055AED6DCD90281E5", "0055AED6DCD90281E5F"];
    for order in [[0, 1], [1, 0]] {
        let world = World::with_queue(&[]);
        for index in order {
            // Simulates a versioned bucket: the announced version is read.
            world.write("in/a.txt", ["old", "new"][index]);
            run_twice(&world, &[in_world(&world, &created("a.txt", OLD_AND_NEW[index], None))]);
        }
        assert_eq!(world.read("out/latest/a.txt"), b"NEW", "{order:?}");
    }
}

#[test]
fn a_message_that_is_sent_twice_with_the_same_id_arrives_once_in_a_fifo_queue() {
    let world = World::new();
    world.create_queue("sqlite:ordered.db", &["--fifo"]);
    // Delivers the same message again, like after a worker was killed before it had deleted the message.
    for _ in 0..2 {
        let invoke =
            world.wasmrun(["invoke", "--message", "hello", "--message-id", "m"]).arg(guest("forward"));
        invoke.args(["--send", "next=sqlite:ordered.db", "--env", "NEXT_IS_FIFO=yes"]).succeeds();
    }
    assert_eq!(world.depth_of("sqlite:ordered.db"), Depth::visible(1));
}

#[test]
fn a_version_that_was_announced_is_read_although_it_was_overwritten() {
    let Some((world, amazon, queue)) = Amazon::with_jobs(30, 3) else { return };
    amazon.keep_versions("bucket-in");
    let first = amazon.put_version("bucket-in", "a.txt", "first");
    let second = amazon.put_version("bucket-in", "a.txt", "second");
    for version in [&first, &second] {
        let event = created("a.txt", "0A", Some(version)).to_string().replace("dir:in", "bucket-in");
        amazon.send(&queue, &event);
    }
    let run = world.wasmrun(["run", "--queue", "jobs", "--until-empty"]).arg(guest("careful"));
    let run = run
        .args(["--store", "input=s3://bucket-in:ro", "--store", "output=s3://bucket-out:rw"])
        .args(["--send", "next=sqlite:next.db"]);
    amazon.environment(run).succeeds();
    for (version, content) in [(&first, "FIRST"), (&second, "SECOND")] {
        let output = amazon.get("bucket-out", &format!("versions/a.txt/{version}")).expect("an output");
        assert_eq!(String::from_utf8_lossy(&output.0), content);
    }
}

#[test]
fn a_task_that_writes_to_another_prefix_than_the_announced_one_does_not_start_itself() {
    let Some(amazon) = Amazon::start() else { return };
    let (world, queue) = (World::new(), amazon.create_queue("jobs", 30, 3));
    amazon.create_bucket("bucket");
    amazon.notify_of("bucket", "from/", "jobs");
    amazon.put("bucket", "from/a.txt", "hello");
    amazon.wait_for_messages(&queue, 1);
    let run = world.wasmrun(["run", "--queue", "jobs", "--until-empty"]).arg(guest("careful"));
    let run = run
        .args(["--store", "input=s3://bucket/from:ro", "--store", "output=s3://bucket/to:rw"])
        .args(["--send", "next=sqlite:next.db"]);
    let output = amazon.environment(run).succeeds();
    let tasks = output.summary()["tasks"].as_u64().expect("a number");
    // The first message that a bucket sends may be a test message.
    assert!((1..=2).contains(&tasks), "{output}");
    assert_eq!(amazon.depth(&queue), [0; 3]);
    assert!(amazon.get("bucket", "to/latest/a.txt").is_some(), "{output}");
}

#[test]
fn what_is_sent_last_is_not_sent_by_a_task_whose_output_could_not_be_written() {
    let world = World::new();
    let publish = |mode: &str| {
        let invoke = world.wasmrun(["invoke", "--json", "--message", "publish a"]).arg(guest("careful"));
        let output =
            invoke.args(["--store", &format!("output=dir:out:{mode}"), "--send", "next=sqlite:next.db"]);
        output.ends().json()["outcome"].clone()
    };
    assert_ne!(publish("ro"), "completed");
    assert_eq!(world.depth_of("sqlite:next.db"), Depth::EMPTY);
    assert_eq!(publish("rw"), "completed");
    assert_eq!(world.depth_of("sqlite:next.db"), Depth::visible(1));
}

/// Host errors aren't counted, as `failing_backends` shows.
#[test]
fn what_can_never_work_is_dead_lettered_at_its_first_receive() {
    let world = World::with_queue(&["--max-receives", "5"]);
    world.send(["never this"]);
    let output = world.run("careful").arg("--until-empty").succeeds();
    assert_eq!(output.summary()["tasks"], 1, "{output}");
    let letters = world.dead_letters();
    assert_eq!(letters[0]["body"], "never this", "{output}");
    assert_eq!(world.depth(), Depth::EMPTY);
}
