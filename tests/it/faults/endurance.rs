//! SQS and S3 for a long time under load, with all services failing now and then.
//!
//! `cargo xtask endure` runs these at full length; otherwise they are short.

use crate::harness::{Amazon, Command, Output, Process, Proxy, World, field, wait_until, wait_within};
use rustix::process::Signal;
use sha2::{Digest, Sha256};
use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Selects the short or the full length.
fn length<T>(short: T, full: T) -> T {
    if std::env::var_os("WASMRUN_ENDURE").is_some() { full } else { short }
}

fn worker(world: &World, amazon: &Amazon, instances: usize) -> Command {
    let command = world
        .wasmrun(["run", "--queue", "jobs", "--instances", &instances.to_string()])
        .misbehaving("s3://bucket-in:ro", "s3://bucket-out:rw")
        .logging_tasks();
    amazon.environment(command).within(Duration::from_secs(900))
}

/// The expected output of `work KEY ROUNDS`.
fn digest(key: &str, rounds: usize) -> String {
    let hash = (0..rounds).fold(Sha256::digest(key), |hash, _| Sha256::digest(hash));
    format!("{hash:x}")
}

/// Sends `messages` messages, each of which writes one object.
fn send_work(amazon: &Amazon, queue: &str, messages: usize, rounds: usize) {
    amazon.send_all(queue, (0..messages).map(|index| format!("work k{index:05} {rounds}")));
}

#[track_caller]
fn all_work_is_done(amazon: &Amazon, queue: &str, messages: usize, rounds: usize) {
    let mut keys = amazon.keys("bucket-out");
    keys.sort();
    assert_eq!(keys.len(), messages);
    for key in &keys {
        let (content, _) = amazon.get("bucket-out", key).expect("an object");
        assert_eq!(String::from_utf8_lossy(&content), digest(key, rounds), "{key}");
    }
    assert_eq!(amazon.depth(queue), [0; 3]);
    assert_eq!(amazon.depth(&amazon.url("dead")), [0; 3]);
}

/// Number of completed tasks by message.
fn completions<'a>(outputs: impl IntoIterator<Item = &'a Output>) -> HashMap<String, usize> {
    let mut completions = HashMap::new();
    for log in outputs.into_iter().flat_map(Output::whole_logs) {
        if log["message"] == "task completed" {
            *completions.entry(field(&log, "message_id").to_owned()).or_default() += 1;
        }
    }
    completions
}

#[test]
fn kills_and_a_network_that_loses_a_twentieth_of_all_requests_lose_no_message() {
    let messages = length(500, 20_000);
    let pause = length(300_u64..900, 500..1_500);
    let Some((world, amazon, queue)) = Amazon::with_jobs(2, 1_000) else { return };
    let proxy = Proxy::to(amazon.address()).losing(5);
    send_work(&amazon, &queue, messages, 1);
    let given_up = Cell::new(0);
    // A worker whose first requests are lost too often exits and is started again, as an orchestrator would do.
    let start = || loop {
        let mut worker = worker(&world, &amazon, 8).env("AWS_ENDPOINT_URL", proxy.endpoint()).start();
        wait_until("it is ready or gives up", || worker.logged("\"ready\"") > 0 || !worker.runs());
        if worker.runs() {
            return worker;
        }
        worker.finish().exited_with(3);
        given_up.set(given_up.get() + 1);
    };
    let began = Instant::now();
    let mut workers = [start(), start()];
    let mut ended: Vec<Output> = Vec::new();
    let done = |ended: &[Output], workers: &[Process; 2]| {
        let before: usize = ended.iter().map(|output| completions([output]).len()).sum();
        before + workers.iter().map(Process::completed).sum::<usize>()
    };
    while ended.is_empty() || done(&ended, &workers) < messages * 9 / 10 {
        assert!(began.elapsed() < Duration::from_secs(800), "it takes too long");
        let victim = fastrand::usize(..workers.len());
        std::thread::sleep(Duration::from_millis(fastrand::u64(pause.clone())));
        ended.push(std::mem::replace(&mut workers[victim], start()).kill());
    }
    let kills = ended.len();
    // Takes some time, because messages that a killed worker held become visible only after the visibility timeout.
    wait_within(Duration::from_secs(600), "the queue is empty", || amazon.depth(&queue) == [0; 3]);
    for worker in &workers {
        worker.signal(Signal::TERM);
    }
    ended.extend(workers.map(|worker| worker.finish().succeeded()));
    all_work_is_done(&amazon, &queue, messages, 1);
    let completions = completions(&ended);
    let again = completions.values().filter(|count| **count > 1).count();
    println!(
        "{kills} kills and {} lost requests or answers among {messages} messages, in {:.0?}: {again} messages' tasks \
         completed more than once, and {} starts gave up",
        proxy.lost(),
        began.elapsed(),
        given_up.get()
    );
    assert!(kills > 0 && proxy.lost() > 0, "nothing was lost");
}

#[test]
fn services_that_fail_for_a_minute_cost_time_only() {
    let messages = length(300, 5_000);
    let outage = Duration::from_secs(length(4, 60));
    let Some((world, amazon, queue)) = Amazon::with_jobs(30, 3) else { return };
    let [sqs, s3] = [(); 2].map(|()| Proxy::to(amazon.address()));
    // Enough work that a worker isn't done before every service has failed once.
    let rounds = length(100_000, 20_000);
    send_work(&amazon, &queue, messages, rounds);
    let worker = worker(&world, &amazon, 8)
        .env("AWS_ENDPOINT_URL_SQS", sqs.endpoint())
        .env("AWS_ENDPOINT_URL_S3", s3.endpoint())
        .without_env("AWS_ENDPOINT_URL")
        .args(["--until-empty", "--timeout", "5m"])
        .start();
    worker.until_completed(1);
    for (service, proxy) in [("S3", &s3), ("SQS", &sqs)] {
        let completed = worker.completed();
        worker.until_completed(completed + messages / 10 + 1);
        let working = worker.logged("work again");
        let paused = worker.logged("receiving is still paused");
        proxy.cut();
        let cut_at = Instant::now();
        worker.until_logged_times(paused + 1, "receiving is still paused");
        // Waits for the duration of the outage.
        std::thread::sleep(outage.saturating_sub(cut_at.elapsed()));
        proxy.mend();
        if service == "S3" {
            worker.until_logged_times(working + 1, "work again");
        }
        println!("{service} was away for {:.0?}", cut_at.elapsed());
    }
    let output = worker.finish().succeeded();
    assert_eq!(output.summary()["dead_lettered"], 0, "{output}");
    all_work_is_done(&amazon, &queue, messages, rounds);
    let most = completions([&output]).values().copied().max();
    println!(
        "{messages} messages: {} tasks, a message's task completed {most:?} times at most",
        output.summary()["tasks"]
    );
}

#[test]
fn a_worker_with_many_tasks_and_a_long_poll_stops_in_time_and_keeps_nothing() {
    const RUNNING: usize = 64;
    // More than all pollers together could receive once.
    const LATE: usize = 200;
    const FREE: usize = 20;
    let Some((world, amazon, queue)) = Amazon::with_jobs(120, 1_000) else { return };
    amazon.send_all(&queue, (0..RUNNING).map(|_| "sleep 10000".to_owned()));
    let worker =
        worker(&world, &amazon, RUNNING + FREE).args(["--stop-timeout", "25s", "--memory", "8MiB"]).start();
    wait_until("all of them run", || amazon.depth(&queue) == [0, RUNNING as u64, 0]);
    worker.signal(Signal::TERM);
    worker.until_logged("stopping: running tasks");
    // The current long poll may receive some of these.
    amazon.send_all(&queue, (0..LATE).map(|_| "sleep 1".to_owned()));
    let began = Instant::now();
    let output = worker.finish().succeeded();
    assert!(began.elapsed() < Duration::from_secs(25), "{output}");
    assert_eq!(output.summary()["outcomes"]["completed"], RUNNING, "{output}");
    assert_eq!(output.summary()["tasks"], RUNNING, "{output}");
    assert_eq!(amazon.depth(&queue), [LATE as u64, 0, 0], "{output}");
    // Without the receive of this check itself.
    let receives: u32 = amazon.receive_counts(&queue).iter().map(|count| count - 1).sum();
    let pollers = (RUNNING + FREE).div_ceil(10);
    assert!(receives as usize <= 10 * pollers, "each of {pollers} pollers receives once at most: {receives}");
    println!("{LATE} messages came late: {receives} receives of such a message were given back");
}

#[test]
fn a_poison_message_does_not_keep_others_from_passing() {
    const GOOD: usize = 300;
    let Some((world, amazon, queue)) = Amazon::with_jobs(30, 3) else { return };
    let mut took = Vec::new();
    for poison in [0, 1] {
        amazon.send_all(&queue, (0..poison).map(|_| "panic on purpose".to_owned()));
        amazon.send_all(&queue, (0..GOOD).map(|_| "ok".to_owned()));
        let began = Instant::now();
        let worker = worker(&world, &amazon, 8).args(["--backoff", "8s..8s"]);
        // A worker that is ended by its stop timeout leaves a long poll behind, whose messages would be hidden from the
        // next worker.
        let worker =
            if poison == 0 { worker.arg("--until-empty") } else { worker.args(["--stop-timeout", "1s"]) };
        let worker = worker.start();
        worker.until_completed(GOOD);
        took.push(began.elapsed());
        if poison > 0 {
            // The message has been tried once or twice by now; other messages don't wait for it.
            assert_eq!(worker.logged("\"dead-lettered the message\""), 0);
            worker.until_logged("\"dead-lettered the message\"");
        }
        wait_until("all is settled", || amazon.depth(&queue) == [0; 3]);
        if poison > 0 {
            worker.signal(Signal::TERM);
        }
        let output = worker.finish().succeeded();
        assert_eq!(output.summary()["outcomes"]["completed"], GOOD, "{output}");
        assert_eq!(output.summary()["dead_lettered"], poison, "{output}");
    }
    let letters = amazon.dead_letters();
    let [(body, attributes)] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(body, "panic on purpose");
    let why: serde_json::Value = serde_json::from_str(&attributes["wasmrun"]).expect("JSON");
    assert_eq!((&why["outcome"], &why["receive_count"]), (&"trapped".into(), &3.into()), "{why}");
    println!("{GOOD} messages took {:.2?} alone, and {:.2?} beside one that fails", took[0], took[1]);
}
