//! CPU time of an empty task: through the whole worker on a queue in memory, and in a bare loop of the engine.
//!
//!     cargo xtask bench task
//!
//! All run the same component with the same kind of store: WASI context, limiter, fuel, instantiate, call, drop. The
//! worker adds receive, a hand-over between threads, a timeout, a lease, counts and settlement. The bare loop runs with the
//! engine's own pool, and with a pool that keeps pages of stacks and tables between tasks, as the worker's does. It also
//! runs on as many threads as the worker's guests: each task unmaps pages, which all threads of a process have to notice.

use crate::shared::{Bare, Guards, Input, Memory, guests, worker};
use serde_json::json;
use std::num::NonZeroUsize;
use std::thread;
use tokio::runtime::{Builder, Runtime};
use wasmrun_benches::{Arguments, Found, Way, cores, cost, interleaved, report, with};
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::worker::WorkerOptions;

/// Tasks of a worker for each of a bare loop: setting the concurrency limit and finding the queue empty take a fifth of a
/// second each.
const WORKER_TASKS: usize = 5;

pub(crate) fn measure(arguments: &Arguments) {
    let (rounds, tasks) = arguments.size.pick((1, 100), (10, 10_000));
    let io = threads::start_io().expect("threads");
    let cores = cores();
    let mut ways = vec![
        bare("bare engine", Memory::Pool(10), 1, tasks),
        bare("bare engine, pages kept", Memory::KeptPool(10), 1, tasks),
        bare(format!("bare engine, {cores} threads"), Memory::Pool(10), cores, tasks),
    ];
    // The lower the limit, the more often threads wake each other for a task.
    for instances in [4, 16, 64] {
        let options = worker::fixed(NonZeroUsize::new(instances).expect("not zero"));
        ways.push(wasmrun(&io, format!("wasmrun, {instances} instances"), options, tasks * WORKER_TASKS));
    }
    let auto = worker::auto(NonZeroUsize::new(64).expect("not zero"));
    ways.push(wasmrun(&io, "wasmrun, instances auto".into(), auto, tasks * WORKER_TASKS));

    let found = interleaved("Empty tasks", rounds, ways);
    let to = |way: &Found, other: usize| way.ratio(&found[other], "cpu_us");
    let row = |way: &Found| {
        with(way.row(), json!({"to_bare": to(way, 0), "to_kept": to(way, 1), "to_threads": to(way, 2)}))
    };
    let title = format!(
        "An empty task: {rounds} rounds of {tasks} tasks ({} in a worker), interleaved; medians of the rounds.",
        tasks * WORKER_TASKS
    );
    let columns = "= what | CPU µs = cpu_us:1 | wall µs = wall_us:1 | CPU, times bare = to_bare:2 \
        | CPU, times pages kept = to_kept:2 | CPU, times bare on all threads = to_threads:2";
    report::print(&title, columns, found.iter().map(row));
}

/// Loops on some threads at once, which share the tasks.
fn bare(name: impl Into<String>, memory: Memory, threads: usize, tasks: usize) -> Way<'static> {
    let bare = Bare::new(&guests::bytes("empty"), memory, Guards::BASIC);
    let each = tasks.div_ceil(threads);
    Way::new(name, move |_| {
        let work = || {
            let runtime = Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                for _ in 0..each {
                    bare.run(&Input::default()).await;
                }
            });
        };
        cost(each * threads, || thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work)))))
    })
}

fn wasmrun(io: &Runtime, name: String, options: WorkerOptions, tasks: usize) -> Way<'_> {
    let component = io.block_on(guests::load(guests::options("empty", options.instances)));
    Way::new(name, move |_| {
        let worker = worker::with_tasks(tasks, component.clone(), options.clone());
        let work = async move { worker::work_off(worker.await, tasks).await };
        cost(tasks, || io.block_on(io.spawn(work)).expect("no panic"))
    })
}
