//! Once: a message whose ID has completed is settled without a task, and the outputs of a task appear together or not at
//! all.
//!
//! A task claims the entry of its message in the ledger, and stages its outputs. If it completes, one conditional write
//! commits it, with the list of what is staged. Then each output is put in place, the entry is completed, and the message
//! is settled. Whoever finds a commit that isn't completed finishes its list. A run whose claim was taken over can't
//! commit. `sweep` removes what crashes leave.

mod check;
mod sweep;
mod unfinished;

use self::check::check;
use self::unfinished::{Unfinished, ledger_used};
use super::options::{StartError, WorkerOptions};
use super::waiting::LeasedMessage;
use super::{Worker, on_io};
use crate::model::host_error::HostError;
use crate::model::message::Message;
use crate::model::once::{EntryId, MessageDigest, OnceKey};
use crate::model::outcome::{Cancel, Outcome};
use crate::ports::ledger::{COMMIT_TIMEOUT, Claim, Commit, CommitList, Ledger, StagedOutput};
use crate::ports::object_store::StoreError;
use crate::ports::queue::QueueError;
use crate::ports::staging::{RunToken, StagedName};
use crate::ports::staging_area::staging_of;
use crate::task::component::Report;
use crate::task::grant::{Grants, StoreGrant};
use crate::task::routes::{Routed, Routes, of_route};
use crate::task::staged::{AT_ONCE, StagedOutputs};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// Name of the ledger in [`HostError`]. It can't be an alias, as an alias contains no space.
pub(super) const LEDGER: &str = "once ledger";
/// Longest time for a call to the ledger.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

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
    routes: Routes,
    ledger_id: OnceCell<u64>,
}

impl OnceRuns {
    /// # Errors
    ///
    /// The ledger and the stores that tasks use don't go together.
    pub(super) fn new(
        once: OnceOptions,
        options: &WorkerOptions,
        routes: &Routes,
    ) -> Result<Self, StartError> {
        check(&once, options, routes)?;
        Ok(Self { options: once, routes: routes.clone(), ledger_id: OnceCell::new() })
    }

    /// Returns how long a claim holds: the longest time of a task with its body, and of its commit.
    fn lasts(&self) -> Duration {
        self.routes.timeout().saturating_mul(2).saturating_add(COMMIT_TIMEOUT)
    }

    async fn ledger_id(&self) -> Result<u64, QueueError> {
        self.ledger_id.get_or_try_init(|| self.call(self.options.ledger.id())).await.copied()
    }

    /// Bounds the time of a call to the ledger.
    async fn call<T>(&self, call: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
        let late = |_| {
            let (url, seconds) = (self.options.ledger.url(), CALL_TIMEOUT.as_secs());
            QueueError::Unavailable(format!("{url} gave no answer for {seconds} s"))
        };
        tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(late)?
    }

    async fn claim(&self, entry: EntryId, message: MessageDigest) -> Result<(Claim, RunToken), QueueError> {
        let run = RunToken::new(self.ledger_id().await?, entry);
        let claim = self.call(self.options.ledger.claim(entry, message, run, self.lasts())).await?;
        Ok((claim, run))
    }

    /// Commits a run and puts its outputs in place. Returns `false` if its claim was taken over: then nothing was done.
    async fn commit(&self, commit: Commit) -> Result<bool, Unfinished> {
        let (Commit { entry, run, outputs }, ledger) = (&commit, &self.options.ledger);
        if outputs.outputs.is_empty() {
            return Ok(self.call(ledger.complete(*entry, *run, self.options.window)).await?);
        }
        let lasts = self.lasts().saturating_add(outputs.placing_time());
        if !self.call(ledger.commit(*entry, *run, outputs, lasts)).await? {
            return Ok(false);
        }
        self.finish(commit).await?;
        Ok(true)
    }

    /// Puts the outputs of a committed run in place, and completes its entry. Does nothing twice, except for deleting, and
    /// for a copy of which it isn't known that it was made.
    async fn finish(&self, commit: Commit) -> Result<(), Unfinished> {
        let Commit { entry, run, outputs: CommitList { route, stores, outputs } } = commit;
        // The list was checked: each output has a store.
        let grants: Vec<_> = stores.iter().map(|url| self.grants_of(route.as_deref(), url)).collect();
        // In a directory, an object may have to go before another has its place.
        let (deleted, staged): (Vec<_>, Vec<_>) =
            outputs.into_iter().partition(|output| output.staged.is_none());
        for outputs in [deleted, staged] {
            let putting = outputs.into_iter().map(|output| {
                let store = output.store;
                self.put_in_place(run, &stores[store], &grants[store], output)
            });
            stream::iter(putting).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        }
        // Another worker may have completed it meanwhile.
        self.call(self.options.ledger.complete(entry, run, self.options.window)).await?;
        Ok(())
    }

    /// Returns the grants with which outputs of a route's task are put into a store: those of the route, as another
    /// route may have a role that may do more. If the settings have changed since, and the route has no such grant any
    /// more, those of all routes.
    fn grants_of(&self, route: Option<&str>, url: &str) -> Vec<(Option<&Arc<str>>, &StoreGrant)> {
        let (own, others): (Vec<_>, Vec<_>) = writable(&self.routes)
            .filter(|(_, grant)| grant.store.url() == url)
            .partition(|(of, _)| of.map(|name| &**name) == route);
        if own.is_empty() { others } else { own }
    }

    /// Puts an output in place with the first of these grants of its store that may write there.
    async fn put_in_place(
        &self,
        run: RunToken,
        url: &str,
        grants: &[(Option<&Arc<str>>, &StoreGrant)],
        output: StagedOutput,
    ) -> Result<(), Unfinished> {
        let mut refused = Unfinished::NoStore(url.to_owned());
        for (route, grant) in grants {
            match self.put_with(grant, run, &output).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let is_refused = matches!(error, StoreError::AccessDenied(_) | StoreError::KeyDenied(_));
                    refused = Unfinished::Store { backend: of_route(*route, &grant.alias), error };
                    if !is_refused {
                        break;
                    }
                }
            }
        }
        Err(refused)
    }

    async fn put_with(
        &self,
        grant: &StoreGrant,
        run: RunToken,
        output: &StagedOutput,
    ) -> Result<(), StoreError> {
        let key = output.key.clone();
        // A store that stages by itself knows its objects by their keys in the whole store.
        let has_own = output.staged.is_some() && grant.store.staging().is_some();
        // Others are written with the rights of the key's session.
        let (store, key) = if has_own { (grant.store.clone(), key) } else { grant.place_of(key) };
        let Some(number) = output.staged else { return store.delete(&key).await };
        let staging = staging_of(&*store, self.options.ledger.area())
            .ok_or_else(|| StoreError::Unavailable("the store has no staging area".to_owned()))?;
        staging.place(StagedName { run, number }, &key).await
    }

    /// Finishes a commit of another run within the time for it.
    async fn finish_in_time(&self, commit: Commit) -> Result<(), Unfinished> {
        let most = commit.outputs.placing_time();
        tokio::time::timeout(most, self.finish(commit)).await.unwrap_or_else(|_| Err(late(most)))
    }

    /// Ends a run: commits it if its task has completed, and otherwise leaves nothing of it.
    async fn end(&self, entry: EntryId, outputs: &StagedOutputs, mut report: Report) -> Report {
        if report.outcome != Outcome::Completed {
            self.undo(entry, outputs).await;
            return report;
        }
        let commit = Commit { entry, run: outputs.run(), outputs: outputs.list(report.route.as_deref()) };
        let most = commit.outputs.placing_time();
        let committed = tokio::time::timeout(most, self.commit(commit)).await;
        match committed.unwrap_or_else(|_| Err(late(most))) {
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
fn late(most: Duration) -> Unfinished {
    QueueError::Unavailable(format!("a commit took longer than {} s", most.as_secs())).into()
}

/// Returns the grants of stores that tasks may write, with the names of their routes.
fn writable(routes: &Routes) -> impl Iterator<Item = (Option<&Arc<str>>, &StoreGrant)> {
    let stores =
        routes.grants().flat_map(|(route, grants)| grants.stores.values().map(move |grant| (route, grant)));
    stores.filter(|(_, grant)| grant.mode.writes())
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
        let key = leased.key();
        let entry = once.options.key.entry(leased.source.url(), key, message);
        let digest = MessageDigest::of(&message.id);
        let claimed = self.call_once(once, move |once| async move { once.claim(entry, digest).await });
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
                let finished = self.call_once(once, |once| async move { once.finish_in_time(commit).await });
                let finished = finished.await.flatten();
                return not_run(message, routed, finished.map(|()| Outcome::Repeated));
            }
        }
        // A message that no route matches is rejected.
        let none = Grants::default();
        let grants = routed.component().map_or(&none, |component| component.grants());
        let outputs = Arc::new(StagedOutputs::new(run, once.options.ledger.clone(), grants));
        let report = match self.ended_before(leased, routed) {
            Some(report) => report,
            None => self.run_task(leased, routed, Some(&outputs), abandon).await,
        };
        let (component, usage) = (report.component.clone(), report.usage.clone());
        let ended = self.call_once(once, move |once| async move { once.end(entry, &outputs, report).await });
        match ended.await {
            Ok(report) => report,
            Err(lost) => {
                let error = HostError::from(lost);
                let outcome = Outcome::HostFailed { what: error.text.clone() };
                let none = Report::of_no_instance(component, message, outcome, Some(Box::new(error)));
                Report { usage, ..none }
            }
        }
    }

    /// Calls the ledger and stores.
    async fn call_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        once: &Arc<OnceRuns>,
        call: impl FnOnce(Arc<OnceRuns>) -> F,
    ) -> Result<T, Unfinished> {
        let called = on_io(&self.io, call(once.clone())).await;
        called.map_err(|error| QueueError::Unavailable(format!("a call was lost: {error}")).into())
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
