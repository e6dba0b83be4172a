//! The worker, in a process of its own, with another batch policy than its queue's.

use async_trait::async_trait;
use serde_json::json;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wasmrun_aws::{Aws, SqsQueue};
use wasmrun_benches::guests;
use wasmrun_benches::rounds::{Samples, micros};
use wasmrun_benches::system::process_cpu;
use wasmrun_benches::worker::{self, Observe, Observed};
use wasmrun_runtime::model::outcome::{Action, Policy};
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::ports::queue::{BatchPolicy, Delivery, Queue, Receipt};
use wasmrun_runtime::worker::WorkerOptions;

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
    done: Notify,
}

#[derive(Default)]
struct State {
    /// Ids of messages by their receipts.
    ids: HashMap<String, String>,
    /// When the tasks of these messages ended.
    ended: HashMap<String, Instant>,
    /// When the first receive was answered.
    began: Option<Instant>,
    /// Milliseconds from the end of each task until its message was deleted.
    waited: Vec<f64>,
    receives: usize,
    deletes: usize,
    /// Messages that aren't deleted yet.
    left: usize,
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
            let ids = deliveries.iter().map(|one| (one.receipt.0.clone(), one.message.id.clone()));
            state.ids.extend(ids);
        }
        tokio::time::sleep(ROUND_TRIP).await;
    }

    async fn deleted(&self, receipts: &[Receipt]) {
        tokio::time::sleep(ROUND_TRIP).await;
        let now = Instant::now();
        let mut state = self.state();
        state.deletes += 1;
        for receipt in receipts {
            let id = state.ids.remove(&receipt.0).expect("a received message");
            let ended = state.ended.remove(&id).expect("the end of its task");
            state.waited.push(micros(now - ended) / 1e3);
        }
        state.left -= receipts.len();
        if state.left == 0 {
            self.done.notify_one();
        }
    }
}

impl TaskObserver for Paced {
    fn ended(&self, record: &TaskRecord<'_>) {
        self.state().ended.insert(record.message_id.to_owned(), Instant::now());
    }
}

/// Works until all messages are deleted, and prints what that took: CPU seconds without the start of this process, and
/// seconds from the first receive's answer. The arguments are those of [`crate::waits::PACED`].
pub(crate) async fn work(arguments: &[String]) {
    let [url, settling, receiving, messages] = arguments else { panic!("{arguments:?}") };
    let [settling, receiving, left] =
        [settling, receiving, messages].map(|number| number.parse().expect("a number"));
    let endpoint = std::env::var("AWS_ENDPOINT_URL").expect("an endpoint");
    let queue = SqsQueue::open(url, &Aws::new(Some(endpoint)), None).await.expect("a queue");
    let own = queue.batch_policy();
    let paced = Arc::new(Paced {
        settling: Duration::from_millis(settling),
        receiving: Duration::from_millis(receiving),
        state: Mutex::new(State { left: left as usize, ..State::default() }),
        done: Notify::new(),
    });
    let as_it_is = paced.batch_policy(own) == own;
    let options = WorkerOptions {
        policy: Policy { rejected: Action::Drop, ..Policy::default() },
        observers: vec![paced.clone()],
        ..worker::fixed(INSTANCES)
    };
    let component = guests::load("empty", INSTANCES).await;
    let queue = Arc::new(Observed { queue, by: paced.clone() });
    let worker = worker::worker(queue, component, options).await;
    let cpu = process_cpu();
    println!("{READY}");
    let never = CancellationToken::new;
    tokio::select! {
        _ = worker.run(never(), never()) => unreachable!("nothing stops it"),
        () = paced.done.notified() => {}
    }
    let (cpu, now) = (process_cpu() - cpu, Instant::now());
    let mut state = paced.state();
    let waited = Samples::from_iter(std::mem::take(&mut state.waited));
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
