//! Exports the traces of tasks over OTLP, OpenTelemetry's protocol: protobuf over HTTP.
//!
//! | module | owns |
//! |---|---|
//! | `spans` | what a task, its calls and its settlement look like as spans |
//! | `transport` | sends spans to the collector, and logs once that it fails |
//!
//! Spans wait in a bounded queue, which a thread of OpenTelemetry's SDK empties. While the collector is slow or down, spans
//! are dropped: no task waits for it.

mod spans;
mod transport;

use self::spans::Queue;
use self::transport::Transport;
use opentelemetry::{Key, Value};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use wasmrun_http::Client;
use wasmrun_runtime::model::usage::{Settled, TaskObserver, TaskRecord};

/// What the SDK calls a service without a name.
const UNKNOWN: &str = "unknown_service";

/// Where spans are sent, and what they are said to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// URL to which spans are posted.
    pub endpoint: String,
    /// Name of the service. `None`: that of `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES`.
    pub service: Option<String>,
    /// Name of the service if neither names one.
    pub default_service: String,
    /// URL or name of the queue.
    pub queue: String,
}

/// Exports the trace of each task that is sampled or fails.
pub struct Traces {
    processor: BatchSpanProcessor,
    queue: Queue,
}

impl Traces {
    /// Starts the thread that sends spans. Requests are made on the current runtime. The SDK reads headers, timeouts, sizes
    /// of its queue and attributes of the resource from the variables of OpenTelemetry's specification.
    ///
    /// # Errors
    ///
    /// Says which setting can't be used.
    pub fn start(options: Options, client: Client) -> Result<Self, String> {
        let Options { endpoint, service, default_service, queue } = options;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Transport::new(client, Handle::current(), endpoint.clone()))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| error.to_string())?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&resource(service, default_service));
        Ok(Self { processor, queue: Queue::of(&queue) })
    }

    /// Sends the spans that wait, but not longer than `most`.
    pub async fn close(self: Arc<Self>, most: Duration) {
        let closing = tokio::task::spawn_blocking(move || self.processor.shutdown_with_timeout(most));
        if let Ok(Err(error)) = closing.await {
            tracing::warn!(%error, "cannot send the last spans");
        }
    }
}

impl TaskObserver for Traces {
    fn ended(&self, record: &TaskRecord<'_>) {
        let Some(task) = record.trace.filter(|task| task.is_exported(record.outcome)) else { return };
        spans::of_task(record, task, &self.queue).into_iter().for_each(|span| self.processor.on_end(span));
    }

    fn settled(&self, settled: &Settled<'_>) {
        self.processor.on_end(spans::of_settlement(settled, &self.queue));
    }
}

/// Describes this worker.
fn resource(service: Option<String>, default_service: String) -> Resource {
    let found = Resource::builder().build();
    let name = service.or_else(|| {
        let name = found.get(&Key::from_static_str("service.name"));
        let is_named = matches!(&name, Some(Value::String(name)) if !name.as_str().starts_with(UNKNOWN));
        (!is_named).then_some(default_service)
    });
    match name {
        Some(name) => Resource::builder().with_service_name(name).build(),
        None => found,
    }
}
