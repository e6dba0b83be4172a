//! A burst at an idle worker that is a process of its own, on a real server of SQS.

use serde::Serialize;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wasmrun_benches::fauxqs::{self, Packages, Server, Sqs};
use wasmrun_benches::figures::median;
use wasmrun_benches::run::Size;
use wasmrun_benches::{guests, proc};

use crate::burst::{Burst, MESSAGES, MOST, ROUNDS, WAIT};

const LOOK_EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(120);
/// So that what is only set up for the first task was there before.
const FIRST: usize = 40;
/// What the allocator and the system do a moment after the last task isn't the worker's memory at rest.
const REST: Duration = Duration::from_secs(2);

/// What was found: medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OnSqs {
    pub(crate) burst: Burst,
    /// Resident, in bytes: of the idle worker, after its first tasks and before the burst, …
    pub(crate) before: f64,
    /// … and once it's idle again.
    pub(crate) after: f64,
    /// The one by the other: the median of the rounds' ratios.
    pub(crate) after_to_before: f64,
}

/// `None`: there is no server here.
pub(crate) fn measure(runtime: &Runtime, size: Size) -> Option<OnSqs> {
    let packages = Packages::find()?;
    let (rounds, messages) = if size == Size::Full { (ROUNDS, MESSAGES) } else { (1, 400) };
    let server = Server::start(&packages);
    let sqs = Sqs::at(&server.endpoint);
    let mut found = Vec::new();
    for round in 1..=rounds {
        eprintln!("Burst on SQS: round {round} of {rounds} …");
        found.push(burst(runtime, &server, &sqs, round, messages));
    }
    let median = |of: fn(&Found) -> f64| median(found.iter().map(of).collect());
    let times: Vec<_> = found.iter().map(|found| found.times).collect();
    Some(OnSqs {
        burst: Burst::of(messages, &times),
        before: median(|found| found.before),
        after: median(|found| found.after),
        after_to_before: median(|found| found.after / found.before),
    })
}

struct Found {
    /// See [`Burst::of`].
    times: [f64; 3],
    before: f64,
    after: f64,
}

fn burst(runtime: &Runtime, server: &Server, sqs: &Sqs, round: usize, messages: usize) -> Found {
    let url = runtime.block_on(sqs.create(&format!("burst-{round}")));
    let (next, store) = (runtime.block_on(sqs.create("next")), tempfile::tempdir().expect("a directory"));
    let worker = Worker::start(server, &url, &next, store.path());
    worker.until("it listens", |status| status["tasks"] == 0);
    runtime.block_on(sqs.fill(&url, "sleep 1", FIRST));
    worker.until("it's idle", |status| status["tasks"] == FIRST && status["instances"]["allowed"] == 1);
    std::thread::sleep(REST);
    let before = worker.resident();

    let body = format!("sleep {}", WAIT.as_millis());
    let began = Instant::now();
    // Tasks start while messages still arrive.
    let (to_most, to_empty) = std::thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(sqs.fill(&url, &body, messages)));
        worker.until("all are allowed", |status| status["instances"]["allowed"] == MOST);
        let to_most = began.elapsed();
        worker.until("all is done", |status| status["tasks"] == FIRST + messages);
        (to_most, began.elapsed())
    });
    worker.until("it's idle again", |status| status["instances"]["allowed"] == 1);
    let to_least = began.elapsed() - to_empty;
    std::thread::sleep(REST);
    assert!(runtime.block_on(sqs.is_empty(&url)), "nothing is left");
    let times = [to_most, to_empty, to_least].map(|time| time.as_secs_f64());
    Found { times, before, after: worker.resident() }
}

/// A worker, and where it tells its status. Ended when dropped.
struct Worker {
    child: Child,
    port: u16,
}

impl Worker {
    /// The guest may do more than this benchmark asks for: it has to be granted a queue and a store.
    fn start(server: &Server, url: &str, next: &str, store: &Path) -> Self {
        let port = fauxqs::free_port();
        let mut command = Command::new(guests::target().join("release/wasmrun"));
        command
            .arg("run")
            .arg(guests::path("misbehave"))
            .args(["--queue", url, "--instances", &format!("0..{MOST}"), "--scale-in-delay", "2s"])
            .args([
                "--send",
                &format!("next={next}"),
                "--store",
                &format!("input=dir:{}:ro", store.display()),
            ])
            .args(["--on", "rejected=drop", "--log", "error", "--listen", &port.to_string()]);
        let command = server.in_environment(&mut command).stdin(Stdio::null()).stdout(Stdio::null());
        Self { child: command.spawn().expect("the worker starts"), port }
    }

    /// Waits until its status is as it should be.
    fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        while !self.status().as_ref().is_some_and(&is_so) {
            assert!(began.elapsed() < PATIENCE, "{what} takes too long: {:?}", self.status());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// `None`: it doesn't listen yet.
    fn status(&self) -> Option<Value> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        connection.write_all(b"GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// In bytes.
    fn resident(&self) -> f64 {
        let smaps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()));
        proc::size(&smaps.expect("its memory"), "Rss:").expect("a size") as f64
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
