//! `wasmrun replay`: runs the task of a dead letter again, here and without a worker.

use crate::output::failure::{EXIT_INTERRUPTED, Failure};
use crate::settings::file::ConfigFile;
use crate::settings::flags::ReplayArgs;
use crate::settings::task::{TaskPlan, of_one_task};
use crate::wiring::backends::Backends;
use crate::wiring::invocation::{Invocation, exit_code};
use crate::wiring::logging;
use crate::wiring::walking::find;
use std::process::ExitCode;
use std::time::SystemTime;
use wasmrun_runtime::model::message::{Message, OUTCOME_ATTRIBUTE};
use wasmrun_runtime::ports::walk::Found;

pub(crate) async fn replay(args: ReplayArgs) -> Result<ExitCode, Failure> {
    let mut file = ConfigFile::read(args.task.config.as_deref())?;
    let worker = of_one_task(args.key, &mut file);
    let plan = TaskPlan::new(args.component, args.task, &mut file, &worker)?;
    let backends = Backends::new(plan.aws.clone());
    let output = logging::start(&plan.log)?;
    let Some(found) = find(&backends, &output, (&args.dead_letter_queue, &args.id), &args.walk).await? else {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    };
    let recorded = found.dead_letter.clone();
    let message = source(found, args.sent_at);
    let invocation = Invocation { plan, traces: None, message, request: None, as_json: args.json };
    let report = invocation.run(&backends, &output).await?;
    if let Some(dead) = recorded.as_ref().filter(|dead| dead.route.as_deref() != report.route.as_deref()) {
        output.note(format_args!("recorded route: {}", dead.route.as_deref().unwrap_or("none")));
    }
    let recorded = recorded.map(|dead| (dead.outcome, dead.reason));
    match recorded {
        Some((outcome, reason))
            if (outcome, reason.as_deref()) == (report.outcome.kind(), report.outcome.reason()) =>
        {
            output.note("as recorded: the same outcome and reason");
        }
        Some((outcome, reason)) => {
            output.note(format_args!("recorded: {outcome} ({})", reason.as_deref().unwrap_or("no reason")));
        }
        None => output.note("no worker recorded the outcome of this message"),
    }
    Ok(exit_code(&report))
}

/// Returns the message of a dead letter as its worker received it last, with another sent time if the user sets one.
fn source(found: Found, sent_at: Option<SystemTime>) -> Message {
    let Found { mut message, dead_letter, .. } = found;
    message.attributes.retain(|attribute| attribute.name != OUTCOME_ATTRIBUTE);
    if let Some(dead) = dead_letter {
        message.id = dead.message_id;
        message.receive_count = dead.receive_count;
        let recorded = dead.sent_at.and_then(|text| humantime::parse_rfc3339_weak(&text).ok());
        message.sent_at = recorded.unwrap_or(message.sent_at);
    }
    message.sent_at = sent_at.unwrap_or(message.sent_at);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wasmrun_runtime::model::dead_letter::DeadLetter;
    use wasmrun_runtime::model::outcome::OutcomeKind;

    #[test]
    fn the_task_gets_the_message_of_its_source_queue() {
        let sent_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_532_400_250);
        let dead = DeadLetter {
            outcome: OutcomeKind::Trapped,
            reason: None,
            receive_count: 4,
            message_id: "source".into(),
            sent_at: Some("2026-11-24T15:00:00.25Z".into()),
            queue: "sqlite:/jobs.db".into(),
            component: "c.wasm".into(),
            route: None,
            key: None,
        };
        let found = |dead: &DeadLetter| {
            Found::new(
                Message { attributes: vec![dead.to_attribute()], ..Message::new("dead", "body") },
                None,
            )
        };
        let expected = Message { receive_count: 4, sent_at, ..Message::new("source", "body") };
        assert_eq!(source(found(&dead), None), expected);
        let now = SystemTime::now();
        assert_eq!(source(found(&dead), Some(now)).sent_at, now);
        let unreadable = DeadLetter { sent_at: Some("\u{1b}".into()), ..dead };
        assert_eq!(source(found(&unreadable), None).id, "source");
    }
}
