//! Sends the worker's metrics, at intervals.

use crate::points::{Period, of_worker};
use crate::transport::{Signal, Transport};
use crate::{Collector, Service};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use opentelemetry_http::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use prost::Message as _;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval_at};
use wasmrun_http::Client;
use wasmrun_watch::metrics::Gathered;

/// Sends a worker's metrics to a collector. One request at most is on its way, and none waits: while the collector is slow or
/// down, what it misses is the values of those times, but no count.
pub struct Metrics {
    transport: Transport,
    url: Uri,
    resource: Resource,
    /// When the process started: sums are since then.
    since: SystemTime,
}

impl Metrics {
    /// Prepares requests, which are made on the current runtime. Sums are said to be since `since`.
    ///
    /// # Errors
    ///
    /// The collector's URL is none.
    pub fn new(
        collector: Collector,
        service: &Service,
        since: SystemTime,
        client: Client,
    ) -> Result<Self, String> {
        let url = collector.endpoint.parse::<Uri>().map_err(|error| error.to_string())?;
        let attributes = ResourceAttributesWithSchema::from(&service.0).attributes.0;
        let resource = Resource { attributes, ..Resource::default() };
        let transport = Transport::new(client, Handle::current(), collector, Signal::Metrics);
        Ok(Self { transport, url, resource, since })
    }

    /// Sends the metrics at each interval. Never returns.
    pub async fn report(&self, every: Duration, gather: impl Fn() -> Gathered) {
        let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.send(&gather()).await;
        }
    }

    /// Sends the last metrics, but not longer than `most`. A request that fails isn't repeated.
    pub async fn close(&self, last: &Gathered, most: Duration) {
        self.transport.close();
        if tokio::time::timeout(most, self.send(last)).await.is_err() {
            tracing::warn!("cannot send the last metrics: no response in time");
        }
    }

    async fn send(&self, gathered: &Gathered) {
        let period = Period { since: self.since, until: SystemTime::now() };
        let mut request = Request::new(Bytes::from(self.message(gathered, period).encode_to_vec()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("wasmrun"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        // The transport has logged an error.
        let _ = self.transport.post(request).await;
    }

    fn message(&self, gathered: &Gathered, period: Period) -> ExportMetricsServiceRequest {
        let scope = InstrumentationScope {
            name: "wasmrun".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..InstrumentationScope::default()
        };
        let metrics = of_worker(gathered, period);
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }];
        let resource = Some(self.resource.clone());
        let resource_metrics =
            vec![ResourceMetrics { resource, scope_metrics, ..ResourceMetrics::default() }];
        ExportMetricsServiceRequest { resource_metrics }
    }
}
