//! Misconfiguration: detects a missing grant or right, which only the operator can add.
//!
//! A worker that runs until its queue is empty (`--until-empty`) would never end. So it ends after [`MOST_PROBES`], and
//! its summary says why. Other workers go on probing.

use super::Worker;
use crate::model::host_error::HostErrorKind;
use crate::model::outcome::Outcome;
use crate::model::text::OneLine;
use crate::task::component::Report;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio_util::sync::CancellationToken;

/// Number of probes in a row that fail because of a grant or a right before the worker ends. With the breaker's pauses
/// they take 15 seconds.
const MOST_PROBES: u32 = 4;

/// Findings about a missing grant or right.
#[derive(Debug, Default)]
pub(super) struct Misconfiguration {
    is_logged: AtomicBool,
    /// Number of probes in a row that failed because of it.
    failed_probes: AtomicU32,
    why: OnceLock<String>,
}

impl Misconfiguration {
    /// Returns why the worker ended by itself, if it did.
    pub(super) fn why(&self) -> Option<&str> {
        self.why.get().map(String::as_str)
    }

    /// Logs the first missing grant only, as each message would repeat it.
    pub(super) fn log_missing_grant(&self, message_id: &str, text: &str) {
        if !self.is_logged.swap(true, Ordering::Relaxed) {
            tracing::error!(message_id, "{}", OneLine(text));
        }
    }
}

impl Worker {
    /// Ends a worker with `until_empty` after [`MOST_PROBES`] probes in a row failed because of a grant or a right, if
    /// no task has completed yet. The messages stay in the queue.
    pub(super) fn end_if_misconfigured(&self, report: &Report, stop: &CancellationToken) {
        let Misconfiguration { failed_probes, why, .. } = &self.misconfiguration;
        let (Outcome::HostFailed { what }, Some(error)) = (&report.outcome, &report.host_error) else {
            failed_probes.store(0, Ordering::Relaxed);
            return;
        };
        let of_operator = matches!(error.kind, HostErrorKind::NotGranted | HostErrorKind::Refused { .. });
        if !self.options.until_empty || !of_operator || self.breaker.has_completed() {
            return;
        }
        if failed_probes.fetch_add(1, Ordering::Relaxed) + 1 >= MOST_PROBES {
            let _ = why.set(what.clone());
            stop.cancel();
        }
    }
}
