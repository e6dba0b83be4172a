//! Scheduling: when a task's time slice on a guest thread ends.
//!
//! A time slice is a length of wall-clock time: [`Limits::TIME_SLICE`] while no other task is ready to run, and
//! [`Limits::SHARED_TIME_SLICE`] otherwise. Two mechanisms end it:
//!
//! - A guest that computes burns fuel. After each [`Limits::FUEL_SLICE`] the engine yields, and
//!   [`Metered`](super::metering::Metered) polls the task again until its time slice is over.
//! - A guest that calls the host in a loop burns little fuel, however long the calls take. The call hook of
//!   [`bound_time_slices`] reads the clock after each host call, and makes the next fuel check yield.
//!
//! The engine's own helpers (for example copying a string between two components) can't yield. A task that spends more
//! than [`LONGEST_TIME_SLICE`] of CPU time in them without yielding is ended with [`TimeSliceTooLong`].

use crate::engine::threads::ThreadLoad;
use crate::model::limits::Limits;
use crate::task::store::TaskState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmtime::{CallHook, Store};

/// CPU time after which a task that can't be made to yield is ended.
const LONGEST_TIME_SLICE: Duration = Duration::from_secs(1);
/// Number of helper calls between two looks at the clock: most helper calls take nanoseconds.
const HELPERS_UNWATCHED: u32 = 16;

/// The trap of a task that didn't yield within [`LONGEST_TIME_SLICE`].
#[derive(Debug, thiserror::Error)]
#[error("it computed for {LONGEST_TIME_SLICE:?} without a moment at which it could be interrupted")]
pub(crate) struct TimeSliceTooLong;

/// The current time slice of a task. The task's store and the future that polls it share it.
#[derive(Debug)]
pub(crate) struct TimeSlice {
    /// Origin of the times in nanoseconds.
    origin: Instant,
    /// When the current time slice began, in nanoseconds after `origin`.
    began: AtomicU64,
    /// The thread's CPU time when it began, in nanoseconds.
    cpu: AtomicU64,
    /// The next fuel check yields: the time slice ended during a host call.
    hurried: AtomicBool,
    /// Load of the guest threads, which says whether another task is ready.
    load: ThreadLoad,
}

impl TimeSlice {
    pub(crate) fn new(load: ThreadLoad) -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            began: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            hurried: AtomicBool::new(false),
            load,
        })
    }

    /// Nanoseconds since the task's store was built. Never 0.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    pub(crate) fn load(&self) -> &ThreadLoad {
        &self.load
    }

    /// Begins a new time slice. `cpu` is the thread's CPU time.
    pub(crate) fn begin(&self, now: u64, cpu: Duration) {
        self.began.store(now, Ordering::Relaxed);
        self.cpu.store(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns whether a task that yields now may be polled again at once.
    pub(crate) fn may_go_on(&self) -> bool {
        // Once tokio's budget is spent, each of its resources is pending: polling again would only burn time.
        !self.hurried.load(Ordering::Relaxed) && !self.is_over() && tokio::task::coop::has_budget_remaining()
    }

    /// Returns a number that identifies the time slice.
    fn id(&self) -> u64 {
        self.began.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        let lasted = self.lasted();
        lasted > Limits::SHARED_TIME_SLICE && (lasted > Limits::TIME_SLICE || !self.load.none_is_ready())
    }

    /// Returns whether the time slice should have ended long ago. Only CPU time counts: the thread may have waited for
    /// a processor.
    fn is_too_long(&self) -> bool {
        let computed = || thread_cpu().saturating_sub(Duration::from_nanos(self.cpu.load(Ordering::Relaxed)));
        self.lasted() > LONGEST_TIME_SLICE && computed() > LONGEST_TIME_SLICE
    }

    fn lasted(&self) -> Duration {
        Duration::from_nanos(self.now().saturating_sub(self.id()))
    }
}

/// Makes a guest yield as soon as a host call returns after the end of its time slice.
///
/// The engine calls the hook for host calls and for calls to its own helpers alike. Compiled code holds its fuel in a
/// register while a helper runs: setting the store's fuel then would have no effect, or mint fuel. So the hook sets
/// fuel only after two kinds of calls, after which compiled code reads its fuel anew: host calls, which
/// [`TaskState::host_called`] marks, and the helper that yields, during which the time slice changed.
pub(crate) fn bound_time_slices(store: &mut Store<TaskState>) {
    let time_slice = store.data().time_slice.clone();
    // One for each call that is under way: a host call may call the guest's allocator, which calls helpers.
    let mut calls: Vec<Call> = Vec::new();
    let mut helpers: u32 = 0;
    store.call_hook(move |mut store, event| {
        match event {
            CallHook::CallingHost => {
                let outer = std::mem::take(&mut store.data_mut().host_called);
                calls.push(Call { time_slice: time_slice.id(), outer });
            }
            CallHook::ReturningFromHost => {
                let Some(call) = calls.pop() else { return Ok(()) };
                let of_host = std::mem::replace(&mut store.data_mut().host_called, call.outer);
                if of_host {
                    store.data().check_random()?;
                    store.data_mut().count_streams()?;
                    store.data_mut().check_http()?;
                } else {
                    helpers = helpers.wrapping_add(1);
                    if helpers.is_multiple_of(HELPERS_UNWATCHED) && time_slice.is_too_long() {
                        return Err(TimeSliceTooLong.into());
                    }
                }
                // The remaining fuel stays the same. Only the interval until the next yield changes.
                let hurried = time_slice.hurried.load(Ordering::Relaxed);
                if hurried && time_slice.id() != call.time_slice {
                    time_slice.hurried.store(false, Ordering::Relaxed);
                    store.fuel_async_yield_interval(Some(Limits::FUEL_SLICE))?;
                } else if of_host && !hurried && time_slice.is_over() {
                    time_slice.hurried.store(true, Ordering::Relaxed);
                    store.fuel_async_yield_interval(Some(1))?;
                }
            }
            CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
        }
        Ok(())
    });
}

/// A call out of the guest.
struct Call {
    /// The time slice in which it began.
    time_slice: u64,
    /// Whether the call around it is a host call.
    outer: bool,
}

/// Returns the CPU time of the current thread.
pub(super) fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{self, CodeOptions, Frames};
    use crate::model::message::Message;
    use crate::task::metering::tests::burn;
    use crate::task::metering::{Metered, Times};
    use crate::task::store::{self, Delivered, TaskConfig};
    use std::future::poll_fn;
    use std::pin::pin;
    use wasmtime::{Caller, Linker, Module};

    /// Calls the host, then a helper of the engine, then computes, ten times over.
    const CALLS: &str = r#"(module
        (import "host" "call" (func $call))
        (memory 1)
        (func (export "run") (local $rounds i32) (local $count i32)
            (local.set $rounds (i32.const 10))
            (loop $round
                (call $call)
                (drop (memory.grow (i32.const 1)))
                (memory.fill (i32.const 0) (i32.const 1) (i32.const 1000))
                (local.set $count (i32.const 1000))
                (loop $compute
                    (br_if $compute (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
                (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))))"#;

    /// Returns the fuel and the number of time slices of [`CALLS`] if each call to the host takes `time`.
    async fn run_with_calls_of(time: Duration, others: &ThreadLoad) -> (u64, u64) {
        let (result, fuel, polls) = run_calls(CALLS, time, true, others).await;
        result.expect("no trap");
        (fuel, polls)
    }

    /// Runs a module whose import takes `time`, and counts as a host call or as a helper of the engine.
    async fn run_calls(
        text: &str,
        time: Duration,
        of_host: bool,
        others: &ThreadLoad,
    ) -> (wasmtime::Result<()>, u64, u64) {
        let limits = Limits::default();
        let fuel = limits.fuel;
        let engine = engine::on_demand(CodeOptions::default(), &limits, Frames::Named).expect("an engine");
        let config = TaskConfig { load: others.clone(), ..TaskConfig::within(limits) };
        let delivered = Arc::new(Delivered::plain(Arc::new(Message::new("m", ""))));
        let mut store = store::task_store(&engine, &Arc::new(config), &delivered).expect("a store");
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("host", "call", move |mut caller: Caller<'_, TaskState>| {
                if of_host {
                    caller.data_mut().called();
                }
                burn(time);
            })
            .expect("linked");
        let module = Module::new(&engine, wat::parse_str(text).expect("text")).expect("a module");
        let (time_slice, mut times) = (store.data().time_slice.clone(), Times::default());
        let mut polls = 0;
        let result = {
            let call = async {
                let instance = linker.instantiate_async(&mut store, &module).await.expect("an instance");
                let run = instance.get_typed_func::<(), ()>(&mut store, "run").expect("run");
                run.call_async(&mut store, ()).await
            };
            let mut call = pin!(call);
            let counted = poll_fn(|context| {
                polls += 1;
                call.as_mut().poll(context)
            });
            Metered::new(pin!(counted), time_slice, &mut times, None).await.expect("not blocked")
        };
        (result, fuel - store.get_fuel().expect("fuel"), polls)
    }

    #[tokio::test]
    async fn long_calls_to_the_host_end_the_time_slice_and_cost_neither_more_fuel_nor_less() {
        let others = ThreadLoad::default();
        // A thread that is preempted for a moment may end the time slice as well, but not each time.
        let mut short = Vec::new();
        for _ in 0..20 {
            short.push(run_with_calls_of(Duration::ZERO, &others).await);
        }
        let (fuel, polls) = short.into_iter().min().expect("some");
        assert!(fuel > 10 * 3000, "{fuel}");
        assert_eq!(polls, 1);
        // One time slice for each call, and the one that it began with. The computing in between isn't split.
        assert_eq!(run_with_calls_of(Limits::TIME_SLICE * 2, &others).await, (fuel, 11));
        // A time slice spent in host calls is as long as one spent computing.
        let (same, polls) = run_with_calls_of(Limits::SHARED_TIME_SLICE * 2, &others).await;
        assert_eq!(same, fuel);
        assert!(polls < 11, "{polls}");
        let _other = others.ready();
        assert_eq!(run_with_calls_of(Limits::SHARED_TIME_SLICE * 2, &others).await, (fuel, 11));
    }

    #[tokio::test]
    async fn a_guest_that_spends_its_time_slice_in_helpers_of_the_engine_is_ended() {
        const FOR_EVER: &str = r#"(module
            (import "host" "call" (func $call))
            (func (export "run") (loop $again (call $call) (br $again))))"#;
        let (result, _, polls) =
            run_calls(FOR_EVER, Duration::from_millis(30), false, &ThreadLoad::default()).await;
        assert!(result.expect_err("ended").is::<TimeSliceTooLong>());
        assert_eq!(polls, 1);
    }
}
