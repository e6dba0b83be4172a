//! Whether a worker keeps its memory, descriptors, threads and speed: a million empty tasks, and twenty thousand hostile ones
//! among them.
//!
//!     cargo xtask bench soak
//!
//! The worker is the real program on a `sqlite:` queue, fed as fast as it works. Dead letters are deleted, so that the
//! queue's file doesn't grow. Once everything that was sent is settled, the worker's memory, descriptors and threads are
//! read: after the first tenth, in which pools and caches fill, and at the end. The CPU time of a task is compared between the tenths.

use crate::shared::{PATIENCE, Process, guests, sqlite, wasmrun, worker};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wasmrun_benches::{Arguments, number, report, system};
use wasmrun_local::sqlite::{DeadLetter, QueueSettings, SqliteQueue};
use wasmrun_runtime::model::message::{MAX_BATCH, OutgoingMessage};
use wasmrun_runtime::ports::queue::{Depth, Queue, Receipt};

/// One of this number of tasks is hostile.
const EACH: usize = 51;
const TENTHS: usize = 10;
/// The most messages that wait: the worker is measured, and not the size of the queue's file.
const WAITING: u64 = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The most that memory may grow by, and that a task's CPU time may change by between the second tenth and the last.
const MORE_MEMORY: f64 = 0.05;
const OTHER_CPU: f64 = 0.1;

/// Commands of the guest `misbehave`. Each fails, so that its message is dead-lettered.
const HOSTILE: &str = "\
    loop; memory-fill; recurse; recurse-host; panic here; abort; exit 0; unreachable; divide-by-zero; \
    out-of-bounds; alloc; leak-bodies; log-call 8000000; zeroes 65537; random 2000000; use-after-drop; \
    finish-twice; open-readers 1000 object; open-writers 1000 never-; exit-half-way half; \
    loop-host head; read-again object; write-on never; sleep-forever";
/// Low limits, so that a hostile task ends soon.
const LIMITS: &str = "--fuel 5000000 --memory 8MiB --timeout 500ms --log-size 1KiB --handles 32 --store-calls 100 \
    --read-size 1MiB --write-size 1MiB --object-size 1MiB --random-size 1MiB --call-size 1MiB --instances 4";

pub(crate) fn measure(arguments: &Arguments) {
    let size = arguments.size;
    // Threads that waited for a store end when they had nothing to do for a fifth of a second.
    let rest = size.pick(Duration::ZERO, Duration::from_secs(1));
    let (tasks, first) = size.pick((10 * EACH, EACH), (20_000 * EACH, 2_000 * EACH));
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(soak(directory.path(), tasks, first, rest));
}

async fn soak(directory: &Path, tasks: usize, first: usize, rest: Duration) {
    for folder in ["in", "out"] {
        fs::create_dir(directory.join(folder)).expect("a directory");
    }
    fs::write(directory.join("in/object"), vec![b'x'; 64 << 10]).expect("an object");
    let mut feed = Feed::create(&sqlite(&directory.join("jobs.db")));
    let mut worker = start(directory);
    worker.until("ready");
    feed.until(first).await;
    tokio::time::sleep(rest).await;
    let early = vitals(&worker);
    let mut each_us = Vec::new();
    for tenth in 1..=TENTHS {
        let (sent, cpu, began) = (feed.sent, system::cpu_of(worker.pid()), Instant::now());
        feed.until(tasks * tenth / TENTHS).await;
        let count = (feed.sent - sent) as f64;
        let each = (system::cpu_of(worker.pid()) - cpu).as_secs_f64() * 1e6 / count;
        each_us.push(each);
        eprintln!(
            "{} tasks, {:.0} a second, {each:.0} µs of CPU time each, {:.0} KiB resident …",
            feed.sent,
            count / began.elapsed().as_secs_f64(),
            vitals(&worker)[0],
        );
    }
    tokio::time::sleep(rest).await;
    let late = vitals(&worker);
    let summary = worker.stop();

    let hostile = tasks / EACH;
    assert_eq!(summary["tasks"], tasks, "{summary}");
    assert_eq!(summary["completed"], tasks - hostile, "{summary}");
    assert_eq!(summary["dead_lettered"], hostile, "{summary}");
    assert_eq!(feed.dead_letters, hostile);
    let row = |what: &str, early: f64, late: f64| json!({"what": what, "early": early, "late": late, "ratio": late / early});
    let rows = [
        row("resident memory, KiB", early[0], late[0]),
        row("descriptors", early[1], late[1]),
        row("threads", early[2], late[2]),
        row("CPU µs of a task, second and last tenth", each_us[1], each_us[TENTHS - 1]),
    ];
    let title = format!("{tasks} tasks, {hostile} of them hostile; early: after {first}.");
    report::print(&title, "= what | early = early:1 | at the end = late:1 | ratio = ratio:3", rows.clone());
    if !rest.is_zero() {
        assert_eq!(early[1..], late[1..], "descriptors and threads");
        let [memory, cpu] = [0, 3].map(|row: usize| number(&rows[row], "ratio"));
        assert!(memory <= 1.0 + MORE_MEMORY, "it holds {memory:.3} times the memory");
        assert!((cpu - 1.0).abs() <= OTHER_CPU, "a task computes {cpu:.3} times as much");
    }
}

/// Starts `wasmrun run`.
fn start(directory: &Path) -> Process {
    let mut command = wasmrun();
    command
        .current_dir(directory)
        .arg("run")
        .arg(guests::path("misbehave"))
        .args(["--queue", "sqlite:jobs.db", "--cache", "off", "--log-format", "json"])
        .args(["--store", "input=dir:in:ro", "--store", "output=dir:out:rw"])
        .args(["--send", "next=sqlite:jobs.db#next"])
        .args(["--usage", "usage.jsonl", "--usage-size", "16MiB"])
        .args(LIMITS.split_whitespace());
    Process::start(&mut command)
}

/// KiB of resident memory, open file descriptors, and threads of a worker.
fn vitals(worker: &Process) -> [f64; 3] {
    let folder = format!("/proc/{}", worker.pid());
    let status = system::read(&format!("{folder}/status"));
    let resident = system::size(&status, "VmRSS:").expect("a running worker");
    let [files, threads] = ["fd", "task"]
        .map(|name| fs::read_dir(format!("{folder}/{name}")).expect("a running worker").count());
    [resident as f64 / 1024.0, files as f64, threads as f64]
}

/// The queue before the worker, and the dead-letter queue behind it.
struct Feed {
    queue: SqliteQueue,
    dead: SqliteQueue,
    sent: usize,
    dead_letters: usize,
}

impl Feed {
    fn create(url: &str) -> Self {
        let settings = QueueSettings {
            dead_letter: Some(DeadLetter::Queue("dead".into())),
            max_receives: Some(1),
            ..QueueSettings::default()
        };
        let (queue, _) = SqliteQueue::create(url, &settings).expect("a queue");
        SqliteQueue::create(&format!("{url}#next"), &QueueSettings::default()).expect("a queue");
        let dead = SqliteQueue::open(&format!("{url}#dead")).expect("a queue");
        Self { queue, dead, sent: 0, dead_letters: 0 }
    }

    /// Sends messages until `tasks` were sent, and waits until all are settled.
    async fn until(&mut self, tasks: usize) {
        let (mut last, mut changed) = (Depth::default(), Instant::now());
        loop {
            self.delete_dead_letters().await;
            let depth = self.queue.depth().await.expect("a depth");
            if self.sent < tasks && depth.visible < WAITING {
                self.send(tasks.min(self.sent + WAITING as usize)).await;
            } else if depth.is_empty() {
                return self.delete_dead_letters().await;
            } else {
                if depth != last {
                    (last, changed) = (depth, Instant::now());
                }
                assert!(changed.elapsed() < PATIENCE, "the worker is stuck: {last:?}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn send(&mut self, tasks: usize) {
        let hostile: Vec<&str> = HOSTILE.split("; ").collect();
        while self.sent < tasks {
            let numbers = self.sent..tasks.min(self.sent + MAX_BATCH);
            let body = |number: usize| match number % EACH {
                0 => hostile[number / EACH % hostile.len()],
                _ => "ok",
            };
            let batch: Vec<OutgoingMessage> = numbers.map(|number| worker::message(body(number))).collect();
            for answer in self.queue.send(&batch).await {
                answer.expect("the queue takes it");
            }
            self.sent += batch.len();
        }
    }

    async fn delete_dead_letters(&mut self) {
        loop {
            let letters = self.dead.receive(MAX_BATCH, Duration::ZERO, &CancellationToken::new()).await;
            let letters = letters.expect("letters");
            let receipts: Vec<Receipt> = letters.into_iter().map(|letter| letter.receipt).collect();
            if receipts.is_empty() {
                return;
            }
            for answer in self.dead.delete(&receipts).await {
                answer.expect("the queue deletes it");
            }
            self.dead_letters += receipts.len();
        }
    }
}
