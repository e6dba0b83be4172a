//! `run --otlp URL`: the metrics of a worker, as a collector receives them.

use crate::harness::{Answer, Collector, Process, World, attribute, get, wait_for_tasks, wait_until};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// Values by name and labels, as in Prometheus' text format.
type Samples = BTreeMap<String, f64>;

fn metrics(received: &ResourceMetrics) -> Vec<Metric> {
    received.scope_metrics.iter().flat_map(|scope| scope.metrics.clone()).collect()
}

/// The name and the labels of a sample, in Prometheus' text format.
fn key(name: &str, attributes: &[KeyValue], bound: Option<String>) -> String {
    let labels = attributes.iter().map(|label| (label.key.clone(), attribute(attributes, &label.key)));
    let labels = labels.chain(bound.map(|bound| ("le".to_owned(), bound)));
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(",")) }
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Value::AsDouble(number)) => number,
        other => panic!("no double: {other:?}"),
    }
}

/// The samples that Prometheus would have of what a collector received.
fn samples(received: &ResourceMetrics) -> Samples {
    let mut samples = Samples::new();
    for Metric { name, data, .. } in metrics(received) {
        match data.expect("values") {
            Data::Gauge(gauge) => {
                let points = gauge.data_points.iter();
                samples.extend(points.map(|point| (key(&name, &point.attributes, None), number(point))));
            }
            Data::Sum(sum) => {
                assert!(sum.is_monotonic && name.ends_with("_total"), "{name}");
                assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
                let points = sum.data_points.iter();
                samples.extend(points.map(|point| (key(&name, &point.attributes, None), number(point))));
            }
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
                let points = histogram.data_points.iter();
                points.for_each(|point| samples.extend(of_histogram(&name, point)));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    samples
}

fn of_histogram(name: &str, point: &HistogramDataPoint) -> Samples {
    let bounds = point.explicit_bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    let mut sum = 0;
    let cumulative = point.bucket_counts.iter().map(|count| {
        sum += count;
        sum as f64
    });
    let buckets = bounds.zip(cumulative);
    let bucket = format!("{name}_bucket");
    let mut samples: Samples =
        buckets.map(|(bound, count)| (key(&bucket, &point.attributes, Some(bound)), count)).collect();
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1, "{name}");
    samples.insert(key(&format!("{name}_sum"), &point.attributes, None), point.sum.expect("a sum"));
    samples.insert(key(&format!("{name}_count"), &point.attributes, None), point.count as f64);
    samples
}

/// The samples that `/metrics` shows, and the description of each family.
fn page(address: SocketAddr) -> (Samples, BTreeMap<String, String>) {
    let text = get(address, "/metrics").body;
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
    let help = |line: &str| {
        let (name, help) = line.strip_prefix("# HELP ")?.split_once(' ')?;
        Some((name.to_owned(), help.to_owned()))
    };
    (samples, text.lines().filter_map(help).collect())
}

fn worker(world: &World, collector: &Collector) -> (Process, SocketAddr) {
    let worker = world
        .run("misbehave")
        .args(["--status", "0", "--instances", "2", "--fuel", "100000000"])
        .args(["--otlp", &collector.endpoint()])
        .env("OTEL_METRIC_EXPORT_INTERVAL", "50")
        .start();
    let address = worker.listens_on();
    (worker, address)
}

#[test]
fn each_family_of_the_metrics_arrives_with_the_same_values_and_description() {
    let (world, collector) = (World::with_queue(&["--max-receives", "1"]), Collector::start());
    world.write("in/there", "hello");
    let bodies = ["ok", "get there", "put key value", "send 2", "loop", "reject no", "sleep 20"];
    world.send(bodies);
    let (worker, address) = worker(&world, &collector);
    wait_for_tasks(address, bodies.len() as u64);
    world.wait_until_empty();
    // Values that change by themselves are of some moment: the queue's depth, and ages.
    let changes = |name: &str| name.starts_with("wasmrun_queue_") && !name.contains("_info");
    let settled = || {
        let (samples, help) = page(address);
        let is_done = samples.get("wasmrun_instances_running") == Some(&0.0);
        is_done.then_some((samples, help))
    };
    let mut before = None;
    wait_until("nothing runs", || {
        before = settled();
        before.is_some()
    });
    let (before, help) = before.expect("a page");
    let count = collector.metrics().len();
    wait_until("the metrics are sent twice more", || collector.metrics().len() >= count + 2);
    let received = collector.metrics().pop().expect("metrics");

    let found = metrics(&received);
    let names: BTreeSet<_> = found.iter().map(|metric| metric.name.clone()).collect();
    assert_eq!(names.len(), found.len(), "each family is there once");
    assert_eq!(names, help.keys().cloned().collect());
    for metric in &found {
        assert_eq!(metric.description, help[&metric.name].replace("\\n", "\n"), "{}", metric.name);
    }
    let steady = |samples: &Samples| -> Samples {
        samples
            .iter()
            .filter(|(name, _)| !changes(name))
            .map(|(name, value)| (name.clone(), *value))
            .collect()
    };
    let sent = samples(&received);
    assert_eq!(steady(&sent), steady(&before));
    assert_eq!(sent.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(sent["wasmrun_tasks_total{outcome=\"completed\"}"], 5.0);
    assert_eq!(sent["wasmrun_tasks_limited_total{limit=\"fuel\"}"], 1.0);
    worker.stop();
}

#[test]
fn the_last_metrics_are_sent_at_the_end_and_lead_to_the_traces() {
    let (world, collector) = (World::with_queue(&[]), Collector::start());
    world.send(["ok"; 20]);
    world.run("misbehave").args(["--until-empty", "--otlp", &collector.endpoint()]).succeeds();
    let received = collector.metrics();
    assert_eq!(received.len(), 1, "once in a minute, and at the end");
    let sent = samples(&received[0]);
    assert_eq!(sent["wasmrun_tasks_total{outcome=\"completed\"}"], 20.0);
    assert_eq!(sent["wasmrun_messages_received_total"], 20.0);
    let request = &collector.seen("/v1/metrics")[0];
    assert_eq!(request.header("content-type"), "application/x-protobuf");

    let metric =
        metrics(&received[0]).into_iter().find(|metric| metric.name == "wasmrun_task_duration_seconds");
    let metric = metric.expect("durations");
    assert_eq!(metric.unit, "s");
    let Some(Data::Histogram(histogram)) = metric.data else { panic!("no histogram") };
    let point = &histogram.data_points[0];
    assert!(0 < point.start_time_unix_nano && point.start_time_unix_nano < point.time_unix_nano);
    let traces: BTreeSet<_> = collector.spans().into_iter().map(|(_, span)| span.trace_id).collect();
    assert!(!point.exemplars.is_empty());
    assert!(point.exemplars.iter().all(|exemplar| traces.contains(&exemplar.trace_id)));

    let of = |attributes: &[KeyValue]| {
        ["service.name", "service.instance.id"].map(|name| attribute(attributes, name))
    };
    let resource = of(&received[0].resource.clone().expect("a resource").attributes);
    assert_eq!((&*resource[0], resource[1].len()), ("misbehave", 36), "{resource:?}");
    let spans = collector.resource_spans();
    assert!(spans.iter().all(|spans| of(&spans.resource.clone().unwrap_or_default().attributes) == resource));
}

#[test]
fn traces_and_metrics_are_turned_off_one_by_one() {
    for (variable, other) in
        [("OTEL_TRACES_EXPORTER", "/v1/metrics"), ("OTEL_METRICS_EXPORTER", "/v1/traces")]
    {
        let (world, collector) = (World::with_queue(&[]), Collector::start());
        world.send(["ok"]);
        let worker = world.run("misbehave").args(["--until-empty", "--otlp", &collector.endpoint()]);
        worker.env(variable, "none").succeeds();
        let seen = ["/v1/traces", "/v1/metrics"].map(|path| collector.seen(path).len());
        assert!(seen.iter().sum::<usize>() > 0 && seen.contains(&0), "{variable}: {seen:?}");
        assert!(!collector.seen(other).is_empty(), "{variable}: {seen:?}");
    }
}

#[test]
fn whatever_a_collector_answers_is_said_once_and_harms_nothing() {
    let partial = |message: &str| {
        let partial = ExportMetricsPartialSuccess { rejected_data_points: 7, error_message: message.into() };
        ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
    };
    let forged = format!("old\n{{\"level\":\"ERROR\"}}\u{1b}[2J{}", "x".repeat(30_000));
    for (answer, failures) in [
        (Answer::new(200, b"\xff".repeat(1000)), 0),
        (Answer::new(200, partial(&forged)), 1),
        (Answer::new(200, "x".repeat(1 << 20)), 1),
        (Answer::new(200, "x").with("content-length", u64::MAX), 1),
        (Answer::new(301, "").with("location", "http://169.254.169.254/"), 1),
        (Answer::new(429, "").with("retry-after", "later"), 1),
        (Answer::new(999, ""), 1),
    ] {
        let world = World::with_queue(&[]);
        let shown = format!("{answer:?}").chars().take(60).collect::<String>();
        let collector = Collector::answering(move |_| answer.clone());
        world.send(["ok"; 3]);
        let output = world
            .run("misbehave")
            .args(["--until-empty", "--otlp", &collector.endpoint()])
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
            .succeeds();
        assert_eq!(output.summary()["outcomes"]["completed"], 3, "{shown}: {output}");
        let lines = output.logs();
        let failed = lines.iter().filter(|line| line.to_string().contains("cannot send metrics"));
        assert_eq!(failed.count(), failures, "{shown}: {output}");
        assert!(output.stderr.iter().all(|line| line.len() < 2000 && !line.contains('\u{1b}')), "{shown}");
    }
}
