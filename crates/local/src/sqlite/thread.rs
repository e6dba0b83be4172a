//! The thread that owns the connection. SQLite's calls block, and the writes that wait during a commit share the next
//! commit.

use super::address::{Address, Kind};
use super::clock::Clock;
use super::file::{self, Fault, OpenFile};
use super::transaction::Transaction;
use parking_lot::Mutex;
use rusqlite::TransactionBehavior;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use tokio::sync::oneshot;
use wasmrun_runtime::ports::queue::QueueError;

/// Maximum number of writes that share a commit, so that other processes get the lock in between.
const MAX_GROUP: usize = 64;

/// A handle of the thread. Dropping it ends the thread once all jobs are done.
#[derive(Debug)]
pub(super) struct Database {
    url: String,
    /// The file's path, absolute and without symbolic links.
    path: PathBuf,
    jobs: Option<mpsc::Sender<Arc<Slot>>>,
    thread: Option<JoinHandle<()>>,
}

impl Database {
    /// Opens a file that holds one thing, and starts its thread. A missing file is created by the first job.
    pub(super) fn open(address: Address, clock: Clock) -> Result<Self, QueueError> {
        let file = if address.path.exists() {
            Some(OpenFile::open_or_create(&address, &clock)?)
        } else {
            address.may_be_created()?;
            None
        };
        Self::start(address, clock, file)
    }

    /// Starts the thread. Without a file, the first job creates it.
    pub(super) fn start(address: Address, clock: Clock, file: Option<OpenFile>) -> Result<Self, QueueError> {
        let (jobs, inbox) = mpsc::channel();
        let (url, path) = (address.url(), address.path.clone());
        let thread = std::thread::Builder::new()
            .name("sqlite".into())
            .spawn(move || Keeper { address, clock, may_create: file.is_none(), file }.serve(&inbox))
            .map_err(|error| QueueError::Unavailable(format!("cannot start a thread for {url}: {error}")))?;
        Ok(Self { url, path, jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on one consistent state of the file.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnMut(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.call(work, false).await
    }

    /// Runs `work` in a transaction, maybe together with other work and maybe more than once. Its changes are durable
    /// when this returns `Ok`. They are undone if `work` or the commit failed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, QueueError> {
        self.call(work, true).await
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnMut(&Transaction<'_>) -> Result<T, Fault> + Send + 'static,
        writes: bool,
    ) -> Result<T, QueueError> {
        let (reply, answer) = oneshot::channel();
        let job = Arc::new(Slot::new(Call { work, writes, value: None, reply }));
        let _taken_back_if_dropped = TakeBack(Arc::downgrade(&job));
        let ended = || QueueError::Unusable("the thread of its file ended unexpectedly".into());
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for Database {
    /// Waits until the connection is closed, so that the log is merged into the file before the process exits.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Work to do in a transaction.
trait Job: Send {
    fn writes(&self) -> bool;
    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), Fault>;
    /// Called once, after the commit.
    fn answer(self: Box<Self>, outcome: Result<(), QueueError>);
}

/// Holds a job until the thread takes it or the caller takes it back.
struct Slot(Mutex<Option<Box<dyn Job>>>);

impl Slot {
    fn new(job: impl Job + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(job))))
    }

    fn take(&self) -> Option<Box<dyn Job>> {
        self.0.lock().take()
    }
}

/// Takes a job back when it is dropped: an abandoned job is not done, and is not kept while the thread is busy. Its
/// reference is weak, so that the job's caller gets an error if the thread ends.
struct TakeBack(Weak<Slot>);

impl Drop for TakeBack {
    fn drop(&mut self) {
        if let Some(slot) = self.0.upgrade() {
            slot.take();
        }
    }
}

struct Call<W, T> {
    work: W,
    writes: bool,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, QueueError>>,
}

impl<W, T> Job for Call<W, T>
where
    W: FnMut(&Transaction<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    fn writes(&self) -> bool {
        self.writes
    }

    fn run(&mut self, transaction: &Transaction<'_>) -> Result<(), Fault> {
        self.value = Some((self.work)(transaction)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), QueueError>) {
        let never_run = || QueueError::Unavailable("the request was not carried out".into());
        let Self { value, reply, .. } = *self;
        // The caller may have gone.
        let _ = reply.send(outcome.and_then(|()| value.ok_or_else(never_run)));
    }
}

/// The state of the thread.
struct Keeper {
    address: Address,
    clock: Clock,
    /// `None` after an error. The next job then opens the file anew.
    file: Option<OpenFile>,
    /// Whether the file may still have to be created.
    may_create: bool,
}

impl Keeper {
    fn serve(mut self, inbox: &mpsc::Receiver<Arc<Slot>>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| inbox.iter().find_map(|job| job.take())) {
            let mut group = vec![first];
            while group[0].writes() && group.len() < MAX_GROUP {
                match inbox.try_iter().find_map(|job| job.take()) {
                    Some(job) if job.writes() => group.push(job),
                    none_or_read => {
                        next = none_or_read;
                        break;
                    }
                }
            }
            self.carry_out(group);
        }
    }

    fn carry_out(&mut self, mut group: Vec<Box<dyn Job>>) {
        let outcome = self.attempt(&mut group);
        // A job must not fail because of another one in its group, but a locked file or a full disk affects them all.
        if group.len() == 1 || matches!(outcome, Ok(()) | Err(QueueError::Unavailable(_))) {
            group.into_iter().for_each(|job| job.answer(outcome.clone()));
            return;
        }
        for job in group {
            let mut alone = [job];
            let outcome = self.attempt(&mut alone);
            let [job] = alone;
            job.answer(outcome);
        }
    }

    fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), QueueError> {
        let Self { address, clock, .. } = self;
        let (address, clock) = (address.clone(), clock.clone());
        let outcome = run_all(self.open()?, &address, &clock, jobs);
        outcome.map_err(|fault| {
            if fault.spoils_connection() {
                self.file = None;
            }
            fault.into_queue_error(&address)
        })
    }

    /// Returns the connection. Opens it anew if the path leads to another file than before.
    fn open(&mut self) -> Result<&mut OpenFile, QueueError> {
        match self.file.take() {
            Some(file) if file.is_current() => Ok(self.file.insert(file)),
            stale => {
                if stale.is_some() {
                    let noun = self.address.kind.noun();
                    tracing::warn!(url = self.address.url(), "the file of the {noun} was moved or replaced");
                }
                drop(stale);
                let file = if self.may_create {
                    OpenFile::open_or_create(&self.address, &self.clock)?
                } else {
                    file::must_exist(&self.address)?;
                    OpenFile::open(&self.address)?
                };
                self.may_create = false;
                Ok(self.file.insert(file))
            }
        }
    }
}

fn run_all(
    file: &mut OpenFile,
    address: &Address,
    clock: &Clock,
    jobs: &mut [Box<dyn Job>],
) -> Result<(), Fault> {
    let writes = jobs.iter().any(|job| job.writes());
    let behavior = if writes { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
    let transaction = file.connection.transaction_with_behavior(behavior)?;
    // The clock is read only now: as this transaction holds the lock, no other process has seen a later time.
    let view = Transaction { sql: &transaction, address, now_ms: clock.now_ms() };
    if writes && address.kind == Kind::Queues {
        view.follow_clock()?;
    }
    for job in jobs {
        job.run(&view)?;
    }
    Ok(transaction.commit()?)
}
