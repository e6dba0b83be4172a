//! The worker, in a process of its own, with another batch policy than its queue's.

use super::threads;
use crate::shared::{Observe, Observed, Waits, guests, worker};
use async_trait::async_trait;
use serde_json::json;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use wasmrun_benches::{Samples, process_cpu};
use wasmrun_runtime::model::outcome::{Action, Policy};
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::ports::queue::{BatchPolicy, Delivery, Receipt};
use wasmrun_runtime::worker::WorkerOptions;

/// A child process, which is the worker. Its arguments are the queue's URL, both waits in milliseconds, and the number of
/// messages.
pub(crate) const PACED: &str = "paced-worker";
/// What the worker prints once messages may come.
pub(crate) const READY: &str = "ready";
/// Four full receives.
const INSTANCES: NonZeroUsize = NonZeroUsize::new(40).expect("not zero");
/// What a request takes within a region of Amazon's, and what the server on this machine doesn't.
const ROUND_TRIP: Duration = Duration::from_millis(10);

/// Makes a queue as far away as Amazon's, with other waits, and records what is asked of it.
struct Paced {
    settling: Duration,
    receiving: Duration,
    state: Mutex<State>,
}

struct State {
    /// From the end of each task until its message was deleted.
    waits: Waits,
    /// When the first receive was answered.
    began: Option<Instant>,
    receives: usize,
    deletes: usize,
}

impl Paced {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Observe for Paced {
    fn batch_policy(&self, of_queue: BatchPolicy) -> BatchPolicy {
        BatchPolicy { settling_wait: self.settling, receiving_wait: self.receiving, ..of_queue }
    }

    async fn received(&self, deliveries: &[Delivery]) {
        {
            let mut state = self.state();
            state.receives += 1;
            state.began.get_or_insert_with(Instant::now);
            state.waits.received(deliveries);
        }
        tokio::time::sleep(ROUND_TRIP).await;
    }

    async fn deleted(&self, receipts: &[Receipt]) {
        tokio::time::sleep(ROUND_TRIP).await;
        let now = SystemTime::now();
        let mut state = self.state();
        state.deletes += 1;
        state.waits.deleted(receipts, now);
    }
}

impl TaskObserver for Paced {
    fn ended(&self, record: &TaskRecord<'_>) {
        let now = SystemTime::now();
        self.state().waits.since(record.message_id, now);
    }
}

/// The work of the child: works until all messages are deleted, and prints what that took. CPU seconds are without the start
/// of this process, and seconds from the first receive's answer.
pub(crate) fn work(arguments: &[String]) {
    let [url, numbers @ ..] = arguments else { panic!("{arguments:?}") };
    let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
    let [settling, receiving, messages] = numbers[..] else { panic!("{arguments:?}") };
    threads().block_on(work_off(url, [settling, receiving].map(Duration::from_millis), messages as usize));
}

async fn work_off(url: &str, [settling, receiving]: [Duration; 2], messages: usize) {
    let queue = worker::open(url).await;
    let own = queue.batch_policy();
    let waits = Waits::new(messages);
    let done = waits.done.clone();
    let state = Mutex::new(State { waits, began: None, receives: 0, deletes: 0 });
    let paced = Arc::new(Paced { settling, receiving, state });
    let as_it_is = paced.batch_policy(own) == own;
    let options = WorkerOptions {
        policy: Policy { rejected: Action::Drop, ..Policy::default() },
        observers: vec![paced.clone()],
        ..worker::fixed(INSTANCES)
    };
    let component = guests::load(guests::options("empty", INSTANCES)).await;
    let queue = Arc::new(Observed { queue, by: paced.clone() });
    let worker = worker::worker(queue, component, options).await;
    let cpu = process_cpu();
    println!("{READY}");
    worker::run_until(worker, done.notified()).await;
    let (cpu, now) = (process_cpu() - cpu, Instant::now());
    let mut state = paced.state();
    let waited = Samples::from_iter(std::mem::take(&mut state.waits.ms));
    let found = json!({
        "as_it_is": as_it_is,
        "receives": state.receives,
        "deletes": state.deletes,
        "cpu_seconds": cpu.as_secs_f64(),
        "seconds": state.began.map_or(0.0, |began| (now - began).as_secs_f64()),
        "p50_ms": waited.percentile(50.0),
        "p99_ms": waited.percentile(99.0),
    });
    println!("{found}");
}
