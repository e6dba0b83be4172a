//! What an empty task costs: through the whole worker on the in-memory queue, against a bare loop of the engine.
//!
//!     cargo xtask bench task
//!
//! All run the same component with the same kind of store: WASI context, limiter, fuel, instantiate, call, drop. The
//! worker adds what makes it a worker: receive, a hand-over between threads, a timeout, a lease, counts, settlement.
//! It has more tasks to do than the bare loop, as its wall-clock time includes the fifth of a second in which it finds the
//! queue empty at the end.
//! The bare loop runs twice: with the pool as the engine sets it up, and with a pool that keeps touched pages between
//! tasks, as the worker's does. The rounds are interleaved; CPU time is that of the process, on all threads.

#![allow(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wasmrun_benches::bare::{Bare, Guards, Input, Memory};
use wasmrun_benches::figures::{median, micros, process_cpu};
use wasmrun_benches::run::{self, Size};
use wasmrun_benches::{guests, options, queues};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::memory::MemoryQueue;
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::task::grant::Grants;
use wasmrun_runtime::worker::{Worker, WorkerOptions};

const ROUNDS: usize = 10;
const TASKS: usize = 10_000;
/// Of the worker, at once: the fewer there are, the more often threads wake each other for a task. `None`: as many as are
/// of use, as it is by default.
const INSTANCES: [Option<usize>; 4] = [Some(4), Some(16), Some(64), None];
/// So many at most, where they are as many as are of use.
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// So many times as many tasks go through a worker: it takes a quarter of a second to find out how many are of use, and a
/// fifth of a second to find the queue empty.
const LONGER: usize = 5;
/// What the worker guards a task with.
const GUARDS: Guards = Guards { fuel: true, epochs: false, limiter: true, metering: false };

fn main() {
    let (rounds, tasks) = match run::size("task") {
        None => return,
        Some(Size::Quick) => (1, 100),
        Some(Size::Full) => (ROUNDS, TASKS),
    };
    let bytes = guests::bytes("empty");
    let io = threads::start_io().expect("threads");
    let (bare, tuned) =
        (Bare::new(&bytes, Memory::Pool(10), GUARDS), Bare::new(&bytes, Memory::KeptPool(10), GUARDS));
    let workers: Vec<(WorkerOptions, Arc<Component>)> = INSTANCES
        .into_iter()
        .map(|instances| {
            let options = options(instances);
            let component = guests::load(
                "empty",
                Allocator::Pooling,
                options.instances,
                Grants::default(),
                Limits::default(),
            );
            (options, Arc::new(io.block_on(component)))
        })
        .collect();

    let mut rows: Vec<Vec<Cost>> = Vec::new();
    for _ in 0..rounds {
        let mut row = vec![
            measure(tasks, || io.block_on(repeat(&bare, tasks))),
            measure(tasks, || io.block_on(repeat(&tuned, tasks))),
        ];
        row.extend(workers.iter().map(|(options, component)| {
            let tasks = tasks * LONGER;
            let work = work(component.clone(), options.clone(), tasks);
            measure(tasks, || io.block_on(io.spawn(work)).expect("it ends"))
        }));
        rows.push(row);
    }
    let median = |pick: &dyn Fn(&[Cost]) -> f64| median(rows.iter().map(|row| pick(row)).collect());
    let names = ["bare engine", "bare engine, pages kept"].map(str::to_owned).into_iter();
    let names = names.chain(INSTANCES.map(|instances| match instances {
        Some(instances) => format!("wasmrun, {instances} instances"),
        None => "wasmrun, instances auto".to_owned(),
    }));
    println!(
        "empty task, {rounds} rounds of {tasks} each ({} in a worker), interleaved; medians of the rounds",
        tasks * LONGER
    );
    println!("                                CPU us   wall us   CPU against bare   against pages kept");
    for (index, name) in names.enumerate() {
        println!(
            "{name:<28} {:>9.1} {:>9.1} {:>18.2} {:>20.2}",
            median(&|row| row[index].cpu_us),
            median(&|row| row[index].wall_us),
            median(&|row| row[index].cpu_us / row[0].cpu_us),
            median(&|row| row[index].cpu_us / row[1].cpu_us),
        );
    }
}

/// Microseconds for each task.
struct Cost {
    cpu_us: f64,
    wall_us: f64,
}

fn measure(tasks: usize, work: impl FnOnce()) -> Cost {
    let (cpu, wall) = (process_cpu(), Instant::now());
    work();
    let each = |duration: Duration| micros(duration) / tasks as f64;
    Cost { cpu_us: each(process_cpu() - cpu), wall_us: each(wall.elapsed()) }
}

fn options(instances: Option<usize>) -> WorkerOptions {
    let options = match instances.and_then(NonZeroUsize::new) {
        Some(instances) => options::fixed(instances),
        None => options::auto(MOST),
    };
    WorkerOptions { until_empty: true, ..options }
}

async fn repeat(bare: &Bare, tasks: usize) {
    let input = Arc::new(Input::default());
    for _ in 0..tasks {
        bare.run(&input).await;
    }
}

async fn work(component: Arc<Component>, options: WorkerOptions, tasks: usize) {
    let queue = Arc::new(MemoryQueue::new("work", Duration::from_secs(30)));
    let dead = Arc::new(MemoryQueue::new("dead", Duration::from_secs(30)));
    let message = OutgoingMessage { body: "x".into(), ..OutgoingMessage::default() };
    queues::fill(&*queue, message, tasks).await;
    let worker = Worker::new(queue, Some(dead), component, options).await.expect("a worker");
    let summary = Arc::new(worker).run(CancellationToken::new(), CancellationToken::new()).await;
    assert_eq!(summary.outcome(OutcomeKind::Completed), tasks as u64);
}
