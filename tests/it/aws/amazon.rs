//! SQS and S3 on a local stand-in.

use crate::harness::{Amazon, Command, World, arn, field, guest, photograph, wait_until};
use rustix::process::Signal;
use sha2::{Digest, Sha256};
use std::time::Instant;

/// A world, and a server with two buckets and the queue `jobs`.
struct Cloud {
    world: World,
    amazon: Amazon,
    queue: String,
}

impl Cloud {
    /// Returns `None` if there is no server to test against.
    fn with_queue(visibility_seconds: u32, max_receives: u32) -> Option<Self> {
        Some(Self::on(Amazon::start()?, visibility_seconds, max_receives))
    }

    fn on(amazon: Amazon, visibility_seconds: u32, max_receives: u32) -> Self {
        let queue = amazon.create_jobs(visibility_seconds, max_receives);
        Self { world: World::new(), amazon, queue }
    }

    fn run(&self, component: &str) -> Command {
        self.run_on(component, &self.queue)
    }

    /// Creates a worker whose guests read from one bucket and write to the other.
    fn run_on(&self, component: &str, queue: &str) -> Command {
        let command = self
            .world
            .wasmrun(["run", "--queue", queue])
            .arg(guest(component))
            .logging_tasks()
            .args(["--store", "input=s3://bucket-in/from:ro", "--store", "output=s3://bucket-out/to:rw"])
            .args(["--send", &format!("next={}", self.queue.replace("/jobs", "/next"))]);
        self.amazon.environment(command)
    }

    /// Creates the queue that `misbehave` may send to.
    fn with_next(self) -> Self {
        let request = self.amazon.sqs.create_queue().queue_name("next");
        self.amazon.wait(request.send()).expect("a queue");
        self
    }

    fn digest_of(&self, key: &str) -> Option<String> {
        let (content, _) = self.amazon.get("bucket-out", key)?;
        Some(String::from_utf8(content).expect("text"))
    }
}

/// Runs on each server whose buckets notify queues.
#[test]
fn a_photograph_that_is_put_into_a_bucket_becomes_a_thumbnail_in_another() {
    for server in [Amazon::start, Amazon::moto] {
        let Some(cloud) = server().map(|amazon| Cloud::on(amazon, 30, 3)) else { return };
        becomes_a_thumbnail(&cloud.with_next());
    }
}

fn becomes_a_thumbnail(cloud: &Cloud) {
    cloud.amazon.notify("bucket-in", "jobs");
    cloud.amazon.put("bucket-in", "from/a coffee+cup ü.jpg", photograph());
    cloud.amazon.wait_for_messages(&cloud.queue, 1);
    let output = cloud.run("thumbnail").args(["--until-empty", "--env", "MAX_SIDE=320"]).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], output.summary()["tasks"], "{output}");
    let keys = cloud.amazon.keys("bucket-out");
    assert_eq!(keys, ["to/a coffee+cup ü.jpg.jpg"], "{output}");
    let (thumbnail, content_type) = cloud.amazon.get("bucket-out", &keys[0]).expect("a thumbnail");
    assert_eq!(content_type.as_deref(), Some("image/jpeg"));
    assert!(thumbnail.starts_with(&[0xff, 0xd8]), "a JPEG");
    assert_eq!(cloud.amazon.depth(&cloud.queue), [0; 3]);
}

#[test]
fn a_queue_is_found_by_its_url_its_arn_and_its_name() {
    let Some(cloud) = Cloud::with_queue(30, 3) else { return };
    let cloud = cloud.with_next();
    let url = cloud.amazon.url("jobs");
    for address in [url.as_str(), &arn("jobs"), "jobs"] {
        cloud.amazon.send(&cloud.queue, "ok");
        let output = cloud.run_on("misbehave", address).arg("--until-empty").succeeds();
        assert_eq!(output.summary()["outcomes"]["completed"], 1, "{address}: {output}");
    }
    // The URL of a server other than AWS names where it is.
    cloud.amazon.send(&cloud.queue, "ok");
    let by_url = cloud.run_on("misbehave", &url).arg("--until-empty").without_env("AWS_ENDPOINT_URL");
    let output = by_url.env("AWS_ENDPOINT_URL_S3", &cloud.amazon.endpoint).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
    let unknown = cloud.run_on("misbehave", &arn("unknown")).fails_with(3, "there is no such queue");
    assert!(unknown.error().contains("unknown"), "{unknown}");
    let nowhere = cloud.run_on("misbehave", "jobs").without_env("AWS_REGION").without_env("AWS_ENDPOINT_URL");
    nowhere.fails_with(3, "set AWS_REGION");
}

#[test]
fn a_task_that_takes_longer_than_the_visibility_timeout_runs_once() {
    let Some(cloud) = Cloud::with_queue(6, 3) else { return };
    let cloud = cloud.with_next();
    cloud.amazon.send(&cloud.queue, "sleep 20000");
    let output = cloud.run("misbehave").args(["--until-empty", "--instances", "2"]).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
    assert_eq!(output.summary()["tasks"], 1, "{output}");
    assert_eq!(cloud.amazon.depth(&cloud.queue), [0; 3]);
}

#[test]
fn a_poison_message_goes_to_the_dead_letter_queue_with_its_reason() {
    let Some(cloud) = Cloud::with_queue(30, 2) else { return };
    let cloud = cloud.with_next();
    for body in ["panic on purpose", "reject never", "ok"] {
        cloud.amazon.send(&cloud.queue, body);
    }
    let output = cloud.run("misbehave").args(["--until-empty", "--backoff", "1s..1s"]).succeeds();
    assert_eq!(output.summary()["dead_lettered"], 2, "{output}");
    let mut letters = cloud.amazon.dead_letters();
    letters.sort_by(|one, other| one.0.cmp(&other.0));
    let [(panicked, why_panicked), (rejected, why_rejected)] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((panicked.as_str(), rejected.as_str()), ("panic on purpose", "reject never"));
    let why: serde_json::Value = serde_json::from_str(&why_panicked["wasmrun"]).expect("JSON");
    assert_eq!((&why["outcome"], &why["receive_count"]), (&"trapped".into(), &2.into()), "{why}");
    assert!(why_rejected["wasmrun"].contains("never"), "{why_rejected:?}");
    assert_eq!(cloud.amazon.depth(&cloud.queue), [0; 3]);
}

#[test]
fn objects_of_any_size_pass_through_a_task_whose_memory_is_small() {
    let Some(cloud) = Cloud::with_queue(30, 3) else { return };
    let cloud = cloud.with_next();
    cloud.amazon.notify("bucket-in", "jobs");
    let large: Vec<u8> = (0..30_000_000_u32).map(|index| (index % 251) as u8).collect();
    let sizes = [("empty", 0), ("part", 8 << 20), ("over", (8 << 20) + 1), ("large", large.len())];
    for (key, size) in sizes {
        cloud.amazon.put("bucket-in", &format!("from/{key}"), &large[..size]);
    }
    cloud.amazon.wait_for_messages(&cloud.queue, 4);
    let output = cloud.run("misbehave").args(["--until-empty", "--memory", "4MiB"]).succeeds();
    for (key, size) in sizes {
        let digest = Sha256::digest(&large[..size]);
        assert_eq!(
            cloud.digest_of(&format!("to/{key}")),
            Some(format!("{digest:x} {size}\n")),
            "{key}: {output}"
        );
    }
    cloud.amazon.send(&cloud.queue, "write-bytes 30000000 written");
    cloud.amazon.send(&cloud.queue, "writer-unfinished never");
    let output = cloud.run("misbehave").args(["--until-empty", "--memory", "4MiB"]).succeeds();
    cloud.amazon.send(&cloud.queue, "open-writers 5 never-");
    let many = cloud.run("misbehave").args(["--until-empty", "--on", "limit-exceeded=drop"]).succeeds();
    assert_eq!(many.summary()["limits"]["handles"], 1, "{many}");
    // Data that arrives for readers is held, too.
    cloud.amazon.send(&cloud.queue, "open-readers 8 large");
    cloud.amazon.send(&cloud.queue, "open-readers 9 large");
    let readers = cloud.run("misbehave").args(["--until-empty", "--on", "limit-exceeded=drop"]).succeeds();
    readers.has_outcomes(&serde_json::json!({"completed": 1, "limit-exceeded": 1}));
    let (written, _) = cloud.amazon.get("bucket-out", "to/written").unwrap_or_else(|| panic!("{output}"));
    assert_eq!(written.len(), 30_000_000);
    assert!(cloud.amazon.get("bucket-out", "to/never").is_none());
    assert_eq!(cloud.amazon.unfinished("bucket-out"), 0, "{output}");
}

#[test]
fn a_worker_that_is_told_to_stop_ends_its_tasks_and_keeps_no_message_from_others() {
    let Some(cloud) = Cloud::with_queue(60, 1000) else { return };
    let cloud = cloud.with_next();
    for _ in 0..20 {
        cloud.amazon.send(&cloud.queue, "sleep 1500");
    }
    let worker = cloud.run("misbehave").args(["--instances", "8", "--stop-timeout", "25s"]).start();
    wait_until("all instances are taken", || cloud.amazon.depth(&cloud.queue)[1] >= 8);
    worker.signal(Signal::TERM);
    let began = Instant::now();
    let output = worker.finish().succeeded();
    assert!(began.elapsed().as_secs() < 25, "{output}");
    let completed = output.summary()["outcomes"]["completed"].as_u64().expect("a number");
    assert!((8..20).contains(&completed), "{output}");
    assert_eq!(cloud.amazon.depth(&cloud.queue), [20 - completed, 0, 0], "{output}");
}

#[test]
fn credentials_reach_neither_the_log_nor_the_guest() {
    let Some(cloud) = Cloud::with_queue(30, 3) else { return };
    let cloud = cloud.with_next();
    cloud.amazon.send(&cloud.queue, "env");
    let output = cloud
        .run("misbehave")
        .env("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-the-worker")
        .env("AWS_SESSION_TOKEN", "t0ken-of-the-worker")
        .args(["--until-empty", "--on", "rejected=drop", "--log", "trace"])
        .succeeds();
    for secret in ["s3cr3t-of-the-worker", "t0ken-of-the-worker"] {
        assert!(!output.stderr.iter().any(|line| line.contains(secret)), "{output}");
    }
}

#[test]
fn a_fifo_queue_of_sqs_keeps_the_order_of_each_group() {
    let Some(cloud) = Cloud::with_queue(30, 3) else { return };
    let cloud = cloud.with_next();
    let queue = cloud.amazon.wait(async {
        use aws_sdk_sqs::types::QueueAttributeName::{FifoQueue, VisibilityTimeout};
        let request =
            cloud.amazon.sqs.create_queue().queue_name("ordered.fifo").attributes(FifoQueue, "true");
        let created = request.attributes(VisibilityTimeout, "30").send().await.expect("a queue");
        let queue = created.queue_url.expect("a URL");
        for number in 0..12 {
            let send =
                cloud.amazon.sqs.send_message().queue_url(&queue).message_body(format!("log 1 n{number}"));
            let send = send
                .message_group_id(format!("group-{}", number % 3))
                .message_deduplication_id(number.to_string());
            send.send().await.expect("sent");
        }
        queue
    });
    let output = cloud
        .run_on("misbehave", &queue)
        .args(["--until-empty", "--instances", "8", "--on", "rejected=drop"])
        .succeeds();
    assert_eq!(output.summary()["tasks"], 12, "{output}");
    let guest_lines = output.logs_of("Guest");
    let numbers: Vec<usize> = guest_lines
        .iter()
        .map(|line| field(line, "text").trim_start_matches('n').parse().expect("a number"))
        .collect();
    assert_eq!(numbers.len(), 12, "{output}");
    for group in 0..3 {
        let of_group: Vec<usize> = numbers.iter().copied().filter(|number| number % 3 == group).collect();
        assert!(of_group.is_sorted(), "{of_group:?}");
    }
}

#[test]
fn a_body_that_was_too_large_for_a_message_is_fetched_from_its_store() {
    let Some(cloud) = Cloud::with_queue(30, 3) else { return };
    let cloud = cloud.with_next();
    cloud.amazon.create_bucket("bodies");
    cloud.amazon.put("bodies", "large/one", format!("ok {}", "x".repeat(3 << 20)));
    cloud.amazon.put("bodies", "other/two", "ok");
    let pointer = |key: &str| {
        let class = "software.amazon.payloadoffloading.PayloadS3Pointer";
        serde_json::json!([class, {"s3BucketName": "bodies", "s3Key": key}]).to_string()
    };
    cloud.amazon.send(&cloud.queue, &pointer("large/one"));
    cloud.amazon.send(&cloud.queue, &pointer("other/two"));
    let run = cloud.run("misbehave").args(["--until-empty", "--body-store", "s3://bodies/large"]);
    let output = run.succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
    assert_eq!(output.summary()["outcomes"]["rejected"], 1, "{output}");
    let letters = cloud.amazon.dead_letters();
    assert_eq!(letters[0].0, pointer("other/two"), "the letter is the message as it came");
    assert!(letters[0].1["wasmrun"].contains("outside of the body store"), "{letters:?}");

    cloud.amazon.send(&cloud.queue, &pointer("large/one"));
    let small = cloud.run("misbehave").args(["--until-empty", "--body-store", "s3://bodies/large"]);
    let small = small.args(["--body-size", "2MiB"]).succeeds();
    let lines = small.logs_of("task did not complete");
    assert!(field(&lines[0], "reason").contains("--body-size"), "{small}");
    let missing = cloud.run("misbehave").args(["--body-store", "s3://no-such-bucket"]);
    missing.fails_with(3, "cannot use the store s3://no-such-bucket");
    let local = cloud.run("misbehave").args(["--body-store", "dir:in"]);
    local.fails_with(2, "the body store \"dir:in\" is not in S3");
}
