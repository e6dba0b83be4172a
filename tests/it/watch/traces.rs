//! `run --otlp URL`: the traces of tasks, as a collector receives them.

use crate::harness::{Answer, Collector, Command, World, attribute, guest, repository, wait_until, why};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::fs;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDER: &str = "b7ad6b7169203331";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traced(world: &World, name: &str, collector: &Collector) -> Command {
    world.run(name).args(["--otlp", &collector.endpoint(), "--until-empty"])
}

#[test]
fn a_trace_goes_from_its_sender_through_two_queues_and_two_tasks() {
    let (world, collector) = (World::with_queue(&[]), Collector::start());
    let parent = format!("traceparent=00-{TRACE}-{SENDER}-01");
    world.send_with(&["--attribute", &parent], ["get object"]);
    traced(&world, "forward", &collector).succeeds();
    world.write("in/object", "content");
    world
        .wasmrun(["run", "--queue", "sqlite:next.db", "--until-empty", "--service", "second"])
        .arg(guest("misbehave"))
        .args(["--store", "input=dir:in:ro", "--otlp", &collector.endpoint()])
        .succeeds();

    let spans = collector.spans();
    assert!(spans.iter().all(|(_, span)| hex(&span.trace_id) == TRACE), "{spans:#?}");
    let (first, second) = (named(&spans, "process jobs.db"), named(&spans, "process next.db"));
    for (service, span) in [("forward", first), ("second", second)] {
        assert!(spans.contains(&(service.to_owned(), span.clone())), "{service}: {spans:#?}");
    }
    assert_eq!(hex(&first.parent_span_id), SENDER);
    assert_eq!(second.parent_span_id, first.span_id);
    for (name, parent) in
        [("send next", first), ("delete jobs.db", first), ("get input", second), ("delete next.db", second)]
    {
        is_child(parent, named(&spans, name));
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
    let (world, collector) = (World::with_queue(&["--max-receives", "1"]), Collector::start());
    world.send(["ok", "reject <b>no</b>", "ok", "panic"]);
    let output = traced(&world, "misbehave", &collector)
        .args(["--trace-sampling", "0%", "--fuel", "100000000"])
        .succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 2, "{output}");
    let spans = collector.spans();
    let tasks = tasks(&spans);
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
fn the_key_of_a_message_is_an_attribute_of_its_task_alone() {
    let (world, collector) = (World::with_queue(&[]), Collector::start());
    world.send_with(&["--group", "acme"], ["ok"]);
    traced(&world, "misbehave", &collector).args(["--key", "group"]).succeeds();
    let spans = collector.spans();
    let keys = |span: &Span| attribute(&span.attributes, "wasmrun.key");
    let found: Vec<_> = spans.iter().map(|(_, span)| keys(span)).filter(|key| !key.is_empty()).collect();
    assert_eq!(found, ["acme"], "{spans:#?}");
}

#[test]
fn each_delivery_of_a_message_belongs_to_the_same_new_trace() {
    let (world, collector) = (World::with_queue(&["--max-receives", "3"]), Collector::start());
    world.send(["retry"]);
    traced(&world, "misbehave", &collector).args(["--backoff", "1ms..1ms"]).succeeds();
    let spans = collector.spans();
    let tasks = tasks(&spans);
    assert_eq!(tasks.len(), 3, "{spans:#?}");
    assert!(tasks.iter().all(|span| span.trace_id == tasks[0].trace_id));
    let mut counts: Vec<_> =
        tasks.iter().map(|span| attribute(&span.attributes, "wasmrun.receive_count")).collect();
    counts.sort();
    assert_eq!(counts, ["1", "2", "3"]);
}

#[test]
fn a_collector_that_fails_delays_no_task_and_is_said_once_for_traces_and_once_for_metrics() {
    for answer in [
        Answer::new(500, "x".repeat(200_000)),
        Answer::new(503, "").with("retry-after", u64::MAX),
        Answer::Never,
    ] {
        let world = World::with_queue(&[]);
        let collector = Collector::answering(move |_| answer.clone());
        let worker = world
            .run("misbehave")
            .args(["--otlp", &collector.endpoint()])
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "50")
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
            .start_ready();
        world.send(["ok"; 3000]);
        world.wait_until_empty();
        wait_until("all is sent several times", || {
            ["/v1/traces", "/v1/metrics"].iter().all(|path| collector.seen(path).len() >= 3)
        });
        let output = worker.stop();
        assert_eq!(output.summary()["outcomes"]["completed"], 3000);
        for said in [
            "cannot send spans to the collector: spans are dropped until it answers",
            "cannot send metrics to the collector: it misses their values until it answers",
        ] {
            assert_eq!(output.logs_of(said).len(), 1, "{output}");
        }
    }
}

#[test]
fn a_worker_does_not_wait_for_a_collector_that_refuses_connections() {
    let world = World::with_queue(&[]);
    world.send(["ok"; 400]);
    let output = world
        .run("misbehave")
        .args(["--until-empty", "--otlp", "http://127.0.0.1:1"])
        // Many requests, each of which would be repeated for an hour.
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000")
        .succeeds();
    let said = |text: &str| output.logs().iter().filter(|line| line.to_string().contains(text)).count();
    assert_eq!(
        (said("spans"), said("cannot send metrics"), said("no response in time")),
        (1, 1, 0),
        "{output}"
    );
}

#[test]
fn the_variables_of_opentelemetry_name_collector_headers_and_service() {
    let (world, collector) = (World::with_queue(&[]), Collector::start());
    world.send(["ok"]);
    world
        .run("misbehave")
        .arg("--until-empty")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret")
        .env("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop%2C%20EU,deployment.environment.name=test")
        .succeeds();
    assert_eq!(collector.spans()[0].0, "shop, EU");
    for path in ["/v1/traces", "/v1/metrics"] {
        assert_eq!(collector.seen(path)[0].header("authorization"), "Bearer secret");
    }

    world
        .run("misbehave")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint())
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .fails_with(2, "OTEL_EXPORTER_OTLP_PROTOCOL");
}

/// The spans of tasks.
fn tasks(spans: &[(String, Span)]) -> Vec<&Span> {
    spans.iter().map(|(_, span)| span).filter(|span| span.kind() == SpanKind::Consumer).collect()
}

/// The span with this name, which is the only one.
#[track_caller]
fn named<'a>(spans: &'a [(String, Span)], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|(_, span)| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {spans:#?}");
    &found[0].1
}

#[track_caller]
fn is_child(parent: &Span, child: &Span) {
    assert_eq!((&child.parent_span_id, &child.trace_id), (&parent.span_id, &parent.trace_id), "{child:#?}");
    assert!(child.start_time_unix_nano >= parent.start_time_unix_nano, "{parent:#?} {child:#?}");
    assert!(child.end_time_unix_nano >= child.start_time_unix_nano, "{child:#?}");
}

#[test]
fn a_dead_letter_is_a_span_of_the_task_that_failed() {
    let (world, collector) = (World::with_queue(&[]), Collector::start());
    world.send(["reject it is no picture"]);
    traced(&world, "misbehave", &collector).args(["--trace-sampling", "0%"]).succeeds();
    let dead = world.dead_letters();
    assert_eq!(why(&dead[0])["outcome"], "rejected");
    let spans = collector.spans();
    let (task, letter) = (named(&spans, "process jobs.db"), named(&spans, "dead-letter jobs.db#dead"));
    is_child(task, letter);
    assert_eq!(letter.kind(), SpanKind::Producer);
    for (name, value) in [
        ("messaging.operation.type", "send"),
        ("messaging.operation.name", "dead-letter"),
        ("messaging.destination.name", "jobs.db#dead"),
        ("messaging.system", "sqlite"),
    ] {
        assert_eq!(attribute(&letter.attributes, name), value, "{letter:#?}");
    }
    let deleted = named(&spans, "delete jobs.db");
    assert!(deleted.start_time_unix_nano >= letter.start_time_unix_nano, "{spans:#?}");
}

#[test]
fn a_message_that_no_instance_gets_has_a_trace_without_an_instance() {
    let (world, collector) = (World::with_queue(&["--max-receives", "1"]), Collector::start());
    world.send([r#"{"Records": [{"eventSource": "aws:s3", "s3": 7}]}"#]);
    traced(&world, "misbehave", &collector).args(["--trace-sampling", "0%"]).succeeds();
    let spans = collector.spans();
    let task = named(&spans, "process jobs.db");
    let status = task.status.as_ref().expect("a status");
    assert_eq!((status.code, &*attribute(&task.attributes, "error.type")), (2, "rejected"), "{task:#?}");
    assert!(spans.iter().all(|(_, span)| span.name != "instantiate"), "{spans:#?}");
}

#[test]
fn the_objects_on_a_commands_streams_are_one_span_each_however_many_pieces_they_have() {
    let (world, collector) = (World::with_queue(&[]), Collector::start());
    world.write("in/fruit.list", "red apple\n".repeat(200_000));
    world.announce();
    traced(&world, "filter", &collector)
        .args(["--arg", "red", "--output-object", "output:{stem}.txt", "--fuel", "100000000000"])
        .succeeds();
    assert_eq!(world.read("out/fruit.txt").len(), 2_000_000);
    let spans = collector.spans();
    let task = named(&spans, "process jobs.db");
    for (name, is_of_pieces) in [
        ("read input", false),
        ("reader-read input", true),
        ("write output", false),
        ("writer-write output", true),
        ("writer-finish output", false),
    ] {
        // What is left of the output when the program ends is written by a call of its own.
        let found: Vec<_> = spans.iter().map(|(_, span)| span).filter(|span| span.name == name).collect();
        let pieces = |span: &Span| attribute(&span.attributes, "wasmrun.pieces");
        let of_pieces = found.iter().filter(|span| pieces(span).parse().is_ok_and(|pieces: u64| pieces > 3));
        assert_eq!(of_pieces.count(), usize::from(is_of_pieces), "{name}: {spans:#?}");
        assert!(
            (1..=1 + usize::from(name == "writer-write output")).contains(&found.len()),
            "{name}: {spans:#?}"
        );
        found.iter().for_each(|span| is_child(task, span));
    }
}

#[test]
fn the_task_of_invoke_is_traced_if_it_is_asked_for() {
    let (world, collector) = (World::new(), Collector::start());
    world.write("in/object", "content");
    let parent = format!("traceparent=00-{TRACE}-{SENDER}-01");
    let invoke = |message: &str| world.invoke("misbehave", message);
    invoke("get object").args(["--otlp", &collector.endpoint(), "--attribute", &parent]).succeeds();
    let spans = collector.spans();
    let task = named(&spans, "invoke misbehave.wasm");
    assert_eq!((hex(&task.trace_id), hex(&task.parent_span_id)), (TRACE.into(), SENDER.into()));
    assert_eq!((task.kind(), &*spans[0].0), (SpanKind::Internal, "misbehave"));
    assert_eq!(attribute(&task.attributes, "faas.trigger"), "other");
    assert_eq!(attribute(&task.attributes, "faas.invocation_id"), "invoke");
    assert_eq!(attribute(&task.attributes, "messaging.system"), "");
    for name in ["instantiate", "get input"] {
        is_child(task, named(&spans, name));
    }
    invoke("reject no").args(["--otlp", &collector.endpoint()]).ends().exited_with(1);
    let all = collector.spans();
    let failed = all[spans.len()..].iter().find(|(_, span)| span.name == "invoke misbehave.wasm");
    assert_eq!(
        failed.and_then(|(_, span)| span.status.clone()).map(|status| status.message).as_deref(),
        Some("no")
    );

    // Variables that are set for all programs don't ask for it, and it has no metrics.
    invoke("ok").env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).succeeds();
    assert_eq!((collector.spans().len(), collector.seen("/v1/metrics").len()), (all.len(), 0));
}

#[test]
fn the_guide_names_the_version_of_the_conventions_that_spans_follow() {
    let (world, collector) = (World::with_queue(&[]), Collector::start());
    world.send(["ok"]);
    traced(&world, "misbehave", &collector).succeeds();
    let spans = collector.resource_spans();
    let schema = &spans[0].scope_spans[0].schema_url;
    let version = schema.rsplit('/').next().expect("a version");
    let guide = fs::read_to_string(repository().join("docs/src/guides/traces.md")).expect("the guide");
    assert!(guide.contains(&format!("semantic conventions {version}")), "{schema}");
}
