//! How a worker works, and why it can't start.

use super::body::BodyStore;
use super::rate::Rate;
use super::scale::ScaleOptions;
use super::settle::Backoff;
use crate::model::message::MAX_VISIBILITY;
use crate::model::outcome::Policy;
use crate::model::usage::TaskObserver;
use crate::ports::queue::QueueError;
use async_trait::async_trait;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

/// How a worker works.
#[derive(Clone)]
pub struct WorkerOptions {
    /// What to call the component in dead letters.
    pub component_name: String,
    /// The most tasks at once.
    pub instances: NonZeroUsize,
    /// What moves the number up to that; `None`: it's fixed.
    pub scale: Option<ScaleOptions>,
    /// What follows from each outcome.
    pub policy: Policy,
    /// When a failed message is tried again.
    pub backoff: Backoff,
    /// End when the queue is empty, whatever its messages' state.
    pub until_empty: bool,
    /// How long running tasks may take once the worker stops.
    pub stop_timeout: Duration,
    /// A message isn't kept longer than this, counted from its receipt.
    pub max_visibility: Duration,
    /// What becomes of a task whose lease expired.
    pub on_lease_expired: OnLeaseExpired,
    /// Where bodies are that were too large for a message; `None`: what looks like a pointer to one is a body itself.
    pub bodies: Option<BodyStore>,
    /// Tasks that may fail in a row, none having completed meanwhile, before the worker slows down to one message at a time;
    /// fewer as long as none has completed at all. `None`: it never does.
    pub max_consecutive_failures: Option<NonZeroU32>,
    /// How fast tasks may start; `None`: as fast as they can.
    pub rate: Option<Rate>,
    /// Is asked before tasks start.
    pub starting: Option<Arc<dyn TasksStart>>,
    /// Ask the queue for its depth every few seconds, for those who watch.
    pub watch_depth: bool,
    /// Are told of each task's end.
    pub observers: Vec<Arc<dyn TaskObserver>>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            component_name: "component".into(),
            instances: NonZeroUsize::MIN,
            scale: None,
            policy: Policy::default(),
            backoff: Backoff::default(),
            until_empty: false,
            // ECS kills 30 seconds after SIGTERM: five are left for the last settlements.
            stop_timeout: Duration::from_secs(25),
            max_visibility: MAX_VISIBILITY,
            on_lease_expired: OnLeaseExpired::default(),
            bodies: None,
            max_consecutive_failures: NonZeroU32::new(36),
            rate: None,
            starting: None,
            watch_depth: false,
            observers: Vec::new(),
        }
    }
}

/// What becomes of a task whose message may have gone to somebody else, as its visibility couldn't be extended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLeaseExpired {
    /// It's cancelled: what it did would be done twice.
    #[default]
    Cancel,
    /// It may finish. Its message is deleted if it still can be.
    Finish,
}

/// Somebody who has something to do before tasks start.
#[async_trait]
pub trait TasksStart: Send + Sync {
    /// Messages were received, and their tasks start when this returns. It's called each time, and must be quick.
    async fn before_tasks(&self);
}

/// Why a worker can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings don't fit the queue.
    #[error("{0}")]
    Settings(String),
    /// The queue doesn't answer, or can't be used.
    #[error("cannot use the queue {url}: {error}")]
    Queue {
        /// Its URL.
        url: String,
        /// What it says.
        error: QueueError,
    },
}

pub(super) fn check_timeout(timeout: Duration, longest: Duration) -> Result<(), StartError> {
    if timeout <= longest {
        return Ok(());
    }
    let (timeout, longest) = (timeout.as_secs_f64(), longest.as_secs_f64());
    Err(StartError::Settings(format!(
        "a task may take {timeout} s, and its message is kept from others for {longest} s (at most 12 hours): shorten --timeout, or lengthen --max-visibility"
    )))
}
