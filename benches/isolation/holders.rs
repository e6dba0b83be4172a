//! What holds tasks that wait, in each way.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wasmrun_benches::bare::{Bare, Input, Memory};
use wasmrun_benches::figures::process_cpu;
use wasmrun_benches::guests;
use wasmrun_runtime::engine::Allocator;

use crate::alone::GUARDS;
use crate::memory;
use crate::program::{Processes, Program};
use crate::sandbox::Sandbox;
use crate::ways::Task;
use crate::worker::{self, Running};

/// Between two looks at whether all have started.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Something that holds tasks.
pub(crate) trait Holder {
    /// Starts so many more, and waits until they have started.
    fn start(&mut self, count: usize) -> Result<(), String>;

    /// What all of them hold, and what holds them.
    fn bytes(&self) -> u64;

    /// What all of them have computed.
    fn cpu(&self) -> Duration;
}

/// In the engine alone.
pub(crate) struct InEngine {
    io: Runtime,
    bare: Arc<Bare>,
    input: Arc<Input>,
    tasks: Vec<JoinHandle<()>>,
}

impl InEngine {
    pub(crate) fn new(memory: Memory, task: Task) -> Self {
        let bare = Arc::new(Bare::new(&guests::bytes("workload"), memory, GUARDS));
        let input = Arc::new(Input { body: task.held().into(), ..Input::default() });
        Self { io: worker::io_threads(), bare, input, tasks: Vec::new() }
    }
}

impl Holder for InEngine {
    fn start(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let (bare, input) = (self.bare.clone(), self.input.clone());
            self.tasks.push(self.io.spawn(async move { bare.run(&input).await }));
        }
        // They take turns with this one, so that each has begun.
        self.io.block_on(async { tokio::time::sleep(LOOK_EVERY).await });
        match self.tasks.iter().any(JoinHandle::is_finished) {
            true => Err("a task ended".into()),
            false => Ok(()),
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
        let io = worker::io_threads();
        let instances = NonZeroUsize::new(most).expect("not zero");
        let component = worker::load(&io, "workload", allocator, instances);
        let running = Running::start(&io, &component, instances);
        Self { io, running, task, count: 0 }
    }
}

impl Holder for InWorker {
    fn start(&mut self, count: usize) -> Result<(), String> {
        self.count += count;
        self.io.block_on(async {
            self.running.send(self.task.held(), count).await;
            while self.running.in_flight().await < self.count {
                if self.running.ended() > 0 {
                    return Err("a task ended".to_owned());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
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
    program: Program,
    task: Task,
    processes: Processes,
}

impl InProcesses {
    pub(crate) fn new(program: Program, task: Task) -> Self {
        Self { program, task, processes: Processes::default() }
    }
}

impl Holder for InProcesses {
    fn start(&mut self, count: usize) -> Result<(), String> {
        (0..count).try_for_each(|_| self.processes.start(&mut self.program.command(self.task.held())))
    }

    fn bytes(&self) -> u64 {
        memory::descendants_bytes()
    }

    fn cpu(&self) -> Duration {
        memory::descendants_cpu()
    }
}

/// In sandboxes with that program.
pub(crate) struct InSandboxes {
    sandbox: Sandbox,
    task: Task,
    processes: Processes,
}

impl InSandboxes {
    pub(crate) fn new(sandbox: Sandbox, task: Task) -> Self {
        Self { sandbox, task, processes: Processes::default() }
    }
}

impl Holder for InSandboxes {
    fn start(&mut self, count: usize) -> Result<(), String> {
        (0..count).try_for_each(|_| self.sandbox.hold(self.task, &mut self.processes))
    }

    fn bytes(&self) -> u64 {
        memory::descendants_bytes()
    }

    fn cpu(&self) -> Duration {
        memory::descendants_cpu()
    }
}

impl Drop for InSandboxes {
    fn drop(&mut self) {
        self.sandbox.release();
    }
}
