//! A worker with several queues in memory, whose calls are observed.

mod double;

use self::double::{Double, Records};
use super::*;
use crate::engine::Allocator;
use crate::engine::capacity::{Host, HostMemory, MemorySource};
use crate::engine::compile::Compiler;
use crate::engine::threads::GuestThreads;
use crate::model::budget::{Budget, BudgetUnit, Budgets};
use crate::model::key::{Key, KeySource};
use crate::model::limits::Limits;
use crate::ports::memory::MemoryStore;
use crate::ports::object_budgets::ObjectBudgets;
use crate::task::component::{Component, LoadOptions};
use crate::worker::holding::LEAST_HELD;
use crate::worker::shares::ShareOptions;
use crate::worker::{BudgetOptions, KeyOptions, OverBudget, Receiving, Summary, Worker};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU64, NonZeroUsize};
use tokio_util::sync::CancellationToken;

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
        let instances = NonZeroUsize::new(instances).expect("not zero");
        self.worker_with(WorkerOptions { instances, until_empty, ..WorkerOptions::default() }).await
    }

    async fn worker_with(&self, options: WorkerOptions) -> Arc<Worker> {
        let options = WorkerOptions { observers: vec![self.records.clone()], ..options };
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
async fn a_worker_ends_on_empty_queues_though_it_leaves_out_a_key_that_is_over_its_budget() {
    let world = World::new(component().await, &[(Priority::Strict, 0), (weight(1), 0)]).await;
    world.queue(0).fill_group(Some("over"), 1).await;
    // More than are held: when their queue is found empty, the task of the other key has ended.
    world.queue(1).fill_group(Some("other"), 10 * LEAST_HELD).await;
    let number = |number| NonZeroU64::new(number).expect("not zero");
    let budget = Budget { unit: BudgetUnit::Cost, amount: number(1), period: number(31 * 24 * 3600) };
    let over = Key::new("over");
    let worker = world.worker_with(WorkerOptions {
        instances: NonZeroUsize::MIN,
        until_empty: true,
        keys: Some(KeyOptions { source: KeySource::Group, shares: ShareOptions::default() }),
        budgets: Some(BudgetOptions {
            budgets: Budgets { keys: BTreeMap::from([(over, Some(budget))]), others: None },
            over: OverBudget::Park,
            store: Arc::new(ObjectBudgets::new(Arc::new(MemoryStore::new("budgets")))),
            cost: Arc::new(|_| 1),
        }),
        ..WorkerOptions::default()
    });
    let running = worker.await.run(CancellationToken::new(), CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("it ends within a minute");
    assert_eq!(world.deleted(), [1, 10 * LEAST_HELD]);
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
