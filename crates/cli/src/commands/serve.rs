//! `wasmrun serve`: answers HTTP requests, each with a task of its own, and prints a summary at the end.

use super::run::until_stopped;
use crate::output::failure::Failure;
use crate::settings::file::ConfigFile;
use crate::settings::flags::ServeArgs;
use crate::wiring::logging;
use crate::wiring::signals::{self, Stop};
use crate::wiring::worker::{RunPlan, open, own_variable, serve as serve_worker};
use std::process::ExitCode;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

pub(crate) async fn serve(args: ServeArgs) -> Result<ExitCode, Failure> {
    // As for `run`: signals are handled before anything else.
    let stop = Stop::on_signals()?;
    let ready = CancellationToken::new();
    let is_check = args.check;
    until_stopped(&stop, &ready, is_check, work(args, stop.clone(), ready.clone())).await
}

/// Plans, opens and serves. Cancels `ready` once the service itself answers the signals.
async fn work(args: ServeArgs, stop: Stop, ready: CancellationToken) -> Result<ExitCode, Failure> {
    let started_at = SystemTime::now();
    let (file, _) = ConfigFile::read_aside(args.task.config.clone()).await?;
    let plan = RunPlan::of_service(args, file, own_variable)?;
    let output = logging::start(&plan.task.log)?;
    let mut opened = open(&plan, None).await?;
    if plan.is_check {
        output.line(format_args!("ok: the component is ready to answer requests at {}", plan.queue_names()));
        return Ok(ExitCode::SUCCESS);
    }
    opened.listen(&plan).await?;
    // Settings need a restart.
    signals::reload_on_hangup(None, stop.drain.clone())?;
    signals::log_status_on_usr1(opened.worker.clone())?;
    ready.cancel();
    opened.log_ready(&plan);
    let summary = serve_worker(&plan, opened, &output, stop, started_at).await?;
    output.summary(&summary);
    Ok(ExitCode::SUCCESS)
}
