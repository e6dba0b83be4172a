//! Collects the log lines of one task: the guest's, and the host's warnings about its calls.

use parking_lot::Mutex;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// Maximum number of collected lines. The limit of a task's log allows some thousand short ones.
const MAX_LINES: usize = 10_000;
/// Target of the guest's own lines.
const GUEST: &str = "guest";

/// A log line of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) level: Level,
    pub(crate) text: String,
    /// Whether the guest wrote it. Otherwise it is a warning of the host.
    pub(crate) is_guests: bool,
}

/// The log of one task.
#[derive(Clone, Default)]
pub(super) struct TaskLog(Arc<Mutex<Vec<LogLine>>>);

impl TaskLog {
    /// Returns the subscriber that collects what is logged while a future is polled with it.
    pub(super) fn collector(&self) -> Dispatch {
        Dispatch::new(Registry::default().with(Collector(self.clone())))
    }

    pub(super) fn lines(&self) -> Vec<LogLine> {
        self.0.lock().clone()
    }
}

struct Collector(TaskLog);

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let (level, is_guests) = (*metadata.level(), metadata.target() == GUEST);
        // Of the host's lines, those that say why a call was refused or failed.
        if !is_guests && (level > Level::WARN || !metadata.target().starts_with("wasmrun")) {
            return;
        }
        let mut fields = Fields { is_guests, text: String::new() };
        event.record(&mut fields);
        let mut lines = self.0.0.lock();
        if lines.len() < MAX_LINES {
            lines.push(LogLine { level, text: fields.text, is_guests });
        }
    }
}

/// Of a guest's line only its text, of a host's line all fields but the message's id.
struct Fields {
    is_guests: bool,
    text: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match (field.name(), self.is_guests) {
            ("text", true) => value.clone_into(&mut self.text),
            (_, true) | ("message_id", false) => {}
            (name, false) => self.add(name, format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The id of a message may be recorded either way.
        if !self.is_guests && field.name() != "message_id" {
            self.add(field.name(), format_args!("{value:?}"));
        }
    }
}

impl Fields {
    fn add(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let separator = if self.text.is_empty() { "" } else { ": " };
        // A failed write to a `String` is impossible.
        let _ = match name {
            "message" | "text" => write!(self.text, "{separator}{value}"),
            name => write!(self.text, "{separator}{name} {value}"),
        };
    }
}
