//! The worker of `wasmrun dev --queue`: runs the component as it was last built, and shows each task.

use super::print;
use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::file::ConfigFile;
use crate::settings::flags::RunArgs;
use crate::settings::otlp::OtlpPlan;
use crate::settings::watch::WatchSettings;
use crate::wiring::signals::Stop;
use crate::wiring::worker::{Opened, RunPlan, open, serve};
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord, Usage};
use wasmrun_runtime::worker::{Summary, Worker};

/// Maximum number of tasks that wait to be shown. If a terminal doesn't take them, others aren't shown.
const MAX_WAITING: usize = 1_000;
/// Maximum number of messages whose usage is remembered.
const MAX_REMEMBERED: usize = 10_000;

/// The worker on the queue, and what its tasks are shown with.
pub(super) struct Live {
    args: RunArgs,
    output: Output,
    /// Stops this command, and with it the worker.
    stop: Stop,
    shown: Arc<Shown>,
    running: Option<Running>,
}

/// A worker that runs.
struct Running {
    worker: Arc<Worker>,
    stop: Stop,
    ended: JoinHandle<Result<Summary, Failure>>,
}

impl Live {
    /// Prepares a worker with the settings of `wasmrun run`, except for its component.
    pub(super) fn new(args: RunArgs, output: Output, stop: Stop) -> Self {
        let (sender, events) = mpsc::channel(MAX_WAITING);
        tokio::spawn(show(events, output.clone()));
        let shown = Arc::new(Shown { sender, dropped: AtomicU64::new(0) });
        Self { args, output, stop, shown, running: None }
    }

    /// Replaces the worker by one that runs the component as it is now. Tasks of the old worker finish first. If the
    /// new one can't be opened, the old one keeps running; if it can't listen, none runs until the next change.
    pub(super) async fn replace(&mut self, component: &Path) -> Result<(), Failure> {
        let args = RunArgs { component: Some(component.to_owned()), ..self.args.clone() };
        let (file, _) = ConfigFile::read_again(args.task.config.clone()).await?;
        let mut plan = RunPlan::new(args, file, |_| None)?;
        // A worker of `dev` writes no usage file, and serves no status.
        (plan.usage, plan.watching) = (None, WatchSettings::default());
        plan.otlp = OtlpPlan::default();
        plan.task = plan.task.with_each(|task| task.sampling = None);
        let mut opened = open(&plan, Some(self.shown.clone())).await?;
        self.finish().await;
        // Both have the same control socket.
        opened.listen(&plan).await?;
        opened.warn_of_rejected(&plan);
        self.output.line(format_args!("running {} on {}", component.display(), plan.queue_names()));
        self.running = Some(self.start(plan, opened));
        Ok(())
    }

    fn start(&self, plan: RunPlan, opened: Opened) -> Running {
        let (stop, output) = (self.stop.child(), self.output.clone());
        let (worker, stopped) = (opened.worker.clone(), stop.clone());
        let ended =
            tokio::spawn(async move { serve(&plan, opened, &output, stopped, SystemTime::now()).await });
        Running { worker, stop, ended }
    }

    /// Lets running tasks finish, and stops the worker.
    pub(super) async fn finish(&mut self) {
        if let Some(running) = &self.running {
            if running.worker.is_busy() {
                self.output.line("waiting for running tasks");
            }
            running.stop.drain.cancel();
            self.ended().await;
        }
    }

    /// Waits until the worker has ended, and says how. Returns never if there is none.
    pub(super) async fn ended(&mut self) {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let (ended, is_stopped) = ((&mut running.ended).await, running.stop.drain.is_cancelled());
        self.running = None;
        self.shown.flush().await;
        match ended {
            Ok(Ok(Summary { stalled: Some(why), .. })) if !is_stopped => {
                self.output.line(format_args!("the worker stopped: {why}"));
            }
            Ok(Ok(summary)) => {
                self.output.line(format_args!("the worker stopped (tasks: {})", summary.tasks))
            }
            Ok(Err(failure)) => self.output.line(format_args!("error: {failure}")),
            Err(error) => self.output.line(format_args!("error: the worker was lost: {error}")),
        }
    }

    /// Says what happens to the worker if there is no new component.
    pub(super) fn keep(&self) {
        if self.running.is_some() {
            self.output.line("the previous component keeps running");
        } else {
            self.output.line("no worker runs until the next change");
        }
    }
}

/// Passes each ended task on. It never waits for the terminal, as a guest's thread calls it.
struct Shown {
    sender: Sender<Event>,
    /// Number of tasks since the last one that could be passed on.
    dropped: AtomicU64,
}

/// What is shown, in order.
enum Event {
    Ended(Box<Ended>),
    /// All events before this one are shown.
    Flush(oneshot::Sender<()>),
}

/// A task that has ended.
struct Ended {
    /// Hash of the message's body: the same message is compared with its last run.
    body: u64,
    message_id: String,
    outcome: OutcomeKind,
    reason: Option<String>,
    usage: Usage,
    /// Number of tasks that weren't shown before this one.
    dropped: u64,
}

impl Shown {
    /// Waits until all tasks are shown that have ended.
    async fn flush(&self) {
        let (shown, wait) = oneshot::channel();
        // Neither fails: the receiver lives as long as this sender.
        let _ = self.sender.send(Event::Flush(shown)).await;
        let _ = wait.await;
    }
}

impl TaskObserver for Shown {
    fn ended(&self, record: &TaskRecord<'_>) {
        let Ok(room) = self.sender.try_reserve() else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut hasher = DefaultHasher::new();
        record.body.hash(&mut hasher);
        room.send(Event::Ended(Box::new(Ended {
            body: hasher.finish(),
            message_id: record.message_id.to_owned(),
            outcome: record.outcome,
            reason: record.reason.map(str::to_owned),
            usage: record.usage.clone(),
            dropped: self.dropped.swap(0, Ordering::Relaxed),
        })));
    }
}

/// Prints a line for each task, with its usage next to that of the last run of the same message.
async fn show(mut events: Receiver<Event>, output: Output) {
    let mut before = HashMap::new();
    while let Some(event) = events.recv().await {
        let ended = match event {
            Event::Ended(ended) => ended,
            Event::Flush(shown) => {
                let _ = shown.send(());
                continue;
            }
        };
        let Ended { body, message_id, outcome, reason, usage, dropped } = *ended;
        if dropped > 0 {
            output.line(format_args!("{dropped} tasks are not shown"));
        }
        if before.len() >= MAX_REMEMBERED {
            before.clear();
        }
        let seen = before.entry(body);
        let last = match &seen {
            Entry::Occupied(last) => Some(last.get()),
            Entry::Vacant(_) => None,
        };
        let shown = print::usage(&usage, last);
        output.line(format_args!("{:<14}  {message_id}  {shown}", outcome.as_str()));
        if let Some(reason) = reason {
            output.line(format_args!("        {reason}"));
        }
        seen.insert_entry(usage);
    }
}
