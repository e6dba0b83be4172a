//! `run --otlp URL`: the traces of tasks, as a collector receives them. It reads them with the protocol's own types.

use crate::harness::{Answer, Command, Depth, Stub, World, guest, wait_until};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use rustix::process::Signal;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDER: &str = "b7ad6b7169203331";

fn collector() -> Stub {
    Stub::answering(|_| Answer::new(200, Vec::new()).with("content-type", "application/x-protobuf"))
}

/// The spans that the collector has received, with the name of their service.
fn spans(collector: &Stub) -> Vec<(String, Span)> {
    let requests = collector.seen();
    assert!(requests.iter().all(|request| request.target == "/v1/traces" && request.method == "POST"));
    let of_request = |body: &[u8]| {
        let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
        request.resource_spans.into_iter().flat_map(|resource| {
            let service = resource.resource.map(|resource| attribute(&resource.attributes, "service.name"));
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| (service.clone().unwrap_or_default(), span)).collect::<Vec<_>>()
        })
    };
    requests.iter().flat_map(|request| of_request(&request.body).collect::<Vec<_>>()).collect()
}

/// The text of an attribute, or of its number; empty if there is none.
fn attribute(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.clone()).and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traced(world: &World, name: &str, collector: &Stub) -> Command {
    world.run(name).args(["--otlp", &collector.endpoint(), "--until-empty"])
}

#[test]
fn a_trace_goes_from_its_sender_through_two_queues_and_two_tasks() {
    let (world, collector) = (World::with_queue(&[]), collector());
    let parent = format!("traceparent=00-{TRACE}-{SENDER}-01");
    world
        .wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--message", "get object", "--attribute", &parent])
        .succeeds();
    traced(&world, "forward", &collector).succeeds();
    world.write("in/object", "content");
    world
        .wasmrun(["run", "--queue", "sqlite:next.db", "--until-empty", "--service", "second"])
        .arg(guest("misbehave"))
        .args(["--store", "input=dir:in:ro", "--otlp", &collector.endpoint()])
        .succeeds();

    let spans = spans(&collector);
    assert!(spans.iter().all(|(_, span)| hex(&span.trace_id) == TRACE), "{spans:#?}");
    let named = |name: &str| {
        let found: Vec<_> = spans.iter().filter(|(_, span)| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {spans:#?}");
        found[0]
    };
    let ((first_service, first), (second_service, second)) =
        (named("process jobs.db"), named("process next.db"));
    assert_eq!((&**first_service, &**second_service), ("forward", "second"));
    assert_eq!(hex(&first.parent_span_id), SENDER);
    assert_eq!(second.parent_span_id, first.span_id);
    for (name, parent) in
        [("send next", first), ("delete jobs.db", first), ("get input", second), ("delete next.db", second)]
    {
        let (_, child) = named(name);
        assert_eq!(child.parent_span_id, parent.span_id, "{name}");
        assert!(child.start_time_unix_nano >= parent.start_time_unix_nano, "{name}");
        assert!(child.start_time_unix_nano <= child.end_time_unix_nano, "{name}");
    }
    let starts = spans.iter().filter(|(_, span)| span.name == "instantiate");
    assert_eq!(
        starts.map(|(_, span)| &span.parent_span_id).collect::<Vec<_>>(),
        [&first.span_id, &second.span_id]
    );
    assert_eq!((first.kind(), second.kind()), (SpanKind::Consumer, SpanKind::Consumer));
    assert_eq!(attribute(&first.attributes, "messaging.system"), "sqlite");
    assert_eq!(attribute(&first.attributes, "messaging.operation.type"), "process");
    assert_eq!(attribute(&first.attributes, "wasmrun.outcome"), "completed");
    assert!(first.status.as_ref().is_none_or(|status| status.code == 0), "{first:#?}");
}

#[test]
fn a_failed_task_is_traced_whatever_the_sampling_is_and_its_reason_is_text() {
    let (world, collector) = (World::with_queue(&["--max-receives", "1"]), collector());
    world.send(["ok", "reject <b>no</b>", "ok", "panic"]);
    let output = traced(&world, "misbehave", &collector)
        .args(["--trace-sampling", "0%", "--fuel", "100000000"])
        .succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 2, "{output}");
    let spans = spans(&collector);
    let tasks: Vec<_> =
        spans.iter().map(|(_, span)| span).filter(|span| span.kind() == SpanKind::Consumer).collect();
    let mut seen: Vec<_> = tasks
        .iter()
        .map(|span| {
            let status = span.status.clone().expect("a status");
            assert_eq!(status.code, 2, "{span:#?}");
            assert!(span.parent_span_id.is_empty());
            (attribute(&span.attributes, "error.type"), status.message)
        })
        .collect();
    seen.sort();
    assert_eq!(seen[0], ("rejected".into(), "<b>no</b>".into()));
    assert_eq!((seen.len(), &*seen[1].0), (2, "trapped"), "{seen:?}");
}

#[test]
fn each_delivery_of_a_message_belongs_to_the_same_new_trace() {
    let (world, collector) = (World::with_queue(&["--max-receives", "3"]), collector());
    world.send(["retry"]);
    traced(&world, "misbehave", &collector).args(["--backoff", "1ms..1ms"]).succeeds();
    let spans = spans(&collector);
    let tasks: Vec<_> =
        spans.iter().map(|(_, span)| span).filter(|span| span.kind() == SpanKind::Consumer).collect();
    assert_eq!(tasks.len(), 3, "{spans:#?}");
    assert!(tasks.iter().all(|span| span.trace_id == tasks[0].trace_id));
    let mut counts: Vec<_> =
        tasks.iter().map(|span| attribute(&span.attributes, "wasmrun.receive_count")).collect();
    counts.sort();
    assert_eq!(counts, ["1", "2", "3"]);
}

#[test]
fn a_collector_that_fails_delays_no_task_and_is_said_once() {
    for answer in [Answer::new(500, "x".repeat(200_000)), Answer::Never] {
        let world = World::with_queue(&[]);
        let collector = Stub::answering(move |_| answer.clone());
        let worker = world
            .run("misbehave")
            .args(["--otlp", &collector.endpoint()])
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
            .start();
        worker.until_logged("\"ready\"");
        world.send(["ok"; 3000]);
        wait_until("all is done", || world.depth() == Depth::EMPTY);
        wait_until("spans are sent", || !collector.seen().is_empty());
        worker.signal(Signal::TERM);
        let output = worker.finish().succeeded();
        assert_eq!(output.summary()["outcomes"]["completed"], 3000);
        assert!(
            output.logs_of("cannot send spans to the collector: spans are dropped until it answers").len()
                <= 1
        );
    }
}

#[test]
fn the_variables_of_opentelemetry_name_collector_headers_and_service() {
    let (world, collector) = (World::with_queue(&[]), collector());
    world.send(["ok"]);
    world
        .run("misbehave")
        .arg("--until-empty")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret")
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,deployment.environment.name=test")
        .succeeds();
    assert_eq!(spans(&collector)[0].0, "shop");
    assert_eq!(collector.seen()[0].header("authorization"), "Bearer secret");

    world
        .run("misbehave")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .fails_with(2, "OTEL_EXPORTER_OTLP_PROTOCOL");
}
