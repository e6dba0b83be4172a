//! How long the messages of small tenants wait behind those of a large one, with fair shares and without.
//!
//!     cargo xtask bench tenants                            # three minutes; writes docs/src/benchmarks/tenants.md
//!     cargo xtask bench tenants -- --quick                 # seconds, to see that it works
//!
//! A queue holds the messages of one large key, and after them those of small keys. A worker works all of them off, with
//! `--key group` and in the order of the queue, and the messages of the small keys without the others. A message waits
//! from the start of the worker to the start of its task.

use crate::shared::{Packages, Server, guests, sqlite, worker};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wasmrun_benches::{
    Arguments, Dot, Plot, Report, Samples, Way, interleaved, micros, output, report::time, run, with,
};
use wasmrun_runtime::model::key::KeySource;
use wasmrun_runtime::model::message::{MAX_BATCH, OutgoingMessage};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::ports::queue::Queue;
use wasmrun_runtime::worker::{KeyOptions, WorkerOptions};

/// Number of messages of the large key.
const LARGE: usize = 10_000;
/// Number of small keys, and of messages of each.
const SMALL: [usize; 2] = [20, 20];
/// What a task does: it waits for 10 ms.
const BODY: &str = "sleep 10";
const INSTANCES: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");
/// The ways to work off the messages: the name, whether the large key is there, and whether keys have fair shares.
const WAYS: [(&str, bool, bool); 3] = [
    ("small keys alone", false, false),
    ("with the large key, fair shares", true, true),
    ("with the large key, order of the queue", true, false),
];

/// A child process, which is a worker. Its arguments are the queue's URL, the number of messages of the large key, and
/// whether keys have fair shares.
pub(crate) const WORKER: &str = "worker-of-tenants";

pub(crate) fn measure(arguments: &Arguments) {
    let mut report = Report::new("tenants", arguments, "");
    let folder = tempfile::tempdir().expect("a directory");
    let mut dots =
        compare(&mut report, "sqlite", |name, _| sqlite(&folder.path().join(name).with_extension("db")));
    let Some(packages) = Packages::find("tenants") else { return };
    let server = Server::start(&packages);
    dots.extend(compare(&mut report, "sqs", |name, worker| {
        server.in_environment(worker);
        server.queue(name)
    }));
    report.plot("waits", &plot(dots));
    report.write();
}

/// Measures all ways on one kind of queue, and adds the table. `queue` returns the URL of an empty queue, and tells the
/// worker where it is. Returns the dots of the plot.
fn compare(
    report: &mut Report,
    kind: &'static str,
    queue: impl Fn(&str, &mut Command) -> String,
) -> Vec<Dot> {
    let large = report.size.pick(100, LARGE);
    let queue = &queue;
    let ways = WAYS.iter().enumerate().map(|(index, (name, has_large, is_fair))| {
        Way::new(*name, move |round| {
            let mut worker = run::child(WORKER);
            let url = queue(&format!("{kind}-{index}-{round}"), &mut worker);
            let large = if *has_large { large } else { 0 };
            worker.args([&url, &large.to_string(), &is_fair.to_string()]).stderr(Stdio::inherit());
            serde_json::from_str(&output(&mut worker).expect("a worker")).expect("JSON")
        })
    });
    let found = interleaved(kind, report.size.pick(1, 3), ways);
    let [alone, fair, unfair] = &found[..] else { panic!("three ways") };
    report.table(
        kind,
        "= what | p50 = p50_us:time | p95 = p95_us:time | longest = max_us:time | p95, times alone = to_alone:1 | tasks a second = per_second:0",
        found.iter().map(|way| with(way.row(), json!({"to_alone": way.ratio(alone, "p95_us")}))),
    );
    report.data(&format!("{kind}_throughput_to_unfair"), fair.ratio(unfair, "per_second").into());
    let p95s = found.iter().map(|way| way.median("p95_us"));
    p95s.enumerate().map(|(series, p95)| Dot::at(kind, series, p95, time(p95))).collect()
}

fn plot(dots: Vec<Dot>) -> Plot<'static> {
    Plot {
        title: "How long 95 % of the small keys' messages wait at most",
        series: &["alone", "fair shares", "order of the queue"],
        ticks: vec![1e5, 1e6, 1e7, 1e8],
        logarithmic: true,
        format: time,
        dots,
    }
}

/// The work of the child: fills the queue, works it off, and prints the figures.
pub(crate) fn work(arguments: &[String]) {
    let [url, large, is_fair] = arguments else { panic!("{arguments:?}") };
    let (large, is_fair) = (large.parse().expect("a number"), is_fair == "true");
    println!("{}", Runtime::new().expect("threads").block_on(work_off(url, large, is_fair)));
}

/// Returns the times for which the messages of the small keys waited, and tasks a second of all keys.
async fn work_off(url: &str, large: usize, is_fair: bool) -> Value {
    let queue = worker::open(url).await;
    let component = guests::load(guests::options("misbehave", INSTANCES)).await;
    send(&*queue, "large", large).await;
    let [keys, each] = SMALL;
    let mut small = HashSet::new();
    for key in 0..keys {
        small.extend(send(&*queue, &format!("small-{key}"), each).await);
    }
    let recorder = Arc::new(Recorder { began: SystemTime::now(), small, state: Mutex::default() });
    let keys = KeyOptions { source: KeySource::Group, shares: Default::default() };
    let options = WorkerOptions {
        keys: is_fair.then_some(keys),
        until_empty: true,
        observers: vec![recorder.clone()],
        ..worker::fixed(INSTANCES)
    };
    let worker = worker::worker(queue, component, options).await;
    worker.run(CancellationToken::new(), CancellationToken::new()).await;
    recorder.figures(large + SMALL.iter().product::<usize>())
}

/// Sends messages of a group, and returns their IDs.
async fn send(queue: &dyn Queue, group: &str, count: usize) -> Vec<String> {
    let message = OutgoingMessage { group: Some(group.to_owned()), ..worker::message(BODY) };
    let batch = vec![message; MAX_BATCH];
    let mut ids = Vec::new();
    while ids.len() < count {
        let sent = queue.send(&batch[..MAX_BATCH.min(count - ids.len())]).await;
        ids.extend(sent.into_iter().map(|id| id.expect("sent")));
    }
    ids
}

/// Records when tasks start and end.
struct Recorder {
    began: SystemTime,
    /// IDs of the messages of small keys.
    small: HashSet<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: usize,
    waits: Vec<f64>,
    last: Duration,
}

impl TaskObserver for Recorder {
    fn ended(&self, record: &TaskRecord<'_>) {
        assert_eq!(record.outcome, OutcomeKind::Completed, "{:?}", record.reason);
        let ended = record.time.duration_since(self.began).unwrap_or_default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.tasks += 1;
        state.last = state.last.max(ended);
        if self.small.contains(record.message_id) {
            state.waits.push(micros(ended.saturating_sub(record.usage.wall)));
        }
    }
}

impl Recorder {
    fn figures(&self, messages: usize) -> Value {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((state.tasks, state.waits.len()), (messages, self.small.len()), "each message once");
        let waits: Samples = std::mem::take(&mut state.waits).into_iter().collect();
        json!({
            "p50_us": waits.percentile(50.0),
            "p95_us": waits.percentile(95.0),
            "max_us": waits.percentile(100.0),
            "per_second": messages as f64 / state.last.as_secs_f64(),
        })
    }
}
