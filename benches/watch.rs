//! What watching costs: empty tasks of a worker that nothing watches, and of a worker with metrics, status and EMF.
//!
//!     cargo xtask bench watch
//!
//! Metrics and status are asked for each second, and at the beginning of each round. CPU time is that of the process, on
//! all threads, the asking included.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use serde_json::json;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_benches::program::get;
use wasmrun_benches::rounds::{Way, cost, interleaved};
use wasmrun_benches::{guests, report, run, worker};
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::model::usage::TaskObserver;
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::worker::{Worker, WorkerOptions};
use wasmrun_watch::emf::Emf;
use wasmrun_watch::metrics::Metrics;
use wasmrun_watch::server::Server;
use wasmrun_watch::{About, Watch};

/// The interval between two requests.
const EVERY: Duration = Duration::from_secs(1);

fn main() {
    let Some(size) = run::size("watch") else { return };
    let (rounds, tasks) = size.pick((2, 100), (20, 10_000));
    let runtime = threads::start_io().expect("threads");
    let instances = NonZeroUsize::new(4).expect("not zero");
    let component = runtime.block_on(guests::load("empty", instances));
    let bench = Bench { runtime, component, instances, tasks };
    // Fills the pool's pages and the caches.
    bench.plain();

    let ways = vec![
        Way::new("nothing watches", |_| bench.plain()),
        Way::new("metrics, status, EMF", |_| bench.watched()),
    ];
    let found = interleaved("Watching", rounds, ways);
    let rows = found.iter().map(|way| json!({"what": way.name, "cpu_us": way.median(|cpu| *cpu)}));
    let headings = "| | CPU µs |";
    let fields = "what cpu_us:2";
    let title = format!(
        "An empty task: {rounds} rounds of {tasks} tasks of each kind, interleaved; medians of the rounds."
    );
    report::print(&title, headings, fields, &rows.collect::<Vec<_>>());
    let [plain, watched] = [0, 1].map(|way: usize| found[way].median(|cpu| *cpu));
    println!("Ratio of the medians: {:.3}.", watched / plain);
    println!("Median of the rounds' ratios: {:.3}.", found[1].ratio(&found[0], |cpu| *cpu));
}

struct Bench {
    runtime: Runtime,
    component: Arc<Component>,
    instances: NonZeroUsize,
    tasks: usize,
}

impl Bench {
    /// CPU time of a task in microseconds.
    fn plain(&self) -> f64 {
        self.measure(self.worker(Vec::new()))
    }

    fn watched(&self) -> f64 {
        let metrics = Arc::<Metrics>::default();
        let emf = Arc::new(Emf::new("Bench".into(), "empty", "memory:work"));
        let worker = self.worker(vec![metrics.clone(), emf.clone()]);
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            queue: "memory:work".into(),
            started_at: SystemTime::now(),
        };
        let watch = Watch { about, metrics, worker: worker.clone(), component: self.component.clone() };
        let server = self.runtime.block_on(Server::bind(([127, 0, 0, 1], 0).into())).expect("a port");
        let address = server.address();
        let _serving = AbortOnDropHandle::new(self.runtime.spawn(server.serve(Arc::new(watch))));
        let (stop, stopped) = mpsc::channel::<()>();
        let asking = std::thread::spawn(move || {
            loop {
                ask(address);
                if stopped.recv_timeout(EVERY) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        let cpu = self.measure(worker.clone());
        drop(stop);
        asking.join().expect("answers");
        assert!(emf.line(&worker.status(), SystemTime::now(), true).contains("TasksCompleted"));
        cpu
    }

    /// A worker, with messages in its queue.
    fn worker(&self, observers: Vec<Arc<dyn TaskObserver>>) -> Arc<Worker> {
        let watch_depth = !observers.is_empty();
        let options = WorkerOptions { watch_depth, observers, ..worker::fixed(self.instances) };
        self.runtime.block_on(worker::with_tasks(self.tasks, self.component.clone(), options))
    }

    fn measure(&self, worker: Arc<Worker>) -> f64 {
        let work = worker::work_off(worker, self.tasks);
        cost(self.tasks, || self.runtime.block_on(self.runtime.spawn(work)).expect("no panic")).cpu
    }
}

fn ask(address: SocketAddr) {
    for (path, word) in [("/metrics", "wasmrun_tasks_total"), ("/status", "percentiles")] {
        assert!(get(address, path).is_some_and(|page| page.contains(word)), "{path}");
    }
}
