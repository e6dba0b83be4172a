//! Classification: turns the result of a call into a guest into an [`Outcome`]. Only this module reads traps and the
//! engine's errors.

use super::command::ExitedWith;
use super::host;
use super::limiter::Limiter;
use super::service::ClientGone;
use super::store::Unanswered;
use super::time_slice::TimeSliceTooLong;
use crate::model::host_error::{HostError, HostErrorKind};
use crate::model::limits::Limit;
use crate::model::message::MAX_VISIBILITY;
use crate::model::outcome::{Cancel, Outcome, shorten};
use std::time::Duration;
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi_http::FieldMapError;

/// The remains of a task that has ended, in addition to its result.
pub(super) struct Remains<'a> {
    pub(super) limiter: &'a Limiter,
    /// The last host error that no later call made good.
    pub(super) host_error: Option<&'a HostError>,
    /// What the guest's standard error says about its failure, such as the text of a panic.
    pub(super) last_words: Option<String>,
}

impl Remains<'_> {
    /// Returns the text of the host error, if it says that a backend is unavailable.
    fn outage(&self) -> Option<&str> {
        let error = self.host_error?;
        matches!(error.kind, HostErrorKind::Unavailable { .. }).then_some(error.text.as_str())
    }

    /// Returns how a task ended, with the reason that it wrote to its standard error before.
    fn with_last_words(&self, what: String) -> String {
        match &self.last_words {
            Some(words) => shorten(&format!("{what}: {words}")),
            None => what,
        }
    }
}

impl Outcome {
    /// Returns the outcome of a call into a guest.
    pub(super) fn classify(result: host::Handled, remains: &Remains<'_>) -> Self {
        match result {
            Ok(Ok(())) => Self::Completed,
            Ok(Err(host::Failure::Reject(reason))) => Self::Rejected { reason: shorten(&reason) },
            Ok(Err(host::Failure::Retry(request))) => {
                match (request.delay_seconds, remains.outage()) {
                    // The guest passes on the error of a store or a queue.
                    (None, Some(what)) => Self::HostFailed { what: what.into() },
                    (delay, _) => Self::Retry {
                        delay: delay.map(|seconds| Duration::from_secs(seconds.into()).min(MAX_VISIBILITY)),
                        reason: shorten(&request.reason),
                    },
                }
            }
            Err(error) => Self::from_error(&error, remains),
        }
    }

    /// Returns the outcome of a task whose time limit `time` is over. If the call that it waits for has gone without a sign
    /// of life for at least half of `time`, that is its host error: whether the backend or the message is to blame shows in
    /// other tasks.
    pub(super) fn out_of_time(
        self,
        time: Duration,
        unanswered: Option<Unanswered>,
        host_error: &mut Option<HostError>,
    ) -> Self {
        let Some(Unanswered { waited, used }) = unanswered.filter(|call| call.waited >= time / 2) else {
            return self;
        };
        let what = format!("the backend {:?} did not answer for {waited:.1?}", used.backend);
        let kind = HostErrorKind::Unavailable { reading: None };
        *host_error = Some(HostError { used, kind, text: what.clone() });
        Self::HostFailed { what }
    }

    fn from_error(error: &wasmtime::Error, remains: &Remains<'_>) -> Self {
        if let Some(limit) = limit_in(error) {
            return Self::LimitExceeded { limit };
        }
        if error.is::<ClientGone>() {
            return Self::Cancelled { why: Cancel::ClientGone };
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Self::HostFailed { what: "the pool of instances is full".into() };
        }
        if let Some(host::HostFault(what)) = error.downcast_ref() {
            return Self::HostFailed { what: what.clone() };
        }
        // An outage comes first: the guest may have coped with the limit.
        if let Some(what) = remains.outage() {
            return Self::HostFailed { what: what.into() };
        }
        if let Some(limit) = limit_before(error, remains.limiter) {
            return Self::LimitExceeded { limit };
        }
        if let Some(wasmtime_wasi::I32Exit(status)) = error.downcast_ref() {
            let what = format!("exited with status {status} without returning");
            return Self::Trapped { what: remains.with_last_words(what) };
        }
        if let Some(exited) = error.downcast_ref::<ExitedWith>() {
            return Self::Trapped { what: remains.with_last_words(exited.to_string()) };
        }
        let trap = error.downcast_ref::<Trap>();
        if trap.is_none() && error.is::<host::NotStarted>() {
            // The system refused memory: the message isn't to blame.
            return Self::HostFailed { what: shorten(&format!("{error:#}")) };
        }
        let what = match trap {
            // A panic or an abort ends with this trap.
            Some(trap @ Trap::UnreachableCodeReached) => remains.with_last_words(trap.to_string()),
            Some(trap) => trap.to_string(),
            // An error of wasmrun or of Wasmtime: for example, a list with an invalid pointer, or an invalid handle.
            None => error.root_cause().to_string(),
        };
        Self::Trapped { what: shorten(&what) }
    }
}

/// Returns the limit that an error names, if any.
pub(super) fn limit_in(error: &wasmtime::Error) -> Option<Limit> {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Some(Limit::Fuel),
        Some(Trap::StackOverflow) => return Some(Limit::Stack),
        _ => {}
    }
    if let Some(host::LimitHit(limit)) = error.downcast_ref() {
        return Some(*limit);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some(Limit::Handles);
    }
    if let Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) = error.downcast_ref() {
        return Some(Limit::HttpHeaderSize);
    }
    // Wasmtime 48 has no public type for these errors.
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls") {
        Some(Limit::CallSize)
    } else if text.starts_with("requested len ") {
        Some(Limit::RandomSize)
    } else if text.contains("store handle limit exceeded") {
        Some(Limit::Handles)
    } else {
        None
    }
}

/// Returns the limit that the guest ran into before it failed with an error that names none. A guest that coped with
/// the refusal would have completed. A task that was ended for another reason doesn't count.
pub(super) fn limit_before(error: &wasmtime::Error, limiter: &Limiter) -> Option<Limit> {
    if error.is::<TimeSliceTooLong>() { None } else { limiter.refused() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_error::{Access, Used};
    use crate::model::limits::Limits;
    use crate::model::outcome::MAX_REASON_BYTES;
    use wasmtime::ResourceLimiter;

    fn written(backend: &str) -> Used {
        Used { backend: backend.into(), access: Access::Write }
    }

    #[test]
    fn an_outage_comes_before_a_limit_that_the_guest_coped_with() {
        let mut limiter = Limiter::new(&Limits::default());
        assert!(!limiter.memory_growing(0, usize::MAX, None).expect("an answer"));
        let panicked = || Err(Trap::UnreachableCodeReached.into());
        let kind = HostErrorKind::Unavailable { reading: None };
        let down = HostError { used: written("out"), kind, text: "store out: down".into() };
        let remains = |host_error| Remains { limiter: &limiter, host_error, last_words: None };
        let outcome = Outcome::classify(panicked(), &remains(Some(&down)));
        assert_eq!(outcome, Outcome::HostFailed { what: "store out: down".into() });
        let refused = HostError { kind: HostErrorKind::NotGranted, ..down.clone() };
        for error in [None, Some(&refused)] {
            let outcome = Outcome::classify(panicked(), &remains(error));
            assert_eq!(outcome, Outcome::LimitExceeded { limit: Limit::Memory });
        }
        let out_of_fuel = Err(Trap::OutOfFuel.into());
        let outcome = Outcome::classify(out_of_fuel, &remains(Some(&down)));
        assert_eq!(outcome, Outcome::LimitExceeded { limit: Limit::Fuel }, "the guest computed");
    }

    #[test]
    fn a_call_that_took_most_of_the_time_names_the_backend_that_did_not_answer() {
        let timeout = Duration::from_secs(20);
        let after = |waited| Some(Unanswered { waited: Duration::from_secs(waited), used: written("out") });
        let mut error = None;
        for short in [None, after(9)] {
            assert_eq!(Outcome::TimedOut.out_of_time(timeout, short, &mut error), Outcome::TimedOut);
            assert_eq!(error, None);
        }
        let outcome = Outcome::TimedOut.out_of_time(timeout, after(10), &mut error);
        let error = error.expect("a host error, so that others' successes tell whose it is");
        assert_eq!(error.used, written("out"));
        assert_eq!(error.kind, HostErrorKind::Unavailable { reading: None });
        assert_eq!(outcome, Outcome::HostFailed { what: error.text });
    }

    #[test]
    fn what_is_kept_of_a_large_reason_takes_no_more_than_that() {
        for text in ["x".repeat(10 << 20), "ü".repeat(5 << 20), "€".repeat(341) + "ab€", "short".into()]
        {
            let failure = host::Failure::Reject(text.clone());
            let remains =
                Remains { limiter: &Limiter::new(&Limits::default()), host_error: None, last_words: None };
            let Outcome::Rejected { reason } = Outcome::classify(Ok(Err(failure)), &remains) else {
                panic!("a rejection");
            };
            assert!(reason.capacity() <= 2 * MAX_REASON_BYTES, "{}", reason.capacity());
            let beginning = reason.strip_suffix('…').unwrap_or(&reason);
            assert!(text.starts_with(beginning) && beginning.len() + 3 >= text.len().min(MAX_REASON_BYTES));
        }
    }
}
