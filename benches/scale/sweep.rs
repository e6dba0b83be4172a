//! The best of some fixed numbers, against the number that finds itself.

use serde::Serialize;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wasmrun_benches::figures::median;
use wasmrun_benches::run::Size;
use wasmrun_benches::{guests, options, queues};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::capacity::{Host, HostMemory, capacity};
use wasmrun_runtime::model::event;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::ports::memory::{MemoryQueue, MemoryStore};
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::task::grant::{Grants, Mode, StoreGrant};
use wasmrun_runtime::worker::Worker;

const ROUNDS: usize = 7;
/// What `--instances auto` may reach, if the host bears it.
const AUTO: usize = 1000;
const PHOTOGRAPH: &str = "chelsea.png";
/// What the tasks that wait do.
const WAIT: &str = "sleep 200";

/// What tasks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Thumbnail,
    Wait,
}

pub(crate) const WORKLOADS: [Workload; 2] = [Workload::Thumbnail, Workload::Wait];

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Thumbnail => "thumbnail of a photograph",
            Self::Wait => "wait for 200 ms",
        }
    }

    fn guest(self) -> &'static str {
        match self {
            Self::Thumbnail => "thumbnail",
            Self::Wait => "misbehave",
        }
    }

    /// For so long each number works.
    fn time(self, size: Size) -> Duration {
        match (size, self) {
            (Size::Quick, _) => Duration::from_millis(300),
            (Size::Full, Self::Thumbnail) => Duration::from_secs(4),
            (Size::Full, Self::Wait) => Duration::from_secs(10),
        }
    }

    /// More than are worked off in this time.
    fn messages(self, most: usize, size: Size) -> usize {
        match (size, self) {
            (Size::Quick, _) => 200,
            (Size::Full, Self::Thumbnail) => 4_000,
            (Size::Full, Self::Wait) => most * 60,
        }
    }

    fn message(self) -> OutgoingMessage {
        let body = match self {
            Self::Thumbnail => event::notification("memory:in", PHOTOGRAPH, 1, None, SystemTime::now()),
            Self::Wait => WAIT.into(),
        };
        OutgoingMessage { body, ..OutgoingMessage::default() }
    }

    fn grants(self) -> Grants {
        let mut grants = Grants::default();
        if self == Self::Thumbnail {
            let file = guests::repository().join("demo/photographs").join(PHOTOGRAPH);
            let (input, output) = (Arc::new(MemoryStore::new("in")), Arc::new(MemoryStore::new("out")));
            input.insert(PHOTOGRAPH, std::fs::read(file).expect("the photograph"));
            for (alias, store, mode) in
                [("input", input, Mode::ReadOnly), ("output", output, Mode::WriteOnly)]
            {
                grants.stores.insert(alias.into(), StoreGrant { alias: alias.into(), store, mode });
            }
        }
        grants
    }
}

/// Tasks a second with some number of instances.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// `None`: the number finds itself.
    pub(crate) instances: Option<usize>,
    /// The median of the rounds.
    pub(crate) tasks_per_second: f64,
    /// Where the number was at the end: the median.
    pub(crate) allowed: usize,
}

/// What was found for one kind of tasks.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sweep {
    pub(crate) what: &'static str,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    /// The fixed numbers, and `auto` as the last.
    pub(crate) rows: Vec<Row>,
    /// Tasks a second with `auto`, by those of the best fixed number of all rounds: the median of the rounds.
    pub(crate) auto_to_best: f64,
    /// The same of the medians.
    pub(crate) medians_to_best: f64,
}

pub(crate) fn measure(runtime: &Runtime, workload: Workload, size: Size) -> Sweep {
    let limits = Limits::default();
    let wanted = NonZeroUsize::new(AUTO).expect("not zero");
    let host = Host { memory: HostMemory::find(), ..Host::default() };
    let most = capacity(wanted, &limits, &host, 0).expect("some fit").instances;
    let component =
        runtime.block_on(guests::load(workload.guest(), Allocator::Pooling, most, workload.grants(), limits));
    let component = Arc::new(component);
    let mut numbers: Vec<Option<usize>> =
        [1, 2, 3, 4, 6, 8, 16, 32, most.get()].into_iter().filter(|n| *n <= most.get()).map(Some).collect();
    if workload == Workload::Wait {
        // Fewer are worse in proportion.
        numbers.retain(|number| number.is_some_and(|number| number >= 8));
    }
    numbers.push(None);
    let rounds = if size == Size::Full { ROUNDS } else { 1 };
    let mut found: Vec<Vec<(f64, usize)>> = vec![Vec::new(); numbers.len()];
    for round in 1..=rounds {
        eprintln!("Sweep, {}: round {round} of {rounds} …", workload.name());
        // Each comes first once: what the machine does in between, it does to others each time.
        for turn in 0..numbers.len() {
            let turn = (turn + round) % numbers.len();
            found[turn].push(runtime.block_on(work(&component, workload, numbers[turn], most, size)));
        }
    }
    let rows: Vec<Row> = numbers
        .iter()
        .zip(&found)
        .map(|(instances, found)| Row {
            instances: *instances,
            tasks_per_second: median(found.iter().map(|(rate, _)| *rate).collect()),
            allowed: median(found.iter().map(|(_, allowed)| *allowed as f64).collect()) as usize,
        })
        .collect();
    let auto = rows.len() - 1;
    let best = (0..auto).max_by(|a, b| rows[*a].tasks_per_second.total_cmp(&rows[*b].tasks_per_second));
    let best = best.unwrap_or(0);
    let ratios = found[auto].iter().zip(&found[best]).map(|(auto, best)| auto.0 / best.0);
    let (auto_to_best, seconds) = (median(ratios.collect()), workload.time(size).as_secs_f64());
    let medians_to_best = rows[auto].tasks_per_second / rows[best].tasks_per_second;
    Sweep { what: workload.name(), rounds, seconds, rows, auto_to_best, medians_to_best }
}

/// Tasks a second, and how many may run at once in the end.
async fn work(
    component: &Arc<Component>,
    workload: Workload,
    instances: Option<usize>,
    most: NonZeroUsize,
    size: Size,
) -> (f64, usize) {
    let queue = Arc::new(MemoryQueue::new("work", Duration::from_secs(300)));
    let dead = Arc::new(MemoryQueue::new("dead", Duration::from_secs(30)));
    queues::fill(&*queue, workload.message(), workload.messages(most.get(), size)).await;
    let options = match instances.and_then(NonZeroUsize::new) {
        Some(instances) => options::fixed(instances),
        None => options::auto(most),
    };
    let worker =
        Arc::new(Worker::new(queue.clone(), Some(dead), component.clone(), options).await.expect("a worker"));
    let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(worker.clone().run(stop.clone(), abandon.clone()));
    tokio::time::sleep(workload.time(size)).await;
    let summary = worker.tally().summary();
    let allowed = worker.status().instances.allowed;
    stop.cancel();
    abandon.cancel();
    running.await.expect("a worker's end");
    assert!(!queue.visible().is_empty(), "it had enough to do");
    (summary.tasks as f64 / summary.elapsed.as_secs_f64(), allowed)
}
