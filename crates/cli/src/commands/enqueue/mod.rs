//! `wasmrun enqueue`: sends messages by hand, or announces a store's objects as S3 would.

mod announce;
mod seen;

use self::announce::Announcer;
use self::seen::Seen;
use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::flags::EnqueueArgs;
use crate::settings::log::LogSettings;
use crate::settings::message::{attributes_from, body_from};
use crate::settings::named::{check_alias, name_and_value};
use crate::wiring::backends::{Backends, OpenStore};
use crate::wiring::logging;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use wasmrun_runtime::model::message::{MAX_BATCH, OutgoingMessage};
use wasmrun_runtime::ports::queue::Queue;

pub(crate) async fn enqueue(args: EnqueueArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&LogSettings::default())?;
    let template = OutgoingMessage {
        attributes: attributes_from(&args.attribute)?,
        group: args.group.clone(),
        delay: args.delay,
        ..OutgoingMessage::default()
    };
    let bodies = args.message.iter().map(|text| body_from(text)).collect::<Result<Vec<_>, _>>()?;
    let backends = Backends::new(args.aws.clone());
    let store = match &args.store {
        Some(text) => Some(store(&backends, text).await?),
        None => None,
    };
    if let (Some(path), Some(store)) = (&args.seen, &store) {
        refuse_announced(store, &args.prefix, &format!("the file {} of --seen", path.display()), path)?;
    }

    // Checked before a queue is created, so that a refused message leaves no queue behind.
    let outgoing = messages(&template, bodies)?;
    let (queue, seen) = open(&backends, &args, store.as_ref(), &output).await?;
    let sender = Sender { queue: &*queue, template };
    let store = store.map(|open| open.backend);
    let Some(store) = store else {
        sender.send(&outgoing).await?;
        output.line(format_args!("sent {} to {}", count(outgoing.len(), "message"), queue.url()));
        return Ok(ExitCode::SUCCESS);
    };
    let mut announcer = Announcer { sender, store: &*store, prefix: &args.prefix, seen };
    if args.watch {
        announcer.watch(args.every, &output).await
    } else {
        announcer.announce_and_say(&output).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Opens the queue and the file of `--seen`. A queue in a file that doesn't exist is created last: a file of `--seen`
/// that is refused leaves no queue behind.
async fn open(
    backends: &Backends,
    args: &EnqueueArgs,
    store: Option<&OpenStore>,
    output: &Output,
) -> Result<(Arc<dyn Queue>, Seen), Failure> {
    let queue = &args.queue;
    let opened = match backends.planned_queue(queue)? {
        Some(plan) => Err(plan),
        None => Ok(backends.open_queue(queue).await?),
    };
    let (url, file) = match &opened {
        Ok(opened) => (opened.backend.url(), opened.file.as_deref()),
        Err(plan) => (&*plan.url, Some(&*plan.path)),
    };
    if let (Some(store), Some(file)) = (store, file) {
        refuse_announced(store, &args.prefix, &format!("the queue {url}"), file)?;
    }
    let seen = match (args.seen.as_deref(), store) {
        (Some(path), Some(store)) => Seen::in_file(path, url, store.backend.url())?,
        _ => Seen::nothing(),
    };
    let (opened, created) = match opened {
        Ok(opened) => (opened, false),
        Err(_) => backends.open_or_create_queue(queue).await?,
    };
    let queue: Arc<dyn Queue> = opened.backend;
    if created {
        output.line(format_args!("created the queue {}", queue.url()));
    }
    Ok((queue, seen))
}

/// Refuses a file that would be announced as an object of the store: it changes with each announcement, and would be
/// announced again and again.
fn refuse_announced(store: &OpenStore, prefix: &str, what: &str, path: &Path) -> Result<(), Failure> {
    match store.key_of(path) {
        Some(key) if key.starts_with(prefix) => Err(Failure::usage(format!(
            "{what} lies in the store, and would be announced: move it, or narrow the store with --prefix"
        ))),
        _ => Ok(()),
    }
}

async fn store(backends: &Backends, text: &str) -> Result<OpenStore, Failure> {
    let (alias, url) = name_and_value("store", "ALIAS=URL", text)?;
    check_alias(alias)?;
    backends.open_store(url).await
}

struct Sender<'a> {
    queue: &'a dyn Queue,
    template: OutgoingMessage,
}

impl Sender<'_> {
    async fn send(&self, messages: &[OutgoingMessage]) -> Result<(), Failure> {
        for batch in messages.chunks(MAX_BATCH) {
            for answer in self.queue.send(batch).await {
                answer.map_err(|error| Failure::queue(self.queue.url(), &error))?;
            }
        }
        Ok(())
    }
}

/// Creates a message for each body. Refuses a message that can't be sent.
fn messages(template: &OutgoingMessage, bodies: Vec<String>) -> Result<Vec<OutgoingMessage>, Failure> {
    let checked = |body| {
        let message = OutgoingMessage { body, ..template.clone() };
        message
            .validate()
            .map_err(|reason| Failure::usage(format!("the message cannot be sent: {reason}")))?;
        Ok(message)
    };
    bodies.into_iter().map(checked).collect()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
