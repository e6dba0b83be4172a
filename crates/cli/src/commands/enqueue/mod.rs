//! `wasmrun enqueue`: sends messages by hand, or announces a store's objects as S3 would.

mod seen;

use self::seen::Seen;
use crate::output::failure::Failure;
use crate::settings::flags::EnqueueArgs;
use crate::settings::log::LogSettings;
use crate::settings::message::{attributes_from, body_from};
use crate::settings::named::check_alias;
use crate::wiring::backends::{Backends, OpenStore};
use crate::wiring::logging;
use crate::wiring::signals::stop_signals;
use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;
use wasmrun_runtime::model::event::notification;
use wasmrun_runtime::model::message::{MAX_BATCH, OutgoingMessage};
use wasmrun_runtime::ports::object_store::{MAX_PAGE, ObjectStore, ObjectSummary};
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
    let backends = Backends::new(args.aws);
    let store = match &args.store {
        Some(text) => Some(store(&backends, text).await?),
        None => None,
    };
    if let (Some(path), Some(store)) = (&args.seen, &store)
        && store.contains(path)
    {
        let path = path.display();
        return Err(Failure::usage(format!(
            "the file {path} of --seen lies in the store, and would be announced"
        )));
    }

    // Whatever is refused leaves no queue behind.
    messages(&template, bodies.clone())?;
    let opened = match backends.planned_queue(&args.queue)? {
        Some(plan) => Err(plan),
        None => Ok(backends.open_queue(&args.queue).await?),
    };
    let url = opened.as_ref().map_or_else(|plan| &*plan.url, |opened| opened.queue.url());
    let mut seen = match (&args.seen, &store) {
        (Some(path), Some(store)) => Seen::in_file(path, url, store.store.url())?,
        _ => Seen::nothing(),
    };
    let (opened, created) = match opened {
        Ok(opened) => (opened, false),
        Err(_) => backends.open_or_create_queue(&args.queue).await?,
    };
    let queue = opened.into_queue();
    if created {
        output.line(format_args!("created the queue {}", queue.url()));
    }
    let sender = Sender { queue: &*queue, template };
    let Some(store) = store else {
        sender.send(bodies).await?;
        output.line(format_args!("sent {} to {}", count(args.message.len(), "message"), queue.url()));
        return Ok(ExitCode::SUCCESS);
    };

    let store = store.store;
    if !args.watch {
        let sent = announce(&sender, &*store, &args.prefix, &mut seen).await?;
        output.line(format_args!("announced {} to {}", count(sent, "object"), queue.url()));
        return Ok(ExitCode::SUCCESS);
    }
    // From the beginning: a signal that comes while the store is listed must not get lost.
    let (mut interrupt, mut terminate) = stop_signals()?;
    let watch = async {
        let sent = announce(&sender, &*store, &args.prefix, &mut seen).await?;
        output.line(format_args!("announced {} to {}", count(sent, "object"), queue.url()));
        if sent > 0 && !seen.lasts() {
            tracing::info!("a restart announces all objects again: --seen FILE remembers them");
        }
        let mut rounds = tokio::time::interval(args.every.max(Duration::from_millis(10)));
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            match announce(&sender, &*store, &args.prefix, &mut seen).await {
                Ok(0) => {}
                Ok(sent) => output.line(format_args!("announced {}", count(sent, "object"))),
                // What was not sent isn't known, and is announced in the next round.
                Err(failure) => tracing::warn!("{failure}"),
            }
        }
    };
    tokio::select! {
        ended = watch => ended,
        _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
        _ = terminate.recv() => Ok(ExitCode::SUCCESS),
    }
}

async fn store(backends: &Backends, text: &str) -> Result<OpenStore, Failure> {
    let (alias, url) = text
        .split_once('=')
        .ok_or_else(|| Failure::usage(format!("--store {text} is incomplete: write ALIAS=URL")))?;
    check_alias(alias)?;
    backends.open_store(url).await
}

struct Sender<'a> {
    queue: &'a dyn Queue,
    template: OutgoingMessage,
}

impl Sender<'_> {
    async fn send(&self, bodies: Vec<String>) -> Result<(), Failure> {
        for batch in messages(&self.template, bodies)?.chunks(MAX_BATCH) {
            for answer in self.queue.send(batch).await {
                answer.map_err(|error| Failure::queue(self.queue.url(), &error))?;
            }
        }
        Ok(())
    }
}

/// Messages with these bodies, each of which can be sent.
fn messages(template: &OutgoingMessage, bodies: Vec<String>) -> Result<Vec<OutgoingMessage>, Failure> {
    let checked = |body| {
        let message = OutgoingMessage { body, ..template.clone() };
        message
            .validate()
            .map_err(|reason| Failure::usage(format!("the message can't be sent: {reason}")))?;
        Ok(message)
    };
    bodies.into_iter().map(checked).collect()
}

/// Sends an event for each object that isn't known as it is now.
async fn announce(
    sender: &Sender<'_>,
    store: &dyn ObjectStore,
    prefix: &str,
    seen: &mut Seen,
) -> Result<usize, Failure> {
    let mut sent = 0;
    let mut continuation: Option<String> = None;
    let mut present = HashSet::new();
    loop {
        let page = store
            .list(prefix, continuation.as_deref(), MAX_PAGE)
            .await
            .map_err(|error| Failure::store(store.url(), &error))?;
        let new: Vec<ObjectSummary> =
            page.objects.iter().filter(|object| !seen.holds(object)).cloned().collect();
        for batch in new.chunks(MAX_BATCH) {
            let event = |object: &ObjectSummary| {
                let at = object.modified_at.unwrap_or_else(std::time::SystemTime::now);
                notification(store.url(), &object.key, object.size, object.etag.as_deref(), at)
            };
            sender.send(batch.iter().map(event).collect()).await?;
            seen.add(batch)?;
            sent += batch.len();
        }
        present.extend(page.objects.into_iter().map(|object| object.key));
        continuation = page.continuation;
        if continuation.is_none() {
            // Of others nothing is known.
            seen.forget_all_but(|key| !key.starts_with(prefix) || present.contains(key))?;
            return Ok(sent);
        }
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
