//! A worker in a process of its own, which is sent a trace and records what it does.

use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wasmrun_aws::{Aws, SqsQueue};
use wasmrun_benches::guests;
use wasmrun_benches::rounds::{Samples, median, micros};
use wasmrun_benches::worker::{self, Observe, Observed};
use wasmrun_local::{QueueSettings, SqliteQueue};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::ports::queue::{Delivery, Queue, Receipt};
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::task::grant::Grants;
use wasmrun_runtime::worker::WorkerOptions;

use crate::trace::{Load, Sent, trace};

/// This program again, as the worker: the queue's URL, the work, the minutes, and the folder for the usage file.
pub(crate) const WORKER: &str = "--traced-worker";
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
        (guests::load_with(guest, Allocator::Pooling, MOST, grants, Limits::default()).await, bodies)
    }
}

/// Writes the usage file, and records when messages were sent and deleted.
struct Recorder {
    state: Mutex<State>,
    done: Notify,
}

struct State {
    usage: BufWriter<File>,
    /// IDs of messages by their receipts.
    ids: HashMap<String, String>,
    /// When these messages were sent. Their tasks have ended.
    sent: HashMap<String, SystemTime>,
    first_sent: Option<SystemTime>,
    last_deleted: Option<SystemTime>,
    /// Milliseconds from sending each message until its deletion.
    latencies: Vec<f64>,
    wall: Duration,
    /// Messages that aren't deleted yet.
    left: usize,
}

impl Recorder {
    fn new(usage: File, messages: usize) -> Self {
        let state = State {
            usage: BufWriter::new(usage),
            ids: HashMap::new(),
            sent: HashMap::new(),
            first_sent: None,
            last_deleted: None,
            latencies: Vec::new(),
            wall: Duration::ZERO,
            left: messages,
        };
        Self { state: Mutex::new(state), done: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes the usage file. All messages are deleted.
    fn figures(&self, call_ms: f64) -> Value {
        let mut state = self.state();
        state.usage.flush().expect("a file");
        let (first, last) = (state.first_sent.expect("a message"), state.last_deleted.expect("a deletion"));
        let seconds = last.duration_since(first).expect("later").as_secs_f64();
        let latencies = Samples::from_iter(std::mem::take(&mut state.latencies));
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
        let ids = deliveries.iter().map(|one| (one.receipt.0.clone(), one.message.id.clone()));
        self.state().ids.extend(ids);
    }

    async fn deleted(&self, receipts: &[Receipt]) {
        let now = SystemTime::now();
        let mut state = self.state();
        for receipt in receipts {
            let id = state.ids.remove(&receipt.0).expect("a received message");
            let sent = state.sent.remove(&id).expect("the end of its task");
            let latency = now.duration_since(sent).unwrap_or_default();
            state.latencies.push(micros(latency) / 1e3);
        }
        state.last_deleted = Some(now);
        state.left -= receipts.len();
        if state.left == 0 {
            self.done.notify_one();
        }
    }
}

impl TaskObserver for Recorder {
    fn ended(&self, record: &TaskRecord<'_>) {
        assert_eq!(record.outcome, OutcomeKind::Completed, "{:?}", record.reason);
        let mut state = self.state();
        serde_json::to_writer(&mut state.usage, record).expect("a line");
        state.usage.write_all(b"\n").expect("a line");
        let sent = record.time - record.usage.wall - record.usage.queued;
        state.sent.insert(record.message_id.to_owned(), sent);
        state.first_sent = Some(state.first_sent.map_or(sent, |first| first.min(sent)));
        state.wall += record.usage.wall;
    }
}

/// Returns the median time in milliseconds of calls that change the queue, while nothing else does.
async fn time_of_a_call(queue: &impl Queue) -> f64 {
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
async fn send(queue: &impl Queue, moments: &[Sent], bodies: &[String]) {
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

/// Works until all messages of the trace are deleted, and prints the figures. The arguments are those of [`WORKER`].
pub(crate) async fn work(arguments: &[String]) {
    let [url, work, minutes, folder] = arguments else { panic!("{arguments:?}") };
    let work = [Work::Waiting, Work::Thumbnails].into_iter().find(|one| one.name() == work).expect("work");
    let moments = trace(work.load(), minutes.parse().expect("a number"));
    let usage = File::create(Path::new(folder).join(USAGE)).expect("a file");
    // The sender's connection is its own, like that of another process.
    if url.starts_with("sqlite:") {
        let open = || SqliteQueue::create(url, &QueueSettings::default()).expect("a queue").0;
        return measure(open(), open(), work, &moments, usage).await;
    }
    let endpoint = std::env::var("AWS_ENDPOINT_URL").expect("an endpoint");
    let aws = Aws::new(Some(endpoint));
    let open = async || SqsQueue::open(url, &aws, None).await.expect("a queue");
    measure(open().await, open().await, work, &moments, usage).await;
}

async fn measure<Q: Queue>(sender: Q, queue: Q, work: Work, moments: &[Sent], usage: File) {
    let (component, bodies) = work.prepare().await;
    let call_ms = time_of_a_call(&sender).await;
    let messages: usize = moments.iter().map(|sent| sent.count).sum();
    let recorder = Arc::new(Recorder::new(usage, messages));
    let queue = Arc::new(Observed { queue, by: recorder.clone() });
    let options = WorkerOptions { observers: vec![recorder.clone()], ..worker::auto(MOST) };
    let worker = worker::worker(queue, component, options).await;
    let never = CancellationToken::new;
    tokio::select! {
        _ = worker.run(never(), never()) => unreachable!("nothing stops it"),
        ((), ()) = async { tokio::join!(send(&sender, moments, &bodies), recorder.done.notified()) } => {}
    }
    println!("{}", recorder.figures(call_ms));
}
