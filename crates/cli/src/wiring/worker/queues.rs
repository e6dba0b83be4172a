//! Opens a worker's queues and their dead-letter queues.

use crate::output::failure::Failure;
use crate::settings::queues::QueueSetting;
use crate::wiring::backends::{Backends, Open, OpenQueue};
use std::path::PathBuf;
use std::sync::Arc;
use wasmrun_runtime::ports::memory::MemoryQueue;
use wasmrun_runtime::ports::queue::Queue;
use wasmrun_runtime::worker::WorkerQueue;

/// A queue of the worker, and the queue of its rejected messages.
pub(super) struct WorkQueue {
    pub(super) setting: QueueSetting,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) file: Option<PathBuf>,
    /// The dead-letter queue, if there is one.
    pub(super) dead_letter: Option<Open<dyn Queue>>,
    /// Whether the queue doesn't exist yet, and an empty queue in memory stands in for it.
    pub(super) is_planned: bool,
}

impl WorkQueue {
    /// Returns the queue as the worker takes it.
    pub(super) fn of_worker(&self) -> WorkerQueue {
        let dead_letter = self.dead_letter.as_ref().map(|open| open.backend.clone());
        WorkerQueue { queue: self.queue.clone(), dead_letter, priority: self.setting.priority }
    }
}

/// Opens the queues and their dead-letter queues.
pub(super) async fn work_queues(
    backends: &Backends,
    settings: &[QueueSetting],
    dead_letter: Option<&str>,
) -> Result<Vec<WorkQueue>, Failure> {
    let mut queues = Vec::with_capacity(settings.len());
    for setting in settings {
        queues.push(work_queue(backends, setting, dead_letter).await?);
    }
    Ok(queues)
}

/// Opens a queue and its dead-letter queue. A queue in memory stands in for a queue whose file doesn't exist: the
/// file is created once nothing else can fail.
async fn work_queue(
    backends: &Backends,
    setting: &QueueSetting,
    dead_letter: Option<&str>,
) -> Result<WorkQueue, Failure> {
    let Some(plan) = backends.planned_queue(&setting.url)? else {
        let opened = backends.open_queue(&setting.url).await?;
        return with_dead_letters(backends, setting, opened, dead_letter).await;
    };
    let stand_in = |name: &str| Arc::new(MemoryQueue::new(name, plan.visibility_timeout)) as Arc<dyn Queue>;
    let dead_letter = match dead_letter {
        Some(url) => Some(backends.open_queue(url).await?.into_queue()),
        None => plan.dead_letter.as_deref().map(|name| Open { backend: stand_in(name), file: None }),
    };
    let (setting, queue, file) = (setting.clone(), stand_in(&plan.url), Some(plan.path));
    Ok(WorkQueue { setting, queue, file, dead_letter, is_planned: true })
}

/// Creates a planned queue, or opens it if another process has created it meanwhile.
pub(super) async fn create_planned(
    backends: &Backends,
    setting: &QueueSetting,
    dead_letter: Option<&str>,
) -> Result<WorkQueue, Failure> {
    let (opened, created) = backends.open_or_create_queue(&setting.url).await?;
    let work = with_dead_letters(backends, setting, opened, dead_letter).await?;
    if created {
        tracing::info!(queue = work.queue.url(), "created the queue");
    }
    Ok(work)
}

async fn with_dead_letters(
    backends: &Backends,
    setting: &QueueSetting,
    opened: OpenQueue,
    dead_letter: Option<&str>,
) -> Result<WorkQueue, Failure> {
    let Open { backend: queue, file } = opened;
    let dead_letter = dead_letter_queue(backends, &*queue, dead_letter).await?;
    Ok(WorkQueue { setting: setting.clone(), queue, file, dead_letter, is_planned: false })
}

/// Opens the dead-letter queue that the user names, or the one that the queue's redrive policy names.
async fn dead_letter_queue(
    backends: &Backends,
    queue: &dyn Queue,
    url: Option<&str>,
) -> Result<Option<Open<dyn Queue>>, Failure> {
    let named = match url {
        Some(url) => Some(url.to_owned()),
        None => {
            let attributes = queue.attributes().await.map_err(|error| Failure::queue(queue.url(), &error))?;
            attributes.redrive.map(|redrive| redrive.dead_letter)
        }
    };
    match named {
        Some(url) => Ok(Some(backends.open_queue(&url).await?.into_queue())),
        None => Ok(None),
    }
}
