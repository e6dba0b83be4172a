use super::*;

type Set<'a> = [(&'a str, &'a str)];

fn plan(otlp: Option<&str>, variables: &Set<'_>) -> Result<OtlpPlan, String> {
    let otlp = otlp.map(|url| CollectorUrl::read(url).expect("a URL"));
    let settings = WatchSettings { otlp, ..WatchSettings::default() };
    OtlpPlan::new(&settings, among(variables)).map_err(|failure| failure.to_string())
}

fn among(variables: &Set<'_>) -> impl Fn(&str) -> Option<String> {
    move |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

/// The URLs to which traces and metrics are sent.
fn endpoints(otlp: Option<&str>, variables: &Set<'_>) -> Result<[Option<String>; 2], String> {
    let OtlpPlan { traces, metrics } = plan(otlp, variables)?;
    let metrics = metrics.map(|metrics| metrics.collector.endpoint);
    Ok([traces.map(|traces| traces.collector.endpoint), metrics])
}

fn both(traces: &str, metrics: &str) -> Result<[Option<String>; 2], String> {
    Ok([traces, metrics].map(|url| (!url.is_empty()).then(|| url.to_owned())))
}

const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:4318");
const NO_TRACES: (&str, &str) = ("OTEL_TRACES_EXPORTER", "none");
const NO_METRICS: (&str, &str) = ("OTEL_METRICS_EXPORTER", "none");

#[test]
fn a_collector_is_named_by_the_setting_or_by_a_variable_and_otherwise_there_is_none() {
    assert_eq!(endpoints(None, &[]), both("", ""));
    assert_eq!(
        endpoints(Some("http://a:4318/"), &[]),
        both("http://a:4318/v1/traces", "http://a:4318/v1/metrics")
    );
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/spans");
    let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://d/points/");
    assert_eq!(endpoints(None, &[ALL]), both("http://b:4318/v1/traces", "http://b:4318/v1/metrics"));
    assert_eq!(endpoints(None, &[ALL, traces]), both("http://c/spans", "http://b:4318/v1/metrics"));
    assert_eq!(endpoints(None, &[ALL, metrics]), both("http://b:4318/v1/traces", "http://d/points"));
    assert_eq!(endpoints(None, &[metrics]), both("", "http://d/points"));
    let own = both("http://a/v1/traces", "http://a/v1/metrics");
    assert_eq!(endpoints(Some("http://a"), &[ALL, traces, metrics]), own);
    assert!(endpoints(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "b:4318")]).is_err());
}

#[test]
fn each_signal_can_be_turned_off_whoever_names_the_collector() {
    for otlp in [None, Some("http://b:4318")] {
        assert_eq!(endpoints(otlp, &[ALL, NO_TRACES]), both("", "http://b:4318/v1/metrics"));
        assert_eq!(endpoints(otlp, &[ALL, NO_METRICS]), both("http://b:4318/v1/traces", ""));
        assert_eq!(endpoints(otlp, &[ALL, NO_TRACES, NO_METRICS]), both("", ""));
    }
    let disabled = ("OTEL_SDK_DISABLED", "true");
    assert_eq!(endpoints(None, &[ALL, disabled]), both("", ""));
    assert_eq!(endpoints(Some("http://a"), &[disabled]), both("http://a/v1/traces", "http://a/v1/metrics"));
}

#[test]
fn what_is_not_spoken_is_refused_where_it_would_be_used() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert!(plan(None, &[ALL, grpc]).is_err_and(|error| error.contains("http/protobuf")));
    assert_eq!(endpoints(None, &[grpc]), both("", ""));
    let metrics = [ALL, NO_TRACES, ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")];
    assert!(plan(None, &metrics).is_err_and(|error| error.contains("OTEL_METRICS_EXPORTER=none")));
    assert_eq!(
        endpoints(None, &[ALL, grpc, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"), NO_METRICS]),
        both("http://b:4318/v1/traces", "")
    );
    for (name, value) in [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "18446744073709551615"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "10s"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "-1"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "18446744073709551615"),
    ] {
        assert!(plan(Some("http://a"), &[(name, value)]).is_err_and(|error| error.contains(name)), "{name}");
        assert_eq!(endpoints(None, &[(name, value)]), both("", ""));
    }
    let only = ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Cumulative");
    assert!(plan(Some("http://a"), &[only]).is_ok());
}

#[test]
fn times_and_headers_are_those_of_the_signal_or_else_of_all() {
    let OtlpPlan { traces, metrics } = plan(Some("http://a"), &[]).expect("a plan");
    let (traces, metrics) = (traces.expect("traces").collector, metrics.expect("metrics"));
    assert_eq!((traces.timeout, metrics.every), (Duration::from_secs(10), Duration::from_secs(60)));
    assert!(traces.headers.is_empty());
    let variables = [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "7000"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "250"),
        ("OTEL_EXPORTER_OTLP_HEADERS", " Authorization = Bearer%20secret , x-b=a=b,"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-c=%C3%BC"),
    ];
    let OtlpPlan { traces, metrics } = plan(Some("http://a"), &variables).expect("a plan");
    let (traces, metrics) = (traces.expect("traces").collector, metrics.expect("metrics"));
    let timeouts = (traces.timeout.as_millis(), metrics.collector.timeout.as_millis());
    assert_eq!((timeouts, metrics.every.as_millis()), ((300, 7000), 250));
    assert_eq!(traces.headers["authorization"], "Bearer secret");
    assert_eq!((&traces.headers["x-b"], traces.headers.len()), (&HeaderValue::from_static("a=b"), 2));
    assert_eq!(metrics.collector.headers["x-c"].as_bytes(), "ü".as_bytes());
    assert!(!format!("{traces:?}").contains("secret"));
    for wrong in ["secret", "a b=secret", "a=secret%0A", "=secret"] {
        let variable = ("OTEL_EXPORTER_OTLP_HEADERS", wrong);
        let error = plan(Some("http://a"), &[variable]).expect_err("refused");
        assert!(error.contains("OTEL_EXPORTER_OTLP_HEADERS") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn the_trace_of_a_single_task_is_exported_only_if_it_is_asked_for() {
    let url = CollectorUrl::read("http://a").expect("a URL");
    let asked = |variables: &Set<'_>| {
        TracesPlan::asked(&url, among(variables)).map_err(|failure| failure.to_string())
    };
    let TracesPlan { collector, sampling } = asked(&[ALL]).expect("a plan").expect("traces");
    assert_eq!((&*collector.endpoint, sampling), ("http://a/v1/traces", Sampling::ALL));
    assert_eq!(asked(&[NO_TRACES]), Ok(None));
    assert!(asked(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]).is_err());
}

#[test]
fn the_sampler_of_the_variables_is_taken() {
    let of = |sampler: &str, argument: &str| {
        let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
        plan(Some("http://a"), &variables).map(|plan| plan.traces.map(|traces| traces.sampling))
    };
    let share = |share: f64| Ok(Sampling::new(share));
    assert_eq!(of("always_off", ""), share(0.0));
    assert_eq!(of("parentbased_always_on", ""), share(1.0));
    assert_eq!(of("traceidratio", "0.25"), share(0.25));
    assert_eq!(of("parentbased_traceidratio", ""), share(1.0));
    for (sampler, argument) in [("traceidratio", "2"), ("traceidratio", "x"), ("jaeger_remote", "")] {
        assert!(of(sampler, argument).is_err(), "{sampler} {argument}");
    }
}
