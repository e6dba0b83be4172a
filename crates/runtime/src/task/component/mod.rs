//! The component: loaded once, and instantiated for each message to run its task.
//!
//! | module | owns |
//! |---|---|
//! | `load` | loads a component, and finds what would make each of its tasks fail |
//! | `alongside` | lets components share a host |
//! | `refresh`, `rollout` | load new versions; decide whether they take over |
//! | `prepare` | what a message's task sees: the objects that it announces, and the grants of its key |
//! | `refusal` | says why a component can't be loaded |
//! | `report` | the result of a task |
//! | `fits` | says which world a component fits |
//! | `inspect` | inspects and compiles components without running them |
//! | `outline` | reads imports, exports and parts from a component's file |
//! | `metadata` | reads what a component's authors say of it |
//! | `offer` | names the imports that aren't offered |
//! | `parts` | compares a component's parts with the limits |
//! | `author` | advice for the language that a component was written in |

mod alongside;
mod author;
mod fits;
mod inspect;
mod load;
mod metadata;
mod offer;
mod outline;
mod parts;
mod prepare;
mod refresh;
mod refusal;
mod report;
mod rollout;

#[cfg(feature = "compiler")]
pub use self::inspect::precompile;
pub use self::inspect::{Grantable, Interfaces, Needs, inspect};
pub use self::load::LoadOptions;
pub use self::metadata::{Metadata, metadata};
pub use self::parts::{Excess, Parts};
pub use self::refresh::Refreshes;
pub use self::refusal::LoadError;
pub use self::report::Report;
pub use self::rollout::{Counts, Share};

use self::load::{Common, renew};
use self::refresh::free;
use self::report::queued;
use self::rollout::{Tally, Versions};
use crate::engine::capacity::Capacity;
use crate::engine::threads::GuestThreads;
use crate::engine::{Allocator, CodeOptions, Frames};
use crate::model::key::Key;
use crate::model::limits::Limit;
use crate::model::message::Message;
use crate::model::outcome::{Cancel, Outcome};
use crate::model::task_trace::TaskTrace;
use crate::model::trace::Trace;
use crate::model::usage::Usage;
use crate::task::calls::HostCalls;
use crate::task::classify::Remains;
use crate::task::grant::Grants;
use crate::task::host;
use crate::task::metering::{BlockedTooLong, Metered, Times};
use crate::task::staged::StagedOutputs;
use crate::task::store::{self, Delivered, TaskConfig, TaskState};
use crate::task::world::{Linked, World};
use futures_util::future::join_all;
use parking_lot::RwLock;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tracing::Span;
use wasmtime::Store;

/// Longest wait for cleaning up: a file of four gigabytes is removed in a second.
const CLEARING_AWAY: Duration = Duration::from_secs(2);

/// A component that is ready to run tasks.
pub struct Component {
    versions: RwLock<Versions>,
    refreshes: Refreshes,
    common: Common,
    was_cached: bool,
    capacity: Capacity,
    /// See [`Component::code_bytes`].
    code_bytes: u64,
    has_completed: AtomicBool,
}

/// What the instances of a component are made from. Replaced as a whole when the component is refreshed, and when the
/// pool's idle memory is reclaimed.
#[derive(Clone)]
struct Version {
    name: Arc<str>,
    pre: Linked,
    config: Arc<TaskConfig>,
    /// Parameters of the pool; `None` if instances come from the system.
    pool: Option<Pool>,
    needs: Needs,
    tally: Arc<Tally>,
}

/// Parameters for creating an instance pool.
#[derive(Clone, Copy)]
struct Pool {
    code: CodeOptions,
    instances: NonZeroUsize,
    frames: Frames,
}

impl Component {
    /// Returns the name of its version: of the one before, as long as a new version is on trial.
    pub fn name(&self) -> Arc<str> {
        self.version().name.clone()
    }

    /// Returns a span that adds the trace of a message to the log lines of its task, or an empty span.
    pub fn task_span(&self, message: &Message) -> Span {
        Trace::task_span(message, self.common.options.sampling)
    }

    /// Returns the trace of a task that has made no call, if traces are exported.
    pub(crate) fn task_trace(&self, message: &Message) -> Option<TaskTrace> {
        let sampling = self.common.options.sampling?;
        Trace::of_task(message, Some(sampling)).map(TaskTrace::new)
    }

    /// Returns the longest time that a task may take.
    pub fn timeout(&self) -> Duration {
        self.versions.read().current.config.limits.timeout
    }

    /// Reclaims the memory that the pool keeps for future tasks, by replacing the pool: the engine has no other way.
    /// Running tasks keep the previous pool, which is freed with the last of them.
    pub(crate) async fn reclaim_idle_memory(&self) {
        let version = self.version();
        let Some(pool) = version.pool else { return };
        let seen = version.clone();
        let renewed = tokio::task::spawn_blocking(move || renew(&seen.pre, pool, &seen.config.limits)).await;
        match renewed.map_err(|error| LoadError::Engine(error.to_string())).flatten() {
            Ok(pre) => {
                let renewed = Arc::new(Version { pre, ..Version::clone(&version) });
                let current = &mut self.versions.write().current;
                // Another version may have come in the meantime, with a pool of its own.
                if Arc::ptr_eq(current, &version) {
                    *current = renewed;
                }
            }
            // Then the component keeps its current pool.
            Err(error) => tracing::warn!(%error, "cannot reclaim the memory of the instance pool"),
        }
        free(version).await;
    }

    /// Waits until the stores have closed and removed everything that tasks left open, but at most `CLEARING_AWAY`.
    /// Files left by a hanging disk are removed at the next start.
    pub async fn clear_away(&self) {
        let stores = self.grants().stores.values().map(|grant| grant.store.clear_away());
        let _ = tokio::time::timeout(CLEARING_AWAY, join_all(stores)).await;
    }

    fn version(&self) -> Arc<Version> {
        self.versions.read().current.clone()
    }

    /// Returns the grants of its tasks.
    pub fn grants(&self) -> &Grants {
        &self.common.options.grants
    }

    /// Returns the world that it fits.
    pub fn world(&self) -> World {
        self.versions.read().current.pre.world()
    }

    /// Returns which of the grantable interfaces the component imports.
    pub fn needs(&self) -> Needs {
        self.versions.read().current.needs.clone()
    }

    /// Returns the counts of its tasks' calls to stores and queues.
    pub fn calls(&self) -> &HostCalls {
        &self.common.calls
    }

    /// Returns whether the code of its first version was in the cache, so that it wasn't compiled at the start.
    pub fn was_cached(&self) -> bool {
        self.was_cached
    }

    /// Returns where its instances come from: never [`Allocator::Auto`].
    pub fn allocator(&self) -> Allocator {
        if self.versions.read().current.pool.is_some() { Allocator::Pooling } else { Allocator::OnDemand }
    }

    /// Returns the threads on which its tasks compute.
    pub fn threads(&self) -> &GuestThreads {
        &self.common.options.threads
    }

    /// Runs the task of a message until it ends, times out or is `cancelled`. The guest computes on the thread that
    /// polls this future: spawn it on [`Component::threads`]. Dropping the future ends the task. `key`: the message's key,
    /// if messages have keys.
    pub async fn run(
        &self,
        message: Arc<Message>,
        key: Option<&Key>,
        cancelled: impl Future<Output = Cancel>,
    ) -> Report {
        self.run_with(message, key, None, cancelled).await
    }

    /// Runs the task of a message like [`Component::run`]. With `outputs`, what it writes and deletes is staged there.
    pub(crate) async fn run_with(
        &self,
        message: Arc<Message>,
        key: Option<&Key>,
        outputs: Option<&Arc<StagedOutputs>>,
        cancelled: impl Future<Output = Cancel>,
    ) -> Report {
        let version = self.versions.read().next(fastrand::f64);
        // Staged first: a key's part of a store is a part of what the store stages.
        let mut report = match self.prepare(&version.staging(outputs), message.clone(), key) {
            Ok((of_key, delivered)) => {
                let report = run_prepared(&of_key, Arc::new(delivered), cancelled).await;
                self.ended(&version, &report.outcome);
                report
            }
            Err((outcome, host_error)) => {
                Report::of_no_instance(version.name.clone(), &message, outcome, host_error)
            }
        };
        if report.trace.is_none() {
            report.trace = self.task_trace(&message);
        }
        report
    }
}

/// Runs one task, from an empty store to its report.
async fn run_prepared(
    version: &Version,
    delivered: Arc<Delivered>,
    cancelled: impl Future<Output = Cancel>,
) -> Report {
    let mut clock = Clock {
        began: Instant::now(),
        queued: queued(&delivered.message),
        started: None,
        times: Times::default(),
    };
    let Version { name, pre, config, .. } = version;
    let limits = &config.limits;
    let mut store = match store::task_store(pre.engine(), config, &delivered) {
        Ok(store) => store,
        Err(error) => {
            let outcome = Outcome::HostFailed { what: format!("no store: {error:#}") };
            return Report::of_no_instance(name.clone(), &delivered.message, outcome, None);
        }
    };

    let result = {
        let time_slice = store.data().time_slice.clone();
        let call = async {
            let instance = match pre.instantiate(&mut store).await {
                Ok(instance) => instance,
                Err(error) => {
                    let has_run = store.get_fuel().is_ok_and(|left| left < limits.fuel);
                    return Err(host::not_started(error, has_run));
                }
            };
            clock.started = Some(clock.began.elapsed());
            instance.handle(&mut store, delivered).await
        };
        let call = pin!(call);
        let most_blocked = limits.blocked_bound();
        // A task that never waits ends before the timer is set.
        tokio::select! {
            biased;
            result = Metered::new(call, time_slice, &mut clock.times, most_blocked) => match result {
                Ok(result) => Ok(result),
                Err(BlockedTooLong) => Err(Outcome::LimitExceeded { limit: Limit::BlockedTime }),
            },
            why = cancelled => Err(Outcome::Cancelled { why }),
            () = tokio::time::sleep(limits.timeout) => Err(Outcome::TimedOut),
        }
    };
    report(store, result, version, clock)
}

/// Times of a task, taken while it runs.
struct Clock {
    began: Instant,
    /// Time from the sending of the message to the start of the task.
    queued: Duration,
    /// Time until the instance existed.
    started: Option<Duration>,
    times: Times,
}

/// Reports how a task ended, and frees what it held. `result` is the guest's, or the outcome if the host ended the task.
fn report(
    mut store: Store<TaskState>,
    result: Result<host::Handled, Outcome>,
    version: &Version,
    clock: Clock,
) -> Report {
    let limits = &version.config.limits;
    let fuel_left = store.get_fuel().unwrap_or_default();
    let state = store.data_mut();
    state.log.finish();
    let unanswered = state.unanswered();
    // The task is over, so exceeding a limit no longer matters.
    let _ = state.count_transfer();
    let _ = state.count_streams();
    let _ = state.check_http();
    let outcome = match result {
        Ok(result) => {
            if let Err(error) = &result {
                state.log.handler_failed(error);
            }
            let TaskState { limiter, host_error, log, .. } = &*state;
            let last_words = log.last_words();
            Outcome::classify(result, &Remains { limiter, host_error: host_error.as_ref(), last_words })
        }
        Err(outcome @ Outcome::TimedOut) => {
            outcome.out_of_time(limits.timeout, unanswered, &mut state.host_error)
        }
        Err(outcome @ Outcome::LimitExceeded { .. }) => {
            outcome.out_of_time(limits.blocked_time(), unanswered, &mut state.host_error)
        }
        Err(outcome) => outcome,
    };
    let host_error = state.host_error.take().filter(|_| outcome != Outcome::Completed);
    let well = std::mem::take(&mut state.well);
    let trace = state.task_trace();
    let outputs = state.outputs.take();
    let mut usage = std::mem::take(&mut state.usage);
    usage.fuel = limits.fuel.saturating_sub(fuel_left);
    usage.peak_memory_bytes = state.limiter.memory_bytes() as u64;
    usage.log_bytes = state.log.bytes();
    usage.random_bytes = state.random.bytes();
    usage.http = state.http.usage();
    usage.refusals += state.http.refusals();
    // Frees memory and handles before the message is settled. Unfinished writes are being removed and never become
    // objects.
    drop(store);
    let Clock { began, queued, started, times: Times { cpu, blocked, ready } } = clock;
    let wall = began.elapsed();
    let start = started.unwrap_or(wall);
    let compute = wall.saturating_sub(start).saturating_sub(blocked).saturating_sub(ready);
    let usage = Usage { cpu, queued, start, compute, blocked, ready, wall, ..usage };
    let component = version.name.clone();
    Report { outcome, usage, host_error, well, ran: true, component, route: None, trace, outputs }
}
