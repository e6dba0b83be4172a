//! A whole task, in each way: from asking for it to its end.
//!
//! The ways take turns, round after round, so that what disturbs the machine disturbs them all.

use serde::Serialize;
use wasmrun_benches::bare::Memory;
use wasmrun_benches::figures::{Samples, median};
use wasmrun_benches::run::Size;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;

use crate::alone::Alone;
use crate::program::{FunctionCall, Process, Program};
use crate::sandbox::Sandbox;
use crate::ways::{Task, Way};
use crate::worker::Wasmrun;

/// What a task took in one way.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) task: Task,
    pub(crate) n: usize,
    pub(crate) p50_us: f64,
    pub(crate) p95_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) mean_us: f64,
    /// What this process and its children computed, the median of the rounds.
    pub(crate) cpu_us: f64,
}

const ROUNDS: usize = 10;
/// For each way and task in each round, by a way's weight: a few seconds each in all.
const COUNTS: [usize; 4] = [1000, 200, 50, 10];
/// A hash takes milliseconds wherever it runs.
const HASHES: [usize; 4] = [100, 50, 20, 5];

pub(crate) fn measure(program: &Program, sandboxes: &[Sandbox], size: Size) -> Vec<Row> {
    let (rounds, share) = match size {
        Size::Quick => (1, 10),
        Size::Full => (ROUNDS, 1),
    };
    let io = threads::start_io().expect("threads");
    let mut alone = [Memory::OnDemand, Memory::Pool(10), Memory::KeptPool(10)].map(Alone::new);
    let mut wasmrun = [Allocator::OnDemand, Allocator::Pooling].map(|allocator| Wasmrun::new(allocator, &io));
    let mut sandboxes: Vec<&Sandbox> = sandboxes.iter().collect();
    let (mut call, mut process) = (FunctionCall(program), Process(program));

    let mut ways: Vec<&mut dyn Way> = vec![&mut call];
    ways.extend(alone.iter_mut().map(|way| way as &mut dyn Way));
    ways.extend(wasmrun.iter_mut().map(|way| way as &mut dyn Way));
    ways.push(&mut process);
    ways.extend(sandboxes.iter_mut().map(|way| way as &mut dyn Way));

    let cases: Vec<(usize, Task)> =
        (0..ways.len()).flat_map(|way| Task::ALL.map(|task| (way, task))).collect();
    let mut found: Vec<(Vec<f64>, Vec<f64>)> = cases.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        eprintln!("Whole tasks: round {} of {rounds} …", round + 1);
        for ((way, task), (micros, cpu)) in cases.iter().zip(&mut found) {
            let counts = if *task == Task::Empty { COUNTS } else { HASHES };
            let count = (counts[ways[*way].weight()] / share).max(1);
            let cycles = ways[*way].cycles(*task, count);
            micros.extend(cycles.micros);
            cpu.push(cycles.cpu_us);
        }
    }
    let rows = cases
        .iter()
        .zip(found)
        .map(|((way, task), (micros, cpu))| {
            let samples = Samples::new(micros);
            let row = Row {
                what: ways[*way].name(),
                task: *task,
                n: samples.count(),
                p50_us: samples.percentile(50.0),
                p95_us: samples.percentile(95.0),
                p99_us: samples.percentile(99.0),
                mean_us: samples.mean(),
                cpu_us: median(cpu),
            };
            row.print();
            row
        })
        .collect();
    wasmrun.into_iter().for_each(Wasmrun::end);
    rows
}

impl Row {
    fn print(&self) {
        let Self { what, task, n, p50_us, p95_us, p99_us, cpu_us, .. } = self;
        println!(
            "{what:<36} {:<6} {n:>6} tasks  p50 {p50_us:>11.1}  p95 {p95_us:>11.1}  p99 {p99_us:>11.1}  CPU {cpu_us:>11.1} us",
            task.command()
        );
    }
}
