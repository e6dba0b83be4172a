//! `wasmrun run`: runs a worker.
//!
//! | module | owns |
//! |---|---|
//! | `plan` | merges settings into a plan, without opening anything |
//! | `open`, `queues` | open and check the queues, the component and everything else that a worker needs |
//! | `serve` | runs the worker, and prints its summary |

mod open;
mod plan;
mod queues;
mod serve;

use self::plan::RunPlan;
use crate::output::failure::{EXIT_INTERRUPTED, Failure};
use crate::settings::file::ConfigFile;
use crate::settings::flags::RunArgs;
use crate::wiring::logging;
use crate::wiring::reload::Reload;
use crate::wiring::signals;
use std::process::ExitCode;
use std::time::SystemTime;
use tokio_util::sync::CancellationToken;

pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    // Signals are handled before anything else. The kernel doesn't deliver a signal without a handler to the first
    // process of a container, and compiling or waiting for a service may take a while.
    let signals = Signals { stop: CancellationToken::new(), abandon: CancellationToken::new() };
    signals::stop_on_signals(signals.stop.clone(), signals.abandon.clone())?;
    // If stopped early, a check has no result and the queue may not be empty, so the exit code isn't 0.
    let is_awaited = args.check || args.worker.until_empty == Some(true);
    let ready = CancellationToken::new();
    let stopped = async {
        signals.stop.cancelled().await;
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
        ended = work(args, signals.clone(), ready.clone()) => ended,
    }
}

/// Tokens that signals cancel: `stop` to drain the worker, `abandon` to end it at once.
#[derive(Clone)]
struct Signals {
    stop: CancellationToken,
    abandon: CancellationToken,
}

/// Plans, opens and serves. Cancels `ready` once the worker itself answers the signals.
async fn work(args: RunArgs, signals: Signals, ready: CancellationToken) -> Result<ExitCode, Failure> {
    let started_at = SystemTime::now();
    let typed = args.clone();
    let (file, text) = ConfigFile::read_aside(args.task.config.clone()).await?;
    let plan = RunPlan::new(args, file)?;
    let output = logging::start(&plan.task.log)?;
    let opened = open::open(&plan).await?;
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
    signals::reload_on_hangup(reload, signals.stop.clone())?;
    signals::log_status_on_usr1(opened.worker.clone())?;
    ready.cancel();
    opened.log_ready(&plan);
    serve::serve(&plan, opened, &output, signals, started_at).await
}
