//! `--once` on SQS and S3 under kills, as `once` shows it on disk.

use super::crashes::seeded;
use crate::harness::{Amazon, Process, World, guest, wait_until, wait_within};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const ORDERS: usize = 60;
const KILLS: usize = 10;
/// A claim holds for two of these and a minute.
const TIMEOUT: &str = "2s";
const SETTLED: [&str; 2] = ["\"task completed\"", "\"repeated\""];

fn start(world: &World, amazon: &Amazon, queue: &str) -> Process {
    let worker = world.wasmrun(["run", "--queue", queue, "--instances", "4", "--backoff", "10ms..50ms"]);
    let worker = worker.arg(guest("misbehave")).args(["--timeout", TIMEOUT, "--send", "next=sqlite:next.db"]);
    let worker = worker.args(["--store", "input=s3://bucket-in/from:ro"]);
    let worker = worker.args(["--store", "output=s3://bucket-out/to:rw"]);
    let worker = worker.args(["--once", "s3://bucket-ledger/jobs", "--once-by", "attribute:order"]);
    let worker = worker.env("WASMRUN_LOG", "info,wasmrun_runtime=debug");
    amazon.environment(worker).within(Duration::from_secs(600)).start()
}

fn settled(worker: &Process) -> usize {
    SETTLED.iter().map(|line| worker.logged(line)).sum()
}

#[test]
fn kills_at_random_moments_leave_each_key_the_outputs_of_one_committed_run_in_s3() {
    let mut random = seeded();
    let Some((world, amazon, queue)) = Amazon::with_jobs(2, 1_000) else { return };
    amazon.create_bucket("bucket-ledger");
    let message = |order: usize| (format!("put-nonce {order}/first {order}/second/deep"), order.to_string());
    amazon.send_all_with(&queue, "order", (0..3).flat_map(|_| (0..ORDERS).map(message)));
    let mut moments: Vec<usize> = (0..KILLS).map(|_| random.usize(..ORDERS * 27 / 10)).collect();
    moments.sort_unstable();
    let mut done = 0;
    let mut workers = vec![start(&world, &amazon, &queue), start(&world, &amazon, &queue)];
    for moment in moments {
        wait_within(Duration::from_secs(300), "enough messages are settled", || {
            done + workers.iter().map(settled).sum::<usize>() >= moment
        });
        std::thread::sleep(Duration::from_micros(random.u64(..50_000)));
        let victim = random.usize(..workers.len());
        done += settled(&workers[victim]);
        workers.swap_remove(victim).kill();
        workers.push(start(&world, &amazon, &queue));
    }
    // Another message of a killed worker's key waits until its claim is over.
    wait_within(Duration::from_secs(300), "the queue is empty", || amazon.depth(&queue) == [0; 3]);
    check_outputs(&amazon);
    let staged = || amazon.keys("bucket-ledger").iter().filter(|key| key.contains("/staged/")).count();
    wait_within(Duration::from_secs(180), "what crashes left is swept", || staged() == 0);
    for worker in &workers {
        worker.signal(Signal::TERM);
    }
    for worker in workers {
        worker.finish().succeeded();
    }
    wait_until("nothing is left to do", || staged() == 0);
    let states =
        amazon.keys("bucket-ledger").into_iter().filter(|key| key.contains("/entries/")).map(|key| {
            let (content, _) = amazon.get("bucket-ledger", &key).expect("an entry");
            serde_json::from_slice::<Value>(&content).expect("JSON")["state"].clone()
        });
    assert_eq!(states.collect::<Vec<_>>(), vec!["completed"; ORDERS]);
}

/// Each order has both outputs with the nonce of one run, and no output of another run appeared.
fn check_outputs(amazon: &Amazon) {
    let text = |key: String| {
        let (content, _) = amazon.get("bucket-out", &key).unwrap_or_else(|| panic!("no {key}"));
        String::from_utf8(content).expect("text")
    };
    let mut nonces = BTreeSet::new();
    for order in 0..ORDERS {
        let (first, second) = (text(format!("to/{order}/first")), text(format!("to/{order}/second/deep")));
        assert_eq!(first, second, "order {order} has outputs of two runs");
        nonces.insert(first);
    }
    let written = amazon.keys("bucket-out").into_iter();
    let written: BTreeSet<String> =
        written.filter_map(|key| Some(key.strip_prefix("to/nonces/")?.to_owned())).collect();
    assert_eq!(written.len(), ORDERS, "another run has written its own object");
    assert_eq!(written, nonces);
}
