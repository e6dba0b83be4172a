//! What the families of metrics look like in the protocol.
//!
//! Names, labels and buckets are those that `/metrics` shows, as OpenTelemetry's specification maps Prometheus' metrics:
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>. Sums are cumulative, since the start
//! of the process.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Text;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    exemplar,
};
use prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use std::time::{SystemTime, UNIX_EPOCH};
use wasmrun_watch::exemplars;
use wasmrun_watch::metrics::Gathered;

/// The span of time that values are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    /// When the process started.
    pub(crate) since: SystemTime,
    pub(crate) until: SystemTime,
}

/// Converts all metrics of a worker.
pub(crate) fn of_worker(Gathered { families, exemplars }: &Gathered, period: Period) -> Vec<Metric> {
    let exemplars = |family: &MetricFamily| exemplars.get(family.name()).map_or(&[][..], Vec::as_slice);
    families.iter().map(|family| of_family(family, exemplars(family), period)).collect()
}

fn of_family(family: &MetricFamily, exemplars: &[Option<exemplars::Exemplar>], period: Period) -> Metric {
    let samples = family.get_metric();
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: samples.iter().map(|sample| of_counter(sample, period)).collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: samples.iter().map(|sample| of_histogram(sample, exemplars, period)).collect(),
            aggregation_temporality: cumulative,
        }),
        _ => Data::Gauge(Gauge {
            data_points: samples.iter().map(|sample| of_gauge(sample, period)).collect(),
        }),
    };
    Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit: unit(family.name()).to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn of_counter(sample: &proto::Metric, period: Period) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: nanoseconds(period.since),
        ..number(sample, sample.get_counter().get_value(), period)
    }
}

fn of_gauge(sample: &proto::Metric, period: Period) -> NumberDataPoint {
    number(sample, sample.get_gauge().get_value(), period)
}

fn number(sample: &proto::Metric, value: f64, period: Period) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(sample.get_label()),
        time_unix_nano: nanoseconds(period.until),
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

/// Converts a histogram, whose buckets here aren't cumulative: the last one has no bound.
fn of_histogram(
    sample: &proto::Metric,
    exemplars: &[Option<exemplars::Exemplar>],
    period: Period,
) -> HistogramDataPoint {
    let histogram = sample.get_histogram();
    let count = histogram.get_sample_count();
    let buckets = histogram.get_bucket();
    let sums = buckets.iter().map(proto::Bucket::cumulative_count).chain([count]);
    let before = std::iter::once(0).chain(sums.clone());
    HistogramDataPoint {
        attributes: attributes(sample.get_label()),
        start_time_unix_nano: nanoseconds(period.since),
        time_unix_nano: nanoseconds(period.until),
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: sums.zip(before).map(|(sum, before)| sum.saturating_sub(before)).collect(),
        explicit_bounds: buckets.iter().map(proto::Bucket::upper_bound).collect(),
        exemplars: exemplars.iter().flatten().map(exemplar).collect(),
        ..HistogramDataPoint::default()
    }
}

fn exemplar(of: &exemplars::Exemplar) -> Exemplar {
    Exemplar {
        time_unix_nano: nanoseconds(of.at),
        trace_id: of.trace_id.to_be_bytes().to_vec(),
        value: Some(exemplar::Value::AsDouble(of.value)),
        ..Exemplar::default()
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    let attribute = |label: &LabelPair| KeyValue {
        key: label.name().to_owned(),
        value: Some(AnyValue { value: Some(Text::StringValue(label.value().to_owned())) }),
        ..KeyValue::default()
    };
    labels.iter().map(attribute).collect()
}

/// Returns the unit that a name says, as UCUM writes it.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;
    use wasmrun_runtime::model::message::Message;
    use wasmrun_runtime::model::outcome::Outcome;
    use wasmrun_runtime::model::usage::{TaskObserver as _, TaskRecord, Usage};
    use wasmrun_watch::metrics::Metrics;

    const AT: SystemTime = UNIX_EPOCH;

    fn converted(traced: bool) -> BTreeMap<String, Metric> {
        let metrics = Metrics::default();
        let message = Message::new("m", "");
        for seconds in [0.2, 2.0, 2.5, 9999.0] {
            let usage = Usage { wall: Duration::from_secs_f64(seconds), ..Usage::default() };
            let record = TaskRecord::new(&message, "c", &Outcome::Completed, &usage);
            metrics.ended(&TaskRecord { trace_id: traced.then_some(7), time: AT, ..record });
        }
        let period = Period { since: AT + Duration::from_nanos(1), until: AT + Duration::from_nanos(2) };
        let metrics = of_worker(&metrics.gather(Vec::new()), period);
        metrics.into_iter().map(|metric| (metric.name.clone(), metric)).collect()
    }

    #[test]
    fn a_histogram_counts_each_task_in_one_bucket_and_names_a_trace_of_it() {
        let metric = converted(true).remove("wasmrun_task_duration_seconds").expect("the metric");
        assert_eq!(metric.unit, "s");
        let Some(Data::Histogram(Histogram { data_points, aggregation_temporality })) = metric.data else {
            panic!("no histogram")
        };
        assert_eq!(aggregation_temporality, i32::from(AggregationTemporality::Cumulative));
        let point = &data_points[0];
        let (counts, bounds) = (&point.bucket_counts, &point.explicit_bounds);
        assert_eq!(counts.len(), bounds.len() + 1);
        let of = |bound: f64| counts[bounds.iter().position(|other| *other == bound).expect("a bound")];
        // A bound belongs to the bucket below it.
        assert_eq!((of(0.25), of(1.0), of(2.5), of(5.0)), (1, 0, 2, 0));
        assert_eq!((counts.last(), counts.iter().sum::<u64>(), point.count), (Some(&1), 4, 4));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
        let exemplars: Vec<_> = point.exemplars.iter().map(|exemplar| exemplar.value).collect();
        let values = [0.2, 2.5, 9999.0].map(|value| Some(exemplar::Value::AsDouble(value)));
        assert_eq!(exemplars, values);
        assert!(point.exemplars.iter().all(|exemplar| exemplar.trace_id == 7_u128.to_be_bytes()));
        let metric = converted(false).remove("wasmrun_task_duration_seconds").expect("the metric");
        let Some(Data::Histogram(histogram)) = metric.data else { panic!("no histogram") };
        assert!(histogram.data_points[0].exemplars.is_empty());
    }

    #[test]
    fn a_counter_is_a_sum_that_only_grows_with_its_labels_as_attributes() {
        let metric = converted(false).remove("wasmrun_tasks_total").expect("the metric");
        let Some(Data::Sum(sum)) = metric.data else { panic!("no sum") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality, i32::from(AggregationTemporality::Cumulative));
        let completed = Text::StringValue("completed".into());
        let is_completed = |attribute: &KeyValue| {
            attribute.key == "outcome"
                && attribute.value.as_ref().and_then(|value| value.value.as_ref()) == Some(&completed)
        };
        let point = sum.data_points.iter().find(|point| point.attributes.iter().any(is_completed));
        let point = point.expect("completed tasks");
        assert_eq!((point.value, point.attributes.len()), (Some(Value::AsDouble(4.0)), 1));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
    }

    #[test]
    fn units_are_those_of_the_names() {
        for (name, expected) in [
            ("wasmrun_task_queued_seconds", "s"),
            ("wasmrun_store_read_bytes_total", "By"),
            ("wasmrun_task_peak_memory_bytes", "By"),
            ("wasmrun_tasks_total", ""),
            ("wasmrun_ready", ""),
        ] {
            assert_eq!(unit(name), expected, "{name}");
        }
    }
}
