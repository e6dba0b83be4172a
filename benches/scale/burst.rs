//! A burst at an idle worker in this process, on a queue in memory.

use serde::Serialize;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wasmrun_benches::figures::median;
use wasmrun_benches::run::Size;
use wasmrun_benches::{guests, queues};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::ports::memory::MemoryQueue;
use wasmrun_runtime::ports::queue::Queue;
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::task::grant::Grants;
use wasmrun_runtime::worker::scaler::Goal;
use wasmrun_runtime::worker::{ScaleOptions, Worker, WorkerOptions};

pub(crate) const ROUNDS: usize = 3;
pub(crate) const MESSAGES: usize = 10_000;
pub(crate) const MOST: usize = 64;
/// What each task does.
pub(crate) const WAIT: Duration = Duration::from_millis(100);
/// So that the way back is seen soon; by default it's five minutes.
const SCALE_IN_DELAY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);

/// What was found: medians of the rounds, in seconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Burst {
    pub(crate) rounds: usize,
    pub(crate) messages: usize,
    /// Until the most tasks were allowed at once.
    pub(crate) to_most: f64,
    /// Until the last message was settled.
    pub(crate) to_empty: f64,
    /// That, if the most tasks ran from the first moment to the last.
    pub(crate) ideal: f64,
    /// From then until the least were allowed.
    pub(crate) to_least: f64,
}

impl Burst {
    /// Of rounds with so many messages: how long it took in each until the most were allowed, until all was done, and from
    /// then until the least were.
    pub(crate) fn of(messages: usize, rounds: &[[f64; 3]]) -> Self {
        let median = |which: usize| median(rounds.iter().map(|round| round[which]).collect());
        Self {
            rounds: rounds.len(),
            messages,
            to_most: median(0),
            to_empty: median(1),
            ideal: messages as f64 * WAIT.as_secs_f64() / MOST as f64,
            to_least: median(2),
        }
    }
}

pub(crate) fn measure(runtime: &Runtime, size: Size) -> Burst {
    let (rounds, messages, most) = match size {
        Size::Full => (ROUNDS, MESSAGES, MOST),
        // On a busy machine, so short a burst needs no more.
        Size::Quick => (1, 100, 8),
    };
    let most = NonZeroUsize::new(most).expect("not zero");
    let component = guests::load("misbehave", Allocator::Pooling, most, Grants::default(), Limits::default());
    let component = Arc::new(runtime.block_on(component));
    let mut found = Vec::new();
    for round in 1..=rounds {
        eprintln!("Burst: round {round} of {rounds} …");
        found.push(runtime.block_on(burst(component.clone(), most, messages)));
    }
    Burst::of(messages, &found)
}

async fn burst(component: Arc<Component>, most: NonZeroUsize, messages: usize) -> [f64; 3] {
    let queue = Arc::new(MemoryQueue::new("work", Duration::from_secs(30)));
    let dead = Arc::new(MemoryQueue::new("dead", Duration::from_secs(30)));
    let scale = Some(ScaleOptions { min: 0, goal: Goal::AtOnce, scale_in_delay: SCALE_IN_DELAY });
    let options = WorkerOptions { instances: most, scale, ..WorkerOptions::default() };
    let worker = Worker::new(queue.clone(), Some(dead), component, options).await.expect("a worker");
    let worker = Arc::new(worker);
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.clone().run(stop.clone(), CancellationToken::new()));
    let allowed = || worker.status().instances.allowed;
    assert_eq!(allowed(), 1, "it's idle");

    let body = format!("sleep {}", WAIT.as_millis());
    let message = OutgoingMessage { body, ..OutgoingMessage::default() };
    let began = Instant::now();
    queues::fill(&*queue, message, messages).await;
    seen(async || allowed() == most.get()).await;
    let to_most = began.elapsed();
    seen(async || queue.depth().await.is_ok_and(|depth| depth.is_empty())).await;
    let to_empty = began.elapsed();
    seen(async || allowed() == 1).await;
    let to_least = began.elapsed() - to_empty;
    stop.cancel();
    running.await.expect("a worker's end");
    [to_most, to_empty, to_least].map(|time| time.as_secs_f64())
}

async fn seen(mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "it takes too long");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
