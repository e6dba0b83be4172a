//! Fairness: a task beside tasks that spin, and a timer beside them.
//!
//! The task hashes a megabyte; its neighbours compute without end in the same worker. The system does the same with
//! processes, which is what to compare with: a fair share of the cores is all that either can give.
//!
//! The timer ticks where the worker receives, renews and settles. Beside it spin as many guests as there are cores, or
//! as many threads of this program. How late it is, is what a heartbeat would be late by.

use serde::Serialize;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;
use wasmrun_benches::figures::{Samples, median, micros};
use wasmrun_benches::options;
use wasmrun_benches::run::Size;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::task::component::Component;

use crate::machine::cores;
use crate::program::{Processes, Program, succeed};
use crate::ways::Task;
use crate::worker::{self, Running};

const ROUNDS: usize = 3;
/// Beside so many neighbours, so many tasks are measured in each round.
const NEIGHBOURS: &[(usize, usize)] = &[(0, 60), (1, 60), (10, 30), (100, 10)];
/// A test spins beside other tests.
const FEW_NEIGHBOURS: &[(usize, usize)] = &[(0, 2), (1, 2)];
/// Room for them all, and for the task.
const INSTANCES: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");

const TICK: Duration = Duration::from_millis(5);
const TICK_ROUNDS: usize = 5;
const TICKS: usize = 800;

/// Tasks and a timer beside neighbours that spin.
#[derive(Debug, Serialize)]
pub(crate) struct Fairness {
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) timer: Vec<TimerRow>,
}

/// A task beside so many.
#[derive(Debug, Serialize)]
pub(crate) struct TaskRow {
    pub(crate) neighbours: usize,
    /// Times slower than alone, if all got the same share of the cores.
    pub(crate) fair: f64,
    pub(crate) wasmrun: Slowed,
    pub(crate) processes: Slowed,
}

/// How a task did.
#[derive(Debug, Serialize)]
pub(crate) struct Slowed {
    pub(crate) n: usize,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Times slower than alone, at the median.
    pub(crate) slowdown: f64,
}

/// How late a timer was.
#[derive(Debug, Serialize)]
pub(crate) struct TimerRow {
    pub(crate) beside: String,
    pub(crate) n: usize,
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

pub(crate) fn measure(program: &Program, size: Size) -> Fairness {
    let io = threads::start_io().expect("threads");
    let component = worker::load(&io, "workload", Allocator::Pooling, INSTANCES);
    let fairness =
        Fairness { tasks: tasks(program, &io, &component, size), timer: timer(&io, &component, size) };
    fairness.print();
    fairness
}

fn tasks(program: &Program, io: &Runtime, component: &Arc<Component>, size: Size) -> Vec<TaskRow> {
    let (rounds, cases) = match size {
        Size::Quick => (1, FEW_NEIGHBOURS),
        Size::Full => (ROUNDS, NEIGHBOURS),
    };
    let mut guests: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut natives = guests.clone();
    for round in 0..rounds {
        eprintln!("Tasks beside neighbours: round {} of {rounds} …", round + 1);
        let mut running = Running::start(io, component, options::fixed(INSTANCES));
        let mut spinning = 0;
        for ((neighbours, tasks), guests) in cases.iter().zip(&mut guests) {
            io.block_on(async {
                spin(&running, *neighbours - spinning, *neighbours).await;
                for _ in 0..*tasks {
                    guests.push(running.cycle(Task::Hash).await);
                }
            });
            spinning = *neighbours;
        }
        io.block_on(running.end());

        let mut spinners = Processes::default();
        let mut spinning = 0;
        for ((neighbours, tasks), natives) in cases.iter().zip(&mut natives) {
            for _ in spinning..*neighbours {
                spinners.start(&mut program.command("spin")).expect("a process");
            }
            spinning = *neighbours;
            for _ in 0..*tasks {
                let began = Instant::now();
                succeed(&mut program.command(Task::Hash.command()));
                natives.push(micros(began.elapsed()));
            }
        }
    }
    let alone = |found: &[Vec<f64>]| median(found[0].clone());
    let (guest_alone, native_alone) = (alone(&guests), alone(&natives));
    let slowed = |found: Vec<f64>, alone: f64| {
        let samples = Samples::new(found);
        Slowed {
            n: samples.count(),
            p50_us: samples.percentile(50.0),
            p99_us: samples.percentile(99.0),
            slowdown: samples.percentile(50.0) / alone,
        }
    };
    cases
        .iter()
        .zip(guests.into_iter().zip(natives))
        .map(|((neighbours, _), (guests, natives))| TaskRow {
            neighbours: *neighbours,
            fair: ((neighbours + 1) as f64 / cores() as f64).max(1.0),
            wasmrun: slowed(guests, guest_alone),
            processes: slowed(natives, native_alone),
        })
        .collect()
}

/// Starts so many tasks that spin, and waits until there are as many as that in all.
async fn spin(running: &Running, more: usize, in_all: usize) {
    running.send("spin", more).await;
    while running.in_flight().await < in_all {
        tokio::task::yield_now().await;
    }
}

fn timer(io: &Runtime, component: &Arc<Component>, size: Size) -> Vec<TimerRow> {
    let (rounds, ticks) = match size {
        Size::Quick => (1, 20),
        Size::Full => (TICK_ROUNDS, TICKS),
    };
    let [mut idle, mut beside_guests, mut beside_threads] = [const { Vec::new() }; 3];
    for round in 0..rounds {
        eprintln!("A timer beside neighbours: round {} of {rounds} …", round + 1);
        let running = Running::start(io, component, options::fixed(INSTANCES));
        idle.extend(lateness(io, ticks));
        io.block_on(spin(&running, cores(), cores()));
        beside_guests.extend(lateness(io, ticks));
        io.block_on(running.end());
        let threads = Spinners::start(cores());
        beside_threads.extend(lateness(io, ticks));
        drop(threads);
    }
    [
        ("an idle worker".to_owned(), idle),
        (format!("{} guests that spin", cores()), beside_guests),
        (format!("{} native threads that spin", cores()), beside_threads),
    ]
    .map(|(beside, late)| {
        let samples = Samples::new(late);
        TimerRow {
            beside,
            n: samples.count(),
            p50_us: samples.percentile(50.0),
            p95_us: samples.percentile(95.0),
            p99_us: samples.percentile(99.0),
            max_us: samples.percentile(100.0),
        }
    })
    .into()
}

/// How late each tick of a timer is, on the worker's own threads.
fn lateness(io: &Runtime, ticks: usize) -> Vec<f64> {
    let ticking = io.spawn(async move {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.tick().await;
        let mut late = Vec::with_capacity(ticks);
        for _ in 0..ticks {
            let due = timer.tick().await;
            late.push(micros(due.elapsed()));
        }
        late
    });
    io.block_on(ticking).expect("no panic")
}

/// Threads that compute until this is dropped.
struct Spinners {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Spinners {
    fn start(count: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let spin = |_| {
            let stop = stop.clone();
            std::thread::spawn(move || while !stop.load(Ordering::Relaxed) {})
        };
        let threads = (0..count).map(spin).collect();
        Self { stop, threads }
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It can't panic.
            let _ = thread.join();
        }
    }
}

impl Fairness {
    fn print(&self) {
        for TaskRow { neighbours, fair, wasmrun, processes } in &self.tasks {
            println!(
                "beside {neighbours:>3} spinning: {:>6.1} times slower in wasmrun, {:>6.1} as processes, {fair:>6.1} if fair (p50 {:.1} ms, {:.1} ms)",
                wasmrun.slowdown,
                processes.slowdown,
                wasmrun.p50_us / 1e3,
                processes.p50_us / 1e3,
            );
        }
        for TimerRow { beside, n, p50_us, p95_us, p99_us, max_us } in &self.timer {
            println!(
                "a timer beside {beside:<30} is late by p50 {p50_us:>8.0}  p95 {p95_us:>8.0}  p99 {p99_us:>8.0}  max {max_us:>8.0} us ({n} ticks)"
            );
        }
    }
}
