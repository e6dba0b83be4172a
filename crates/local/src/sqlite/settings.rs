//! Creating a queue: the settings that were given, their defaults, and whether an existing queue agrees with them.

use super::address::{self, Address};
use super::clock::Clock;
use super::file::{Fault, OpenFile};
use super::rows::{QueueRow, Target};
use super::transaction::Transaction;
use crate::paths::is_same_file;
use rusqlite::TransactionBehavior;
use std::path::PathBuf;
use std::time::Duration;
use wasmrun_runtime::model::message::MAX_VISIBILITY;
use wasmrun_runtime::ports::queue::QueueError;

/// The dead-letter queue of a queue that is created without naming one.
const DEFAULT_DEAD_LETTER: &str = "dead";
const DEFAULT_MAX_RECEIVES: u32 = 5;
/// A worker refuses a queue with a shorter visibility timeout.
const MIN_VISIBILITY: Duration = Duration::from_secs(1);
/// As in SQS, `maxReceiveCount` is between 1 and 1,000.
const MAX_MAX_RECEIVES: u32 = 1000;

/// Settings of a queue to create. A setting that isn't given has a default for a new queue, and stays as it is for an
/// existing one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// How long a received message stays invisible: at most 12 hours. Default: 30 seconds.
    pub visibility_timeout: Option<Duration>,
    /// Destination of messages that were received too often. Default: the queue `dead` of the same file.
    pub dead_letter: Option<DeadLetter>,
    /// Number of receives after which a message goes to the dead-letter queue: 1 to 1,000. Default: 5.
    pub max_receives: Option<u32>,
    /// Whether to deliver the messages of a group in order, one at a time. Default: no.
    pub fifo: Option<bool>,
}

/// Destination of messages that were received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetter {
    /// No destination: the messages are delivered again and again.
    None,
    /// A queue: the name of one in the same file, which is created with the new queue, or the URL of one that exists.
    Queue(String),
}

/// A queue that doesn't exist, as it would be created with the default settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedQueue {
    /// The queue's URL.
    pub url: String,
    /// The file's path, absolute and without symbolic links.
    pub path: PathBuf,
    /// How long a received message would stay invisible.
    pub visibility_timeout: Duration,
    /// The dead-letter queue's URL.
    pub dead_letter: Option<String>,
}

impl PlannedQueue {
    pub(super) fn new(address: &Address) -> Result<Self, QueueError> {
        let dead_letter = QueueSettings::default().target(address)?;
        Ok(Self {
            url: address.url(),
            path: address.path.clone(),
            visibility_timeout: QueueRow::plain().visibility_timeout,
            dead_letter: dead_letter.map(|target| target.url(address)),
        })
    }
}

/// Settings that have been checked.
pub(super) struct Wanted {
    given: QueueSettings,
    row: QueueRow,
}

impl QueueSettings {
    /// Checks the settings as far as possible without the file.
    ///
    /// # Errors
    ///
    /// A sentence that says which setting is invalid.
    pub fn check(&self) -> Result<(), String> {
        if self.visibility_timeout.is_some_and(|time| !(MIN_VISIBILITY..=MAX_VISIBILITY).contains(&time)) {
            return Err("the visibility timeout is 1 second to 12 hours".into());
        }
        if self.max_receives.is_some_and(|number| !(1..=MAX_MAX_RECEIVES).contains(&number)) {
            return Err(format!("the number of receives is 1 to {MAX_MAX_RECEIVES}"));
        }
        if self.dead_letter == Some(DeadLetter::None) && self.max_receives.is_some() {
            return Err("a number of receives needs a dead-letter queue".into());
        }
        Ok(())
    }

    pub(super) fn resolve(&self, address: &Address) -> Result<Wanted, QueueError> {
        self.check().map_err(unusable)?;
        let visibility_timeout = self.visibility_timeout.unwrap_or(QueueRow::plain().visibility_timeout);
        let max_receives = self.max_receives.unwrap_or(DEFAULT_MAX_RECEIVES);
        let fifo = self.fifo.unwrap_or(false);
        let target = self.target(address)?;
        if let Some(Target::Elsewhere(url)) = &target {
            let elsewhere = Address::existing(url)?;
            let mut file = OpenFile::open(&elsewhere)?;
            may_be_dead_letter(&must_have(&mut file, &elsewhere, &Clock::System)?, fifo, url)?;
        }
        let dead_letter = target.map(|target| (target, max_receives));
        Ok(Wanted { given: self.clone(), row: QueueRow { id: 0, visibility_timeout, dead_letter, fifo } })
    }

    fn target(&self, address: &Address) -> Result<Option<Target>, QueueError> {
        let target = match &self.dead_letter {
            Some(DeadLetter::None) => return Ok(None),
            // A dead-letter queue gets none of its own unless one is given.
            None if address.name == DEFAULT_DEAD_LETTER => return Ok(None),
            None => Target::Here(DEFAULT_DEAD_LETTER.into()),
            Some(DeadLetter::Queue(url)) if address::is_url(url) => {
                let other = Address::to_create(url)?;
                if is_same_file(&other.path, &address.path) {
                    Target::Here(other.name)
                } else {
                    Target::Elsewhere(other.url())
                }
            }
            Some(DeadLetter::Queue(name)) => {
                address::valid_name(name)?;
                Target::Here(name.clone())
            }
        };
        if target == Target::Here(address.name.clone()) {
            return Err(unusable(format!("the queue {} cannot be its own dead-letter queue", address.url())));
        }
        Ok(Some(target))
    }
}

impl Wanted {
    /// Creates the queue unless it exists. Returns whether it was created.
    pub(super) fn apply(
        &self,
        file: &mut OpenFile,
        address: &Address,
        clock: &Clock,
    ) -> Result<bool, QueueError> {
        self.apply_in_transaction(file, address, clock).map_err(|fault| fault.into_queue_error(address))
    }

    fn apply_in_transaction(
        &self,
        file: &mut OpenFile,
        address: &Address,
        clock: &Clock,
    ) -> Result<bool, Fault> {
        let sql = file.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let transaction = Transaction { sql: &sql, address, now_ms: clock.now_ms() };
        let existing = transaction.queue_named(&address.name)?;
        match &existing {
            Some(row) => self.agrees_with(row, address)?,
            None => {
                if let Some((Target::Here(name), _)) = &self.row.dead_letter {
                    match transaction.queue_named(name)? {
                        Some(row) => may_be_dead_letter(&row, self.row.fifo, name)?,
                        None => transaction.create_queue(name, &QueueRow::plain())?,
                    }
                }
                transaction.create_queue(&address.name, &self.row)?;
            }
        }
        sql.commit()?;
        Ok(existing.is_none())
    }

    /// Checks that the settings of an existing queue are the given ones. Settings that weren't given are ignored.
    fn agrees_with(&self, row: &QueueRow, address: &Address) -> Result<(), QueueError> {
        let differs = |what: &str, has: String, asked: String| {
            Err(unusable(format!(
                "the queue {} exists with {what} {has}, not {asked}: leave that setting out, or create another queue",
                address.url()
            )))
        };
        if self.given.visibility_timeout.is_some_and(|given| given != row.visibility_timeout) {
            let seconds = |duration: Duration| format!("{} s", duration.as_secs_f64());
            let asked = seconds(self.row.visibility_timeout);
            return differs("a visibility timeout of", seconds(row.visibility_timeout), asked);
        }
        let (has, wanted) = (row.dead_letter.as_ref(), self.row.dead_letter.as_ref());
        if self.given.dead_letter.is_some() && has.map(|(to, _)| to) != wanted.map(|(to, _)| to) {
            let name = |dead_letter: Option<&(Target, u32)>| {
                dead_letter.map_or_else(|| "none".into(), |(target, _)| target.url(address))
            };
            return differs("the dead-letter queue", name(has), name(wanted));
        }
        if self.given.max_receives.is_some() && has.map(|(_, max)| max) != self.given.max_receives.as_ref() {
            let count = |max: Option<u32>| max.map_or_else(|| "any number of".into(), |max| max.to_string());
            return differs(
                "a limit of receives of",
                count(has.map(|(_, max)| *max)),
                count(self.given.max_receives),
            );
        }
        if self.given.fifo.is_some_and(|given| given != row.fifo) {
            let kind = |fifo| if fifo { "FIFO" } else { "standard" }.to_owned();
            return differs("the order", kind(row.fifo), kind(self.row.fifo));
        }
        Ok(())
    }
}

/// Returns the queue's settings, or an error that says which queues the file has.
pub(super) fn must_have(
    file: &mut OpenFile,
    address: &Address,
    clock: &Clock,
) -> Result<QueueRow, QueueError> {
    let mut look = || -> Result<QueueRow, Fault> {
        let sql = file.connection.transaction()?;
        let transaction = Transaction { sql: &sql, address, now_ms: clock.now_ms() };
        if let Some(row) = transaction.queue_named(&address.name)? {
            return Ok(row);
        }
        let names = transaction.queue_names(None)?.join(", ");
        let url = address.url();
        Err(QueueError::NotFound(format!(
            "there is no queue {:?} in {} (it has: {names}): create it with `wasmrun queue create {url}` or by \
             `wasmrun enqueue`",
            address.name,
            address.path.display()
        ))
        .into())
    };
    look().map_err(|fault| fault.into_queue_error(address))
}

/// Refuses a FIFO queue as the dead-letter queue of a standard queue: it takes no messages without a group.
fn may_be_dead_letter(row: &QueueRow, fifo: bool, name: &str) -> Result<(), QueueError> {
    if row.fifo && !fifo {
        return Err(unusable(format!(
            "the FIFO queue {name} can only be the dead-letter queue of a FIFO queue"
        )));
    }
    Ok(())
}

fn unusable(text: impl Into<String>) -> QueueError {
    QueueError::Unusable(text.into())
}
