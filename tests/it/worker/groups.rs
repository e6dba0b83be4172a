//! Groups of messages: who is told when all of them have ended.

use crate::harness::{Amazon, Depth, Output, World, guest};
use serde_json::{Value, json};

const DONE: &str = "sqlite:done.db";

fn world() -> World {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.create_queue(DONE, &[]);
    world
}

/// Sends messages of one group, which say that it has this number of messages.
fn send(world: &World, group: &str, count: &str, bodies: &[&str]) {
    let (name, count) = (format!("batch={group}"), format!("batch.count={count}"));
    world.send_with(&["--attribute", &name, "--attribute", &count], bodies);
}

/// Runs a worker until the queue is empty. Returns its summary.
fn works_off(world: &World, options: &[&str]) -> Value {
    let worker = world.run("misbehave").args(["--until-empty", "--backoff", "1ms..1ms", "--notify", DONE]);
    let worker = worker.args(["--complete-group", "batch", "--group-store", "sqlite:groups.db"]);
    worker.args(options).succeeds().summary()
}

/// The notifications of groups.
fn complete(world: &World) -> Vec<Value> {
    let mut all = world.peek_bodies(DONE);
    all.retain(|notification| notification["complete_group"].is_string());
    all
}

#[test]
fn a_group_is_complete_when_all_of_its_messages_have_ended_by_any_worker() {
    let world = world();
    send(&world, "a", "4", &["ok", "reject it", "unreachable"]);
    send(&world, "b", "2", &["ok"]);
    let summary = works_off(&world, &["--on", "trapped=drop"]);
    assert_eq!((&summary["notified"], complete(&world)), (&json!(4), vec![]));
    // The last message of a group, which is tried twice.
    send(&world, "a", "4", &["retry 0 later"]);
    let summary = works_off(&world, &[]);
    assert_eq!(summary["complete_groups"], 1, "{summary}");
    let [group] = &complete(&world)[..] else { panic!("one group") };
    assert_eq!((&group["complete_group"], &group["messages"]), (&json!("a"), &json!(4)));
    assert_eq!(group["ends"], json!({"completed": 1, "dead-lettered": 2, "dropped": 1}));
    assert_eq!(group["outcomes"], json!({"completed": 1, "rejected": 1, "retry": 1, "trapped": 1}));
    assert!(group.get("key").is_none() && group["queue"].as_str().expect("a URL").ends_with("jobs.db"));
}

#[test]
fn what_a_sender_writes_wrongly_costs_its_group_and_no_message() {
    let world = world();
    for count in ["0", "-1", "+1", "0001", "10001", "99999999999999999999", "many"] {
        send(&world, "wrong", count, &["ok"]);
    }
    world.send_with(&["--attribute", "batch=no count"], ["ok"]);
    send(&world, &"x".repeat(257), "1", &["ok"]);
    // The number of the message that is counted first counts. Two that run one after the other may be counted together.
    send(&world, "differs", "2", &["ok"]);
    let summary = works_off(&world, &[]);
    assert_eq!((&summary["uncounted_messages"], &summary["complete_groups"]), (&json!(9), &json!(0)));
    assert_eq!(summary["outcomes"], json!({"completed": 10}));
    send(&world, "differs", "1", &["ok"]);
    let name = "a\n\u{85}\u{202e}\"'); DROP TABLE member; --";
    send(&world, name, "1", &["ok"]);
    let summary = works_off(&world, &[]);
    assert_eq!((&summary["uncounted_messages"], &summary["complete_groups"]), (&json!(0), &json!(2)));
    assert_eq!(summary["outcomes"], json!({"completed": 2}));
    let mut names: Vec<_> =
        complete(&world).into_iter().map(|group| group["complete_group"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, [json!(name), json!("differs")]);
    assert_eq!(world.depth(), Depth::EMPTY);
}

#[test]
fn messages_beyond_the_number_change_nothing_and_are_said_to_be_uncounted() {
    let world = world();
    send(&world, "a", "5", &["ok"; 60]);
    let summary = works_off(&world, &["--instances", "16"]);
    assert_eq!((&summary["complete_groups"], &summary["uncounted_messages"]), (&json!(1), &json!(55)));
    let [group] = &complete(&world)[..] else { panic!("one notification") };
    assert_eq!(group["ends"], json!({"completed": 5}));
    // The name is used again.
    send(&world, "a", "1", &["ok"]);
    let summary = works_off(&world, &[]);
    assert_eq!((&summary["complete_groups"], &summary["uncounted_messages"]), (&json!(0), &json!(1)));
    assert_eq!(complete(&world).len(), 1);
}

#[test]
fn a_notification_that_a_dead_worker_did_not_send_is_sent_when_another_starts() {
    let world = world();
    send(&world, "a", "1", &["ok"]);
    works_off(&world, &[]);
    let groups = world.open("groups.db");
    let unsent = "UPDATE completion SET sent = 0, counted_ms = counted_ms - 400000;
        INSERT INTO member SELECT id, 'm', 'completed', 'completed' FROM completion";
    groups.execute_batch(unsent).expect("changed");
    let options = ["--notify", DONE, "--complete-group", "batch", "--group-store", "sqlite:groups.db"];
    let worker = world.run("misbehave").args(options).start();
    worker.until_logged("all messages of a group have ended");
    worker.stop();
    assert_eq!(complete(&world).len(), 2);
}

#[test]
fn messages_of_different_keys_share_no_group() {
    let world = world();
    for tenant in ["acme", "other"] {
        let group = ["--attribute", "batch=1", "--attribute", "batch.count=2"];
        world.send_with(&[&group[..], &["--group", tenant]].concat(), ["ok"]);
    }
    assert_eq!(works_off(&world, &["--key", "group"])["complete_groups"], 0);
    assert_eq!(works_off(&world, &[])["complete_groups"], 0);
}

#[test]
fn a_group_store_that_fails_loses_no_message() {
    let world = world();
    world.create_dir("groups");
    let options = ["--notify", DONE, "--complete-group", "batch", "--backoff", "100ms..1s"];
    let worker =
        world.run("misbehave").args(options).args(["--group-store", "sqlite:groups/groups.db"]).start();
    send(&world, "first", "1", &["ok"]);
    worker.until_logged("all messages of a group have ended");
    world.while_away("groups", || {
        send(&world, "second", "1", &["ok"]);
        worker.until_logged("cannot count a message in its group");
        assert_ne!(world.depth(), Depth::EMPTY);
    });
    worker.until_logged_times(2, "all messages of a group have ended");
    worker.stop();
    assert_eq!((world.depth(), world.dead(), complete(&world).len()), (Depth::EMPTY, Depth::EMPTY, 2));
}

#[test]
fn workers_on_sqs_count_in_a_bucket() {
    let Some((world, amazon, jobs)) = Amazon::with_jobs(30, 3) else { return };
    let done = amazon.create_queue("done", 30, 3);
    amazon.create_bucket("groups");
    for body in [&["ok"; 29][..], &["reject it"]].concat() {
        amazon.send_with(&jobs, body, &[("batch", "String", "night"), ("batch.count", "Number", "30")]);
    }
    let worker = |group_store: &str| {
        let run = ["run", "--queue", &jobs, "--until-empty", "--instances", "8", "--notify", &done];
        let worker = world.wasmrun(run).arg(guest("misbehave"));
        let groups = ["--complete-group", "batch", "--group-store", group_store];
        amazon.environment(worker.args(groups).args(["--store", "output=s3://bucket-out/to:rw"]))
    };
    worker("s3://bucket-out").fails_with(2, "overlap");
    let workers = [(); 2].map(|()| worker("s3://groups/of-jobs").start());
    let outputs = workers.map(|worker| worker.finish().succeeded());
    let complete = |output: &Output| output.summary()["complete_groups"].as_u64().expect("a number");
    assert!(outputs.iter().map(complete).sum::<u64>() >= 1, "{}", outputs[0]);
    let mut found = Vec::new();
    while found.len() < 31 {
        found.extend(amazon.receive(&done).into_iter().map(|(body, _)| body));
    }
    let groups = found.iter().filter_map(|body| serde_json::from_str::<Value>(body).ok());
    let group = groups.into_iter().find(|body| body["complete_group"] == "night").expect("a notification");
    assert_eq!(group["ends"], json!({"completed": 29, "dead-lettered": 1}));
}

#[test]
fn groups_without_what_they_need_are_refused_at_the_start() {
    let world = world();
    let fails = |options: &[&str], text: &str| world.run("misbehave").args(options).fails_with(2, text);
    fails(&["--complete-group", "batch"], "add --notify");
    fails(&["--complete-group", "batch", "--notify", DONE], "add --group-store");
    fails(&["--group-store", "sqlite:groups.db"], "add --complete-group");
    let refused = world.run("misbehave").args(["--complete-group", "a b"]).ends().exited_with(2);
    assert!(refused.to_string().contains("the name of an attribute"), "{refused}");
    let groups = ["--complete-group", "batch", "--notify", DONE, "--group-store"];
    let with = |url: &str| world.run("misbehave").args(groups).arg(url);
    with("dir:out").fails_with(2, "unknown group store");
    with("sqlite:jobs.db").fails_with(3, "another application");
    with("sqlite:out/groups.db").fails_with(2, "holds the group store");
}
