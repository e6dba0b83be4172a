//! What watching costs: empty tasks of a worker that nobody watches, and of one with metrics, status and EMF that is asked
//! for both each second.
//!
//!     cargo xtask bench watch
//!
//! The rounds are interleaved, each kind first as often as the other. CPU time is that of the process, on all threads, with
//! what asks among it. Each watched round is asked at its begin, so that it's asked more often than each second.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_benches::figures::{median, micros, process_cpu};
use wasmrun_benches::run::{self, Size};
use wasmrun_benches::{guests, queues};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::TaskObserver;
use wasmrun_runtime::ports::memory::MemoryQueue;
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::task::grant::Grants;
use wasmrun_runtime::worker::{Worker, WorkerOptions};
use wasmrun_watch::emf::Emf;
use wasmrun_watch::metrics::Metrics;
use wasmrun_watch::server::Server;
use wasmrun_watch::{About, Watch};

const ROUNDS: usize = 20;
/// In all two hundred thousand of each kind.
const TASKS: usize = 10_000;
/// As often as nobody would ask.
const EVERY: Duration = Duration::from_secs(1);

fn main() {
    let (rounds, tasks) = match run::size("watch") {
        None => return,
        Some(Size::Quick) => (2, 100),
        Some(Size::Full) => (ROUNDS, TASKS),
    };
    let runtime = threads::start_io().expect("threads");
    let instances = NonZeroUsize::new(4).expect("not zero");
    let component =
        guests::load("empty", Allocator::Pooling, instances, Grants::default(), Limits::default());
    let bench = Bench { component: Arc::new(runtime.block_on(component)), runtime, instances, tasks };
    // The pool's pages, the caches, the clock.
    bench.plain();

    let (mut plain, mut watched) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            plain.push(bench.plain());
            watched.push(bench.watched());
        } else {
            watched.push(bench.watched());
            plain.push(bench.plain());
        }
    }
    let ratios = plain.iter().zip(&watched).map(|(plain, watched)| watched / plain).collect();
    let (plain, watched) = (median(plain), median(watched));
    println!("empty task, {rounds} rounds of {tasks} of each kind, interleaved; medians of the rounds");
    println!("nobody watches               {plain:>9.2} us of CPU time");
    println!("metrics, status, EMF         {watched:>9.2} us of CPU time");
    println!("ratio of the medians         {:>9.3}", watched / plain);
    println!("median of the rounds' ratios {:>9.3}", median(ratios));
}

struct Bench {
    runtime: Runtime,
    component: Arc<Component>,
    instances: NonZeroUsize,
    tasks: usize,
}

impl Bench {
    /// Microseconds of CPU time for each task.
    fn plain(&self) -> f64 {
        let worker = self.runtime.block_on(self.worker(Vec::new()));
        self.measure(worker)
    }

    fn watched(&self) -> f64 {
        let metrics = Arc::<Metrics>::default();
        let emf = Arc::new(Emf::new("Bench".into(), "empty", "memory:work"));
        let observers: Vec<Arc<dyn TaskObserver>> = vec![metrics.clone(), emf.clone()];
        let worker = self.runtime.block_on(self.worker(observers));
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            component: "empty.wasm".into(),
            queue: "memory:work".into(),
            started_at: SystemTime::now(),
        };
        let watch = Watch { about, metrics, worker: worker.clone(), component: self.component.clone() };
        let server = self.runtime.block_on(Server::bind(([127, 0, 0, 1], 0).into())).expect("a port");
        let address = server.address();
        let _serving = AbortOnDropHandle::new(self.runtime.spawn(server.serve(Arc::new(watch))));
        let (stop, stopped) = mpsc::channel::<()>();
        let asks = std::thread::spawn(move || {
            loop {
                assert!(ask(address, "/metrics").contains("wasmrun_tasks_total"));
                assert!(ask(address, "/status").contains("percentiles"));
                if stopped.recv_timeout(EVERY) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        let each = self.measure(worker.clone());
        drop(stop);
        asks.join().expect("it was answered");
        assert!(emf.line(&worker.status(), SystemTime::now(), true).contains("TasksCompleted"));
        each
    }

    /// A worker, and its messages.
    async fn worker(&self, observers: Vec<Arc<dyn TaskObserver>>) -> Arc<Worker> {
        let queue = Arc::new(MemoryQueue::new("work", Duration::from_secs(30)));
        let dead = Arc::new(MemoryQueue::new("dead", Duration::from_secs(30)));
        let message = OutgoingMessage { body: "x".into(), ..OutgoingMessage::default() };
        queues::fill(&*queue, message, self.tasks).await;
        let watch_depth = !observers.is_empty();
        let options = WorkerOptions {
            instances: self.instances,
            until_empty: true,
            watch_depth,
            observers,
            ..WorkerOptions::default()
        };
        let worker = Worker::new(queue, Some(dead), self.component.clone(), options).await;
        Arc::new(worker.expect("a worker"))
    }

    fn measure(&self, worker: Arc<Worker>) -> f64 {
        let before = process_cpu();
        let run = worker.run(CancellationToken::new(), CancellationToken::new());
        let summary = self.runtime.block_on(self.runtime.spawn(run)).expect("it ends");
        let cpu = process_cpu() - before;
        assert_eq!(summary.outcome(OutcomeKind::Completed), self.tasks as u64);
        micros(cpu) / self.tasks as f64
    }
}

fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nhost: worker\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
