//! The result of a task.

use crate::model::host_error::{HostError, Used};
use crate::model::message::Message;
use crate::model::outcome::Outcome;
use crate::model::outputs::Outputs;
use crate::model::task_trace::TaskTrace;
use crate::model::trace::Trace;
use crate::model::usage::{TaskRecord, Usage};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Result of a task.
#[derive(Clone, Debug)]
pub struct Report {
    /// How the task ended.
    pub outcome: Outcome,
    /// The resources that the task consumed.
    pub usage: Usage,
    /// The last host error, if the task didn't complete.
    pub host_error: Option<HostError>,
    /// The accesses that succeeded.
    pub well: Vec<Used>,
    /// Whether the task got as far as instantiating the component.
    pub ran: bool,
    /// Name of the component's version.
    pub component: Arc<str>,
    /// Name of the route that the message took; `None` without routes, and if none matched.
    pub route: Option<Arc<str>>,
    /// The task's trace, if traces are exported.
    pub trace: Option<TaskTrace>,
    /// The objects that the task wrote, if they are recorded.
    pub outputs: Option<Box<Outputs>>,
}

impl Report {
    /// Creates the report of a message whose task ended before it had an instance.
    pub(crate) fn of_no_instance(
        component: Arc<str>,
        message: &Message,
        outcome: Outcome,
        host_error: Option<Box<HostError>>,
    ) -> Self {
        let usage = Usage { queued: queued(message), ..Usage::default() };
        let host_error = host_error.map(|error| *error);
        let (well, ran, route) = (Vec::new(), false, None);
        Self { outcome, usage, host_error, well, ran, component, route, trace: None, outputs: None }
    }

    /// Returns the record of the message's task, which ends now.
    pub fn record<'a>(&'a self, message: &'a Message) -> TaskRecord<'a> {
        let Self { outcome, usage, component, route, trace, .. } = self;
        let record = TaskRecord::new(message, component, outcome, usage).with_trace(trace.as_ref());
        TaskRecord { route: route.as_deref(), ..record }
    }

    /// Returns the task's position in its trace, if that is exported.
    pub(crate) fn exported_trace(&self) -> Option<&Trace> {
        let task = self.trace.as_ref().filter(|task| task.is_exported(self.outcome.kind()))?;
        Some(&task.trace)
    }
}

/// Returns how long ago a message was sent.
pub(super) fn queued(message: &Message) -> Duration {
    SystemTime::now().duration_since(message.sent_at).unwrap_or_default()
}
