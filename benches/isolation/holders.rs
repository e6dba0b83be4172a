//! What holds tasks that wait, in each way.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wasmrun_benches::bare::{Bare, Input, Memory};
use wasmrun_benches::figures::process_cpu;
use wasmrun_benches::{guests, options};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;

use crate::alone::GUARDS;
use crate::memory;
use crate::program::{Processes, Program};
use crate::sandbox::Sandbox;
use crate::ways::Task;
use crate::worker::{self, Running};

/// Between two looks at whether all have started.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// So long the last ones may take to do their work: longer than that, they never will.
const WORK: Duration = Duration::from_secs(30);

/// Something that holds tasks.
pub(crate) trait Holder {
    /// Starts so many more, and waits until they have started. What takes long starts no more once it's `until`, and
    /// says how many they were.
    fn start(&mut self, count: usize, until: Instant) -> Result<usize, String>;

    /// What all of them hold, and what holds them.
    fn bytes(&self) -> u64;

    /// What all of them have computed.
    fn cpu(&self) -> Duration;
}

/// In the engine alone.
pub(crate) struct InEngine {
    /// As many as there are cores.
    threads: Runtime,
    bare: Arc<Bare>,
    input: Arc<Input>,
    tasks: Vec<JoinHandle<()>>,
}

impl InEngine {
    pub(crate) fn new(memory: Memory, task: Task) -> Self {
        let bare = Arc::new(Bare::new(&guests::bytes("workload"), memory, GUARDS));
        let input = Arc::new(Input { body: task.held().into(), ..Input::default() });
        Self { threads: Runtime::new().expect("threads"), bare, input, tasks: Vec::new() }
    }
}

impl Holder for InEngine {
    fn start(&mut self, count: usize, _until: Instant) -> Result<usize, String> {
        for _ in 0..count {
            let (bare, input) = (self.bare.clone(), self.input.clone());
            self.tasks.push(self.threads.spawn(async move { bare.run(&input).await }));
        }
        // They take turns with this one, so that each has begun.
        self.threads.block_on(async { tokio::time::sleep(LOOK_EVERY).await });
        match self.tasks.iter().any(JoinHandle::is_finished) {
            true => Err("a task ended".into()),
            false => Ok(count),
        }
    }

    fn bytes(&self) -> u64 {
        memory::own_bytes()
    }

    fn cpu(&self) -> Duration {
        process_cpu()
    }
}

/// In the worker.
pub(crate) struct InWorker {
    io: Runtime,
    running: Running,
    task: Task,
    count: usize,
}

impl InWorker {
    pub(crate) fn new(allocator: Allocator, task: Task, most: usize) -> Self {
        let io = threads::start_io().expect("threads");
        let instances = NonZeroUsize::new(most).expect("not zero");
        let component = worker::load(&io, "workload", allocator, instances);
        let running = Running::start(&io, &component, options::fixed(instances));
        Self { io, running, task, count: 0 }
    }
}

impl Holder for InWorker {
    fn start(&mut self, count: usize, _until: Instant) -> Result<usize, String> {
        self.count += count;
        self.io.block_on(async {
            self.running.send(self.task.held(), count).await;
            while self.running.in_flight().await < self.count {
                if self.running.ended() > 0 {
                    return Err("a task ended".to_owned());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(count)
        })
    }

    fn bytes(&self) -> u64 {
        memory::own_bytes()
    }

    fn cpu(&self) -> Duration {
        process_cpu()
    }
}

/// In processes of the native program.
pub(crate) struct InProcesses {
    by: Start,
    task: Task,
    processes: Processes,
    count: usize,
}

/// How one is started.
pub(crate) enum Start {
    /// As any process.
    Plain(Program),
    /// In a sandbox of its own.
    Sandboxed(Sandbox),
}

impl InProcesses {
    pub(crate) fn new(by: Start, task: Task) -> Self {
        Self { by, task, processes: Processes::default(), count: 0 }
    }
}

impl Holder for InProcesses {
    fn start(&mut self, count: usize, until: Instant) -> Result<usize, String> {
        let Self { by, task, processes, .. } = self;
        let started = start_each(count, until, || match by {
            Start::Plain(program) => processes.start(&mut program.command(task.held())),
            Start::Sandboxed(sandbox) => sandbox.hold(*task, processes),
        })?;
        self.count += started;
        all_hold(self.count, &mut self.processes)?;
        Ok(started)
    }

    fn bytes(&self) -> u64 {
        memory::descendants_bytes()
    }

    fn cpu(&self) -> Duration {
        memory::descendants_cpu()
    }
}

impl Drop for InProcesses {
    fn drop(&mut self) {
        if let Start::Sandboxed(sandbox) = &self.by {
            sandbox.release();
        }
    }
}

/// Starts one after the other.
fn start_each(
    count: usize,
    until: Instant,
    mut start: impl FnMut() -> Result<(), String>,
) -> Result<usize, String> {
    for started in 0..count {
        if Instant::now() >= until {
            return Ok(started);
        }
        start()?;
    }
    Ok(count)
}

/// Waits until so many programs in all have done their work. One that makes its sandbox computes nothing for a while, as
/// the kernel makes a network, so they have to say so themselves.
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
