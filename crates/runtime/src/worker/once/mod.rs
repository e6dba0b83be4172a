//! Once: a message whose ID has completed is settled without a task, and the outputs of a task appear together or not at
//! all.
//!
//! A task claims the entry of its message in the ledger, and stages its outputs. If it completes, one conditional write
//! commits it, with the list of what is staged. Then each output is put in place, the entry is completed, and the message
//! is settled. Whoever finds a commit that isn't completed finishes its list. A run whose claim was taken over can't
//! commit. `sweep` removes what crashes leave.

mod sweep;

use super::Worker;
use super::keyed::KeyPermit;
use super::options::StartError;
use super::waiting::LeasedMessage;
use crate::model::host_error::{Access, HostError, HostErrorKind, Used};
use crate::model::message::Message;
use crate::model::once::{EntryId, MessageDigest, OnceKey};
use crate::model::outcome::{Cancel, Outcome};
use crate::ports::ledger::{Claim, Commit, Ledger, LedgerError, StagedOutput};
use crate::ports::object_store::StoreError;
use crate::ports::staging::{RunToken, StagedName};
use crate::task::component::{Component, Report};
use crate::task::grant::{Grants, StoreGrant};
use crate::task::routes::{Routed, Routes};
use crate::task::staged::StagedOutputs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Name of the ledger in [`HostError`]. It can't be an alias, as an alias contains no space.
pub(super) const LEDGER: &str = "once ledger";
/// Longest time for a call to the ledger.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for committing a run and putting its outputs in place. A claim lasts for as much longer than its task.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of times that a message looks again at least, while another one's claim holds.
const WAITS: u32 = 16;

/// The ledger, and what tells messages apart.
#[derive(Clone)]
pub struct OnceOptions {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// What tells messages apart.
    pub key: OnceKey,
    /// How long a message that has completed is remembered.
    pub window: Duration,
}

/// The runs of a worker under `--once`.
pub(super) struct OnceRuns {
    options: OnceOptions,
    component: Arc<Component>,
    ledger_id: OnceCell<u64>,
}

/// Why a commit isn't completed.
enum Unfinished {
    Ledger(LedgerError),
    Store {
        alias: String,
        error: StoreError,
    },
    /// No writable store has this URL.
    NoStore(String),
}

impl From<LedgerError> for Unfinished {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

/// Returns the use of the ledger.
fn ledger_used() -> Used {
    Used { backend: LEDGER.into(), access: Access::Write }
}

impl From<Unfinished> for HostError {
    fn from(why: Unfinished) -> Self {
        let unavailable = HostErrorKind::Unavailable { reading: None };
        let refused = HostErrorKind::Refused { reading: None };
        match why {
            Unfinished::Ledger(error) => Self {
                used: ledger_used(),
                kind: unavailable,
                text: format!("the ledger of --once: {error}"),
            },
            Unfinished::Store { alias, error } => {
                let kind = match error {
                    StoreError::Unavailable(_) | StoreError::Conflict(_) => unavailable,
                    // Another object has the place: two tasks can do this to each other.
                    StoreError::Invalid(_) => HostErrorKind::Invalid,
                    _ => refused,
                };
                let text = format!("store {alias}: a committed output cannot be put in place: {error}");
                Self { used: Used { backend: alias, access: Access::Write }, kind, text }
            }
            Unfinished::NoStore(url) => Self {
                used: ledger_used(),
                kind: refused,
                text: format!(
                    "the ledger of --once has a commit with outputs in {url}: grant this store as wo or rw, so that they can be put in place"
                ),
            },
        }
    }
}

impl OnceRuns {
    /// # Errors
    ///
    /// There are routes, a writable store can't stage, or one lies in another.
    pub(super) fn new(options: OnceOptions, routes: &Routes) -> Result<Self, StartError> {
        let component = routes.single().ok_or_else(|| {
            StartError::Settings("--once does not work with routes: leave it out, or give each route a queue and a worker of its own".into())
        })?;
        let (component, grants) = (component.clone(), component.grants());
        if let Some(grant) = writable(grants).find(|grant| grant.store.staging().is_none()) {
            let (alias, url) = (&grant.alias, grant.store.url());
            return Err(StartError::Settings(format!(
                "--once cannot stage outputs in the store {alias} ({url}): grant it as ro, use a dir: store, or leave --once out"
            )));
        }
        check_apart(grants)?;
        let outside: Vec<&str> = [
            ("messages to queues", !grants.queues.is_empty()),
            ("key-values", grants.buckets.values().any(|grant| grant.mode.writes())),
            ("HTTP requests", grants.http.is_some()),
        ]
        .into_iter()
        .filter_map(|(what, is_granted)| is_granted.then_some(what))
        .collect();
        if !outside.is_empty() {
            tracing::warn!(
                outside = outside.join(", "),
                "--once covers objects only: what else a task sends or writes takes effect at once, and again if it runs again"
            );
        }
        Ok(Self { options, component, ledger_id: OnceCell::new() })
    }

    /// Returns how long a claim holds: the longest time of a task with its body, and of its commit.
    fn lasts(&self) -> Duration {
        self.component.timeout().saturating_mul(2).saturating_add(COMMIT_TIMEOUT)
    }

    async fn ledger_id(&self) -> Result<u64, LedgerError> {
        self.ledger_id.get_or_try_init(|| self.call(self.options.ledger.id())).await.copied()
    }

    /// Bounds the time of a call to the ledger.
    async fn call<T>(&self, call: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        let late = |_| {
            let (url, seconds) = (self.options.ledger.url(), CALL_TIMEOUT.as_secs());
            LedgerError::Unavailable(format!("{url} gave no answer for {seconds} s"))
        };
        tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(late)?
    }

    async fn claim(&self, entry: EntryId, message: MessageDigest) -> Result<(Claim, RunToken), LedgerError> {
        let run = RunToken::new(self.ledger_id().await?);
        let claim = self.call(self.options.ledger.claim(entry, message, run, self.lasts())).await?;
        Ok((claim, run))
    }

    /// Commits a run and puts its outputs in place. Returns `false` if its claim was taken over: then nothing was done.
    async fn commit(&self, entry: EntryId, outputs: &StagedOutputs) -> Result<bool, Unfinished> {
        let (run, list, ledger) = (outputs.run(), outputs.list(), &self.options.ledger);
        if list.outputs.is_empty() {
            return Ok(self.call(ledger.complete(entry, run, self.options.window)).await?);
        }
        if !self.call(ledger.commit(entry, run, &list, self.lasts())).await? {
            return Ok(false);
        }
        self.finish(Commit { entry, run, outputs: list }).await?;
        Ok(true)
    }

    /// Puts the outputs of a committed run in place, and completes its entry. Does nothing twice, except for deleting.
    async fn finish(&self, commit: Commit) -> Result<(), Unfinished> {
        let Commit { entry, run, outputs } = commit;
        for StagedOutput { store, key, staged } in outputs.outputs {
            // The list was checked.
            let Some(url) = outputs.stores.get(store) else { continue };
            let grants = self.component.grants();
            let grant = writable(grants).find(|grant| grant.store.url() == url);
            let grant = grant.ok_or_else(|| Unfinished::NoStore(url.clone()))?;
            let put = match (staged, grant.store.staging()) {
                (Some(number), Some(staging)) => staging.place(StagedName { run, number }, &key).await,
                (Some(_), None) => return Err(Unfinished::NoStore(url.clone())),
                (None, _) => grant.store.delete(&key).await,
            };
            put.map_err(|error| Unfinished::Store { alias: grant.alias.clone(), error })?;
        }
        // Another worker may have completed it meanwhile.
        self.call(self.options.ledger.complete(entry, run, self.options.window)).await?;
        Ok(())
    }

    /// Finishes a commit of another run within the time for it.
    async fn finish_in_time(&self, commit: Commit) -> Result<(), Unfinished> {
        tokio::time::timeout(COMMIT_TIMEOUT, self.finish(commit)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Ends a run: commits it if its task has completed, and otherwise leaves nothing of it.
    async fn end(&self, entry: EntryId, outputs: &StagedOutputs, mut report: Report) -> Report {
        if report.outcome != Outcome::Completed {
            self.undo(entry, outputs).await;
            return report;
        }
        let committed = tokio::time::timeout(COMMIT_TIMEOUT, self.commit(entry, outputs)).await;
        match committed.unwrap_or_else(|_| Err(late())) {
            Ok(true) => report.well.push(ledger_used()),
            Ok(false) => {
                outputs.discard().await;
                report.outcome = Outcome::Cancelled { why: Cancel::LeaseExpired };
            }
            // Whether it has committed may be unknown. If it hasn't, what it has staged is swept.
            Err(why) => {
                let error = HostError::from(why);
                report.outcome = Outcome::HostFailed { what: error.text.clone() };
                report.host_error = Some(error);
            }
        }
        report
    }

    /// Removes what a run has staged, and its claim. What fails now is swept later.
    async fn undo(&self, entry: EntryId, outputs: &StagedOutputs) {
        let undo = async {
            outputs.discard().await;
            let _ = self.options.ledger.give_up(entry, outputs.run()).await;
        };
        let _ = tokio::time::timeout(CALL_TIMEOUT, undo).await;
    }
}

/// Returns the error of a commit that takes too long.
fn late() -> Unfinished {
    let seconds = COMMIT_TIMEOUT.as_secs();
    LedgerError::Unavailable(format!("a commit took longer than {seconds} s")).into()
}

/// Returns the grants of stores that tasks may write.
fn writable(grants: &Grants) -> impl Iterator<Item = &StoreGrant> {
    grants.stores.values().filter(|grant| grant.mode.writes())
}

/// Refuses a writable store that lies in another one: an object would have two places, and the last output for it
/// wouldn't be known. Several aliases of one store have the same places.
fn check_apart(grants: &Grants) -> Result<(), StartError> {
    for outer in writable(grants) {
        // The URLs of stores that stage end with `/`.
        let lies_in = |inner: &&StoreGrant| {
            inner.store.url() != outer.store.url() && inner.store.url().starts_with(outer.store.url())
        };
        if let Some(inner) = writable(grants).find(lies_in) {
            return Err(StartError::Settings(format!(
                "--once cannot tell apart the objects of the store {} ({}) and of the store {} ({}), in which it lies: grant one of them as ro, or use one store for both",
                inner.alias,
                inner.store.url(),
                outer.alias,
                outer.store.url()
            )));
        }
    }
    Ok(())
}

impl Worker {
    /// Runs the task of a message unless its entry is completed or held by another run, or the message has expired or is
    /// cancelled.
    pub(super) async fn run_once(
        &self,
        once: &Arc<OnceRuns>,
        leased: &LeasedMessage,
        routed: Routed<'_>,
        abandon: &CancellationToken,
    ) -> Report {
        let message = &leased.message;
        let key = leased.key_permit.as_ref().map(KeyPermit::key);
        let entry = once.options.key.entry(leased.source.url(), key, message);
        let digest = MessageDigest::of(&message.id);
        let claimed = self.on_io(once, move |once| async move { once.claim(entry, digest).await });
        let (claim, run) = match claimed.await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(error)) => return not_run(message, routed, Err(Unfinished::Ledger(error))),
            Err(lost) => return not_run(message, routed, Err(lost)),
        };
        match claim {
            Claim::Ours => {}
            Claim::Completed => return not_run(message, routed, Ok(Outcome::Repeated)),
            Claim::Taken { left } => {
                let delay = if leased.source.queue.counts_releases() {
                    // The queue must not dead-letter the message meanwhile.
                    left
                } else {
                    let backoff = self.options.backoff.after(message.receive_count, fastrand::f64());
                    backoff.max(left / WAITS).min(left)
                };
                return not_run(message, routed, Ok(Outcome::Claimed { delay }));
            }
            Claim::Committing(commit) => {
                let finished = self.on_io(once, |once| async move { once.finish_in_time(commit).await });
                let finished = finished.await.flatten();
                return not_run(message, routed, finished.map(|()| Outcome::Repeated));
            }
        }
        let outputs = Arc::new(StagedOutputs::new(run, once.component.grants()));
        let report = match self.ended_before(leased, routed) {
            Some(report) => report,
            None => self.run_task(leased, routed, Some(&outputs), abandon).await,
        };
        let (component, usage) = (report.component.clone(), report.usage.clone());
        let ended = self.on_io(once, move |once| async move { once.end(entry, &outputs, report).await });
        match ended.await {
            Ok(report) => report,
            Err(lost) => {
                let error = HostError::from(lost);
                let outcome = Outcome::HostFailed { what: error.text.clone() };
                Report::of_no_instance(component, outcome, usage, Some(Box::new(error)))
            }
        }
    }

    /// Calls the ledger and stores on the worker's I/O threads, never on guest threads.
    async fn on_io<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        once: &Arc<OnceRuns>,
        call: impl FnOnce(Arc<OnceRuns>) -> F,
    ) -> Result<T, Unfinished> {
        let calling = AbortOnDropHandle::new(self.io.spawn(call(once.clone())));
        calling.await.map_err(|error| LedgerError::Unavailable(format!("a call was lost: {error}")).into())
    }
}

/// Returns the report of a message whose task doesn't run.
fn not_run(message: &Message, routed: Routed<'_>, outcome: Result<Outcome, Unfinished>) -> Report {
    match outcome {
        Ok(outcome) => routed.without_task(message, outcome, None),
        Err(why) => {
            let error = HostError::from(why);
            let outcome = Outcome::HostFailed { what: error.text.clone() };
            routed.without_task(message, outcome, Some(Box::new(error)))
        }
    }
}
