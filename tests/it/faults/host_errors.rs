//! An error that every message would meet is counted against none, and an error of one message doesn't stop the others.
//! The queues here allow a single receive, so a message that is counted goes to the dead-letter queue at once.

use crate::harness::{
    Answer, Command, Depth, Disk, Objects, Request, ScriptedSqs, Stub, World, event, get, guest, keys, lock,
    signed, wait_until,
};
use serde_json::json;
use std::sync::{Arc, Mutex};

const QUEUE: &str = "sqlite:jobs.db";
const PAUSED: &str = "paused receiving: a store or a queue fails";
const HELD: &str = "holding a message until a store or a queue works again";

/// A worker that may write to `outptu`, a typo of the user.
fn mistyped(world: &World) -> Command {
    world
        .wasmrun(["run", "--queue", QUEUE, "--instances", "4", "--backoff", "100ms..1s"])
        .args(["--store", "input=dir:in:ro", "--store", "outptu=dir:out:rw", "--send", "next=sqlite:next.db"])
        .arg(guest("misbehave"))
}

fn announced(count: usize) -> World {
    let world = World::with_queue(&["--max-receives", "1"]);
    for index in 0..count {
        world.write(&format!("in/{index:02}"), format!("object {index}"));
    }
    world.announce();
    world
}

#[test]
fn a_mistyped_alias_empties_no_queue_and_is_named_beside_those_that_are_granted() {
    let world = announced(8);
    let output =
        mistyped(&world).arg("--until-empty").fails_with(4, "the store \"output\", which is not granted");
    assert_eq!((world.depth().total(), world.dead()), (8, Depth::EMPTY), "{output}");
    let errors: Vec<_> = output.stderr.iter().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{output}");
    for named in ["the store \\\"output\\\"", "input:ro", "outptu:rw", "--store output=URL:MODE"] {
        assert!(errors[0].contains(named), "no {named} in {}", errors[0]);
    }
}

#[test]
fn a_worker_with_a_mistyped_alias_says_so_and_waits() {
    let world = announced(8);
    let worker = mistyped(&world).args(["--status", "0"]).start();
    let address = worker.listens_on();
    worker.until_logged("which is not granted");
    worker.until_logged("paused receiving: a grant is missing");
    wait_until("it is not ready", || get(address, "/readyz").body.contains("which is not granted"));
    assert_eq!(world.dead(), Depth::EMPTY);
    worker.stop();
    assert_eq!(world.depth().total(), 8);
}

#[test]
fn an_input_that_is_granted_for_writing_only_empties_no_queue() {
    let world = announced(8);
    let output = world
        .wasmrun(["run", "--queue", QUEUE, "--until-empty"])
        .misbehaving("dir:in:wo", "dir:out:rw")
        .fails_with(4, "no readable store holds the announced object");
    assert!(output.to_string().contains(":wo"), "{output}");
    assert_eq!((world.depth().total(), world.dead()), (8, Depth::EMPTY), "{output}");
}

#[test]
fn once_tasks_complete_an_object_outside_of_all_stores_is_its_message_s_own_matter() {
    let world = announced(3);
    world.send([event("b", &[json!({"key": "k"})]).to_string()]);
    let output = world.run("misbehave").args(["--until-empty", "--instances", "1", "--backoff", "100ms..1s"]);
    let output = output.succeeds();
    assert_eq!(keys(&world.path("out")).len(), 3);
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::visible(1)), "{output}");
}

#[test]
fn a_store_that_becomes_read_only_costs_time_only() {
    const OBJECTS: usize = 20;
    let world = announced(OBJECTS);
    let arguments = ["--queue", QUEUE, "--rate", "20/s"];
    let Some((disk, worker)) = Disk::start_on(&world, "out", 1 << 20, &arguments) else { return };
    worker.until_completed(1);
    disk.remount(&worker, "ro");
    worker.until_logged(PAUSED);
    worker.until_logged("receiving is still paused");
    disk.remount(&worker, "rw");
    wait_until("all objects are there", || keys(&disk.path(&worker)).len() == OBJECTS);
    world.wait_until_empty();
    worker.stop();
    assert_eq!(world.dead(), Depth::EMPTY);
}

/// Decides which requests are refused.
type Refuses = fn(&Request) -> bool;

#[test]
fn tasks_that_only_read_do_not_hide_that_a_store_can_no_longer_be_written() {
    const OBJECTS: usize = 10;
    let world = World::with_queue(&["--max-receives", "1"]);
    world.write("out/there", "hello");
    let arguments = ["--queue", QUEUE, "--rate", "20/s"];
    let Some((disk, worker)) = Disk::start_on(&world, "out", 1 << 20, &arguments) else { return };
    world.send(["put first text", "get @output there"]);
    worker.until_completed(2);
    disk.remount(&worker, "ro");
    let read = || "get @output there".to_owned();
    world.send((0..OBJECTS).flat_map(|index| [format!("put k{index} text"), read(), read()]));
    worker.until_logged(PAUSED);
    assert_eq!(world.dead(), Depth::EMPTY);
    disk.remount(&worker, "rw");
    wait_until("all objects are there", || keys(&disk.path(&worker)).len() == OBJECTS + 2);
    world.wait_until_empty();
    worker.stop();
    assert_eq!(world.dead(), Depth::EMPTY);
}

#[test]
fn s3_s_test_event_does_not_show_that_grants_are_right() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send([r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-28T00:00:00.000Z","Bucket":"b","RequestId":"r","HostId":"h"}"#]);
    for index in 0..8 {
        world.write(&format!("in/{index:02}"), "content");
    }
    world.announce();
    let output =
        mistyped(&world).arg("--until-empty").fails_with(4, "the store \"output\", which is not granted");
    assert_eq!((world.depth().total(), world.dead()), (8, Depth::EMPTY), "{output}");
}

#[test]
fn a_worker_that_is_told_to_stop_while_no_task_completes_succeeds() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["reject it"; 20]);
    let worker = world.run("misbehave").args(["--until-empty", "--instances", "1"]).start();
    worker.until_logged("slowing down to one message at a time");
    worker.stop();
}

/// S3 that refuses requests on demand.
#[derive(Clone, Default)]
struct Bucket {
    objects: Objects,
    refuses: Arc<Mutex<Option<Refuses>>>,
}

impl Bucket {
    fn serve(&self) -> Stub {
        let bucket = self.clone();
        Stub::answering(move |request| bucket.answer(request))
    }

    /// From now on, refuses only these requests.
    fn refuse(&self, refuses: Refuses) {
        *lock(&self.refuses) = Some(refuses);
    }

    fn answer(&self, request: &Request) -> Answer {
        match lock(&self.refuses).is_some_and(|refuses| refuses(request)) {
            true => Answer::s3_error(403, "AccessDenied"),
            false => self.objects.answer(request),
        }
    }

    /// Number of objects whose paths contain this text.
    fn count(&self, part: &str) -> usize {
        self.objects.paths().iter().filter(|path| path.contains(part)).count()
    }

    fn announced(&self, world: &World, keys: &[&str]) {
        world.send(keys.iter().map(|key| self.holds(key)));
    }

    /// Stores an object and returns the event that announces it.
    fn holds(&self, key: &str) -> String {
        self.objects.put(&format!("/photos/in/{key}"), format!("object {key}"));
        event("photos", &[json!({"key": format!("in/{key}")})]).to_string()
    }
}

fn on_s3(world: &World, stub: &Stub) -> Command {
    on_s3_from(QUEUE, world, stub).args(["--backoff", "100ms..1s"])
}

/// A worker on a scripted queue, which makes a message visible again only if its visibility is set to zero.
fn on_scripted(queue: &ScriptedSqs, world: &World, stub: &Stub) -> Command {
    on_s3_from(&queue.url(), world, stub).args(["--backoff", "0s..0s"]).env("AWS_REGION", "us-east-1")
}

fn on_s3_from(queue: &str, world: &World, stub: &Stub) -> Command {
    let command = world
        .wasmrun(["run", "--queue", queue, "--instances", "1"])
        .misbehaving("s3://photos/in:ro", "s3://photos/out:rw")
        .logging_tasks()
        .env("AWS_ENDPOINT_URL_S3", stub.endpoint());
    signed(command)
}

#[test]
fn a_role_that_loses_its_rights_costs_time_only() {
    let refused: [Refuses; 3] =
        [|_| true, |request| request.method == "PUT", |request| request.target.contains("/photos/in/")];
    for refuses in refused {
        let world = World::with_queue(&["--max-receives", "1"]);
        let (bucket, keys) = (Bucket::default(), ["a", "b", "c", "d", "e", "f"]);
        let stub = bucket.serve();
        bucket.announced(&world, &keys[..1]);
        let worker = on_s3(&world, &stub).start();
        worker.until_completed(1);
        bucket.refuse(refuses);
        bucket.announced(&world, &keys[1..]);
        worker.until_logged(PAUSED);
        bucket.refuse(|_| false);
        wait_until("all are written", || bucket.count("/out/") == keys.len());
        world.wait_until_empty();
        worker.stop();
        assert_eq!(world.dead(), Depth::EMPTY);
    }
}

/// Creates a queue of three messages whose objects are refused.
fn refused_messages(bucket: &Bucket) -> ScriptedSqs {
    bucket.refuse(|request| request.target.contains("/photos/in/a"));
    ScriptedSqs::holding(30, ["a1", "a2", "a3"].map(|key| bucket.holds(key).into()), |_| None)
}

#[test]
fn messages_on_sqs_are_not_received_again_and_again_while_a_right_is_missing() {
    let (world, bucket) = (World::new(), Bucket::default());
    let stub = bucket.serve();
    let queue = refused_messages(&bucket);
    let worker = on_scripted(&queue, &world, &stub).start();
    worker.until_logged_times(6, "\"task did not complete\"");
    // Two tasks failed before it was known that all do.
    assert!(queue.received() <= 5, "{}", queue.received());
    bucket.refuse(|_| false);
    wait_until("the queue is empty", || queue.depth() == [0, 0]);
    assert!(queue.received() <= 5, "{}", queue.received());
    worker.stop();
    assert_eq!(bucket.count("/out/"), 3);
}

#[test]
fn messages_that_wait_for_a_store_are_released_when_the_worker_stops() {
    let (world, bucket) = (World::new(), Bucket::default());
    let stub = bucket.serve();
    let queue = refused_messages(&bucket);
    let worker = on_scripted(&queue, &world, &stub).start();
    // The third message opened the circuit. It is held, probes and is held again, and so is the first, which is received
    // for the second probe. A message whose task is still running while the worker stops is retried after the pause,
    // which this queue doesn't do.
    worker.until_logged_times(3, HELD);
    assert_eq!((queue.received(), queue.depth()), (4, [1, 2]));
    worker.stop();
    assert_eq!(queue.depth(), [3, 0]);
}

#[test]
fn messages_that_cannot_be_held_for_long_are_released_uncounted_while_a_grant_is_missing() {
    let world = World::with_queue(&["--visibility-timeout", "2s", "--max-receives", "1"]);
    for index in 0..3 {
        world.write(&format!("in/{index}"), "content");
    }
    world.announce();
    let worker = mistyped(&world).args(["--max-visibility", "3s", "--timeout", "2s"]).start();
    worker.until_logged_times(6, "\"task did not complete\"");
    worker.stop();
    assert_eq!((world.depth().total(), world.dead()), (3, Depth::EMPTY));
}

#[test]
fn one_object_that_is_refused_among_others_is_its_message_s_own_matter_and_stops_nothing() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let bucket = Bucket::default();
    let stub = bucket.serve();
    bucket.refuse(|request| request.target.contains("/in/odd"));
    bucket.announced(&world, &["a", "odd-1", "odd-2", "odd-3", "odd-4", "odd-5", "b", "c"]);
    let output = on_s3(&world, &stub).arg("--until-empty").succeeds();
    assert_eq!(bucket.count("/out/"), 3, "{output}");
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::visible(5)), "{output}");
    assert!(output.logs_of(PAUSED).is_empty() && !output.to_string().contains(PAUSED), "{output}");
}

#[test]
fn a_worker_in_which_no_task_completes_slows_down_and_goes_on_at_once_when_one_does() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["reject it"; 9]);
    let worker = world.run("misbehave").args(["--instances", "1", "--status", "0"]).start();
    let address = worker.listens_on();
    worker.until_logged("slowing down to one message at a time");
    wait_until("it is not ready", || get(address, "/readyz").body.contains("no task has completed"));
    let metrics = get(address, "/metrics").body;
    assert!(metrics.contains("\nwasmrun_consecutive_failures 8\n"), "{metrics}");
    assert!(metrics.contains("\nwasmrun_circuit_open{cause=\"tasks\"} 1\n"), "{metrics}");
    assert!(world.dead().visible <= 8);
    world.send(["ok"]);
    worker.until_logged("resumed receiving at full speed");
    world.wait_until_empty();
    assert_eq!(world.dead(), Depth::visible(9));
    wait_until("it is ready", || get(address, "/readyz").status == 200);
    worker.stop();
}

#[test]
fn tasks_that_run_when_a_worker_slows_down_are_no_dead_letters() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["reject it"; 64]);
    let worker = world.run("misbehave").args(["--instances", "64"]).start();
    worker.until_logged("slowing down to one message at a time");
    worker.until_logged("still no task completes");
    worker.stop();
    let dead = world.dead().visible;
    assert!((7..=10).contains(&dead), "{dead} dead letters");
}

#[test]
fn a_worker_that_may_fail_for_ever_does_not_slow_down() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["reject it"; 50]);
    let output = world
        .run("misbehave")
        .args(["--until-empty", "--max-consecutive-failures", "off", "--instances", "1"])
        .succeeds();
    assert_eq!(world.dead(), Depth::visible(50), "{output}");
    assert!(!output.to_string().contains("slowing down"), "{output}");
}

#[test]
fn a_wrong_number_of_consecutive_failures_is_told() {
    for wrong in ["0", "-1", "many", "1.5", ""] {
        let world = World::new();
        let command = world.wasmrun(["run", "x.wasm", "--queue", QUEUE]);
        let output = command.arg(format!("--max-consecutive-failures={wrong}")).ends().exited_with(2);
        assert!(output.to_string().contains("expected a whole number above zero, or off"), "{output}");
    }
}

#[test]
fn a_worker_that_ends_with_the_queue_and_completes_nothing_tells_by_its_exit_code() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["reject it"; 9]);
    world
        .run("misbehave")
        .args(["--until-empty", "--instances", "1"])
        .fails_with(4, "no task has completed since the worker began; the last outcome: rejected (it)");
    assert_eq!(world.dead(), Depth::visible(9));
}
