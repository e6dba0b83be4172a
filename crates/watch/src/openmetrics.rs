//! Writes metric families in the text format of OpenMetrics 1.0, which has exemplars. The library writes only
//! Prometheus' older text format.
//!
//! Specification: <https://prometheus.io/docs/specs/om/open_metrics_spec/>. There are no `_created` samples, which are
//! optional: they would double the series of counters, and all are as old as the process
//! (`process_start_time_seconds`).

use crate::exemplars::Exemplar;
use crate::metrics::Gathered;
use prometheus::proto::{LabelPair, MetricType};
use std::fmt::Write;
use std::time::UNIX_EPOCH;

/// Content type of the format.
pub(crate) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns whether a client prefers this format to Prometheus' older one, by its `Accept` header
/// (<https://www.rfc-editor.org/rfc/rfc9110#name-accept>). A client that names neither gets the older one.
pub(crate) fn is_preferred<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut this, mut older) = (0.0_f32, 0.0_f32);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let (mut quality, mut version) = (1.0, None);
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            if key.eq_ignore_ascii_case("q") {
                quality = value.parse().unwrap_or(0.0);
            } else if key.eq_ignore_ascii_case("version") {
                version = Some(value.trim_matches('"'));
            }
        }
        if kind.eq_ignore_ascii_case("application/openmetrics-text")
            && version.is_none_or(|version| version == "1.0.0")
        {
            this = this.max(quality);
        } else if kind.eq_ignore_ascii_case("text/plain") {
            older = older.max(quality);
        }
    }
    this > 0.0 && this >= older
}

/// Returns the metrics as text.
pub(crate) fn text(Gathered { families, exemplars }: &Gathered) -> String {
    let mut text = String::new();
    for family in families {
        let kind = family.get_field_type();
        // A counter's family has no suffix, and its samples have.
        let name = match kind {
            MetricType::COUNTER => family.name().strip_suffix("_total").unwrap_or(family.name()),
            _ => family.name(),
        };
        let exemplars = exemplars.get(name);
        describe(&mut text, name, kind, family.help());
        for metric in family.get_metric() {
            let mut sample = |suffix: &str, bound: Option<f64>, value: f64, exemplar: Option<&Exemplar>| {
                text.push_str(name);
                text.push_str(suffix);
                labels(&mut text, metric.get_label(), bound);
                put(&mut text, format_args!(" {value}"));
                if let Some(Exemplar { trace_id, value, at }) = exemplar {
                    let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                    put(&mut text, format_args!(" # {{trace_id=\"{trace_id:032x}\"}} {value} {at:.3}"));
                }
                text.push('\n');
            };
            match kind {
                MetricType::COUNTER => sample("_total", None, metric.get_counter().get_value(), None),
                MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    let count = histogram.get_sample_count() as f64;
                    let bounded = histogram.get_bucket().iter();
                    let buckets =
                        bounded.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count() as f64));
                    for (index, (bound, count)) in buckets.chain([(f64::INFINITY, count)]).enumerate() {
                        let exemplar = exemplars.and_then(|latest| latest.get(index)?.as_ref());
                        sample("_bucket", Some(bound), count, exemplar);
                    }
                    sample("_sum", None, histogram.get_sample_sum(), None);
                    sample("_count", None, count, None);
                }
                _ => sample("", None, metric.get_gauge().get_value(), None),
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

/// Writes the type, unit and description of a family.
fn describe(text: &mut String, name: &str, kind: MetricType, help: &str) {
    let kind = match kind {
        MetricType::COUNTER => "counter",
        MetricType::HISTOGRAM => "histogram",
        _ => "gauge",
    };
    put(text, format_args!("# TYPE {name} {kind}\n"));
    if let Some(unit) = ["seconds", "bytes"].iter().find(|unit| name.ends_with(*unit)) {
        put(text, format_args!("# UNIT {name} {unit}\n"));
    }
    put(text, format_args!("# HELP {name} {}\n", escaped(help)));
}

/// Writes labels, with the upper bound of a bucket as the last one.
fn labels(text: &mut String, labels: &[LabelPair], bound: Option<f64>) {
    let named = labels.iter().map(|label| (label.name(), escaped(label.value())));
    let all = named.chain(bound.map(|bound| ("le", canonical(bound))));
    let all: Vec<_> = all.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if !all.is_empty() {
        put(text, format_args!("{{{}}}", all.join(",")));
    }
}

/// Returns a bound in the form that the format prescribes, so that it is the same label for every exposer: as Go's
/// `%g` writes it, with `.0` if it would look like an integer.
fn canonical(bound: f64) -> String {
    if bound == f64::INFINITY {
        return "+Inf".into();
    }
    let scientific = format!("{bound:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{bound:?}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::time::Duration;
    use wasmrun_runtime::model::message::{Attribute, AttributeValue, Message};
    use wasmrun_runtime::model::outcome::Outcome;
    use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord, Usage};

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_client_gets_the_format_that_it_prefers() {
        let openmetrics = "application/openmetrics-text";
        for (accept, is_openmetrics) in [
            // What Prometheus 2.42 and 3 send.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
                true,
            ),
            (openmetrics, true),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=0.1", true),
            ("", false),
            ("*/*", false),
            ("text/plain", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("text/plain, application/openmetrics-text;q=0.5", false),
            ("application/openmetrics-text;version=0.0.1", false),
            ("application/openmetrics-text;version=2.0.0", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=NaN", false),
            ("application/openmetrics-text;q=-1", false),
            ("application/openmetrics-text;q=", false),
            (",;=,;;q=,", false),
        ] {
            assert_eq!(is_preferred([accept].into_iter()), is_openmetrics, "{accept}");
        }
        assert!(is_preferred(["text/plain;q=0.1", openmetrics].into_iter()));
    }

    #[test]
    fn bounds_are_written_as_go_writes_them() {
        for (bound, text) in [
            (f64::INFINITY, "+Inf"),
            (0.00001, "1e-05"),
            (0.000025, "2.5e-05"),
            (0.0001, "0.0001"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (65_536.0, "65536.0"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (1_048_576.0, "1.048576e+06"),
            (1e12, "1e+12"),
        ] {
            assert_eq!(canonical(bound), text);
        }
    }

    #[test]
    fn the_last_traced_task_of_a_bucket_is_its_exemplar() {
        let metrics = Metrics::default();
        let end = |seconds: f64, traceparent: &str| {
            let value = AttributeValue::Text(traceparent.into());
            let attribute = Attribute { name: "traceparent".into(), value };
            let message = Message { attributes: vec![attribute], ..Message::new("m", "") };
            let usage = Usage { wall: Duration::from_secs_f64(seconds), ..Usage::default() };
            metrics.ended(&TaskRecord::new(&message, "c", &Outcome::Completed, &usage));
        };
        end(2.0, &format!("00-{}-b7ad6b7169203331-01", TRACE.replace('0', "f")));
        end(2.5, &format!("00-{TRACE}-b7ad6b7169203331-01"));
        end(0.3, &format!("00-{TRACE}-b7ad6b7169203331-00"));
        end(0.2, "forged\n# EOF");
        end(9999.0, &format!("00-{TRACE}-b7ad6b7169203331-01"));
        let text = text(&metrics.gather(Vec::new()));
        let exemplar = |line: &str| text.split(line).nth(1).and_then(|rest| rest.lines().next());
        for (bound, count, value) in [("2.5", 4, "2.5"), ("+Inf", 5, "9999")] {
            let line = format!("wasmrun_task_duration_seconds_bucket{{le=\"{bound}\"}} {count}");
            let told = exemplar(&line).unwrap_or_default();
            assert!(told.starts_with(&format!(" # {{trace_id=\"{TRACE}\"}} {value} ")), "{told:?} in {text}");
        }
        assert_eq!(exemplar("wasmrun_task_duration_seconds_bucket{le=\"0.5\"} 2"), Some(""), "{text}");
        assert!(text.ends_with("\n# EOF\n") && text.matches("EOF").count() == 1, "{text}");
        assert!(!metrics.gather(Vec::new()).text().contains(TRACE), "the older format has no exemplars");
    }
}
