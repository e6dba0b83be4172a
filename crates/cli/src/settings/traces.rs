//! Where traces are exported to, from the settings and from the variables of OpenTelemetry's specification:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use super::watch::{CollectorUrl, Percent, WatchSettings};
use crate::output::failure::Failure;
use crate::settings::text::Written;
use wasmrun_runtime::model::trace::Sampling;

/// The path of traces below the URL of a collector.
const PATH: &str = "/v1/traces";
/// Maximum number of spans that may wait to be sent: memory is taken for all of them.
const MAX_WAITING: u64 = 1_000_000;

/// Where traces are exported to, and which.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TracesPlan {
    /// URL to which spans are posted.
    pub(crate) endpoint: String,
    pub(crate) sampling: Sampling,
}

impl TracesPlan {
    /// Merges the settings with the variables. Returns `None` if no collector is named.
    ///
    /// # Errors
    ///
    /// Names the variable that can't be used.
    pub(crate) fn new(
        settings: &WatchSettings,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").as_deref() == Some("none");
        let url = |name: &str| {
            let Some(text) = variable(name) else { return Ok(None) };
            CollectorUrl::read(&text).map(Some).map_err(|error| wrong(name, &text, &error))
        };
        let endpoint = match &settings.otlp {
            Some(CollectorUrl(url)) => format!("{url}{PATH}"),
            None if is_off => return Ok(None),
            None => {
                let found = match url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")? {
                    Some(CollectorUrl(url)) => Some(url),
                    None => {
                        url("OTEL_EXPORTER_OTLP_ENDPOINT")?.map(|CollectorUrl(url)| format!("{url}{PATH}"))
                    }
                };
                let Some(endpoint) = found else { return Ok(None) };
                check_protocol(variable)?;
                endpoint
            }
        };
        check_sdk(variable)?;
        let sampling = match settings.trace_sampling {
            Some(Percent(sampling)) => sampling,
            None => sampling(variable)?,
        };
        Ok(Some(Self { endpoint, sampling }))
    }
}

/// Refuses values that OpenTelemetry's SDK would take literally.
fn check_sdk(variable: impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
    let name = "OTEL_BSP_MAX_QUEUE_SIZE";
    if let Some(text) = variable(name)
        && text.trim().parse().is_ok_and(|spans: u64| spans > MAX_WAITING)
    {
        return Err(wrong(name, &text, &format!("at most {MAX_WAITING} spans may wait")));
    }
    for name in ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"] {
        if let Some(text) = variable(name).filter(|text| text != "none") {
            return Err(wrong(name, &text, "spans are sent as they are: set it to none, or unset it"));
        }
    }
    Ok(())
}

/// Refuses another protocol than the one that is spoken: the port of gRPC is another one.
fn check_protocol(variable: impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match variable(name) {
            None => {}
            Some(protocol) if protocol == "http/protobuf" => break,
            Some(protocol) => {
                let error = "only http/protobuf is spoken; name the collector with --otlp URL, or turn traces off with OTEL_TRACES_EXPORTER=none";
                return Err(wrong(name, &protocol, error));
            }
        }
    }
    Ok(())
}

/// Reads the sampler: senders decide for the traces that come with messages, whichever it is.
fn sampling(variable: impl Fn(&str) -> Option<String>) -> Result<Sampling, Failure> {
    let share = |share: f64| Sampling::new(share).ok_or(share);
    let name = "OTEL_TRACES_SAMPLER";
    let found = match variable(name).as_deref() {
        None | Some("always_on" | "parentbased_always_on") => share(1.0),
        Some("always_off" | "parentbased_always_off") => share(0.0),
        Some("traceidratio" | "parentbased_traceidratio") => {
            let name = "OTEL_TRACES_SAMPLER_ARG";
            let text = variable(name).unwrap_or_else(|| "1".into());
            let number = text.trim().parse().unwrap_or(f64::NAN);
            return share(number).map_err(|_| wrong(name, &text, "expected a number from 0 to 1"));
        }
        Some(sampler) => {
            let error = "expected always_on, always_off or traceidratio, or one of them after parentbased_";
            return Err(wrong(name, sampler, error));
        }
    };
    found.map_err(|share| wrong(name, &share.to_string(), "expected a number from 0 to 1"))
}

fn wrong(name: &str, value: &str, error: &str) -> Failure {
    Failure::usage(format!("the variable {name} cannot be used, {value:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(otlp: Option<&str>, variables: &[(&str, &str)]) -> Result<Option<(String, Sampling)>, String> {
        let otlp = otlp.map(|url| CollectorUrl::read(url).expect("a URL"));
        let settings = WatchSettings { otlp, ..WatchSettings::default() };
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let plan = TracesPlan::new(&settings, variable).map_err(|failure| failure.to_string())?;
        Ok(plan.map(|plan| (plan.endpoint, plan.sampling)))
    }

    fn some(endpoint: &str, share: f64) -> Result<Option<(String, Sampling)>, String> {
        Ok(Some((endpoint.into(), Sampling::new(share).expect("a share"))))
    }

    #[test]
    fn a_collector_is_named_by_the_setting_or_by_a_variable_and_otherwise_there_is_none() {
        assert_eq!(plan(None, &[]), Ok(None));
        assert_eq!(plan(Some("http://a:4318/"), &[]), some("http://a:4318/v1/traces", 1.0));
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:4318");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/spans");
        assert_eq!(plan(None, &[all]), some("http://b:4318/v1/traces", 1.0));
        assert_eq!(plan(None, &[all, own]), some("http://c/spans", 1.0));
        assert_eq!(plan(Some("http://a"), &[all, own]), some("http://a/v1/traces", 1.0));
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(plan(None, &[all, off]), Ok(None));
        }
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert!(plan(None, &[all, grpc]).is_err_and(|error| error.contains("http/protobuf")));
        assert_eq!(plan(None, &[grpc]), Ok(None));
        assert!(plan(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "b:4318")]).is_err());
        for (name, value) in
            [("OTEL_BSP_MAX_QUEUE_SIZE", "18446744073709551615"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]
        {
            assert!(plan(Some("http://a"), &[(name, value)]).is_err_and(|error| error.contains(name)));
            assert_eq!(plan(None, &[(name, value)]), Ok(None));
        }
    }

    #[test]
    fn the_sampler_of_the_variables_is_taken() {
        let of = |sampler: &str, argument: &str| {
            let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)];
            plan(Some("http://a"), &variables).map(|plan| plan.map(|(_, sampling)| sampling))
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
}
