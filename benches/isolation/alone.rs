//! The engine alone, in a loop.

use std::sync::Arc;
use tokio::runtime::Runtime;
use wasmrun_benches::bare::{Bare, Guards, Input, Memory};
use wasmrun_benches::guests;

use crate::ways::{Cycles, Task, Way, names, timed};

/// What the worker guards a task with.
pub(crate) const GUARDS: Guards = Guards { fuel: true, epochs: false, limiter: true, metering: false };

/// The bare engine, on one thread.
pub(crate) struct Alone {
    memory: Memory,
    runtime: Runtime,
    empty: Bare,
    hash: Bare,
}

impl Alone {
    pub(crate) fn new(memory: Memory) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let bare = |task: Task| Bare::new(&guests::bytes(task.guest()), memory, GUARDS);
        Self { memory, runtime, empty: bare(Task::Empty), hash: bare(Task::Hash) }
    }
}

impl Way for Alone {
    fn name(&self) -> &'static str {
        match self.memory {
            Memory::OnDemand => names::ALONE_ON_DEMAND,
            Memory::Pool(_) => names::ALONE_POOLING,
            Memory::KeptPool(_) => names::ALONE_KEEPING,
        }
    }

    fn weight(&self) -> usize {
        0
    }

    fn cycles(&mut self, task: Task, count: usize) -> Cycles {
        let bare = match task {
            Task::Empty => &self.empty,
            Task::Hash => &self.hash,
        };
        let input = Arc::new(Input { body: task.command().into(), ..Input::default() });
        timed(count, || self.runtime.block_on(bare.run(&input)))
    }
}
