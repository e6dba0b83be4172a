//! `wasmrun run`: runs a worker, and prints its summary.

use crate::output::failure::{EXIT_INTERRUPTED, Failure};
use crate::settings::file::ConfigFile;
use crate::settings::flags::RunArgs;
use crate::wiring::logging;
use crate::wiring::reload::Reload;
use crate::wiring::signals::{self, Stop};
use crate::wiring::worker::{RunPlan, open, own_variable, serve};
use std::process::ExitCode;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::worker::Summary;

pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    // Signals are handled before anything else. The kernel doesn't deliver a signal without a handler to the first
    // process of a container, and compiling or waiting for a service may take a while.
    let stop = Stop::on_signals()?;
    // If stopped early, a check has no result and the queue may not be empty, so the exit code isn't 0.
    let is_awaited = args.check || args.worker.delivery.until_empty == Some(true);
    let ready = CancellationToken::new();
    until_stopped(&stop, &ready, is_awaited, work(args, stop.clone(), ready.clone())).await
}

/// Works until a signal comes before `ready` is cancelled; after that, the worker itself answers the signals.
/// `is_awaited` says that somebody waits for the result: the exit code then tells that there is none.
pub(super) async fn until_stopped(
    stop: &Stop,
    ready: &CancellationToken,
    is_awaited: bool,
    work: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let stopped = async {
        stop.drain.cancelled().await;
        if ready.is_cancelled() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = stopped => {
            tracing::info!("stopped before the worker was ready");
            Ok(if is_awaited { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
        }
        ended = work => ended,
    }
}

/// Plans, opens and serves. Cancels `ready` once the worker itself answers the signals.
async fn work(args: RunArgs, stop: Stop, ready: CancellationToken) -> Result<ExitCode, Failure> {
    let started_at = SystemTime::now();
    let typed = args.clone();
    let (file, text) = ConfigFile::read_aside(args.task.config.clone()).await?;
    let plan = RunPlan::new(args, file, own_variable)?;
    let output = logging::start(&plan.task.log)?;
    let opened = open(&plan, None).await?;
    opened.warn_of_rejected(&plan);
    if plan.is_check {
        opened.say_checked(&plan, &output);
        return Ok(ExitCode::SUCCESS);
    }
    // Without a configuration file, there is nothing to reload.
    let reload = typed.task.config.is_some().then(|| Reload {
        args: typed,
        output: output.clone(),
        worker: opened.worker.clone(),
        text,
    });
    // Before the worker logs that it's ready: a signal may follow that line at once.
    signals::reload_on_hangup(reload, stop.drain.clone())?;
    signals::log_status_on_usr1(opened.worker.clone())?;
    ready.cancel();
    opened.log_ready(&plan);
    let summary = serve(&plan, opened, &output, stop.clone(), started_at).await?;
    output.summary(&summary);
    ended(&plan, &summary, stop.drain.is_cancelled())
}

/// Returns the exit code. A stalled worker has failed, unless a signal stopped it.
fn ended(plan: &RunPlan, summary: &Summary, is_stopped: bool) -> Result<ExitCode, Failure> {
    match &summary.stalled {
        Some(why) if plan.until_empty() && !is_stopped => Err(Failure::Stalled(format!(
            "{why}; unsettled messages stay in the queue: fix the cause and run again"
        ))),
        _ => Ok(ExitCode::SUCCESS),
    }
}
