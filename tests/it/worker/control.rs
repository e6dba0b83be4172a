//! An operator pauses a worker, lets it go on, and cancels messages.

use crate::harness::{Amazon, Command, Depth, Process, World, wait_until, why};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

const SOCKET: [&str; 2] = ["--control", "control.sock"];

/// Starts a worker with one instance and a control socket, and waits until it's ready.
fn started(world: &World, options: &[&str]) -> Process {
    let worker = world.run("misbehave").args(["--instances", "1", "--timeout", "10m"]).args(SOCKET);
    worker.args(options).start_ready()
}

fn control<'a>(world: &World, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    world.wasmrun(arguments).args(SOCKET)
}

#[test]
fn a_paused_worker_receives_nothing_until_it_is_resumed() {
    let world = World::with_queue(&[]);
    let worker = started(&world, &[]);
    control(&world, ["pause"]).succeeds();
    world.send(["ok"]);
    // Another worker, which isn't paused, gets the message.
    let other = world.run("misbehave").args(["--until-empty"]).succeeds();
    other.has_outcomes(&json!({"completed": 1}));
    world.send(["ok"]);
    control(&world, ["resume"]).succeeds();
    worker.until_completed(1);
    worker.stop().has_outcomes(&json!({"completed": 1}));
}

#[test]
fn a_pause_lets_the_running_task_end_and_keeps_the_next_message_in_the_queue_uncounted() {
    for options in [&[][..], &["--key", "group"]] {
        let world = World::with_queue(&[]);
        let worker = started(&world, options);
        world.send(["sleep 1000"]);
        wait_until("it runs", || world.depth().in_flight == 1);
        control(&world, ["pause"]).succeeds();
        world.send(["ok"]);
        worker.until_completed(1);
        wait_until("only the next message is left", || world.depth() == Depth::visible(1));
        let summary = worker.stop().summary();
        assert_eq!(summary["outcomes"], json!({"completed": 1}), "{options:?}");
        assert_eq!(world.peek("sqlite:jobs.db")[0]["receive_count"], 0);
    }
}

#[test]
fn a_pause_ends_the_long_poll_of_sqs() {
    let Some((world, amazon, queue)) = Amazon::with_jobs(120, 3) else { return };
    let worker = amazon.environment(world.run_on("jobs", "misbehave").args(SOCKET)).start_ready();
    amazon.send(&queue, "ok");
    worker.until_completed(1);
    control(&world, ["pause"]).succeeds();
    amazon.send(&queue, "ok");
    // What a receive under way had brought would be released with a receive count of 1.
    control(&world, ["resume"]).succeeds();
    worker.until_completed(2);
    worker.stop().has_outcomes(&json!({"completed": 2}));
}

#[test]
fn a_paused_worker_is_alive_and_not_ready_and_stops_on_a_signal() {
    let world = World::with_queue(&[]);
    let worker = started(&world, &["--status", "0"]);
    let address = worker.listens_on();
    control(&world, ["pause"]).succeeds();
    let answer = |path| crate::harness::get(address, path).status;
    assert_eq!((answer("/healthz"), answer("/readyz")), (200, 503));
    assert!(crate::harness::status(address)["ready"]["why"].to_string().contains("operator"));
    control(&world, ["resume"]).succeeds();
    wait_until("it is ready", || answer("/readyz") == 200);
    control(&world, ["pause"]).succeeds();
    worker.stop().summary();
    assert!(!world.path("control.sock").exists(), "the socket is removed");
}

#[test]
fn a_cancelled_task_ends_and_its_message_is_dead_lettered_retried_or_dropped() {
    for (then, dead) in [("dead-letter", 1), ("drop", 0), ("retry", 1)] {
        // With one receive, the queue's last, a retry becomes a dead letter with the reason.
        let world = World::with_queue(&["--max-receives", "1"]);
        world.send(["sleep-forever"]);
        let id = world.messages().remove(0).0;
        let worker = started(&world, &[]);
        wait_until("it runs", || world.depth().in_flight == 1);
        control(&world, ["cancel", &id, "--then", then]).succeeds();
        worker.until_logged("task did not complete");
        assert_eq!(worker.stop().summary()["outcomes"], json!({"cancelled": 1}), "{then}");
        assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::visible(dead)), "{then}");
        if dead == 1 {
            assert_eq!(why(&world.dead_letters()[0])["outcome"], "cancelled");
        }
    }
}

#[test]
fn a_message_that_waits_in_the_worker_is_cancelled_before_its_task_starts() {
    let world = World::with_queue(&["--max-receives", "3"]);
    world.send(["sleep 1500", "put started x"]);
    let id = world.messages().remove(1).0;
    let worker = started(&world, &["--key", "group"]);
    wait_until("both are held", || world.depth().in_flight == 2);
    control(&world, ["cancel", &id]).succeeds();
    control(&world, ["cancel", &id, "--then", "drop"]).fails_with(1, "--then dead-letter");
    wait_until("it is a dead letter", || world.dead() == Depth::visible(1));
    worker.stop().has_outcomes(&json!({"completed": 1, "cancelled": 1}));
    assert!(world.keys("out").is_empty(), "no task ran");
}

#[test]
fn a_cancellation_that_can_not_be_carried_out_is_refused_and_changes_nothing() {
    let world = World::with_queue(&["--dead-letter", "none"]);
    world.send(["sleep-forever"]);
    let id = world.messages().remove(0).0;
    let worker = started(&world, &["--stop-timeout", "100ms"]);
    wait_until("it runs", || world.depth().in_flight == 1);
    control(&world, ["cancel", "\u{1b}[2J'; DROP TABLE messages"]).ends().exited_with(1);
    control(&world, ["cancel", &id]).fails_with(1, "no dead-letter queue");
    control(&world, ["cancel", &id, "--then", "burn"]).ends().exited_with(2);
    assert_eq!(world.depth().in_flight, 1);
    worker.stop().summary();
    // No worker, or a file that isn't its socket.
    control(&world, ["pause"]).fails_with(3, "control.sock");
    world.write("control.sock", "mine");
    world.run("misbehave").args(SOCKET).fails_with(2, "control.sock");
    world.run("misbehave").args(SOCKET).arg("--check").fails_with(2, "control.sock");
    assert_eq!(world.read("control.sock"), b"mine");
    let long = "x".repeat(150);
    world.run("misbehave").args(["--control", &*long, "--check"]).fails_with(2, "107 bytes");
}

#[test]
fn no_guest_and_no_stranger_reaches_the_socket_and_what_comes_is_bounded() {
    let world = World::with_queue(&[]);
    // A guest that may write to the folder could replace the socket.
    let inside = world.run("misbehave").args(["--control", "out/control.sock"]);
    inside.fails_with(2, "out");
    let worker = started(&world, &[]);
    let socket = world.path("control.sock");
    assert_eq!(fs::metadata(&socket).expect("there").permissions().mode() & 0o777, 0o600);
    // Too much, no JSON, and nothing at all: each gets a refusal or none, and the next request is answered.
    for wrong in [vec![b'['; 100_000], b"{}\n".to_vec(), vec![]] {
        let mut stream = UnixStream::connect(&socket).expect("connected");
        // The worker may have hung up by now.
        let _ = stream.write_all(&wrong);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.contains("done"), "{answer}");
    }
    let _silent = [(); 4].map(|()| UnixStream::connect(&socket).expect("connected"));
    control(&world, ["pause"]).succeeds();
    // A worker that was killed leaves its socket, which the next one replaces. Two can't have the same.
    world.run("misbehave").args(SOCKET).fails_with(2, "another worker");
    worker.kill();
    assert!(socket.exists());
    let worker = started(&world, &[]);
    control(&world, ["resume"]).succeeds();
    worker.stop().summary();
}
