//! A collector of OpenTelemetry's protocol. It reads what it receives with the protocol's own types.

use super::{Answer, Request, Stub};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;

/// A collector that receives until the test's process ends.
pub(crate) struct Collector(Stub);

impl Collector {
    pub(crate) fn start() -> Self {
        Self::answering(|_| Answer::new(200, Vec::new()).with("content-type", "application/x-protobuf"))
    }

    pub(crate) fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self(Stub::answering(answer))
    }

    pub(crate) fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    /// All requests to a path so far.
    pub(crate) fn seen(&self, path: &str) -> Vec<Request> {
        let requests = self.0.seen();
        let is_known = |target: &str| ["/v1/traces", "/v1/metrics"].contains(&target);
        assert!(requests.iter().all(|request| is_known(&request.target) && request.method == "POST"));
        requests.into_iter().filter(|request| request.target == path).collect()
    }

    /// The spans that it has received, with what they come from.
    pub(crate) fn resource_spans(&self) -> Vec<ResourceSpans> {
        let requests = self.seen("/v1/traces").into_iter();
        let spans = requests.map(|request| ExportTraceServiceRequest::decode(&*request.body).expect("OTLP"));
        spans.flat_map(|spans| spans.resource_spans).collect()
    }

    /// The spans that it has received, with the name of their service.
    pub(crate) fn spans(&self) -> Vec<(String, Span)> {
        let of_resource = |found: ResourceSpans| {
            let resource = found.resource.unwrap_or_default();
            let service = attribute(&resource.attributes, "service.name");
            let spans = found.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| (service.clone(), span))
        };
        self.resource_spans().into_iter().flat_map(of_resource).collect()
    }

    /// The metrics that it has received: an element for each time.
    pub(crate) fn metrics(&self) -> Vec<ResourceMetrics> {
        let of_request = |request: Request| {
            let metrics = ExportMetricsServiceRequest::decode(&*request.body).expect("OTLP");
            assert_eq!(metrics.resource_metrics.len(), 1);
            metrics.resource_metrics
        };
        self.seen("/v1/metrics").into_iter().flat_map(of_request).collect()
    }
}

/// The text of an attribute, or of its number; empty if there is none.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}
