//! A worker with several queues in memory, whose calls are observed.

use super::*;
use crate::engine::Allocator;
use crate::engine::capacity::{Host, HostMemory, MemorySource};
use crate::engine::compile::Compiler;
use crate::engine::threads::GuestThreads;
use crate::model::limits::Limits;
use crate::model::message::OutgoingMessage;
use crate::model::usage::{TaskObserver, TaskRecord};
use crate::ports::memory::MemoryQueue;
use crate::ports::queue::{Delivery, QueueAttributes, Receipt};
use crate::task::component::{Component, LoadOptions};
use crate::worker::{Receiving, Summary, Worker};
use async_trait::async_trait;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3600);

/// What all queues and tasks of a test record.
#[derive(Default)]
struct Records {
    /// Messages that were received and whose task hasn't ended.
    ahead: AtomicUsize,
    most_ahead: AtomicUsize,
    /// The queue of each task, in the order of their ends.
    ended: Mutex<Vec<String>>,
    /// The IDs of deleted messages, by queue.
    deleted: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl TaskObserver for Records {
    fn ended(&self, record: &TaskRecord<'_>) {
        self.ahead.fetch_sub(1, Ordering::Relaxed);
        self.ended.lock().push(record.queue.expect("there are several").to_owned());
    }
}

impl Records {
    fn ended(&self) -> usize {
        self.ended.lock().len()
    }
}

/// A queue that records its calls, and refuses the receipts of other queues.
struct Double {
    queue: MemoryQueue,
    records: Arc<Records>,
    /// The messages in flight, by receipt.
    in_flight: Mutex<BTreeMap<String, String>>,
    receives: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
    receives_fail: AtomicBool,
    deletes_fail: AtomicBool,
}

impl Double {
    fn new(name: &str, records: &Arc<Records>) -> Arc<Self> {
        Arc::new(Self {
            queue: MemoryQueue::new(name, HOUR),
            records: records.clone(),
            in_flight: Mutex::default(),
            receives: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
            receives_fail: AtomicBool::new(false),
            deletes_fail: AtomicBool::new(false),
        })
    }

    async fn fill(&self, messages: usize) {
        let message = OutgoingMessage { body: "x".into(), ..OutgoingMessage::default() };
        self.queue.send(&vec![message; messages]).await;
    }

    fn fails(switch: &AtomicBool, fails: bool) {
        switch.store(fails, Ordering::Relaxed);
    }

    fn own(&self, receipts: &[Receipt]) -> Vec<Receipt> {
        let own = |receipt: &Receipt| {
            let own = receipt.0.strip_prefix(self.queue.url()).and_then(|rest| rest.strip_prefix(":/;=:"));
            Receipt(own.unwrap_or_else(|| panic!("{receipt} is of another queue")).to_owned())
        };
        receipts.iter().map(own).collect()
    }
}

#[async_trait]
impl Queue for Double {
    fn url(&self) -> &str {
        self.queue.url()
    }

    async fn attributes(&self) -> Result<QueueAttributes, QueueError> {
        self.queue.attributes().await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        if self.receives_fail.load(Ordering::Relaxed) {
            return Err(QueueError::NotFound("gone".into()));
        }
        self.queue.depth().await
    }

    async fn receive(
        &self,
        max: usize,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery>, QueueError> {
        self.receives.fetch_add(1, Ordering::Relaxed);
        if self.receives_fail.load(Ordering::Relaxed) {
            return Err(QueueError::NotFound("gone".into()));
        }
        let waits = usize::from(!wait.is_zero());
        let under_way = self.under_way.fetch_add(waits, Ordering::Relaxed) + waits;
        self.most_under_way.fetch_max(under_way, Ordering::Relaxed);
        let received = self.queue.receive(max, wait, stop).await;
        self.under_way.fetch_sub(waits, Ordering::Relaxed);
        let mut deliveries = received?;
        assert!(deliveries.len() <= if waits == 1 { 1 } else { max });
        let count = deliveries.len();
        let ahead = self.records.ahead.fetch_add(count, Ordering::Relaxed) + count;
        self.records.most_ahead.fetch_max(ahead, Ordering::Relaxed);
        for delivery in &mut deliveries {
            self.in_flight.lock().insert(delivery.receipt.0.clone(), delivery.message.id.clone());
            // A receipt may hold anything.
            delivery.receipt = Receipt(format!("{}:/;=:{}", self.url(), delivery.receipt));
        }
        Ok(deliveries)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Vec<Result<(), QueueError>> {
        let own = self.own(receipts);
        if self.deletes_fail.load(Ordering::Relaxed) {
            return vec![Err(QueueError::Unusable("access denied".into())); own.len()];
        }
        for receipt in &own {
            let id = self.in_flight.lock().remove(&receipt.0).expect("it is in flight");
            let mut deleted = self.records.deleted.lock();
            assert!(deleted.entry(self.url().to_owned()).or_default().insert(id), "deleted twice");
        }
        self.queue.delete(&own).await
    }

    async fn set_visibility(&self, messages: &[(Receipt, Duration)]) -> Vec<Result<(), QueueError>> {
        let (receipts, times): (Vec<_>, Vec<_>) = messages.iter().cloned().unzip();
        let own: Vec<_> = self.own(&receipts).into_iter().zip(times).collect();
        let released = own.iter().filter(|(_, time)| time.is_zero()).count();
        self.records.ahead.fetch_sub(released, Ordering::Relaxed);
        self.queue.set_visibility(&own).await
    }

    async fn send(&self, messages: &[OutgoingMessage]) -> Vec<Result<String, QueueError>> {
        self.queue.send(messages).await
    }
}

/// Loads the smallest task.
async fn component() -> Arc<Component> {
    let text = include_str!("../../../../properties/src/seeds/task.wat");
    let bytes = wat::parse_str(text).expect("a component");
    let memory = HostMemory { bytes: 2 << 30, source: MemorySource::Cgroup };
    let threads = Arc::new(GuestThreads::start(NonZeroUsize::MIN).expect("a thread"));
    let options = LoadOptions {
        limits: Limits { memory_bytes: 16 << 20, ..Limits::default() },
        instances: NonZeroUsize::new(64).expect("not zero"),
        host: Host { memory: Some(memory), files: None },
        allocator: Allocator::OnDemand,
        ..LoadOptions::new("c.wasm", threads)
    };
    Arc::new(Component::load(&bytes, &Compiler::in_process(), options).await.expect("a component"))
}

fn weight(weight: u32) -> Priority {
    Priority::Weight(NonZeroU32::new(weight).expect("a weight"))
}

/// The queues of a test, and what they record.
struct World {
    component: Arc<Component>,
    records: Arc<Records>,
    queues: Vec<(Arc<Double>, Priority)>,
}

impl World {
    /// Creates queues with these priorities and numbers of messages.
    async fn new(component: Arc<Component>, queues: &[(Priority, usize)]) -> Self {
        let records = Arc::<Records>::default();
        let mut all = Vec::new();
        for (index, (priority, messages)) in queues.iter().enumerate() {
            let queue = Double::new(&format!("q{index}"), &records);
            queue.fill(*messages).await;
            all.push((queue, *priority));
        }
        Self { component, records, queues: all }
    }

    async fn worker(&self, instances: usize, until_empty: bool) -> Arc<Worker> {
        let options = WorkerOptions {
            instances: NonZeroUsize::new(instances).expect("not zero"),
            until_empty,
            observers: vec![self.records.clone()],
            ..WorkerOptions::default()
        };
        let queue = |(queue, priority): &(Arc<Double>, _)| WorkerQueue {
            queue: queue.clone(),
            dead_letter: None,
            priority: *priority,
        };
        let queues = self.queues.iter().map(queue).collect();
        Arc::new(Worker::of_queues(queues, self.component.clone(), options).await.expect("a worker"))
    }

    async fn run_until_empty(&self, instances: usize) -> Summary {
        let worker = self.worker(instances, true).await;
        worker.run(CancellationToken::new(), CancellationToken::new()).await
    }

    fn queue(&self, index: usize) -> &Double {
        &self.queues[index].0
    }

    /// Waits until this number of tasks has ended.
    async fn until_ended(&self, tasks: usize) {
        until(|| self.records.ended() >= tasks).await;
    }

    fn deleted(&self) -> Vec<usize> {
        let deleted = self.records.deleted.lock();
        self.queues.iter().map(|(queue, _)| deleted.get(queue.url()).map_or(0, BTreeSet::len)).collect()
    }
}

/// Waits until a condition holds, for up to a minute.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it holds within a minute");
}

#[tokio::test]
async fn strict_queues_are_emptied_first_and_the_others_share_by_weight() {
    let queues = [(weight(3), 400), (Priority::Strict, 30), (weight(1), 400), (Priority::Strict, 30)];
    let world = World::new(component().await, &queues).await;
    world.run_until_empty(1).await;
    assert_eq!(world.deleted(), [400, 30, 400, 30]);
    let ended = world.records.ended.lock().clone();
    assert!(ended[..30].iter().all(|queue| queue == "memory:q1"), "{ended:?}");
    assert!(ended[30..60].iter().all(|queue| queue == "memory:q3"), "{ended:?}");
    let of_first = ended[60..460].iter().filter(|queue| *queue == "memory:q0").count();
    assert!((270..=330).contains(&of_first), "{of_first} of 400");
}

#[tokio::test]
async fn an_idle_worker_waits_once_at_each_queue_and_starts_what_arrives_anywhere() {
    let queues = [(Priority::Strict, 0), (weight(1), 0), (weight(5), 0)];
    let world = World::new(component().await, &queues).await;
    let (worker, stop) = (world.worker(1, false).await, CancellationToken::new());
    let running = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    for (round, index) in [2, 0, 1, 1, 0, 2].into_iter().enumerate() {
        world.queue(index).fill(1).await;
        world.until_ended(round + 1).await;
    }
    stop.cancel();
    running.await.expect("it ends");
    assert_eq!(world.deleted(), [2, 2, 2]);
    for (queue, _) in &world.queues {
        let (receives, at_once) =
            (queue.receives.load(Ordering::Relaxed), queue.most_under_way.load(Ordering::Relaxed));
        // For each message: the wait that brought it, and a receive that finds no other.
        assert!(receives <= 8 && at_once == 1, "{receives} receives, {at_once} at once");
    }
}

#[tokio::test]
async fn a_queue_that_fails_does_not_stop_the_others() {
    let queues = [(Priority::Strict, 5), (weight(1), 50), (weight(1), 50)];
    let world = World::new(component().await, &queues).await;
    Double::fails(&world.queue(0).receives_fail, true);
    let worker = world.worker(4, true).await;
    let run = worker.clone().run(CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(run);
    world.until_ended(100).await;
    let status = worker.status();
    assert_eq!(status.receiving, Receiving::Yes, "the others are received from");
    let failing: Vec<bool> = status.queues.iter().map(|queue| queue.failing.is_some()).collect();
    assert_eq!(failing, [true, false, false]);
    assert!(!running.is_finished(), "it isn't known to be empty");
    Double::fails(&world.queue(0).receives_fail, false);
    running.await.expect("it ends");
    assert_eq!(world.deleted(), [5, 50, 50]);
    assert!(worker.status().queues.iter().all(|queue| queue.failing.is_none()));
}

#[tokio::test]
async fn if_all_queues_fail_the_worker_is_not_ready() {
    let world = World::new(component().await, &[(weight(1), 1), (weight(1), 1)]).await;
    (0..2).for_each(|index| Double::fails(&world.queue(index).receives_fail, true));
    let worker = world.worker(1, true).await;
    let run = worker.clone().run(CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(run);
    until(|| worker.status().receiving != Receiving::Yes).await;
    (0..2).for_each(|index| Double::fails(&world.queue(index).receives_fail, false));
    running.await.expect("it ends");
    assert_eq!(world.deleted(), [1, 1]);
}

#[tokio::test]
async fn a_queue_that_settles_nothing_gets_one_message_at_a_time_until_it_does() {
    let world = World::new(component().await, &[(weight(1), 50), (weight(1), 50)]).await;
    Double::fails(&world.queue(0).deletes_fail, true);
    let worker = world.worker(1, true).await;
    let run = worker.clone().run(CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(run);
    until(|| world.deleted() == [0, 50]).await;
    assert!(worker.status().queues[0].failing.is_some());
    assert!(world.records.ended() < 75, "most of the messages wait in their queue");
    Double::fails(&world.queue(0).deletes_fail, false);
    running.await.expect("it ends");
    assert_eq!(world.deleted(), [50, 50]);
}

#[tokio::test]
async fn queues_that_do_not_fit_each_other_are_refused() {
    let records = Arc::default();
    let queue = |name: &str, dead_letter: Option<&str>| WorkerQueue {
        queue: Double::new(name, &records),
        dead_letter: dead_letter.map(|name| Double::new(name, &records) as Arc<dyn Queue>),
        priority: Priority::default(),
    };
    let refused = |queues: Vec<WorkerQueue>, says: &str| {
        let error = check_together(&queues).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(vec![queue("a", None), queue("b", None), queue("a", None)], "named twice");
    refused(vec![queue("a", Some("b")), queue("b", None)], "dead-letter queue of memory:a");
    refused((0..9).map(|number| queue(&number.to_string(), None)).collect(), "from 1 to 8");
    refused(Vec::new(), "from 1 to 8");
    assert!(check_together(&[queue("a", Some("dead")), queue("b", Some("dead"))]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the queues hold: each message is deleted once by its own queue, and no more are received than may start,
    /// and one of each queue.
    #[test]
    fn nothing_is_lost_and_little_is_received_ahead(
        queues in prop::collection::vec((0..=3_u32, 0..=60_usize), 2..=MOST_QUEUES),
        late in prop::collection::vec((0..MOST_QUEUES, 1..=5_usize), 0..=6),
        instances in 1..=12_usize,
    ) {
        let priority = |number: u32| if number == 0 { Priority::Strict } else { weight(number) };
        let queues: Vec<_> = queues.into_iter().map(|(number, messages)| (priority(number), messages)).collect();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let world = World::new(component().await, &queues).await;
            let mut expected: Vec<usize> = queues.iter().map(|(_, messages)| *messages).collect();
            let arrive = async {
                for (index, messages) in late {
                    let index = index % queues.len();
                    tokio::task::yield_now().await;
                    world.queue(index).fill(messages).await;
                    expected[index] += messages;
                }
            };
            tokio::join!(world.run_until_empty(instances), arrive);
            // What came after the end is for the next worker.
            world.run_until_empty(instances).await;
            assert_eq!(world.deleted(), expected);
            let ahead = world.records.most_ahead.load(Ordering::Relaxed);
            assert!(ahead <= instances + queues.len(), "{ahead} of {instances} and {}", queues.len());
        });
    }
}
