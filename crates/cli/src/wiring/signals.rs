//! What signals ask of a worker: to stop, to read its configuration again, to say how it is.

use super::reload::Reload;
use crate::output::failure::Failure;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::worker::{Receiving, Status, Worker};

/// Signals that arrive within this time are one.
const TOGETHER: Duration = Duration::from_millis(50);

/// SIGINT and SIGTERM, heard from now on.
pub(crate) fn stop_signals() -> Result<(Signal, Signal), Failure> {
    Ok((heard(SignalKind::interrupt())?, heard(SignalKind::terminate())?))
}

fn heard(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::backend(format!("signals cannot be received: {error}")))
}

/// SIGINT and SIGTERM: the first drains, the second stops at once.
pub(crate) fn stop_on_signals(stop: CancellationToken, abandon: CancellationToken) -> Result<(), Failure> {
    let (mut interrupt, mut terminate) = stop_signals()?;
    tokio::spawn(async move {
        let mut next = async || {
            let mut one = async || {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            one().await;
            let others = async {
                loop {
                    one().await;
                }
            };
            let _: Result<(), _> = tokio::time::timeout(TOGETHER, others).await;
        };
        next().await;
        tracing::info!("stopping: running tasks may finish; a second signal stops at once");
        stop.cancel();
        next().await;
        tracing::warn!("stopping at once: releasing the messages of running tasks");
        abandon.cancel();
    });
    Ok(())
}

/// SIGHUP: reads the configuration again. Where there is none it's the terminal's end, and drains.
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

/// Whoever started this program with nohup(1) wants it to outlive the terminal.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is the first signal.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// SIGUSR1: logs what the worker does.
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
    tracing::info!(
        uptime_s = uptime.as_secs(),
        receiving,
        why,
        running = instances.running,
        instances = instances.allowed,
        min = instances.min,
        max = instances.max,
        because = instances.because.map(tracing::field::debug),
        visible = depth.map(|(depth, _)| depth.visible),
        in_flight = depth.map(|(depth, _)| depth.in_flight),
        oldest_task_s = running.first().map(|task| task.age.as_secs()),
        received = counts.received,
        released = counts.released,
        dead_lettered = counts.dead_lettered,
        renewals = counts.renewals,
        failed_renewals = counts.failed_renewals,
        leases_expired = counts.leases_expired,
        settle_failures = counts.settle_failures,
        "status"
    );
}
