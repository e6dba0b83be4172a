//! A worker in a process of its own, which is sent a trace and records what it does.

use super::trace::{Load, Sent, trace};
use crate::shared::{Observe, Observed, Waits, guests, worker};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wasmrun_benches::{Samples, median, micros};
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::ports::queue::{Delivery, Queue, Receipt};
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::task::grant::Grants;
use wasmrun_runtime::worker::WorkerOptions;

/// A child process, which is the worker. Its arguments are the queue's URL, the work, the minutes, and the folder for the
/// usage file.
pub(crate) const WORKER: &str = "traced-worker";
/// The name of the usage file.
pub(crate) const USAGE: &str = "usage.jsonl";
/// The concurrency limit, as `--instances` of `wasmrun`.
pub(crate) const INSTANCES: &str = "0..64";
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// Number of messages with which the time of a call is measured.
const FIRST: usize = 20;

/// What tasks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// They wait for 100 to 300 ms.
    Waiting,
    /// They make thumbnails of the demo's photographs, from a store in memory.
    Thumbnails,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Thumbnails => "thumbnails",
        }
    }

    /// The highest rate of a wave keeps a third of two cores busy, or a quarter of the permits. A burst takes ten seconds.
    fn load(self) -> Load {
        match self {
            Self::Waiting => Load { rate: 40.0, burst: 3_000.0 },
            Self::Thumbnails => Load { rate: 30.0, burst: 1_500.0 },
        }
    }

    /// The component, and the bodies of the messages.
    async fn prepare(self) -> (Arc<Component>, Vec<String>) {
        let (guest, grants, bodies) = match self {
            Self::Waiting => {
                ("misbehave", Grants::default(), (100..=300).map(|time| format!("sleep {time}")).collect())
            }
            Self::Thumbnails => {
                let (grants, bodies) = guests::thumbnails(guests::all_photographs());
                ("thumbnail", grants, bodies)
            }
        };
        (guests::load(LoadOptions { grants, ..guests::options(guest, MOST) }).await, bodies)
    }
}

/// Writes the usage file, and records when messages were sent and deleted.
struct Recorder(Mutex<State>);

struct State {
    usage: BufWriter<File>,
    /// From sending each message until its deletion.
    waits: Waits,
    first_sent: Option<SystemTime>,
    last_deleted: Option<SystemTime>,
    wall: Duration,
}

impl Recorder {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes the usage file. All messages are deleted.
    fn figures(&self, call_ms: f64) -> Value {
        let mut state = self.state();
        state.usage.flush().expect("a file");
        let (first, last) = (state.first_sent.expect("a message"), state.last_deleted.expect("a deletion"));
        let seconds = last.duration_since(first).expect("later").as_secs_f64();
        let latencies = Samples::from_iter(std::mem::take(&mut state.waits.ms));
        json!({
            "messages_per_second": latencies.count() as f64 / seconds,
            "p50_ms": latencies.percentile(50.0),
            "p95_ms": latencies.percentile(95.0),
            "max_ms": latencies.percentile(100.0),
            "concurrency_seconds": state.wall.as_secs_f64(),
            "call_ms": call_ms,
        })
    }
}

#[async_trait]
impl Observe for Recorder {
    async fn received(&self, deliveries: &[Delivery]) {
        self.state().waits.received(deliveries);
    }

    async fn deleted(&self, receipts: &[Receipt]) {
        let now = SystemTime::now();
        let mut state = self.state();
        state.last_deleted = Some(now);
        state.waits.deleted(receipts, now);
    }
}

impl TaskObserver for Recorder {
    fn ended(&self, record: &TaskRecord<'_>) {
        assert_eq!(record.outcome, OutcomeKind::Completed, "{:?}", record.reason);
        let mut state = self.state();
        serde_json::to_writer(&mut state.usage, record).expect("a line");
        state.usage.write_all(b"\n").expect("a line");
        let sent = record.time - record.usage.wall - record.usage.queued;
        state.waits.since(record.message_id, sent);
        state.first_sent = Some(state.first_sent.map_or(sent, |first| first.min(sent)));
        state.wall += record.usage.wall;
    }
}

/// Returns the median time in milliseconds of calls that change the queue, while nothing else does.
async fn time_of_a_call(queue: &dyn Queue) -> f64 {
    let mut times = Vec::new();
    let mut timed = |began: Instant| times.push(micros(began.elapsed()) / 1e3);
    for _ in 0..FIRST {
        let began = Instant::now();
        assert!(queue.send(&[worker::message("x")]).await.iter().all(Result::is_ok));
        timed(began);
        let began = Instant::now();
        let received = queue.receive(1, Duration::from_secs(1), &CancellationToken::new()).await;
        timed(began);
        let receipt = received.expect("an answer").pop().expect("a message").receipt;
        let began = Instant::now();
        assert!(queue.delete(&[receipt]).await.iter().all(Result::is_ok));
        timed(began);
    }
    median(times)
}

/// Sends messages when their time has come.
async fn send(queue: &dyn Queue, moments: &[Sent], bodies: &[String]) {
    let mut random = fastrand::Rng::with_seed(2);
    let began = tokio::time::Instant::now();
    for Sent { at, count } in moments {
        tokio::time::sleep_until(began + *at).await;
        let messages: Vec<OutgoingMessage> =
            (0..*count).map(|_| worker::message(&bodies[random.usize(..bodies.len())])).collect();
        let answers = queue.send(&messages).await;
        assert!(answers.iter().all(Result::is_ok), "sent");
    }
}

/// The work of the child: works until all messages of the trace are deleted, and prints the figures.
pub(crate) fn work(arguments: &[String]) {
    let [url, work, minutes, folder] = arguments else { panic!("{arguments:?}") };
    let work = [Work::Waiting, Work::Thumbnails].into_iter().find(|one| one.name() == work).expect("work");
    let moments = trace(work.load(), minutes.parse().expect("a number"));
    let usage = BufWriter::new(File::create(Path::new(folder).join(USAGE)).expect("a file"));
    let figures = Runtime::new().expect("threads").block_on(work_off(url, work, &moments, usage));
    println!("{figures}");
}

async fn work_off(url: &str, work: Work, moments: &[Sent], usage: BufWriter<File>) -> Value {
    // The sender's connection is its own, like that of another process.
    let (sender, queue) = (worker::open(url).await, worker::open(url).await);
    let (component, bodies) = work.prepare().await;
    let call_ms = time_of_a_call(&*sender).await;
    let waits = Waits::new(moments.iter().map(|sent| sent.count).sum());
    let done = waits.done.clone();
    let state = State { usage, waits, first_sent: None, last_deleted: None, wall: Duration::ZERO };
    let recorder = Arc::new(Recorder(Mutex::new(state)));
    let queue = Arc::new(Observed { queue, by: recorder.clone() });
    let options = WorkerOptions { observers: vec![recorder.clone()], ..worker::auto(MOST) };
    let worker = worker::worker(queue, component, options).await;
    worker::run_until(worker, async { _ = tokio::join!(send(&*sender, moments, &bodies), done.notified()) })
        .await;
    recorder.figures(call_ms)
}
