//! Fairness: a task next to tasks that spin, and a timer next to them.
//!
//! The task hashes a megabyte; its neighbours compute without end in the same worker. The system does the same with
//! processes: a fair share of the cores is all that either can give.
//!
//! The timer runs where the worker receives, renews and settles. As late as it is, a heartbeat would be. Next to it spin as
//! many guests as there are cores, or as many threads of this program.

use super::native::{Processes, Program, succeed};
use super::running::{self, Settling};
use super::ways::{each, timed};
use crate::shared::worker;
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;
use wasmrun_benches::{Dot, Plot, Report, Samples, cores, median, micros, number, with};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::task::component::Component;

/// Numbers of neighbours, and of tasks that are measured next to them in each round.
const FULL: &[(usize, usize)] = &[(0, 60), (1, 60), (10, 30), (100, 10)];
/// A test spins next to other tests.
const QUICK: &[(usize, usize)] = &[(0, 2), (1, 2)];
/// Room for all of them and for the task.
const INSTANCES: NonZeroUsize = NonZeroUsize::new(128).expect("not zero");
const TICK: Duration = Duration::from_millis(5);

pub(crate) fn measure(report: &mut Report, program: &Program) {
    let io = threads::start_io().expect("threads");
    let component = running::load(&io, "workload", Allocator::Pooling, INSTANCES);
    tasks(report, program, &io, &component);
    timer(report, &io, &component);
}

fn tasks(report: &mut Report, program: &Program, io: &Runtime, component: &Arc<Component>) {
    let cases = report.size.pick(QUICK, FULL);
    let mut wasmrun: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    let mut processes = wasmrun.clone();
    let rounds = report.size.pick(1, 3);
    for round in 0..rounds {
        eprintln!("Tasks next to neighbours: round {} of {rounds} …", round + 1);
        let running = Settling::start(io, component.clone(), worker::fixed(INSTANCES));
        let mut spinning = 0;
        for ((neighbours, tasks), found) in cases.iter().zip(&mut wasmrun) {
            io.block_on(spin(&running, *neighbours - spinning, *neighbours));
            spinning = *neighbours;
            found.extend((0..*tasks).map(|_| io.block_on(running.cycle("hash"))));
        }
        io.block_on(running.end());
        let mut spinners = Processes::default();
        for ((neighbours, tasks), found) in cases.iter().zip(&mut processes) {
            while spinners.count() < *neighbours {
                spinners.start(&mut program.command("spin")).expect("a process");
            }
            found.extend(each(&timed(*tasks, || succeed(&mut program.command("hash")))));
        }
    }
    let figures = |found: &[Vec<f64>], case: usize| {
        let slower = median(found[case].clone()) / median(found[0].clone());
        with(Samples::from_iter(found[case].clone()).figures("us"), json!({"slower": slower}))
    };
    let row = |case: usize| {
        let neighbours = cases[case].0;
        json!({
            "neighbours": neighbours,
            "wasmrun": figures(&wasmrun, case),
            "processes": figures(&processes, case),
            // If all got the same share of the cores.
            "fair": ((neighbours + 1) as f64 / cores() as f64).max(1.0),
        })
    };
    let rows: Vec<Value> = (0..cases.len()).map(row).collect();
    report.plot("neighbours", &plot(&rows));
    let columns = "neighbours = neighbours:0 | wasmrun: median = wasmrun/p50_us:time \
        | 99 % = wasmrun/p99_us:time | times slower = wasmrun/slower:1 \
        | processes: median = processes/p50_us:time | 99 % = processes/p99_us:time \
        | times slower = processes/slower:1 | fair = fair:1";
    report.table("neighbours", columns, rows);
}

fn plot(rows: &[Value]) -> Plot<'static> {
    let dot = |row: &Value, series: usize, field: &str| {
        let value = number(row, field);
        Dot::at(format!("{} next to it", row["neighbours"]), series, value, format!("{value:.1} times"))
    };
    let fields = ["wasmrun/slower", "processes/slower", "fair"];
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
async fn spin(running: &Settling, more: usize, in_all: usize) {
    running.send("spin", more).await;
    while running.in_flight().await < in_all {
        tokio::task::yield_now().await;
    }
}

fn timer(report: &mut Report, io: &Runtime, component: &Arc<Component>) {
    let (rounds, ticks) = report.size.pick((1, 20), (5, 800));
    let [mut idle, mut guests, mut threads] = [const { Vec::new() }; 3];
    for round in 0..rounds {
        eprintln!("A timer next to neighbours: round {} of {rounds} …", round + 1);
        let running = Settling::start(io, component.clone(), worker::fixed(INSTANCES));
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
        with(Samples::from_iter(late).figures("us"), json!({"next_to": next_to}))
    };
    let rows = [
        row("an idle worker".into(), idle),
        row(format!("{} guests that spin", cores()), guests),
        row(format!("{} native threads that spin", cores()), threads),
    ];
    let columns = "next to = next_to | ticks = n:0 | median = p50_us:time | 95 % = p95_us:time \
        | 99 % = p99_us:time | longest = max_us:time";
    report.table("timer", columns, rows);
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
