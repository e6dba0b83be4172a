//! Handles signals: stops the worker, reloads its configuration, or logs its status.

use super::reload::Reload;
use crate::output::failure::Failure;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::worker::scaler::Because;
use wasmrun_runtime::worker::{Receiving, Status, Worker};

/// Signals that arrive within this time count as one.
const TOGETHER: Duration = Duration::from_millis(50);

/// SIGINT and SIGTERM.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Starts to receive them.
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { interrupt: heard(SignalKind::interrupt())?, terminate: heard(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn heard(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::backend(format!("signals cannot be received: {error}")))
}

/// Tokens that stop a worker.
#[derive(Clone, Default)]
pub(crate) struct Stop {
    /// Lets running tasks finish.
    pub(crate) drain: CancellationToken,
    /// Ends running tasks, and releases their messages.
    pub(crate) abandon: CancellationToken,
}

impl Stop {
    /// Handles SIGINT and SIGTERM: the first drains the worker, the second stops it at once.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let stop = Self::default();
        stop_on_signals(StopSignals::new()?, stop.clone());
        Ok(stop)
    }

    /// Returns tokens that stop one of several workers, and that are cancelled with these.
    pub(crate) fn child(&self) -> Self {
        Self { drain: self.drain.child_token(), abandon: self.abandon.child_token() }
    }
}

fn stop_on_signals(mut signals: StopSignals, stop: Stop) {
    tokio::spawn(async move {
        let mut next = async || {
            signals.next().await;
            let others = async {
                loop {
                    signals.next().await;
                }
            };
            let _: Result<(), _> = tokio::time::timeout(TOGETHER, others).await;
        };
        next().await;
        tracing::info!("stopping: running tasks may finish; a second signal stops at once");
        stop.drain.cancel();
        next().await;
        tracing::warn!("stopping at once: releasing the messages of running tasks");
        stop.abandon.cancel();
    });
}

/// Handles SIGHUP: reloads the configuration. Without a configuration file, SIGHUP means that the terminal was closed,
/// and drains the worker.
pub(crate) fn reload_on_hangup(reload: Option<Reload>, stop: CancellationToken) -> Result<(), Failure> {
    if reload.is_none() && is_hangup_ignored() {
        return Ok(());
    }
    let mut hangup = heard(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let others = async { while hangup.recv().await.is_some() {} };
            let _ = tokio::time::timeout(TOGETHER, others).await;
            let Some(reload) = &reload else {
                tracing::info!(
                    "stopping on SIGHUP, as there is no configuration file to read again: running tasks may finish"
                );
                return stop.cancel();
            };
            reload.read().await;
        }
    });
    Ok(())
}

/// Returns whether SIGHUP is ignored, as nohup(1) sets it for a program that is to outlive its terminal.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is signal 1, SIGHUP.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Handles SIGUSR1: logs the worker's status.
pub(crate) fn log_status_on_usr1(worker: Arc<Worker>) -> Result<(), Failure> {
    let mut usr1 = heard(SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while usr1.recv().await.is_some() {
            log(&worker.status());
        }
    });
    Ok(())
}

fn log(status: &Status) {
    let Status { uptime, receiving, instances, depth, running, counts, .. } = status;
    let (receiving, why) = match receiving {
        Receiving::Yes => ("yes", None),
        Receiving::Paused { why } => ("paused", Some(why)),
        Receiving::Stopping => ("stopping", None),
    };
    let counts: Vec<_> = counts.named().map(|count| format!("{}={}", count.name, count.value)).collect();
    tracing::info!(
        uptime_s = uptime.as_secs(),
        receiving,
        why,
        running = instances.running,
        instances = instances.allowed,
        min = instances.min,
        max = instances.max,
        because = instances.because.map(Because::as_str),
        visible = depth.map(|(depth, _)| depth.visible),
        in_flight = depth.map(|(depth, _)| depth.in_flight),
        depth_age_s = depth.map(|(_, age)| age.as_secs()),
        oldest_task_s = running.first().map(|task| task.age.as_secs()),
        counts = counts.join(" "),
        "status"
    );
}
