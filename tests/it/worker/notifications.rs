//! Notifications about messages that have ended.

use crate::harness::{Amazon, Answer, Depth, Stub, World, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const QUEUE: &str = "sqlite:jobs.db";
/// A queue in its own directory.
const DONE: &str = "sqlite:done/done.db";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A world with a queue for notifications.
fn world(options: &[&str]) -> World {
    let world = World::with_queue(options);
    world.create_dir("done");
    world.create_queue(DONE, &[]);
    world
}

/// The notification about each message, by the message's body.
fn by_body(world: &World, sent: &[(String, String)]) -> BTreeMap<String, Value> {
    let body_of = |id: &Value| sent.iter().find(|(sent, _)| id == sent).expect("it was sent").1.clone();
    let all = world.peek_bodies(DONE);
    let found: BTreeMap<_, _> =
        all.iter().map(|notification| (body_of(&notification["message_id"]), notification.clone())).collect();
    assert_eq!(found.len(), all.len(), "one for each message: {all:?}");
    found
}

#[test]
fn each_message_that_ends_has_one_notification_and_a_retry_has_none() {
    let world = world(&["--max-receives", "2"]);
    world.send(["put a.txt hello", "reject no \"image\"", "retry 0 later", "unreachable", "ok"]);
    let old =
        "UPDATE message SET sent_ms = sent_ms - 7200000 WHERE sequence = (SELECT max(sequence) FROM message)";
    world.database().execute(old, []).expect("changed");
    let sent = world.messages();
    let worker = world.run("misbehave").args(["--until-empty", "--backoff", "1ms..1ms", "--notify", DONE]);
    let output = worker.args(["--max-age", "1h", "--on", "trapped=drop"]).succeeds();
    assert_eq!(output.summary()["notified"], 5, "{output}");
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::visible(3)), "{output}");

    let by_body = by_body(&world, &sent);
    let ends: Vec<_> = by_body.values().map(|n| [&n["end"], &n["outcome"], &n["receive_count"]]).collect();
    let expected = json!([
        ["dead-lettered", "expired", 1],
        ["completed", "completed", 1],
        ["dead-lettered", "rejected", 1],
        ["dead-lettered", "retry", 2],
        ["dropped", "trapped", 1],
    ]);
    assert_eq!(json!(ends), expected);
    let rejected = &by_body["reject no \"image\""];
    assert_eq!((&rejected["reason"], &rejected["outputs"]), (&json!("no \"image\""), &json!([])));
    let completed = &by_body["put a.txt hello"];
    let output = &completed["outputs"][0];
    assert_eq!(
        (&output["store"], &output["key"], &output["size"]),
        (&json!("output"), &json!("a.txt"), &json!(5))
    );
    assert!(output["etag"].is_string(), "{output}");
    assert_eq!(completed["outputs_omitted"], 0);
    let component = completed["component"].as_str().expect("text");
    assert!(component.starts_with("misbehave.wasm@sha256:"), "{component}");
    assert!(completed["queue"].as_str().expect("text").ends_with("/jobs.db"), "{completed}");
    let usage = &completed["usage"];
    for quantity in ["fuel", "cpu_us", "wall_us", "peak_memory_bytes"] {
        assert!(usage[quantity].as_u64() > Some(0), "{quantity}: {usage}");
    }
    assert!(completed.get("key").is_none() && completed.get("body").is_none(), "{completed}");
}

#[test]
fn a_notification_has_the_group_the_key_and_the_trace_of_its_message() {
    let world = world(&[]);
    world.send_with(&["--group", "acme", "--attribute", &format!("traceparent={TRACE}")], ["ok"]);
    let worker = world.run("misbehave").args(["--until-empty", "--key", "group"]);
    worker.env("WASMRUN_NOTIFY", DONE).succeeds();
    let ([notification], [message]) = (&world.peek_bodies(DONE)[..], &world.peek(DONE)[..]) else {
        panic!("one")
    };
    assert_eq!((&notification["group"], &notification["key"]), (&json!("acme"), &json!("acme")));
    assert_eq!(message["group"], "acme");
    let parent = notification["traceparent"].as_str().expect("a trace");
    assert!(parent.starts_with(&TRACE[..36]) && parent != TRACE, "{parent}");
    assert!(message.to_string().contains(parent), "{message}");
}

#[test]
fn a_queue_of_notifications_that_fails_costs_time_and_no_message() {
    let world = world(&["--max-receives", "1"]);
    let bodies: Vec<String> = (0..30).map(|index| format!("put {index:02} x")).collect();
    world.send(bodies.iter().map(String::as_str).chain(["reject it"]));
    let sent = world.messages();
    let options =
        ["--until-empty", "--instances", "2", "--backoff", "100ms..1s", "--rate", "20/s", "--notify", DONE];
    let worker = world.run("misbehave").args(options).start();
    worker.until_completed(1);
    world.while_away("done", || {
        worker.until_logged("cannot send the notification of a message");
        worker.until_logged("receiving is still paused");
    });
    let output = worker.finish().succeeded();
    assert!(output.summary()["failed_notifications"].as_u64() > Some(0), "{output}");
    assert_eq!((world.depth(), world.keys("out").len()), (Depth::EMPTY, bodies.len()), "{output}");
    let told = world.peek_bodies(DONE);
    for (id, body) in &sent {
        let end = if body == "reject it" { "dead-lettered" } else { "completed" };
        assert!(told.iter().any(|told| told["message_id"] == **id && told["end"] == end), "{body}: {output}");
    }
}

#[test]
fn a_recipient_that_cannot_work_is_refused_at_the_start() {
    let world = world(&[]);
    for (recipient, text) in [
        (QUEUE, "as its queue"),
        ("sqlite:jobs.db#dead", "its dead-letter queue"),
        ("sqlite:next.db", "a queue of --send"),
    ] {
        world.run("misbehave").args(["--notify", recipient]).fails_with(2, text);
    }
    world.run("misbehave").args(["--notify", "sqlite:done/none.db"]).fails_with(3, "there is no queue");
    let refused = world.run("misbehave").args(["--notify", "post:done"]).ends().exited_with(2);
    assert!(refused.to_string().contains("expected a queue, or post:URL"), "{refused}");
    // A guest could change it.
    let writable = ["--notify", DONE, "--store", "done=dir:done:rw"];
    world.run("misbehave").args(writable).fails_with(2, "holds the queue of notifications");
    let service = world.wasmrun(["serve", "x.wasm", "--notify", DONE]);
    service.fails_with(2, "--notify has no meaning for a service");
    assert_eq!(world.depth_of(DONE), Depth::EMPTY);
}

/// A server that answers its first requests with these statuses, and takes all others.
fn answering_first(statuses: &[u16]) -> Stub {
    let (seen, statuses) = (AtomicUsize::new(0), statuses.to_vec());
    Stub::answering(move |_| {
        Answer::new(statuses.get(seen.fetch_add(1, Ordering::Relaxed)).copied().unwrap_or(204), "")
    })
}

#[test]
fn a_notification_is_posted_until_the_server_takes_it() {
    let world = world(&[]);
    world.send(["put a.txt hello"]);
    // Refuses the first try as too large, and then fails for more tries than a notification has.
    let server = answering_first(&[&[413][..], &[503; 3]].concat());
    let notify = format!("post:{}/hooks/secret?a=b", server.endpoint());
    let worker = world.run("misbehave").args(["--until-empty", "--backoff", "1ms..1ms", "--notify", &notify]);
    let output = worker.succeeds();
    let summary = output.summary();
    assert_eq!((&summary["notified"], &summary["failed_notifications"]), (&json!(1), &json!(1)), "{output}");
    assert_eq!(summary["tasks"], 1, "{output}");
    assert!(output.stderr.iter().all(|line| !line.contains("/hooks/secret")), "{output}");
    let requests = server.seen();
    assert_eq!(requests.len(), 5, "{output}");
    let bodies: Vec<Value> =
        requests.iter().map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect();
    for (request, body) in requests.iter().zip(&bodies) {
        assert_eq!((&*request.method, &*request.target), ("POST", "/hooks/secret?a=b"));
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!((&body["end"], &body["message_id"]), (&json!("completed"), &bodies[0]["message_id"]));
    }
    // Shortened after the refusal. Later, the whole notification is sent again.
    let listed =
        |body: &Value| (body["outputs"].as_array().map_or(0, Vec::len), body["outputs_omitted"].as_u64());
    assert_eq!(
        bodies.iter().map(listed).collect::<Vec<_>>(),
        [(1, Some(0)), (0, Some(1)), (0, Some(1)), (0, Some(1)), (1, Some(0))]
    );
    assert_eq!(world.depth(), Depth::EMPTY);
}

#[test]
fn while_a_recipient_fails_only_the_notification_is_sent_again() {
    let world = world(&["--max-receives", "1"]);
    world.send(["reject it"]);
    let server = answering_first(&[503; 10]);
    let options =
        ["--until-empty", "--backoff", "100ms..1s", "--notify", &format!("post:{}", server.endpoint())];
    let output = world.run("misbehave").args(options).succeeds();
    let summary = output.summary();
    assert_eq!(summary["outcomes"], json!({"rejected": 1}), "{output}");
    assert_eq!((&summary["notified"], &summary["failed_notifications"]), (&json!(1), &json!(3)), "{output}");
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::visible(1)), "{output}");
    let mut bodies: Vec<_> = server.seen().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies.len(), 11);
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the same one again");
}

#[test]
fn a_worker_goes_on_when_its_recipient_works_again() {
    let world = world(&["--max-receives", "1"]);
    world.send(["reject first"]);
    let server = answering_first(&[503; 4]);
    let notify = format!("post:{}", server.endpoint());
    let options = ["--instances", "1", "--backoff", "100ms..1s", "--notify", &notify];
    let worker = world.run("misbehave").args(options).start();
    worker.until_logged("cannot send the notification of a message");
    world.send(["put a x", "put b x", "put c x"]);
    worker.until_logged("resumed receiving");
    world.wait_until_empty();
    let output = worker.stop();
    output.has_outcomes(&json!({"completed": 3, "rejected": 1}));
    assert_eq!((&output.summary()["notified"], world.dead()), (&json!(4), Depth::visible(1)), "{output}");
}

#[test]
fn a_worker_that_stops_releases_the_message_whose_notification_was_not_taken() {
    let world = world(&[]);
    world.send(["put a.txt hello"]);
    let server = Stub::answering(|_| Answer::new(503, "try later"));
    let notify = format!("post:{}", server.endpoint());
    let options = ["--backoff", "100ms..1s", "--stop-timeout", "300ms", "--notify", &notify];
    let worker = world.run("misbehave").args(options).start();
    worker.until_logged("cannot send the notification of a message");
    assert_eq!(world.depth().in_flight, 1);
    let output = worker.stop();
    let summary = output.summary();
    assert_eq!(
        (&summary["outcomes"], &summary["notified"]),
        (&json!({"completed": 1}), &json!(0)),
        "{output}"
    );
    assert_eq!(world.depth(), Depth::visible(1), "{output}");
}

#[test]
fn a_notification_that_is_refused_for_its_content_is_sent_shortened_at_once() {
    let world = world(&["--max-receives", "1"]);
    world.send(["reject <script>", "ok"]);
    // As a proxy does that looks for attacks. A server that is busy doesn't want a shorter one.
    let busy = AtomicUsize::new(1);
    let server = Stub::answering(move |request| match String::from_utf8_lossy(&request.body) {
        body if body.contains("<script") => Answer::new(403, ""),
        body if body.contains("completed") && busy.swap(0, Ordering::Relaxed) == 1 => Answer::new(429, ""),
        _ => Answer::new(200, ""),
    });
    let notify = format!("post:{}", server.endpoint());
    let output = world.run("misbehave").args(["--until-empty", "--notify", &notify]).succeeds();
    let summary = output.summary();
    assert_eq!((&summary["notified"], &summary["failed_notifications"]), (&json!(2), &json!(0)), "{output}");
    let bodies: Vec<Value> = server
        .seen()
        .into_iter()
        .map(|request| serde_json::from_slice(&request.body).expect("JSON"))
        .collect();
    let of = |end: &str| bodies.iter().filter(|body| body["end"] == end).collect::<Vec<_>>();
    let rejected: Vec<_> = of("dead-lettered").into_iter().map(|body| &body["reason"]).collect();
    assert_eq!(rejected, [&json!("<script>"), &Value::Null]);
    let completed = of("completed");
    assert_eq!((completed.len(), completed[0]), (2, completed[1]), "the same one twice");
}

#[test]
fn a_message_that_completed_before_is_completed() {
    let world = world(&[]);
    world.send_with(&["--attribute", "order=7"], ["put a first", "put a second"]);
    let options = ["--instances", "1", "--until-empty", "--notify", DONE];
    let once = ["--once", "sqlite:ledger.db", "--once-by", "attribute:order"];
    world.run("misbehave").args(options).args(once).succeeds();
    let told = world.peek_bodies(DONE);
    let ends: Vec<_> = told.iter().map(|told| [&told["end"], &told["outcome"]]).collect();
    assert_eq!(json!(ends), json!([["completed", "completed"], ["completed", "repeated"]]));
    assert_eq!((&told[1]["outputs"], &told[1]["usage"]["fuel"]), (&json!([]), &json!(0)));
}

#[test]
fn a_queue_of_sqs_takes_notifications_in_the_group_of_the_message() {
    let Some((world, amazon, jobs)) = Amazon::with_jobs(30, 3) else { return };
    let done = amazon.create_queue("done", 30, 3);
    for index in 0..25 {
        let request = amazon.sqs.send_message().queue_url(&jobs).message_body(format!("put {index} x"));
        amazon.wait(request.message_group_id("acme").send()).expect("sent");
    }
    let worker =
        world.wasmrun(["run", "--queue", &jobs, "--until-empty", "--notify", "done", "--instances", "8"]);
    let worker =
        worker.arg(crate::harness::guest("misbehave")).args(["--store", "output=s3://bucket-out/to:rw"]);
    let output = amazon.environment(worker).succeeds();
    assert_eq!(output.summary()["notified"], 25, "{output}");
    wait_until("all notifications are there", || amazon.depth(&done)[0] == 25);
    let mut keys = Vec::new();
    while keys.len() < 25 {
        for (body, _) in amazon.receive(&done) {
            let notification: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!((&notification["group"], &notification["end"]), (&json!("acme"), &json!("completed")));
            let output = &notification["outputs"][0];
            let key = output["key"].as_str().expect("a key").to_owned();
            assert!(amazon.get("bucket-out", &format!("to/{key}")).is_some(), "{key}");
            assert!(output["etag"].is_string(), "{output}");
            keys.push(key);
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), amazon.depth(&jobs)), (25, [0; 3]), "{output}");
}
