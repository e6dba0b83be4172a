//! A task's time slice on a thread, and where its time goes.
//!
//! A thread belongs to a task from one poll of its future to the end of that poll. [`Timed`] measures what happens in
//! between and around: computing, waiting for the host, waiting for a time slice. [`bound_time_slices`] sees to it that a
//! time slice ends: fuel does that for a guest that computes, and not for one that spends its time slice in short calls to the
//! host, which burn little fuel however long they take.
//!
//! A time slice is a length of time: a task that hands its thread back before is given it again at once. It's longer while
//! nobody waits for a thread: an idle one would wake up to take the task over, and the two would carry it to and fro
//! between their cores.

use crate::engine::threads::{Ready, ThreadLoad};
use crate::model::limits::Limits;
use crate::task::store::TaskState;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use tokio::time::Sleep;
use wasmtime::{CallHook, Store};

/// The engine's helpers can't be made to hand the thread back: some carry megabytes of text from one part of a component
/// to another for a few units of fuel. A task that computes for so long without handing it back is ended.
const LONGEST_TIME_SLICE: Duration = Duration::from_secs(1);
/// The clock is looked at after so many of their calls: most take nanoseconds.
const HELPERS_UNWATCHED: u32 = 16;

/// The trap of a guest that can't be interrupted.
#[derive(Debug, thiserror::Error)]
#[error("it computed for {LONGEST_TIME_SLICE:?} without a moment at which it could be interrupted")]
pub(crate) struct TimeSliceTooLong;

/// What the store and the future that runs it know of each other. It stands between the task and whoever wakes it, so
/// that it knows when the task could go on.
#[derive(Debug)]
pub(crate) struct TimeSlice {
    began_at: Instant,
    /// When the current time slice began: nanoseconds after `began_at`.
    time_slice: AtomicU64,
    /// The thread's CPU time when it began, in nanoseconds.
    cpu: AtomicU64,
    /// When the task was first woken since it was last polled; 0: not yet.
    woken: AtomicU64,
    /// It has its thread now: whoever polls it looks at `woken` afterwards.
    polled: AtomicBool,
    /// Its next fuel check hands the thread back.
    hurried: AtomicBool,
    thread: Mutex<Waker>,
    /// That of all tasks that share the threads.
    load: ThreadLoad,
}

impl TimeSlice {
    pub(crate) fn new(load: ThreadLoad) -> Arc<Self> {
        Arc::new(Self {
            began_at: Instant::now(),
            time_slice: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            woken: AtomicU64::new(0),
            polled: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            thread: Mutex::new(Waker::noop().clone()),
            load,
        })
    }

    fn now(&self) -> u64 {
        // Never 0, which means "not yet".
        u64::try_from(self.began_at.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// Tells one time slice from another.
    fn id(&self) -> u64 {
        self.time_slice.load(Ordering::Relaxed)
    }

    /// The task has had its thread for as long as it should.
    fn is_over(&self) -> bool {
        let lasted = self.lasted();
        lasted > Limits::SHARED_TIME_SLICE && (lasted > Limits::TIME_SLICE || !self.load.nobody_is_ready())
    }

    fn lasted(&self) -> Duration {
        Duration::from_nanos(self.now().saturating_sub(self.id()))
    }

    /// The task has computed for longer than it may. A thread that got no processor meanwhile is no fault of it.
    fn is_too_long(&self) -> bool {
        let computed = || thread_cpu().saturating_sub(Duration::from_nanos(self.cpu.load(Ordering::Relaxed)));
        self.lasted() > LONGEST_TIME_SLICE && computed() > LONGEST_TIME_SLICE
    }

    /// The task has its thread, from whoever has this waker. Returns when it was woken; 0: it wasn't.
    fn begin(&self, now: u64, cpu: Duration, waker: &Waker) -> u64 {
        self.thread.lock().clone_from(waker);
        self.polled.store(true, Ordering::SeqCst);
        self.time_slice.store(now, Ordering::Relaxed);
        self.cpu.store(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.woken.swap(0, Ordering::SeqCst)
    }

    /// The task was woken while it was polled, and its time slice isn't over: it may be polled again.
    fn may_go_on(&self) -> bool {
        // Where the budget of a time slice is spent, polling again would only burn time.
        let goes_on = self.woken.load(Ordering::SeqCst) > 0
            && !self.hurried.load(Ordering::Relaxed)
            && !self.is_over()
            && tokio::task::coop::has_budget_remaining();
        if goes_on {
            self.woken.store(0, Ordering::SeqCst);
        }
        goes_on
    }

    /// The task hands its thread back. Returns whether it could go on: then nobody else will wake it.
    fn end(&self) -> bool {
        self.polled.store(false, Ordering::SeqCst);
        self.woken.load(Ordering::SeqCst) > 0
    }
}

impl Wake for TimeSlice {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The first time counts.
        let _ = self.woken.compare_exchange(0, self.now(), Ordering::SeqCst, Ordering::SeqCst);
        if !self.polled.load(Ordering::SeqCst) {
            self.thread.lock().wake_by_ref();
        }
    }
}

/// Makes a guest hand its thread back as soon as it has had it for too long, after a call to the host.
///
/// The engine tells of calls to the host and of calls to its own helpers alike. During the latter, code holds its fuel
/// in a register: changing the store's then would change nothing, or mint fuel. So fuel is touched only after calls
/// that [`TaskState::host_called`] tells of, and after those during which the thread was handed back: they are either
/// of the host or of the helper that hands it back, and code reads its fuel anew after both.
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
                } else {
                    helpers = helpers.wrapping_add(1);
                    if helpers.is_multiple_of(HELPERS_UNWATCHED) && time_slice.is_too_long() {
                        return Err(TimeSliceTooLong.into());
                    }
                }
                // What is left of the fuel stays the same; only the next yield comes at once, or as it used to.
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
    /// Whether the call around it is one to the host.
    outer: bool,
}

/// Where the time of a task went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// The thread's CPU time during the task's time slices.
    pub(crate) cpu: Duration,
    /// From the end of a time slice until somebody woke the task: it waited for the host.
    pub(crate) blocked: Duration,
    /// From then to its next time slice: others computed.
    pub(crate) ready: Duration,
}

/// A future that is over because it was blocked for too long.
#[derive(Debug)]
pub(crate) struct BlockedTooLong;

/// Measures a future.
pub(crate) struct Timed<'a, F> {
    future: Pin<&'a mut F>,
    time_slice: Arc<TimeSlice>,
    waker: Waker,
    times: &'a mut Times,
    /// It waits for a thread.
    is_ready: Option<Ready>,
    /// When the last time slice ended; 0: there was none.
    ended: u64,
    /// How long it may be blocked in all, and what wakes it then; `None`: something else bounds that.
    most_blocked: Option<(Duration, Option<Pin<Box<Sleep>>>)>,
}

impl<'a, F> Timed<'a, F> {
    pub(crate) fn new(
        future: Pin<&'a mut F>,
        time_slice: Arc<TimeSlice>,
        times: &'a mut Times,
        most_blocked: Option<Duration>,
    ) -> Self {
        let waker = Waker::from(time_slice.clone());
        let most_blocked = most_blocked.map(|most| (most, None));
        Self { future, time_slice, waker, times, is_ready: None, ended: 0, most_blocked }
    }
}

impl<F: Future> Future for Timed<'_, F> {
    type Output = Result<F::Output, BlockedTooLong>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.is_ready = None;
        let (began, cpu) = (this.time_slice.now(), thread_cpu());
        let woken = this.time_slice.begin(began, cpu, context.waker());
        if this.ended > 0 {
            // Woken by others than its own waker (a timer, a cancellation), it's still blocked.
            let woken = if woken == 0 { began } else { woken.clamp(this.ended, began) };
            this.times.blocked += Duration::from_nanos(woken - this.ended);
            this.times.ready += Duration::from_nanos(began - woken);
            this.time_slice.load.waited(Duration::from_nanos(began - woken));
        }
        let mut poll = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
        while poll.is_pending() && this.time_slice.may_go_on() {
            poll = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
        }
        let is_ready = this.time_slice.end();
        this.times.cpu += thread_cpu().saturating_sub(cpu);
        if let Poll::Ready(output) = poll {
            return Poll::Ready(Ok(output));
        }
        this.ended = this.time_slice.now();
        if is_ready {
            // It goes on as soon as a thread is free.
            this.is_ready = Some(this.time_slice.load.ready());
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match &mut this.most_blocked {
            None => Poll::Pending,
            Some((most, alarm)) => {
                let left = most.saturating_sub(this.times.blocked);
                if left.is_zero() {
                    return Poll::Ready(Err(BlockedTooLong));
                }
                let at = tokio::time::Instant::now() + left;
                let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
                alarm.as_mut().reset(at);
                alarm.as_mut().poll(context).map(|()| Err(BlockedTooLong))
            }
        }
    }
}

fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{self, CodeOptions, Frames};
    use crate::model::message::Message;
    use crate::task::store::{self, TaskConfig};
    use std::future::poll_fn;
    use std::pin::pin;
    use tokio::runtime::Handle;
    use wasmtime::{Caller, Linker, Module};

    async fn timed<T>(
        future: impl Future<Output = T>,
        most_blocked: Option<Duration>,
    ) -> (Result<T, BlockedTooLong>, Times) {
        timed_among(&ThreadLoad::default(), future, most_blocked).await
    }

    async fn timed_among<T>(
        others: &ThreadLoad,
        future: impl Future<Output = T>,
        most_blocked: Option<Duration>,
    ) -> (Result<T, BlockedTooLong>, Times) {
        let mut times = Times::default();
        let result = Timed::new(pin!(future), TimeSlice::new(others.clone()), &mut times, most_blocked).await;
        (result, times)
    }

    /// Hands the thread back so many times.
    async fn hands_back(times: u32) {
        let mut left = times;
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    fn burn(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn computing_is_neither_blocked_nor_ready() {
        let (result, times) = timed(async { burn(Duration::from_millis(20)) }, None).await;
        assert!(result.is_ok());
        assert!(times.cpu > Duration::ZERO);
        assert_eq!((times.blocked, times.ready), (Duration::ZERO, Duration::ZERO));
    }

    #[tokio::test]
    async fn waiting_for_the_host_is_told_from_waiting_for_a_turn() {
        let wait = Duration::from_millis(50);
        let (_, blocked) = timed(tokio::spawn(async move { burn(wait) }), None).await;
        assert!(blocked.blocked >= wait - Duration::from_millis(5), "{blocked:?}");
        // It hands the thread back, and a neighbour takes it.
        let neighbour = tokio::spawn(async move { burn(wait) });
        let others = ThreadLoad::default();
        let _other = others.ready();
        let time_slice = async {
            burn(Limits::SHARED_TIME_SLICE);
            hands_back(1).await;
        };
        let (_, ready) = timed_among(&others, time_slice, None).await;
        neighbour.await.expect("ended");
        assert!(ready.blocked < Duration::from_millis(1), "{ready:?}");
        assert!(ready.ready >= wait - Duration::from_millis(5), "{ready:?}");
    }

    /// How often the thread was really handed back.
    async fn time_slices(others: &ThreadLoad, future: impl Future<Output = ()>) -> u32 {
        let mut turns = 0;
        let mut timed = pin!(timed_among(others, future, None));
        poll_fn(|context| {
            turns += 1;
            timed.as_mut().poll(context).map(drop)
        })
        .await;
        turns - 1
    }

    /// Computes so many times for so long, and hands the thread back after each.
    async fn computes(times: u32, long: Duration) {
        for _ in 0..times {
            burn(long);
            hands_back(1).await;
        }
    }

    #[tokio::test]
    async fn a_thread_that_nobody_waits_for_is_given_back_at_once_but_not_for_ever() {
        const TIMES: u32 = 100;
        let others = ThreadLoad::default();
        let alone = time_slices(&others, hands_back(TIMES)).await;
        assert!(alone < TIMES / 2, "{alone}");
        // Timers and cancellations get their time slice as well.
        assert!(time_slices(&others, computes(4, Limits::TIME_SLICE)).await >= 3);
    }

    #[tokio::test]
    async fn a_time_slice_is_shorter_while_others_wait_for_the_thread_and_the_same_for_all() {
        let others = ThreadLoad::default();
        let other = others.ready();
        assert_eq!(time_slices(&others, computes(4, Limits::SHARED_TIME_SLICE)).await, 4);
        // What hands it back earlier isn't at a disadvantage.
        let shared = time_slices(&others, computes(40, Limits::SHARED_TIME_SLICE / 10)).await;
        assert!((4..30).contains(&shared), "{shared}");
        drop(other);
        let alone = time_slices(&others, computes(40, Limits::SHARED_TIME_SLICE / 10)).await;
        assert!(alone < shared, "{alone} and {shared}");
        assert!(others.nobody_is_ready());
        // What was woken from outside is heard too.
        let spawned = tokio::runtime::Handle::current();
        std::thread::spawn(move || drop(spawned.spawn(async {}))).join().expect("spawned");
        assert!(!others.nobody_is_ready());
    }

    #[tokio::test]
    async fn what_is_blocked_for_too_long_is_ended_however_many_waits_it_takes() {
        let waits = async {
            for _ in 0..1000 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let (result, times) = timed(waits, Some(Duration::from_millis(50))).await;
        assert!(result.is_err());
        assert!(times.blocked < Duration::from_secs(5), "{times:?}");
        let short = tokio::spawn(async {});
        assert!(timed(short, Some(Duration::from_secs(60))).await.0.is_ok());
    }

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

    /// How much fuel that takes, and how many time slices, if each call to the host takes so long.
    async fn run_with_calls_of(time: Duration, others: &ThreadLoad) -> (u64, u64) {
        let (result, fuel, turns) = run_calls(CALLS, time, true, others).await;
        result.expect("no trap");
        (fuel, turns)
    }

    /// Runs a module whose import takes so long, and is of the host or passes for one of the engine's helpers.
    async fn run_calls(
        text: &str,
        time: Duration,
        of_host: bool,
        others: &ThreadLoad,
    ) -> (wasmtime::Result<()>, u64, u64) {
        let limits = Limits::default();
        let fuel = limits.fuel;
        let engine = engine::on_demand(CodeOptions::default(), &limits, Frames::Named).expect("an engine");
        let config = TaskConfig {
            grants: Arc::default(),
            limits,
            calls: Arc::default(),
            deterministic: false,
            io: Handle::current(),
            load: others.clone(),
        };
        let message = Message::new("m", "");
        let mut store = store::task_store(&engine, &Arc::new(config), &message).expect("a store");
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
        let mut turns = 0;
        let result = {
            let call = async {
                let instance = linker.instantiate_async(&mut store, &module).await.expect("an instance");
                let run = instance.get_typed_func::<(), ()>(&mut store, "run").expect("run");
                run.call_async(&mut store, ()).await
            };
            let mut call = pin!(call);
            let counted = poll_fn(|context| {
                turns += 1;
                call.as_mut().poll(context)
            });
            Timed::new(pin!(counted), time_slice, &mut times, None).await.expect("not blocked")
        };
        (result, fuel - store.get_fuel().expect("fuel"), turns)
    }

    #[tokio::test]
    async fn long_calls_to_the_host_end_the_time_slice_and_cost_neither_more_fuel_nor_less() {
        let others = ThreadLoad::default();
        // Who loses the processor for a moment may lose the time slice as well, but not each time.
        let mut short = Vec::new();
        for _ in 0..20 {
            short.push(run_with_calls_of(Duration::ZERO, &others).await);
        }
        let (fuel, turns) = short.into_iter().min().expect("some");
        assert!(fuel > 10 * 3000, "{fuel}");
        assert_eq!(turns, 1);
        // One for each call, and the time slice that it began with; what is computed in between isn't cut to pieces.
        assert_eq!(run_with_calls_of(Limits::TIME_SLICE * 2, &others).await, (fuel, 11));
        // The same length as that of a time slice that is computed.
        let (same, turns) = run_with_calls_of(Limits::SHARED_TIME_SLICE * 2, &others).await;
        assert_eq!(same, fuel);
        assert!(turns < 11, "{turns}");
        let _other = others.ready();
        assert_eq!(run_with_calls_of(Limits::SHARED_TIME_SLICE * 2, &others).await, (fuel, 11));
    }

    #[tokio::test]
    async fn a_guest_that_spends_its_time_slice_in_helpers_of_the_engine_is_ended() {
        const FOR_EVER: &str = r#"(module
            (import "host" "call" (func $call))
            (func (export "run") (loop $again (call $call) (br $again))))"#;
        let (result, _, turns) =
            run_calls(FOR_EVER, Duration::from_millis(30), false, &ThreadLoad::default()).await;
        assert!(result.expect_err("ended").is::<TimeSliceTooLong>());
        assert_eq!(turns, 1);
    }
}
