//! Fairness: a task next to tasks that spin, and a timer next to them.
//!
//! The task hashes a megabyte; its neighbours compute without end in the same worker. The system does the same with
//! processes: a fair share of the cores is all that either can give.
//!
//! The timer runs where the worker receives, renews and settles. As late as it is, a heartbeat would be. Next to it spin as
//! many guests as there are cores, or as many threads of this program.

use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;
use wasmrun_benches::plot::{Dot, Plot};
use wasmrun_benches::report::{Report, tenths, time, whole};
use wasmrun_benches::rounds::{Samples, micros};
use wasmrun_benches::run::Size;
use wasmrun_benches::system::cores;
use wasmrun_benches::worker;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::task::component::Component;

use crate::native::{Processes, Program, succeed};
use crate::running::{self, Running};

/// Numbers of neighbours, and of tasks that are measured next to them in each round.
const FULL: &[(usize, usize)] = &[(0, 60), (1, 60), (10, 30), (100, 10)];
/// A test spins next to other tests.
const QUICK: &[(usize, usize)] = &[(0, 2), (1, 2)];
/// Room for all of them and for the task.
const INSTANCES: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");
const TICK: Duration = Duration::from_millis(5);

pub(crate) fn measure(report: &mut Report, program: &Program, size: Size) {
    let io = threads::start_io().expect("threads");
    let component = running::load(&io, "workload", Allocator::Pooling, INSTANCES);
    tasks(report, program, &io, &component, size);
    timer(report, &io, &component, size);
}

fn tasks(report: &mut Report, program: &Program, io: &Runtime, component: &Arc<Component>, size: Size) {
    let cases = size.pick(QUICK, FULL);
    let mut wasmrun: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut processes = wasmrun.clone();
    let rounds = size.pick(1, 3);
    for round in 0..rounds {
        eprintln!("Tasks next to neighbours: round {} of {rounds} …", round + 1);
        let running = Running::start(io, component.clone(), worker::fixed(INSTANCES));
        let mut spinners = Processes::default();
        let mut spinning = 0;
        for ((neighbours, tasks), found) in cases.iter().zip(&mut wasmrun) {
            io.block_on(async {
                spin(&running, *neighbours - spinning, *neighbours).await;
                for _ in 0..*tasks {
                    found.push(running.cycle("hash").await);
                }
            });
            spinning = *neighbours;
        }
        io.block_on(running.end());
        spinning = 0;
        for ((neighbours, tasks), found) in cases.iter().zip(&mut processes) {
            for _ in spinning..*neighbours {
                spinners.start(&mut program.command("spin")).expect("a process");
            }
            spinning = *neighbours;
            for _ in 0..*tasks {
                let began = Instant::now();
                succeed(&mut program.command("hash"));
                found.push(micros(began.elapsed()));
            }
        }
    }
    let [wasmrun, processes] =
        [wasmrun, processes].map(|found| found.into_iter().map(Samples::from_iter).collect::<Vec<Samples>>());
    let slower = |found: &[Samples], case: usize| found[case].percentile(50.0) / found[0].percentile(50.0);
    let rows: Vec<Value> = (0..cases.len())
        .map(|case| {
            let neighbours = cases[case].0;
            json!({
                "neighbours": neighbours,
                "wasmrun_p50_us": wasmrun[case].percentile(50.0),
                "wasmrun_p99_us": wasmrun[case].percentile(99.0),
                "wasmrun": slower(&wasmrun, case),
                "processes_p50_us": processes[case].percentile(50.0),
                "processes_p99_us": processes[case].percentile(99.0),
                "processes": slower(&processes, case),
                // If all got the same share of the cores.
                "fair": ((neighbours + 1) as f64 / cores() as f64).max(1.0),
            })
        })
        .collect();
    report.plot("neighbours", &plot(&rows));
    let columns = [
        ("neighbours", "neighbours", whole as fn(f64) -> String),
        ("wasmrun: median", "wasmrun_p50_us", time),
        ("99 %", "wasmrun_p99_us", time),
        ("times slower", "wasmrun", tenths),
        ("processes: median", "processes_p50_us", time),
        ("99 %", "processes_p99_us", time),
        ("times slower", "processes", tenths),
        ("fair", "fair", tenths),
    ];
    report.table("neighbours", &columns, rows);
}

fn plot(rows: &[Value]) -> Plot<'static> {
    let dot = |row: &Value, series: usize, field: &str| {
        let value = row[field].as_f64().unwrap_or_default();
        let row = format!("{} next to it", row["neighbours"]);
        Dot { row, series, value, until: value, label: format!("{} times", tenths(value)) }
    };
    let fields = ["wasmrun", "processes", "fair"];
    let dots = rows.iter().flat_map(|row| [0, 1, 2].map(|series| dot(row, series, fields[series])));
    Plot {
        title: "How many times slower a task is next to neighbours that spin",
        series: &["wasmrun", "processes", "an equal share"],
        ticks: vec![0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0],
        logarithmic: true,
        format: |times| times.to_string(),
        dots: dots.collect(),
    }
}

/// Starts tasks that spin, and waits until `in_all` run.
async fn spin(running: &Running, more: usize, in_all: usize) {
    running.send("spin", more).await;
    while running.in_flight().await < in_all {
        tokio::task::yield_now().await;
    }
}

fn timer(report: &mut Report, io: &Runtime, component: &Arc<Component>, size: Size) {
    let (rounds, ticks) = size.pick((1, 20), (5, 800));
    let [mut idle, mut guests, mut threads] = [const { Vec::new() }; 3];
    for round in 0..rounds {
        eprintln!("A timer next to neighbours: round {} of {rounds} …", round + 1);
        let running = Running::start(io, component.clone(), worker::fixed(INSTANCES));
        idle.extend(lateness(io, ticks));
        io.block_on(spin(&running, cores(), cores()));
        guests.extend(lateness(io, ticks));
        io.block_on(running.end());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..cores() {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::black_box(());
                    }
                });
            }
            threads.extend(lateness(io, ticks));
            stop.store(true, Ordering::Relaxed);
        });
    }
    let row = |next_to: String, late: Vec<f64>| {
        let late = Samples::from_iter(late);
        let [p50, p95, p99, max] = [50.0, 95.0, 99.0, 100.0].map(|percent| late.percentile(percent));
        let n = late.count();
        json!({"next_to": next_to, "n": n, "p50_us": p50, "p95_us": p95, "p99_us": p99, "max_us": max})
    };
    let rows = vec![
        row("an idle worker".into(), idle),
        row(format!("{} guests that spin", cores()), guests),
        row(format!("{} native threads that spin", cores()), threads),
    ];
    let columns = [
        ("next to", "next_to", whole as fn(f64) -> String),
        ("ticks", "n", whole),
        ("median", "p50_us", time),
        ("95 %", "p95_us", time),
        ("99 %", "p99_us", time),
        ("longest", "max_us", time),
    ];
    report.table("timer", &columns, rows);
}

/// How late each tick of a timer is, on the worker's own threads, in microseconds.
fn lateness(io: &Runtime, ticks: usize) -> Vec<f64> {
    let ticking = io.spawn(async move {
        let mut timer = tokio::time::interval(TICK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        timer.tick().await;
        let mut late = Vec::with_capacity(ticks);
        for _ in 0..ticks {
            late.push(micros(timer.tick().await.elapsed()));
        }
        late
    });
    io.block_on(ticking).expect("no panic")
}
