//! `wasmrun pause`, `resume` and `cancel`: control a worker on this machine.

use crate::output::Output;
use crate::output::failure::{EXIT_REFUSED, Failure};
use crate::settings::flags::{CancelArgs, ControlArgs};
use crate::settings::log::LogSettings;
use crate::wiring::control::{Answer, Request, ask};
use crate::wiring::logging;
use std::process::ExitCode;

pub(crate) async fn pause(args: ControlArgs) -> Result<ExitCode, Failure> {
    control(args, Request::Pause).await
}

pub(crate) async fn resume(args: ControlArgs) -> Result<ExitCode, Failure> {
    control(args, Request::Resume).await
}

pub(crate) async fn cancel(args: CancelArgs) -> Result<ExitCode, Failure> {
    let CancelArgs { message, then, control: at } = args;
    control(at, Request::Cancel { message, then }).await
}

async fn control(args: ControlArgs, request: Request) -> Result<ExitCode, Failure> {
    let output: Output = logging::start(&LogSettings::default())?;
    match ask(&args.control, &request).await? {
        Answer::Done(text) => {
            output.line(text);
            Ok(ExitCode::SUCCESS)
        }
        Answer::Refused(why) => {
            output.note(format_args!("error: {why}"));
            Ok(ExitCode::from(EXIT_REFUSED))
        }
    }
}
