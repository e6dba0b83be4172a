//! State of the circuit breaker: closed, open or half-open, and the failures that open it. It neither logs nor waits.

use super::decision::Attribution;
use crate::model::host_error::Used;
use crate::model::outcome::Outcome;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The first pause: a short outage costs this long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: the end of an outage is noticed after this time at the latest.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the breaker knows.
#[derive(Debug)]
pub(super) struct State {
    pub(super) circuit: Circuit,
    /// Failures in a row for each use of a backend. The key `None` is for failures whose backend is unknown.
    pub(super) backend_failures: BTreeMap<Option<Used>, u32>,
    /// The use of a backend that opened the circuit, if it is known: only a probe that does the same shows that it works.
    pub(super) failing: Option<Used>,
    /// Number of probes in a row that met no error and didn't use what fails.
    pub(super) idle_probes: u32,
    /// From when on a message that waits for what fails may probe though other messages don't need it.
    pub(super) waiting_after: Instant,
    /// Number of failed tasks since the last one that completed.
    pub(super) failed_tasks: u32,
    pub(super) has_completed: bool,
    /// Why the circuit is open, or was open last.
    pub(super) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Circuit {
    /// Messages are received at full speed.
    Closed,
    /// Nothing is received until this time.
    Open { until: Instant, pause: Duration, cause: Cause },
    /// One message may probe. `probing`: it does so now.
    HalfOpen { probing: bool, pause: Duration, cause: Cause },
}

/// The cause of an open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A store or a queue fails.
    Backend,
    /// No task completes.
    Tasks,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 2] = [Self::Backend, Self::Tasks];

    /// Returns the cause as a word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Tasks => "tasks",
        }
    }
}

/// Evidence about the backends from the end of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// Nothing: the task was cancelled, or a backend failed, which is recorded already.
    None,
    /// The task failed, and says nothing about the backends: for example, it took too long.
    Failed,
    /// The task met no error of a backend.
    Well {
        /// Whether it called a backend.
        called: bool,
        /// Whether it completed.
        completed: bool,
        /// Whether it shows that the backend works that opened the circuit.
        tests: bool,
    },
}

impl Evidence {
    /// Returns the evidence of a task with this outcome. `ran`: an instance was created. `called`: the task called a
    /// backend. `tests`: if it met no error, the backend works that opened the circuit.
    pub(super) fn of(
        outcome: &Outcome,
        attribution: Attribution,
        ran: bool,
        called: bool,
        tests: bool,
    ) -> Self {
        match outcome {
            // A task that ends before there is an instance says nothing: for example, the one of S3's test event.
            Outcome::Completed | Outcome::Rejected { .. } if !ran => Self::None,
            Outcome::HostFailed { .. } if attribution == Attribution::Message => Self::Failed,
            Outcome::HostFailed { .. } | Outcome::Cancelled { .. } | Outcome::Expired { .. } => Self::None,
            Outcome::Repeated | Outcome::Claimed { .. } => Self::None,
            Outcome::TimedOut => Self::Failed,
            outcome => Self::Well { called, completed: *outcome == Outcome::Completed, tests },
        }
    }
}

impl State {
    pub(super) fn pause(&self) -> Duration {
        match self.circuit {
            Circuit::Closed => Duration::ZERO,
            Circuit::Open { pause, .. } | Circuit::HalfOpen { pause, .. } => pause,
        }
    }

    /// Opens the circuit because a backend fails, in this use if it is known. Returns the pause, or `None` if the circuit
    /// was open already.
    pub(super) fn open_for_backend(&mut self, failing: Option<&Used>, why: &str) -> Option<Duration> {
        let pause = match self.circuit {
            Circuit::Closed => FIRST_PAUSE,
            Circuit::HalfOpen { pause, .. } => longer(pause),
            Circuit::Open { .. } => return None,
        };
        (self.failing, self.idle_probes) = (failing.cloned(), 0);
        Some(self.open(pause, Cause::Backend, why))
    }

    pub(super) fn open(&mut self, pause: Duration, cause: Cause, why: &str) -> Duration {
        why.clone_into(&mut self.why);
        self.open_again(pause, cause)
    }

    /// Opens the circuit for the same reason as before.
    pub(super) fn open_again(&mut self, pause: Duration, cause: Cause) -> Duration {
        self.circuit = Circuit::Open { until: Instant::now() + pause, pause, cause };
        pause
    }

    pub(super) fn close(&mut self) {
        self.circuit = Circuit::Closed;
        self.backend_failures.clear();
        (self.failing, self.idle_probes) = (None, 0);
    }
}

pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}
