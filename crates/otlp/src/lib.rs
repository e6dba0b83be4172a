//! Exports the traces of tasks and the metrics of a worker over OTLP, OpenTelemetry's protocol: protobuf over HTTP.
//!
//! | module | owns |
//! |---|---|
//! | [`traces`] | sends the spans of tasks, as they end |
//! | [`metrics`] | sends the worker's metrics, at intervals |
//! | [`trigger`] | what starts tasks: the kind, the name and the attributes of a task's span |
//! | `spans` | what a task, its calls and its settlement look like as spans |
//! | `points` | what the families of metrics look like in the protocol |
//! | [`service`] | what spans and metrics are said to come from |
//! | `transport` | posts spans and metrics to the collector, and logs once that it fails |
//!
//! Spans wait in a bounded queue, which a thread of OpenTelemetry's SDK empties. While the collector is slow or down, spans
//! are dropped: no task waits for it. The SDK sends only metrics that it has counted itself, so those that `/metrics` shows
//! are converted to the protocol's own types here.

pub mod metrics;
mod points;
pub mod service;
mod spans;
pub mod traces;
mod transport;
pub mod trigger;

pub use self::metrics::Metrics;
pub use self::service::Service;
pub use self::traces::Traces;
pub use self::trigger::Trigger;

use http::HeaderMap;
use std::time::Duration;

/// Where one kind of data is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// URL to which it is posted.
    pub endpoint: String,
    /// Headers of each request, such as credentials.
    pub headers: HeaderMap,
    /// Longest time for a request, its repetitions included.
    pub timeout: Duration,
}
