//! `--once` on SQS and S3 under kills, as `once` shows it on disk.

use super::killing::{assert_outputs_of_one_run, killed_at_random_moments, seeded};
use super::once::SETTLED;
use crate::harness::{Amazon, Process, World, wait_until, wait_within};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

const ORDERS: usize = 60;
const KILLS: usize = 10;
/// A claim holds for two of these and a minute.
const TIMEOUT: &str = "2s";

fn start(world: &World, amazon: &Amazon, queue: &str) -> Process {
    let worker = world.wasmrun(["run", "--queue", queue, "--instances", "4", "--backoff", "10ms..50ms"]);
    let worker = worker.misbehaving("s3://bucket-in/from:ro", "s3://bucket-out/to:rw");
    let worker = worker.args(["--once", "s3://bucket-ledger/jobs", "--once-by", "attribute:order"]);
    let worker = worker.args(["--timeout", TIMEOUT]).logging_tasks();
    amazon.environment(worker).within(Duration::from_secs(600)).start()
}

#[test]
fn kills_at_random_moments_leave_each_key_the_outputs_of_one_committed_run_in_s3() {
    let mut random = seeded();
    let Some((world, amazon, queue)) = Amazon::with_jobs(2, 1_000) else { return };
    amazon.create_bucket("bucket-ledger");
    let message = |order: usize| (format!("put-nonce {order}/first {order}/second/deep"), order.to_string());
    amazon.send_all_with(&queue, "order", (0..3).flat_map(|_| (0..ORDERS).map(message)));
    let lines = (&SETTLED[..], ORDERS * 27 / 10);
    let start = || start(&world, &amazon, &queue);
    let (_, workers) = killed_at_random_moments(&mut random, KILLS, lines, start);
    // Another message of a killed worker's key waits until its claim is over.
    wait_within(Duration::from_secs(300), "the queue is empty", || amazon.depth(&queue) == [0; 3]);
    let text = |key: String| {
        let (content, _) = amazon.get("bucket-out", &key).unwrap_or_else(|| panic!("no {key}"));
        String::from_utf8(content).expect("text")
    };
    let outputs = |order: usize| ["first", "second/deep"].map(|name| text(format!("to/{order}/{name}")));
    let written = amazon.keys("bucket-out").into_iter();
    let written: Vec<_> =
        written.filter_map(|key| Some(key.strip_prefix("to/nonces/")?.to_owned())).collect();
    assert_outputs_of_one_run((0..ORDERS).map(outputs), &written);
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
