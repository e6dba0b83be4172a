//! Where traces and metrics are exported to, from the settings and from the variables of OpenTelemetry's specification:
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use super::watch::{CollectorUrl, Percent, WatchSettings};
use crate::output::failure::Failure;
use crate::settings::text::Written;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use std::ops::RangeInclusive;
use std::time::Duration;
use wasmrun_otlp::Collector;
use wasmrun_runtime::model::trace::Sampling;

/// Maximum number of spans that may wait to be sent: memory is taken for all of them.
const MAX_WAITING: u64 = 1_000_000;
/// Default of the longest time for a request, in milliseconds, and what it may be.
const TIMEOUT: (u64, RangeInclusive<u64>) = (10_000, 1..=600_000);
/// Default of the time between two exports of metrics, in milliseconds, and what it may be.
const INTERVAL: (u64, RangeInclusive<u64>) = (60_000, 1..=86_400_000);

/// Where traces and metrics are exported to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OtlpPlan {
    /// `None`: traces aren't exported.
    pub(crate) traces: Option<TracesPlan>,
    /// `None`: metrics aren't exported.
    pub(crate) metrics: Option<MetricsPlan>,
}

/// Where traces are exported to, and which.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TracesPlan {
    pub(crate) collector: Collector,
    pub(crate) sampling: Sampling,
}

/// Where metrics are exported to, and how often.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MetricsPlan {
    pub(crate) collector: Collector,
    pub(crate) every: Duration,
}

impl OtlpPlan {
    /// Merges the settings with the variables.
    ///
    /// # Errors
    ///
    /// Names the variable that can't be used.
    pub(crate) fn new(
        settings: &WatchSettings,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let variables = Variables(&variable);
        let flag = settings.otlp.as_ref();
        let traces = match variables.collector(&TRACES, flag)? {
            None => None,
            Some(collector) => {
                variables.check_spans()?;
                let sampling = match settings.trace_sampling {
                    Some(Percent(sampling)) => sampling,
                    None => sampling(|name| variables.get(name))?,
                };
                Some(TracesPlan { collector, sampling })
            }
        };
        let metrics = match variables.collector(&METRICS, flag)? {
            None => None,
            Some(collector) => {
                variables.check_points()?;
                let every = variables.milliseconds(&["OTEL_METRIC_EXPORT_INTERVAL"], INTERVAL)?;
                Some(MetricsPlan { collector, every })
            }
        };
        Ok(Self { traces, metrics })
    }
}

impl TracesPlan {
    /// Returns where the trace of a single task is exported to. A variable can't ask for it, but turn it off.
    ///
    /// # Errors
    ///
    /// Names the variable that can't be used.
    pub(crate) fn asked(
        url: &CollectorUrl,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let collector = Variables(&variable).collector(&TRACES, Some(url))?;
        Ok(collector.map(|collector| Self { collector, sampling: Sampling::ALL }))
    }
}

/// A kind of data that is exported.
struct Signal {
    /// Its path below the URL of a collector.
    path: &'static str,
    /// The variable that turns it off.
    exporter: &'static str,
    /// Its place in the names of the variables that are for it alone.
    word: &'static str,
}

const TRACES: Signal = Signal { path: "/v1/traces", exporter: "OTEL_TRACES_EXPORTER", word: "TRACES" };
const METRICS: Signal = Signal { path: "/v1/metrics", exporter: "OTEL_METRICS_EXPORTER", word: "METRICS" };

impl Signal {
    /// Returns the names of the variables with this ending: the one for this signal alone comes first.
    fn names(&self, ending: &str) -> [String; 2] {
        [format!("OTEL_EXPORTER_OTLP_{}_{ending}", self.word), format!("OTEL_EXPORTER_OTLP_{ending}")]
    }
}

/// The variables of OpenTelemetry's specification. An empty one counts as unset.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    /// Returns the first of these variables that is set, with its name.
    fn first<'n, S: AsRef<str>>(&self, names: &'n [S]) -> Option<(&'n str, String)> {
        names.iter().find_map(|name| Some((name.as_ref(), self.get(name.as_ref())?)))
    }

    /// Returns where a signal is sent: to the collector of the setting, or else of the variables.
    fn collector(&self, signal: &Signal, flag: Option<&CollectorUrl>) -> Result<Option<Collector>, Failure> {
        if self.get(signal.exporter).as_deref() == Some("none") {
            return Ok(None);
        }
        let endpoint = match flag {
            Some(CollectorUrl(url)) => format!("{url}{}", signal.path),
            None => {
                let Some(endpoint) = self.endpoint(signal)? else { return Ok(None) };
                self.check_protocol(signal)?;
                endpoint
            }
        };
        if let Some((name, text)) =
            self.first(&signal.names("COMPRESSION")).filter(|(_, text)| text != "none")
        {
            return Err(wrong(name, &text, "requests are sent as they are: set it to none, or unset it"));
        }
        let timeout = self.milliseconds(&signal.names("TIMEOUT"), TIMEOUT)?;
        Ok(Some(Collector { endpoint, headers: self.headers(signal)?, timeout }))
    }

    /// Returns the URL that the variables name.
    fn endpoint(&self, signal: &Signal) -> Result<Option<String>, Failure> {
        if self.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let names = signal.names("ENDPOINT");
        let Some((name, text)) = self.first(&names) else { return Ok(None) };
        let CollectorUrl(url) = CollectorUrl::read(&text).map_err(|error| wrong(name, &text, &error))?;
        // The URL for a signal alone is taken as it is.
        Ok(Some(if name == names[0] { url } else { format!("{url}{}", signal.path) }))
    }

    /// Refuses another protocol than the one that is spoken: the port of gRPC is another one.
    fn check_protocol(&self, signal: &Signal) -> Result<(), Failure> {
        match self.first(&signal.names("PROTOCOL")) {
            Some((name, protocol)) if protocol != "http/protobuf" => {
                let off = signal.exporter;
                let error = format!(
                    "only http/protobuf is spoken; name the collector with --otlp URL, or turn this off with {off}=none"
                );
                Err(wrong(name, &protocol, &error))
            }
            _ => Ok(()),
        }
    }

    /// Reads headers, such as credentials: an error doesn't repeat them.
    fn headers(&self, signal: &Signal) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        let names = signal.names("HEADERS");
        let Some((variable, text)) = self.first(&names) else { return Ok(headers) };
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let header = pair.split_once('=').and_then(|(name, value)| {
                let value: Vec<u8> = percent_decode_str(value.trim()).collect();
                let mut value = HeaderValue::from_bytes(&value).ok()?;
                value.set_sensitive(true);
                Some((name.trim().parse::<HeaderName>().ok()?, value))
            });
            let Some((name, value)) = header else {
                let error =
                    "expected NAME=VALUE pairs with commas between them, and each value percent-encoded";
                return Err(Failure::usage(format!("the variable {variable} cannot be used: {error}")));
            };
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// Reads a time in milliseconds from the first of these variables that is set.
    fn milliseconds<S: AsRef<str>>(
        &self,
        names: &[S],
        (default, range): (u64, RangeInclusive<u64>),
    ) -> Result<Duration, Failure> {
        let Some((name, text)) = self.first(names) else { return Ok(Duration::from_millis(default)) };
        match text.trim().parse() {
            Ok(number) if range.contains(&number) => Ok(Duration::from_millis(number)),
            _ => {
                let error = format!("expected milliseconds from {} to {}", range.start(), range.end());
                Err(wrong(name, &text, &error))
            }
        }
    }

    /// Refuses a size that OpenTelemetry's SDK would take literally.
    fn check_spans(&self) -> Result<(), Failure> {
        let name = "OTEL_BSP_MAX_QUEUE_SIZE";
        match self.get(name) {
            Some(text) if text.trim().parse().is_ok_and(|spans: u64| spans > MAX_WAITING) => {
                Err(wrong(name, &text, &format!("at most {MAX_WAITING} spans may wait")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses other forms of metrics than the one that is sent.
    fn check_points(&self) -> Result<(), Failure> {
        for (ending, only) in [
            ("TEMPORALITY_PREFERENCE", "cumulative"),
            ("DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
        ] {
            let name = format!("OTEL_EXPORTER_OTLP_METRICS_{ending}");
            if let Some(text) = self.get(&name).filter(|text| !text.trim().eq_ignore_ascii_case(only)) {
                return Err(wrong(
                    &name,
                    &text,
                    &format!("only {only} is sent: set it to that, or unset it"),
                ));
            }
        }
        Ok(())
    }
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
#[path = "otlp_tests.rs"]
mod tests;
