//! Slow connections, and connections that go silent without being closed. `endurance` and `amazon` test connections
//! that are refused or cut, or that lose data.

use crate::harness::{Amazon, Command, Proxy, World, wait_until};
use std::time::{Duration, Instant};

/// A worker that reaches SQS and S3 through these proxies.
fn worker(world: &World, amazon: &Amazon, sqs: &Proxy, s3: &Proxy) -> Command {
    let command = world
        .wasmrun(["run", "--queue", "jobs", "--until-empty"])
        .misbehaving("s3://bucket-in:ro", "s3://bucket-out:rw")
        .logging_tasks();
    amazon
        .environment(command)
        .without_env("AWS_ENDPOINT_URL")
        .env("AWS_ENDPOINT_URL_SQS", sqs.endpoint())
        .env("AWS_ENDPOINT_URL_S3", s3.endpoint())
}

/// A second receive would dead-letter a message, so messages held for longer than the visibility timeout must be
/// renewed.
#[test]
fn slow_connections_cost_time_only() {
    const SMALL: usize = 20;
    const LARGE: usize = 4;
    const LARGE_BYTES: usize = 120_000;
    const VISIBILITY_SECONDS: u32 = 6;
    let Some((world, amazon, queue)) = Amazon::with_jobs(VISIBILITY_SECONDS, 1) else { return };
    // Over this connection alone, each of these takes longer than the visibility timeout.
    amazon.notify("bucket-in", "jobs");
    amazon.put("bucket-in", "large", "x".repeat(LARGE_BYTES));
    let large = (1..LARGE).map(|index| format!("write-bytes {LARGE_BYTES} large{index}"));
    amazon.send_all(&queue, large.chain((0..SMALL).map(|index| format!("put small{index:02} x"))));
    // Includes the bucket's test event, which is acknowledged.
    let messages = SMALL + LARGE + 1;
    amazon.wait_for_messages(&queue, messages as u64);
    let [sqs, s3] = [20, 15].map(|ms| Proxy::to(amazon.address()).slow(Duration::from_millis(ms)));
    let began = Instant::now();
    let output = worker(&world, &amazon, &sqs, &s3).args(["--instances", "8"]).succeeds();
    assert!(began.elapsed() > Duration::from_secs(VISIBILITY_SECONDS.into()), "it was not slow: {output}");
    output.each_ran_once(messages);
    assert_eq!(amazon.depth(&queue), [0; 3], "{output}");
    assert_eq!(amazon.keys("bucket-out").len(), SMALL + LARGE);
    assert_eq!(amazon.get("bucket-out", "large1").expect("an object").0.len(), LARGE_BYTES);
}

/// A receive and a renewal are in progress when the connection goes silent. The renewal is abandoned after a quarter of
/// the visibility timeout, so that another renewal fits. The receive is abandoned ten seconds after it should have been
/// answered.
#[test]
fn a_queue_that_goes_silent_is_given_up_and_costs_time_only() {
    const MESSAGES: usize = 4;
    let Some((world, amazon, queue)) = Amazon::with_jobs(12, 1) else { return };
    let [sqs, s3] = [(); 2].map(|()| Proxy::to(amazon.address()));
    // Longer than the visibility timeout: without renewals the messages would be received again.
    amazon.send_all(&queue, (0..MESSAGES).map(|_| "sleep 13000".to_owned()));
    let worker = worker(&world, &amazon, &sqs, &s3).args(["--instances", "8"]).start();
    wait_until("all of them run", || amazon.depth(&queue) == [0, MESSAGES as u64, 0]);
    sqs.silence();
    let began = Instant::now();
    worker.until_logged("the queue does not answer in time");
    sqs.mend();
    let output = worker.finish().succeeded();
    let took = began.elapsed();
    output.each_ran_once(MESSAGES);
    assert_eq!(amazon.depth(&queue), [0; 3], "{output}");
    assert!(took < Duration::from_secs(45), "{took:?}: {output}");
}

#[test]
fn a_store_that_goes_silent_is_given_up_and_costs_time_only() {
    const MESSAGES: usize = 40;
    let Some((world, amazon, queue)) = Amazon::with_jobs(30, 20) else { return };
    let [sqs, s3] = [(); 2].map(|()| Proxy::to(amazon.address()));
    // Computes and writes, so that the worker isn't done before the disturbance.
    amazon.send_all(&queue, (0..MESSAGES).map(|index| format!("work k{index:02} 100000")));
    let worker = worker(&world, &amazon, &sqs, &s3)
        .args(["--instances", "3", "--timeout", "3s", "--backoff", "100ms..1s"])
        .start();
    worker.until_completed(1);
    s3.silence();
    worker.until_logged("paused receiving: a store or a queue fails");
    s3.mend();
    let output = worker.finish().succeeded();
    assert!(output.stderr.iter().any(|line| line.contains("work again")), "{output}");
    let summary = output.summary();
    assert!(summary["outcomes"]["host-failed"].as_u64() > Some(0), "{output}");
    assert_eq!(summary["outcomes"]["completed"], MESSAGES, "{output}");
    assert_eq!(summary["dead_lettered"], 0, "{output}");
    assert_eq!(amazon.depth(&queue), [0; 3], "{output}");
    assert_eq!(amazon.keys("bucket-out").len(), MESSAGES, "{output}");
}
