//! Sends the spans of tasks, as they end.

use crate::spans;
use crate::transport::{Signal, Transport};
use crate::{Collector, Service, Trigger};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanProcessor};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use wasmrun_http::Client;
use wasmrun_runtime::model::usage::{Settled, TaskObserver, TaskRecord};

/// Exports the trace of each task that is sampled or fails.
pub struct Traces {
    processor: BatchSpanProcessor,
    transport: Transport,
    trigger: Trigger,
}

impl Traces {
    /// Starts the thread that sends spans. Requests are made on the current runtime. The SDK reads headers and the sizes of
    /// its queue from the variables of OpenTelemetry's specification.
    ///
    /// # Errors
    ///
    /// Says which setting can't be used.
    pub fn start(
        collector: Collector,
        service: &Service,
        trigger: Trigger,
        client: Client,
    ) -> Result<Self, String> {
        let endpoint = collector.endpoint.clone();
        let transport = Transport::new(client, Handle::current(), collector, Signal::Spans);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(transport.clone())
            // The transport repeats requests itself, as it knows when the worker ends.
            .with_retry_policy(RetryPolicy::disabled())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| error.to_string())?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        processor.set_resource(&service.0);
        Ok(Self { processor, transport, trigger })
    }

    /// Sends the spans that wait, but not longer than `most`. Requests that fail aren't repeated.
    pub async fn close(self: Arc<Self>, most: Duration) {
        self.transport.close();
        let closing = tokio::task::spawn_blocking(move || self.processor.shutdown_with_timeout(most));
        // The transport has logged other errors.
        if let Ok(Err(OTelSdkError::Timeout(_))) = closing.await {
            tracing::warn!("cannot send the last spans: no response in time");
        }
    }
}

impl TaskObserver for Traces {
    fn ended(&self, record: &TaskRecord<'_>) {
        let Some(task) = record.trace.filter(|task| task.is_exported(record.outcome)) else { return };
        spans::of_task(record, task, &self.trigger).into_iter().for_each(|span| self.processor.on_end(span));
    }

    fn settled(&self, settled: &Settled<'_>) {
        self.processor.on_end(spans::of_settlement(settled));
    }
}
