//! Whether a worker stays what it is: a million empty tasks, and among them twenty thousand hostile ones.
//!
//!     cargo xtask bench soak
//!
//! The worker is the real program on a `sqlite:` queue, fed as fast as it works; dead letters are taken away, so that
//! the queue's file doesn't grow. When everything that was sent is settled, the worker's memory, descriptors and threads
//! are looked at: after the first ten thousand tasks, and at the end. What it computed for a task is compared between
//! the tenths of the whole.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wasmrun_benches::guests;
use wasmrun_benches::proc;
use wasmrun_benches::run::{self, Size};
use wasmrun_local::sqlite::{DeadLetter, QueueSettings, SqliteQueue};
use wasmrun_runtime::model::message::{MAX_BATCH, OutgoingMessage};
use wasmrun_runtime::ports::queue::{Depth, Queue, Receipt};

/// One task among so many is hostile.
const EACH: usize = 51;
const TASKS: usize = 20_000 * EACH;
const FIRST: usize = 10_000;
const TENTHS: usize = 10;
/// So many messages wait at most: what is measured is the worker and not the size of the queue's file.
const WAITING: u64 = 2_000;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// At most this part more is resident at the end.
const MORE_MEMORY: f64 = 0.05;
/// By at most this part a task's CPU time differs between the second tenth and the last.
const OTHER_CPU: f64 = 0.1;
/// Threads that blocked for a store end when they had nothing to do for a fifth of a second.
const REST: Duration = Duration::from_secs(1);
/// For what should have been over long ago.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the guest `misbehave` is told, one after the other. Each fails, so that its message is dead-lettered.
const HOSTILE: [&str; 24] = [
    "loop",
    "memory-fill",
    "recurse",
    "recurse-host",
    "panic here",
    "abort",
    "exit 0",
    "unreachable",
    "divide-by-zero",
    "out-of-bounds",
    "alloc",
    "leak-bodies",
    "log-call 8000000",
    "zeroes 65537",
    "random 2000000",
    "use-after-drop",
    "finish-twice",
    "open-readers 1000 object",
    "open-writers 1000 never-",
    "exit-half-way half",
    "loop-host head",
    "read-again object",
    "write-on never",
    "sleep-forever",
];
/// Low, so that a hostile task ends soon.
const LIMITS: [&str; 24] = [
    "--fuel",
    "5000000",
    "--memory",
    "8MiB",
    "--timeout",
    "500ms",
    "--log-size",
    "1KiB",
    "--handles",
    "32",
    "--store-calls",
    "100",
    "--read-size",
    "1MiB",
    "--write-size",
    "1MiB",
    "--object-size",
    "1MiB",
    "--random-size",
    "1MiB",
    "--call-size",
    "1MiB",
    "--instances",
    "4",
];

fn main() {
    let (tasks, first, rest) = match run::size("soak") {
        None => return,
        Some(Size::Quick) => (10 * EACH, EACH, Duration::ZERO),
        Some(Size::Full) => (TASKS, FIRST, REST),
    };
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(soak(directory.path(), tasks, first, rest));
}

async fn soak(directory: &Path, tasks: usize, first: usize, rest: Duration) {
    for folder in ["in", "out"] {
        fs::create_dir(directory.join(folder)).expect("a directory");
    }
    fs::write(directory.join("in/object"), vec![b'x'; 64 << 10]).expect("an object");
    let url = format!("sqlite:{}", directory.join("jobs.db").display());
    let settings = QueueSettings {
        dead_letter: Some(DeadLetter::Queue("dead".into())),
        max_receives: Some(1),
        ..QueueSettings::default()
    };
    let (queue, _) = SqliteQueue::create(&url, &settings).expect("a queue");
    SqliteQueue::create(&format!("{url}#next"), &QueueSettings::default()).expect("a queue");
    let dead = SqliteQueue::open(&format!("{url}#dead")).expect("a queue");
    let mut feed = Feed { queue, dead, sent: 0, dead_letters: 0 };
    let worker = Worker::start(directory);
    feed.until(first).await;
    tokio::time::sleep(rest).await;
    let early = worker.vitals();
    let mut each_us = Vec::new();
    for tenth in 1..=TENTHS {
        let (sent, cpu, began) = (feed.sent, worker.cpu_seconds(), Instant::now());
        feed.until(tasks * tenth / TENTHS).await;
        let count = (feed.sent - sent) as f64;
        let each = (worker.cpu_seconds() - cpu) * 1e6 / count;
        each_us.push(each);
        eprintln!(
            "{} tasks, {:.0} a second, {each:.0} us of CPU each, {} KiB resident …",
            feed.sent,
            count / began.elapsed().as_secs_f64(),
            worker.vitals().resident >> 10,
        );
    }
    tokio::time::sleep(rest).await;
    let late = worker.vitals();
    let summary = worker.end(directory);

    let hostile = tasks / EACH;
    assert_eq!(summary["tasks"], tasks, "{summary}");
    assert_eq!(summary["completed"], tasks - hostile, "{summary}");
    assert_eq!(summary["dead_lettered"], hostile, "{summary}");
    assert_eq!(feed.dead_letters, hostile);
    let print = |what: &str, early: f64, late: f64| {
        println!("{what:<36} {early:>10.1} {late:>10.1} {:>9.3}", late / early);
    };
    println!("{tasks} tasks, {hostile} of them hostile");
    println!("{:<36} {:>10} {:>10} {:>9}", format!("after {first} and at the end"), "", "", "ratio");
    print("resident memory, KiB", early.resident as f64 / 1024.0, late.resident as f64 / 1024.0);
    print("descriptors", early.files as f64, late.files as f64);
    print("threads", early.threads as f64, late.threads as f64);
    print("CPU us a task, second and last tenth", each_us[1], each_us[TENTHS - 1]);
    if !rest.is_zero() {
        assert_eq!((early.files, early.threads), (late.files, late.threads));
        let memory = late.resident as f64 / early.resident as f64;
        assert!(memory <= 1.0 + MORE_MEMORY, "it holds {memory:.3} times the memory");
        let computed = each_us[TENTHS - 1] / each_us[1];
        assert!((computed - 1.0).abs() <= OTHER_CPU, "a task computes {computed:.3} times as much");
    }
}

/// What comes before and after the worker.
struct Feed {
    queue: SqliteQueue,
    dead: SqliteQueue,
    sent: usize,
    dead_letters: usize,
}

impl Feed {
    /// Sends messages until there were so many, and waits until all are settled.
    async fn until(&mut self, tasks: usize) {
        let (mut last, mut changed) = (Depth::default(), Instant::now());
        loop {
            self.take_dead_letters().await;
            let depth = self.queue.depth().await.expect("a depth");
            if self.sent < tasks && depth.visible < WAITING {
                self.send(tasks.min(self.sent + WAITING as usize)).await;
            } else if depth == Depth::default() {
                return self.take_dead_letters().await;
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
        while self.sent < tasks {
            let numbers = self.sent..tasks.min(self.sent + MAX_BATCH);
            let batch: Vec<OutgoingMessage> = numbers.map(message).collect();
            for answer in self.queue.send(&batch).await {
                answer.expect("the queue takes it");
            }
            self.sent += batch.len();
        }
    }

    async fn take_dead_letters(&mut self) {
        loop {
            let letters = self.dead.receive(MAX_BATCH, Duration::ZERO, &CancellationToken::new()).await;
            let receipts: Vec<Receipt> =
                letters.expect("letters").into_iter().map(|letter| letter.receipt).collect();
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

fn message(number: usize) -> OutgoingMessage {
    let body = match number % EACH {
        0 => HOSTILE[number / EACH % HOSTILE.len()],
        _ => "ok",
    };
    OutgoingMessage { body: body.into(), ..OutgoingMessage::default() }
}

/// What a worker holds.
#[derive(Clone, Copy, Debug)]
struct Vitals {
    /// In bytes.
    resident: u64,
    /// Open file descriptors.
    files: usize,
    threads: usize,
}

/// `wasmrun run`, whose log goes to a file.
struct Worker(Child);

impl Worker {
    /// Returns when it's ready.
    fn start(directory: &Path) -> Self {
        let log = directory.join("log");
        let program = guests::target().join("release/wasmrun");
        let mut child = Command::new(&program)
            .current_dir(directory)
            .arg("run")
            .arg(guests::path("misbehave"))
            .args(["--queue", "sqlite:jobs.db", "--cache", "off", "--log-format", "json"])
            .args(["--store", "input=dir:in:ro", "--store", "output=dir:out:rw"])
            .args(["--send", "next=sqlite:jobs.db#next"])
            .args(["--usage", "usage.jsonl", "--usage-size", "16MiB"])
            .args(LIMITS)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run cargo build --release", program.display()));
        while !fs::read_to_string(&log).expect("a log").contains("\"ready\"") {
            let ended = child.try_wait().expect("its state");
            assert_eq!(ended, None, "{}", fs::read_to_string(&log).expect("a log"));
            std::thread::sleep(LOOK_EVERY);
        }
        Self(child)
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0.id())
    }

    fn vitals(&self) -> Vitals {
        let status = fs::read_to_string(self.proc("status")).expect("the worker runs");
        let resident = proc::size(&status, "VmRSS:").expect("a size");
        let entries = |folder| fs::read_dir(self.proc(folder)).expect("the worker runs").count();
        Vitals { resident, files: entries("fd"), threads: entries("task") }
    }

    /// What it has computed so far.
    fn cpu_seconds(&self) -> f64 {
        proc::cpu_of(self.0.id()).as_secs_f64()
    }

    /// Stops it, and returns what it says of the whole.
    fn end(mut self, directory: &Path) -> Value {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the worker runs");
        assert!(self.0.wait().expect("an exit").success());
        let log = fs::read_to_string(directory.join("log")).expect("a log");
        let line = log.lines().rev().find(|line| line.contains("\"summary\"")).expect("a summary");
        serde_json::from_str(line).expect("JSON")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has ended, unless something went wrong.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
