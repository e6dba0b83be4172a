//! What a worker that has nothing to do keeps in memory.

use serde::Serialize;
use std::fs;
use std::time::Duration;
use wasmrun_benches::figures::median;
use wasmrun_benches::proc;
use wasmrun_benches::run::Size;

use crate::start::{Place, Start, Worker, World};

const ROUNDS: usize = 3;
/// What the allocator and the system do a moment after the last task isn't the worker's memory at rest.
const REST: Duration = Duration::from_secs(2);

/// Medians of the rounds, in bytes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Idle {
    pub(crate) what: &'static str,
    /// All that is in memory for it.
    pub(crate) resident: f64,
    /// Of that, what no file has.
    pub(crate) anonymous: f64,
}

pub(crate) fn measure(world: &World, size: Size) -> Vec<Idle> {
    let (rounds, pause) = if size == Size::Full { (ROUNDS, REST) } else { (1, Duration::ZERO) };
    let mut workers = vec![
        ("with the compiler, from the cache", Start::Warm, Place::Process),
        ("with the compiler, precompiled", Start::Precompiled, Place::Process),
    ];
    if world.without_compiler.is_some() {
        workers.push(("without the compiler, precompiled", Start::Precompiled, Place::WithoutCompiler));
    }
    workers
        .into_iter()
        .map(|(what, start, place)| {
            let found: Vec<[f64; 2]> = (0..rounds).map(|_| resting(world, start, place, pause)).collect();
            let [resident, anonymous] =
                [0, 1].map(|which| median(found.iter().map(|found| found[which]).collect()));
            Idle { what, resident, anonymous }
        })
        .collect()
}

/// After its first task, as a worker that never had one has not set up all that it needs.
fn resting(world: &World, start: Start, place: Place, pause: Duration) -> [f64; 2] {
    let tasks = world.one_message();
    let mut worker = Worker::spawn(&mut world.worker(start, place, &tasks));
    worker.until("task completed");
    std::thread::sleep(pause);
    let smaps = fs::read_to_string(format!("/proc/{}/smaps_rollup", worker.child.id()));
    let smaps = smaps.expect("its memory");
    drop(worker);
    fs::remove_dir_all(tasks).expect("the folder is there");
    ["Rss:", "Anonymous:"].map(|name| proc::size(&smaps, name).expect("a size") as f64)
}
