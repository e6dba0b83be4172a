//! What holds tasks that wait, in each way.

use super::memory;
use super::native::{Processes, Program};
use super::running::{self, Settling};
use super::sandbox::Sandbox;
use super::ways::{Task, Way};
use crate::shared::{Bare, Guards, Input, Memory, guests, worker};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wasmrun_benches::process_cpu;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The time within which the last tasks do their work, if they ever do.
const WORK: Duration = Duration::from_secs(30);

/// Something that holds tasks.
pub(crate) struct Holder {
    start: Start,
    in_process: bool,
}

impl Holder {
    pub(crate) fn new(way: Way, task: Task, scratch: &Path, most: usize) -> Self {
        let pool = Memory::KeptPool(u32::try_from(most).unwrap_or(u32::MAX));
        let in_process = |start| Self { start, in_process: true };
        match way {
            Way::AloneOnDemand => in_process(in_engine(Memory::OnDemand, task)),
            Way::AloneKept => in_process(in_engine(pool, task)),
            Way::WasmrunOnDemand => in_process(in_worker(Allocator::OnDemand, task, most)),
            Way::Wasmrun => in_process(in_worker(Allocator::Pooling, task, most)),
            _ => Self { start: in_processes(way, task, scratch), in_process: false },
        }
    }

    /// Starts `count` more tasks and waits until they have done their work. Returns how many were started: what takes long
    /// starts no more after `until`.
    pub(crate) fn start(&mut self, count: usize, until: Instant) -> Result<usize, String> {
        (self.start)(count, until)
    }

    /// Memory of the tasks and of what holds them.
    pub(crate) fn bytes(&self) -> u64 {
        if self.in_process { memory::own_bytes() } else { memory::descendants_bytes() }
    }

    /// CPU time of the same.
    pub(crate) fn cpu(&self) -> Duration {
        if self.in_process { process_cpu() } else { memory::descendants_cpu() }
    }
}

type Start = Box<dyn FnMut(usize, Instant) -> Result<usize, String>>;

/// In the engine alone, on as many threads as there are cores.
fn in_engine(memory: Memory, task: Task) -> Start {
    let threads = Runtime::new().expect("threads");
    let bare = Arc::new(Bare::new(&guests::bytes("workload"), memory, Guards::BASIC));
    let mut tasks = Vec::new();
    Box::new(move |count, _| {
        for _ in 0..count {
            let (bare, input) = (bare.clone(), Input { body: task.held().into(), object: None });
            tasks.push(threads.spawn(async move { bare.run(&input).await }));
        }
        // They take turns with this one, so that each has begun.
        threads.block_on(async { tokio::time::sleep(LOOK_EVERY).await });
        let has_ended = tasks.iter().any(tokio::task::JoinHandle::is_finished);
        if has_ended { Err("a task ended".into()) } else { Ok(count) }
    })
}

/// In the worker.
fn in_worker(allocator: Allocator, task: Task, most: usize) -> Start {
    let io = threads::start_io().expect("threads");
    let instances = NonZeroUsize::new(most).expect("not zero");
    let component = running::load(&io, "workload", allocator, instances);
    let running = Settling::start(&io, component, worker::fixed(instances));
    let mut all = 0;
    Box::new(move |count, _| {
        all += count;
        io.block_on(async {
            running.send(task.held(), count).await;
            while running.in_flight().await < all {
                if running.summary().tasks > 0 {
                    return Err("a task ended".into());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(count)
        })
    })
}

/// In processes of the native program, each in a sandbox of its own if the way has one.
fn in_processes(way: Way, task: Task, scratch: &Path) -> Start {
    let program = Program::at(scratch);
    let sandbox = Released(Sandbox::at(way, &program, scratch));
    let mut processes = Processes::default();
    let mut all = 0;
    Box::new(move |count, until| {
        let mut started = 0;
        while started < count && Instant::now() < until {
            match &sandbox.0 {
                None => processes.start(&mut program.command(task.held()))?,
                // It stays around its program.
                Some(sandbox) if way == Way::Bubblewrap => processes.start(&mut sandbox.run(task.held()))?,
                Some(sandbox) => sandbox.hold(task)?,
            }
            started += 1;
        }
        all += started;
        all_hold(all, &mut processes)?;
        Ok(started)
    })
}

/// A sandbox that ends what it holds when it is dropped.
struct Released(Option<Sandbox>);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.iter().for_each(Sandbox::release);
    }
}

/// Waits until `count` programs have done their work. They must tell that themselves: a program computes nothing for a
/// while as the kernel makes the network of its sandbox.
fn all_hold(count: usize, processes: &mut Processes) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let holding = memory::holding();
        if holding >= count {
            return Ok(());
        }
        processes.all_run()?;
        if began.elapsed() > WORK {
            return Err(format!("only {holding} of {count} do their work within {} s", WORK.as_secs()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
