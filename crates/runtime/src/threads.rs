//! The threads on which guests compute.
//!
//! They are apart from those of the worker: a guest that spins delays no long poll, no renewal and no timeout. Among
//! themselves guests are time-sliced: fuel hands the thread back every few milliseconds, and the task goes to the
//! end of its thread's queue.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Handle, Runtime};

/// A pool of threads for guests, which ends when this is dropped.
#[derive(Debug)]
pub struct GuestThreads {
    /// Always there but during drop.
    runtime: Option<Runtime>,
    ready: ReadyTasks,
}

impl GuestThreads {
    /// Starts `threads` threads: as many as there are cores is right, whatever the number of instances.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn start(threads: NonZeroUsize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.get())
            .thread_name("guest")
            // For timeouts and WASI's clocks; a guest has no other business with the system.
            .enable_time()
            // Timers and tasks from outside get their turn after at most so many slices of about two milliseconds.
            .event_interval(4)
            .global_queue_interval(2)
            .build()?;
        Ok(Self { runtime: Some(runtime), ready: ReadyTasks::default() })
    }

    /// Those of these threads.
    pub(crate) fn ready(&self) -> &ReadyTasks {
        &self.ready
    }

    /// Where to spawn what computes.
    pub fn handle(&self) -> &Handle {
        match &self.runtime {
            Some(runtime) => runtime.handle(),
            None => unreachable!("only drop takes the runtime"),
        }
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A blocking shutdown isn't allowed where futures run, and this may well be dropped there.
            runtime.shutdown_background();
        }
    }
}

/// How many tasks have handed their thread back and could go on as soon as one is free.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadyTasks(Arc<AtomicUsize>);

impl ReadyTasks {
    /// One more, until that is dropped.
    pub(crate) fn enter(&self) -> Ready {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ready(self.clone())
    }

    /// There are none, and nobody outside of this thread has a task for these threads.
    pub(crate) fn none(&self) -> bool {
        let from_outside = || Handle::try_current().map_or(0, |here| here.metrics().global_queue_depth());
        self.0.load(Ordering::Relaxed) == 0 && from_outside() == 0
    }
}

/// A task that could go on.
#[derive(Debug)]
pub(crate) struct Ready(ReadyTasks);

impl Drop for Ready {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
