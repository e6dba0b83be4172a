//! The steps of a task's way, one by one: what to watch while changing them.
//!
//!     cargo xtask bench steps
//!     cargo xtask bench steps -- 'object/dir'      # those whose names match
//!
//! A task is run without the worker around it, on this thread. Calls to the host are made by one guest, as many times
//! as are measured, so that its start is divided among them.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wasmrun_benches::guests;
use wasmrun_local::{DirStore, QueueSettings, SqliteQueue};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::model::event;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::{MAX_BATCH, Message, OutgoingMessage};
use wasmrun_runtime::model::outcome::Outcome;
use wasmrun_runtime::ports::memory::{MemoryQueue, MemoryStore};
use wasmrun_runtime::ports::object_store::ObjectStore;
use wasmrun_runtime::ports::queue::{Queue, Receipt};
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::task::grant::{Grants, Mode, StoreGrant};

criterion_group! {
    name = steps;
    config = Criterion::default().without_plots();
    targets = instantiate, host_call, objects, settle, decode
}
criterion_main!(steps);

/// A component, and the runtime that its stores are used on.
struct Tasks {
    io: Runtime,
    component: Component,
}

impl Tasks {
    fn new(guest: &str, allocator: Allocator, store: Option<Arc<dyn ObjectStore>>) -> Self {
        let io = threads::start_io().expect("threads");
        let grant = |store| {
            ("objects".to_owned(), StoreGrant { alias: "objects".into(), store, mode: Mode::ReadWrite })
        };
        let stores: BTreeMap<String, StoreGrant> = store.map(grant).into_iter().collect();
        let grants = Grants { stores, ..Grants::default() };
        // As many calls as are measured.
        let limits = Limits {
            fuel: u64::MAX / 2,
            timeout: Duration::from_secs(3600),
            store_calls: u64::MAX,
            read_bytes: u64::MAX,
            write_bytes: u64::MAX,
            ..Limits::default()
        };
        let component = guests::load(guest, allocator, NonZeroUsize::MIN, grants, limits);
        let component = io.block_on(component);
        Self { io, component }
    }

    fn run(&self, message: &Arc<Message>) {
        let report = self.io.block_on(self.component.run(message.clone(), pending()));
        assert_eq!(report.outcome, Outcome::Completed);
    }

    /// How long the guest takes for a command.
    fn timed(&self, command: &str) -> Duration {
        let message = message(command);
        let began = Instant::now();
        self.run(&message);
        began.elapsed()
    }
}

fn message(body: &str) -> Arc<Message> {
    Arc::new(Message::new("message", body))
}

/// A whole empty task: store, instantiate, call, drop.
fn instantiate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("instantiate");
    for (name, allocator) in [("pooling", Allocator::Pooling), ("on-demand", Allocator::OnDemand)] {
        let tasks = OnceCell::new();
        group.bench_function(name, |bencher| {
            let tasks = tasks.get_or_init(|| Tasks::new("empty", allocator, None));
            let message = message("x");
            bencher.iter(|| tasks.run(&message));
        });
    }
}

/// The cheapest one: a number of the message.
fn host_call(criterion: &mut Criterion) {
    let tasks = OnceCell::new();
    criterion.bench_function("host-call", |bencher| {
        let tasks = tasks.get_or_init(|| Tasks::new("workload", Allocator::Pooling, None));
        bencher.iter_custom(|times| tasks.timed(&format!("calls {times}")));
    });
}

/// How to make a backend, and what it's called.
type Named<'a, T> = (&'a str, &'a dyn Fn() -> T);

/// Whole objects, from the guest to the store and back.
fn objects(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(guests::target()).expect("a directory");
    let directory = || DirStore::open(&format!("dir:{}", folder.path().display())).expect("a store");
    let stores: [Named<'_, Arc<dyn ObjectStore>>; 2] =
        [("memory", &|| Arc::new(MemoryStore::new("objects"))), ("dir", &|| Arc::new(directory()))];
    for (name, store) in stores {
        let mut group = criterion.benchmark_group(format!("object/{name}"));
        let tasks = OnceCell::new();
        let tasks = || tasks.get_or_init(|| Tasks::new("workload", Allocator::Pooling, Some(store())));
        for (name, size) in [("1 KiB", 1 << 10), ("1 MiB", 1 << 20)] {
            group.throughput(Throughput::Bytes(size));
            group.bench_function(format!("put {name}"), |bencher| {
                bencher.iter_custom(|times| tasks().timed(&format!("put {size} {times}")));
            });
            group.bench_function(format!("get {name}"), |bencher| {
                tasks().timed(&format!("put {size} 1"));
                bencher.iter_custom(|times| tasks().timed(&format!("get {size} {times}")));
            });
        }
    }
}

/// A batch of messages whose tasks have completed: what the worker does to the queue in the end.
fn settle(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(guests::target()).expect("a directory");
    let url = format!("sqlite:{}", folder.path().join("queue.db").display());
    let queues: [Named<'_, Box<dyn Queue>>; 2] = [
        ("memory", &|| Box::new(MemoryQueue::new("work", Duration::from_secs(30)))),
        ("sqlite", &|| Box::new(SqliteQueue::create(&url, &QueueSettings::default()).expect("a queue").0)),
    ];
    let mut group = criterion.benchmark_group("settle");
    group.throughput(Throughput::Elements(MAX_BATCH as u64));
    for (name, queue) in queues {
        group.bench_function(name, |bencher| {
            let io = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("threads");
            let queue = queue();
            bencher.iter_custom(|times| io.block_on(settling(&*queue, times)));
        });
    }
}

/// Sends and receives batches, and measures how long their deletion takes.
async fn settling(queue: &dyn Queue, batches: u64) -> Duration {
    let message = OutgoingMessage { body: "x".into(), ..OutgoingMessage::default() };
    let batch = vec![message; MAX_BATCH];
    let mut spent = Duration::ZERO;
    for _ in 0..batches {
        queue.send(&batch).await;
        let received = queue.receive(MAX_BATCH, Duration::ZERO, &CancellationToken::new()).await;
        let receipts: Vec<Receipt> =
            received.expect("the batch").into_iter().map(|delivery| delivery.receipt).collect();
        assert_eq!(receipts.len(), MAX_BATCH);
        let began = Instant::now();
        let answers = queue.delete(&receipts).await;
        spent += began.elapsed();
        assert!(answers.iter().all(Result::is_ok));
    }
    spent
}

/// What announces an object, and what announces none.
fn decode(criterion: &mut Criterion) {
    let at = SystemTime::UNIX_EPOCH;
    let event = event::notification("s3://photographs/", "in/a cup.jpg", 930_264, Some("etag"), at);
    let wrapped = serde_json::json!({ "Type": "Notification", "Message": event }).to_string();
    let mut group = criterion.benchmark_group("event");
    for (name, body) in [("plain", "x"), ("s3", &event), ("sns", &wrapped)] {
        group.bench_function(name, |bencher| bencher.iter(|| event::decode(black_box(body))));
    }
}
