//! What a worker does when it is told to stop.

use crate::harness::{Amazon, Depth, Output, Process, World, wait_until};
use rustix::process::Signal;
use serde_json::json;
use std::time::{Duration, Instant};

/// Enough fuel that only time matters.
const UNLIMITED: [&str; 2] = ["--fuel", "1000000000000000"];

/// Starts a worker with two instances and two more messages than that, and waits until both instances have one.
fn busy_worker(world: &World, message: &str, options: &[&str]) -> Process {
    world.send([message; 4]);
    let worker = world.run("misbehave").args(["--instances", "2", "--timeout", "10m"]).args(options).start();
    wait_until("two messages are in flight", || world.depth().in_flight == 2);
    worker
}

/// Asserts that no message waits for its visibility timeout and that its delivery isn't counted.
fn assert_all_visible_and_uncounted(world: &World, messages: u64) {
    assert_eq!(world.depth(), Depth::visible(messages));
    for message in world.peek("sqlite:jobs.db") {
        assert_eq!(message["receive_count"], 0, "{message}");
    }
}

fn a_signal_drains(signal: Signal) {
    let world = World::with_queue(&[]);
    let worker = busy_worker(&world, "sleep 3000", &[]);
    worker.signal(signal);
    let output = worker.finish().succeeded();
    output.has_outcomes(&json!({"completed": 2}));
    assert_all_visible_and_uncounted(&world, 2);
}

#[test]
fn sigterm_lets_running_tasks_finish_and_leaves_the_other_messages_visible() {
    a_signal_drains(Signal::TERM);
}

#[test]
fn sigint_does_the_same() {
    a_signal_drains(Signal::INT);
}

fn released(worker: Process) -> Output {
    let output = worker.finish().succeeded();
    output.has_outcomes(&json!({"cancelled": 2}));
    output
}

#[test]
fn tasks_that_take_longer_than_the_stop_timeout_are_cancelled_and_their_messages_released() {
    let world = World::with_queue(&[]);
    let worker = busy_worker(&world, "sleep-forever", &["--stop-timeout", "300ms"]);
    worker.signal(Signal::TERM);
    let output = released(worker);
    assert!(output.to_string().contains("stop timeout expired"), "{output}");
    assert_all_visible_and_uncounted(&world, 4);
}

#[test]
fn a_second_signal_stops_at_once_even_guests_that_never_wait() {
    let world = World::with_queue(&[]);
    let worker = busy_worker(&world, "loop", &UNLIMITED);
    worker.signal(Signal::TERM);
    worker.until_logged("a second signal stops at once");
    let began = Instant::now();
    worker.signal(Signal::TERM);
    released(worker);
    // The stop timeout would be 25 seconds.
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_all_visible_and_uncounted(&world, 4);
}

#[test]
fn an_idle_worker_stops_at_once() {
    let world = World::with_queue(&[]);
    let worker = world.run("misbehave").start_ready();
    let began = Instant::now();
    let output = worker.stop();
    // The receive would wait for 20 seconds.
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(output.summary()["tasks"], 0);
}

#[test]
fn an_idle_worker_on_sqs_that_stops_hides_no_message() {
    let Some(amazon) = Amazon::start() else { return };
    let world = World::new();
    let queue = amazon.create_queue("jobs", 120, 3);
    let worker = amazon.environment(world.run_on("jobs", "misbehave")).start();
    // The worker is now polling, and continues to poll.
    worker.until_logged("\"ready\"");
    amazon.send(&queue, "ok");
    worker.until_completed(1);
    wait_until("it is idle", || amazon.depth(&queue) == [0; 3]);
    worker.stop();
    amazon.send(&queue, "ok");
    assert_eq!(amazon.depth(&queue), [1, 0, 0], "no poll is left that would take it");
    assert_eq!(amazon.receive_counts(&queue), [1]);
}

#[test]
fn an_idle_worker_notices_what_another_process_sends() {
    let world = World::with_queue(&[]);
    let worker = world.run("misbehave").start_ready();
    for round in 1..=3 {
        world.send(["ok"]);
        worker.until_completed(round);
    }
    worker.stop();
}

/// The lease of the running task is renewed, so no other worker receives its message.
#[test]
fn a_task_that_takes_longer_than_the_visibility_timeout_runs_once() {
    let world = World::with_queue(&["--visibility-timeout", "2s", "--max-receives", "1"]);
    world.send(["sleep 5000", "busy 5000"]);
    let workers = [(); 2]
        .map(|()| world.run("misbehave").args(["--until-empty", "--instances", "2"]).args(UNLIMITED).start());
    let tasks = workers.map(|worker| {
        let summary = worker.finish().succeeded().summary();
        summary["outcomes"]["completed"].as_u64().unwrap_or(0)
    });
    assert_eq!(tasks.iter().sum::<u64>(), 2);
    assert_eq!(world.dead(), Depth::EMPTY);
}

/// Like a closed laptop, a debugger or a migrated virtual machine: the clock continues, and other workers have received
/// the message by then.
#[test]
fn a_worker_that_was_suspended_leaves_alone_what_others_have_received() {
    let world = World::with_queue(&["--visibility-timeout", "2s", "--max-receives", "2"]);
    world.send(["sleep 4000"]);
    let suspended = world.run("misbehave").start();
    wait_until("it has the message", || world.depth().in_flight == 1);
    let database = world.database();
    database.busy_timeout(Duration::ZERO).expect("set");
    wait_until("it is suspended while it does not write", || {
        suspended.signal(Signal::STOP);
        wait_until("it is stopped", || is_stopped(&suspended));
        let is_free = database.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_ok();
        if !is_free {
            suspended.signal(Signal::CONT);
        }
        is_free
    });
    let other = world.run("misbehave").arg("--until-empty").start_ready();
    wait_until("the message is delivered again", || receives(&world) == 2);
    suspended.signal(Signal::CONT);
    let output = other.finish().succeeded();
    output.has_outcomes(&json!({"completed": 1}));
    assert_eq!(output.logs_of("task completed")[0]["receive_count"], 2);
    assert_eq!(world.depth(), Depth::EMPTY);
    assert_eq!(world.dead(), Depth::EMPTY);
    let output = suspended.stop();
    output.has_outcomes(&json!({"cancelled": 1}));
}

/// Whether all threads of the process are stopped.
fn is_stopped(process: &Process) -> bool {
    let threads = std::fs::read_dir(process.proc().join("task")).expect("the process is there");
    let mut stats =
        threads.map(|thread| std::fs::read_to_string(thread.expect("a thread").path().join("stat")));
    stats.all(|stat| stat.is_ok_and(|stat| stat.contains(") T ")))
}

/// Number of receives of the only message.
fn receives(world: &World) -> i64 {
    let database = world.database();
    let query = "SELECT coalesce(max(receive_count), 0) FROM messages WHERE queue = 'main'";
    database.query_row(query, [], |row| row.get(0)).expect("a number")
}
