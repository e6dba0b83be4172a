//! Where the messages of a dead-letter queue are moved back to.
//!
//! Only the service says which queues have this one as their dead-letter queue. What a message says of its origin only
//! chooses among these: a text in a message never names a host that is called.

use super::super::address::{Address, is_fifo_url};
use super::super::answer::queue_error;
use super::super::{SqsQueue, url};
use crate::failure::Failure;
use wasmrun_runtime::ports::queue::QueueError;
use wasmrun_runtime::ports::walk::Found;

/// Maximum number of pages of source queues, of up to 1000 queues each.
const MAX_PAGES: usize = 10;

/// Decides where messages go.
pub(in super::super) enum Routes {
    /// All go to the queue with this URL.
    To(String),
    /// Each goes to one of these source queues.
    Sources(Vec<String>),
}

impl Routes {
    /// Sends all messages to the queue that the user names. It must be reached in the same way as `queue`.
    pub(in super::super) async fn to(queue: &SqsQueue, to: &str) -> Result<Self, QueueError> {
        let unusable = |why: String| QueueError::Unusable(format!("messages cannot be moved to {to}: {why}"));
        let address = Address::parse(to).ok_or_else(|| unusable("it is no queue of SQS".into()))?;
        let here = Address::parse(&queue.url);
        let differs = |of: fn(&Address) -> Option<&String>| {
            let here = here.as_ref().and_then(of);
            of(&address).is_some_and(|there| here.is_some_and(|here| here != there))
        };
        if differs(|address| address.region.as_ref()) || differs(|address| address.endpoint.as_ref()) {
            return Err(unusable(format!("it is in another region or on another server than {}", queue.url)));
        }
        let url = url(&queue.client, address).await?;
        if is_same(&url, &queue.url) {
            return Err(unusable("it is that queue itself; name another one".into()));
        }
        Ok(Self::To(url))
    }

    /// Sends each message to its source queue.
    pub(in super::super) async fn to_sources(queue: &SqsQueue) -> Result<Self, QueueError> {
        let (mut sources, mut next) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let request = queue.client.list_dead_letter_source_queues().queue_url(&queue.url);
            let answer = request.max_results(1000).set_next_token(next).send().await;
            let answer = answer.map_err(|error| not_listed(queue_error(Failure::from(error))))?;
            sources.extend(answer.queue_urls);
            next = answer.next_token;
            if next.is_none() {
                break;
            }
        }
        Ok(Self::Sources(sources))
    }

    /// Returns the URL of the queue that a message goes to.
    ///
    /// # Errors
    ///
    /// Says why the message stays, without a full stop.
    pub(super) fn find(&self, found: &Found) -> Result<&str, String> {
        let id = &found.message.id;
        let url = match self {
            Self::To(url) => url,
            Self::Sources(sources) => {
                source(found, sources).map_err(|why| format!("the message {id} {why}"))?
            }
        };
        if is_fifo_url(url) && found.message.group.is_none() {
            return Err(format!(
                "the message {id} cannot be moved to {url}: it is FIFO, and the message has no message group"
            ));
        }
        Ok(url)
    }
}

/// Describes source queues that can't be listed: a right is missing, or the server doesn't know the call.
fn not_listed(error: QueueError) -> QueueError {
    match error {
        QueueError::Unavailable(_) => error,
        error => QueueError::Unusable(format!(
            "its source queues cannot be listed: {}; name a queue with --to URL",
            error.to_string().trim_end_matches('.')
        )),
    }
}

/// Returns the source queue of a message, from the first of these that names one: SQS, which records where it moved a
/// message from; the worker's record; the only source queue.
fn source<'a>(found: &Found, sources: &'a [String]) -> Result<&'a str, String> {
    let recorded = found.dead_letter.as_ref().map(|dead| &dead.queue);
    match (found.moved_from.as_ref().or(recorded), sources) {
        (Some(claimed), _) => {
            let source = sources.iter().find(|source| is_same(source, claimed));
            source.map(String::as_str).ok_or_else(|| {
                format!("says that it came from {claimed}, but this is not that queue's dead-letter queue")
            })
        }
        (None, [source]) => Ok(source),
        (None, []) => {
            Err("does not say where it came from, and no queue has this one as its dead-letter queue".into())
        }
        (None, _) => Err(
            "does not say where it came from, and several queues have this one as their dead-letter queue"
                .into(),
        ),
    }
}

/// Returns whether two addresses name the same queue of a server: a server may have several host names.
fn is_same(one: &str, other: &str) -> bool {
    let (Some(one), Some(other)) = (Address::parse(one), Address::parse(other)) else { return false };
    let accounts_differ = one.account.zip(other.account).is_some_and(|(one, other)| one != other);
    one.name == other.name && !accounts_differ
}
