//! What watching costs: empty tasks of a worker that nothing watches, of one with metrics, status and EMF, of one that
//! sends its metrics to a collector, and of one that sends it a hundredth of the traces.
//!
//!     cargo xtask bench watch
//!
//! Metrics and status are asked for, and metrics are sent, each second and at the beginning or at the end of each round. CPU
//! time is that of the process, on all threads, the asking and the collector included.

use crate::shared::{get, guests, worker};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_benches::{Arguments, Found, Way, cost, interleaved, report};
use wasmrun_http::Client;
use wasmrun_otlp::trigger::Queue;
use wasmrun_otlp::{Collector, Service, Traces, Trigger};
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::model::trace::Sampling;
use wasmrun_runtime::model::usage::TaskObserver;
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::worker::{Worker, WorkerOptions};
use wasmrun_watch::emf::Emf;
use wasmrun_watch::metrics::Metrics;
use wasmrun_watch::server::Server;
use wasmrun_watch::{About, Watch};

/// The interval between two requests.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) fn measure(arguments: &Arguments) {
    let (rounds, tasks) = arguments.size.pick((2, 100), (20, 10_000));
    let runtime = threads::start_io().expect("threads");
    let instances = NonZeroUsize::new(4).expect("not zero");
    let component = runtime.block_on(guests::load(guests::options("empty", instances)));
    let sampling = Some(Sampling::new(0.01).expect("a share"));
    let traced = LoadOptions { sampling, ..guests::options("empty", instances) };
    let traced = runtime.block_on(guests::load(traced));
    let bench = Bench { runtime, component, traced, instances, tasks };
    // Fills the pool's pages and the caches.
    bench.plain();

    let collector = start_collector();
    let ways = vec![
        Way::new("nothing watches", |_| bench.plain()),
        Way::new("metrics, status, EMF", |_| bench.watched()),
        Way::new("metrics over OTLP", |_| bench.exported(collector)),
        Way::new("traces, 1 % sampled", |_| bench.traced(collector)),
    ];
    let found = interleaved("Watching", rounds, ways);
    let title = format!(
        "An empty task: {rounds} rounds of {tasks} tasks of each kind, interleaved; medians of the rounds."
    );
    report::print(&title, "= what | CPU µs = cpu_us:2", found.iter().map(Found::row));
    for way in &found[1..] {
        let ratio = way.median("cpu_us") / found[0].median("cpu_us");
        let of_rounds = way.ratio(&found[0], "cpu_us");
        println!(
            "{}: ratio of the medians {ratio:.3}, median of the rounds' ratios {of_rounds:.3}.",
            way.name
        );
    }
}

struct Bench {
    runtime: Runtime,
    component: Arc<Component>,
    /// The same, with traces.
    traced: Arc<Component>,
    instances: NonZeroUsize,
    tasks: usize,
}

impl Bench {
    fn plain(&self) -> Value {
        self.measure(self.worker(&self.component, Vec::new()))
    }

    fn traced(&self, collector: SocketAddr) -> Value {
        let _entered = self.runtime.enter();
        let trigger = Trigger::Queue(Queue::of("memory:work"));
        let traces = Traces::start(at(collector, "traces"), &service(), trigger, client()).expect("traces");
        let traces = Arc::new(traces);
        let cost = self.measure(self.worker(&self.traced, vec![traces.clone()]));
        self.runtime.block_on(traces.close(Duration::from_secs(5)));
        cost
    }

    fn exported(&self, collector: SocketAddr) -> Value {
        let _entered = self.runtime.enter();
        let (watch, worker) = self.watch(Vec::new());
        let collector = at(collector, "metrics");
        let exporter = wasmrun_otlp::Metrics::new(collector, &service(), SystemTime::now(), client());
        let exporter = Arc::new(exporter.expect("metrics"));
        let reporting = {
            let (exporter, watch) = (exporter.clone(), watch.clone());
            async move { exporter.report(EVERY, || watch.gather()).await }
        };
        let _reporting = AbortOnDropHandle::new(self.runtime.spawn(reporting));
        let cost = self.measure(worker);
        self.runtime.block_on(exporter.close(&watch.gather(), Duration::from_secs(5)));
        cost
    }

    fn watched(&self) -> Value {
        let emf = Arc::new(Emf::new("Bench".into(), "empty", &["memory:work"]));
        let (watch, worker) = self.watch(vec![emf.clone()]);
        let server = self.runtime.block_on(Server::bind(([127, 0, 0, 1], 0).into())).expect("a port");
        let address = server.address();
        let _serving = AbortOnDropHandle::new(self.runtime.spawn(server.serve(watch)));
        let (stop, stopped) = mpsc::channel::<()>();
        let asking = std::thread::spawn(move || {
            loop {
                ask(address);
                if stopped.recv_timeout(EVERY) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        let cost = self.measure(worker.clone());
        drop(stop);
        asking.join().expect("answers");
        assert!(emf.line(&worker.status(), SystemTime::now(), true).contains("TasksCompleted"));
        cost
    }

    /// A worker with metrics and these observers, and with messages in its queue.
    fn watch(&self, others: Vec<Arc<dyn TaskObserver>>) -> (Arc<Watch>, Arc<Worker>) {
        let metrics = Arc::<Metrics>::default();
        let observers = others.into_iter().chain([metrics.clone() as Arc<dyn TaskObserver>]).collect();
        let worker = self.worker(&self.component, observers);
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            queues: vec!["memory:work".into()],
            started_at: SystemTime::now(),
        };
        let component = self.component.clone();
        (Arc::new(Watch { about, metrics, worker: worker.clone(), routes: component.into() }), worker)
    }

    /// A worker, with messages in its queue.
    fn worker(&self, component: &Arc<Component>, observers: Vec<Arc<dyn TaskObserver>>) -> Arc<Worker> {
        let watch_depth = !observers.is_empty();
        let options = WorkerOptions { watch_depth, observers, ..worker::fixed(self.instances) };
        self.runtime.block_on(worker::with_tasks(self.tasks, component.clone(), options))
    }

    fn measure(&self, worker: Arc<Worker>) -> Value {
        let work = worker::work_off(worker, self.tasks);
        cost(self.tasks, || self.runtime.block_on(self.runtime.spawn(work)).expect("no panic"))
    }
}

fn at(collector: SocketAddr, path: &str) -> Collector {
    let endpoint = format!("http://{collector}/v1/{path}");
    Collector { endpoint, headers: Default::default(), timeout: Duration::from_secs(10) }
}

fn service() -> Service {
    Service::new(None, "empty".into())
}

fn client() -> Client {
    Client::from_environment().expect("a client")
}

/// A collector that takes whatever it gets.
fn start_collector() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its port");
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let mut reader = BufReader::new(connection);
            let mut length = 0;
            for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().expect("a length");
                }
            }
            io::copy(&mut reader.by_ref().take(length), &mut io::sink()).expect("what is sent");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer).expect("sent");
        }
    });
    address
}

fn ask(address: SocketAddr) {
    for (path, word) in [("/metrics", "wasmrun_tasks_total"), ("/status", "percentiles")] {
        assert!(get(address, path).is_some_and(|page| page.contains(word)), "{path}");
    }
}
