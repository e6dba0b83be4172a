//! `wasmrun health`: checks whether a worker is alive.

use crate::output::failure::{EXIT_UNHEALTHY, Failure};
use crate::settings::flags::HealthArgs;
use crate::wiring::watch::resolve;
use std::io::{self, Write};
use std::process::ExitCode;
use wasmrun_watch::probe;

pub(crate) async fn health(args: HealthArgs) -> Result<ExitCode, Failure> {
    let asked = async { probe::alive(resolve(args.address).await?).await };
    let (code, line) = match asked.await {
        Ok(()) => (ExitCode::SUCCESS, "alive".to_owned()),
        Err(why) => (ExitCode::from(EXIT_UNHEALTHY), why),
    };
    // A failed write is ignored: the exit code is the answer.
    let _ = writeln!(io::stdout(), "{line}");
    Ok(code)
}
