//! Settings of metrics, status and traces, and the address of a worker.

use super::text::{Written, expected, typed};
use clap::Args;
use http::Uri;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wasmrun_http::Server;
use wasmrun_runtime::model::trace::Sampling;

/// How a worker may be watched.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WatchSettings {
    /// Serve a page at /, and /healthz, /readyz, /metrics and /status over HTTP at this address, without
    /// authentication; a port alone means 127.0.0.1 [default: off]
    #[arg(long, value_name = "[ADDRESS:]PORT", env = "WASMRUN_STATUS", value_parser = typed::<Listen>)]
    pub(crate) status: Option<Listen>,
    /// Print metrics for CloudWatch to standard output each minute, in this namespace (Embedded Metric
    /// Format) [default: off]
    #[arg(long, value_name = "NAMESPACE", env = "WASMRUN_EMF", value_parser = typed::<EmfNamespace>)]
    pub(crate) emf: Option<EmfNamespace>,
    /// Send traces of tasks and metrics to this collector (OTLP over HTTP), with /v1/traces and /v1/metrics
    /// added; OTEL_TRACES_EXPORTER=none or OTEL_METRICS_EXPORTER=none turns one of them off [default:
    /// OTEL_EXPORTER_OTLP_ENDPOINT, or the same for TRACES or METRICS alone, else off]
    #[arg(long, value_name = "URL", env = "WASMRUN_OTLP", value_parser = typed::<CollectorUrl>)]
    pub(crate) otlp: Option<CollectorUrl>,
    /// Share of the traces that start in this worker to send; traces of failed tasks are always sent [default:
    /// OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG, else 100%]
    #[arg(long, value_name = "PERCENT", env = "WASMRUN_TRACE_SAMPLING", value_parser = typed::<Percent>)]
    pub(crate) trace_sampling: Option<Percent>,
    /// Name of the service in traces, in metrics over OTLP and in the CloudWatch dimension `service` [default: the
    /// component's name]
    #[arg(long, value_name = "NAME", env = "WASMRUN_SERVICE")]
    pub(crate) service: Option<String>,
}

/// Maximum length of a host name in DNS.
const MAX_HOST_NAME: usize = 253;

/// Address that the worker listens on: that of its status, or of a service's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl Written for Listen {
    const FORM: &'static str = "a port, or ADDRESS:PORT such as 0.0.0.0:9464 or [::1]:9464";
    const MAY_BE_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        if let Ok(port) = text.parse() {
            return Ok(Self((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse().map(Self).map_err(|_| expected::<Self>())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Address of a worker's status: the address that it listens on, or a host name and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WorkerAddress {
    Address(SocketAddr),
    Named { host: String, port: u16 },
}

impl Written for WorkerAddress {
    const FORM: &'static str = "a port, or HOST:PORT such as 10.0.0.7:9464 or localhost:9464";

    fn read(text: &str) -> Result<Self, String> {
        if let Ok(Listen(address)) = Listen::read(text) {
            return Ok(Self::Address(on_this_host(address)));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(expected::<Self>)?;
        let is_name = !host.is_empty()
            && host.len() <= MAX_HOST_NAME
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        match port.parse() {
            Ok(port) if is_name => Ok(Self::Named { host: host.to_owned(), port }),
            _ => Err(expected::<Self>()),
        }
    }
}

impl WatchSettings {
    /// Takes each setting that isn't set here from `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            status: self.status.or(other.status),
            emf: self.emf.or(other.emf),
            otlp: self.otlp.or(other.otlp),
            trace_sampling: self.trace_sampling.or(other.trace_sampling),
            service: self.service.or(other.service),
        }
    }
}

/// Replaces an unspecified address, on which a server listens everywhere, by the loopback address that a client
/// connects to.
fn on_this_host(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// URL of an OTLP collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CollectorUrl(pub(crate) String);

impl Written for CollectorUrl {
    const FORM: &'static str = "http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]";

    fn read(text: &str) -> Result<Self, String> {
        let url: Uri = text.parse().map_err(|_| expected::<Self>())?;
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("credentials belong into OTEL_EXPORTER_OTLP_HEADERS".into());
        }
        if Server::of(&url).is_none() || url.query().is_some() {
            return Err(expected::<Self>());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// A share of 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percent(pub(crate) Sampling);

impl Written for Percent {
    const FORM: &'static str = "a percentage from 0% to 100%, such as 1%";

    fn read(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let sampling = number.and_then(|number| Sampling::new(number / 100.0));
        sampling.map(Self).ok_or_else(expected::<Self>)
    }
}

/// CloudWatch namespace of a worker's metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EmfNamespace(pub(crate) String);

/// Accepts the namespaces that CloudWatch allows:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>
impl Written for EmfNamespace {
    const FORM: &'static str = "a namespace of 1 to 255 letters, digits, blanks and .-_/#:";

    fn read(text: &str) -> Result<Self, String> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_/#: ".contains(&b);
        if !(1..=255).contains(&text.len()) || !text.bytes().all(allowed) || text.trim().is_empty() {
            return Err(expected::<Self>());
        }
        if text.starts_with("AWS/") || text.starts_with(':') {
            return Err("a namespace does not begin with AWS/ or a colon".into());
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::ConfigFile;

    #[test]
    fn a_port_alone_is_one_of_this_host_for_itself() {
        let parse = |text: &str| Listen::read(text).map(|listen| listen.to_string());
        assert_eq!(parse("9464"), Ok("127.0.0.1:9464".into()));
        assert_eq!(parse("0.0.0.0:80"), Ok("0.0.0.0:80".into()));
        assert_eq!(parse("[::1]:80"), Ok("[::1]:80".into()));
        for text in ["", ":", ":9464", "localhost", "127.0.0.1", "65536", "-1", "host:80", "::1:80:"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["status = 9464", "status = '9464'", "status = '127.0.0.1:9464'"] {
            let file: ConfigFile = toml::from_str(text).expect("valid");
            assert_eq!(file.status, Listen::read("9464").ok());
        }
        assert!(toml::from_str::<ConfigFile>("status = 'everywhere'").is_err());
    }

    #[test]
    fn who_listens_everywhere_is_found_on_this_host() {
        let address = |text: &str| WorkerAddress::read(text);
        let on_this_host = |text: &str| Ok(WorkerAddress::Address(text.parse().expect("an address")));
        assert_eq!(address("9464"), on_this_host("127.0.0.1:9464"));
        assert_eq!(address("0.0.0.0:80"), on_this_host("127.0.0.1:80"));
        assert_eq!(address("[::]:80"), on_this_host("[::1]:80"));
        assert_eq!(address("10.1.2.3:80"), on_this_host("10.1.2.3:80"));
    }

    #[test]
    fn a_worker_may_be_named_by_its_host() {
        let named = |host: &str| Ok(WorkerAddress::Named { host: host.into(), port: 80 });
        for host in ["localhost", "worker-1.example.internal"] {
            assert_eq!(WorkerAddress::read(&format!("{host}:80")), named(host));
        }
        for text in ["", ":80", "localhost", "localhost:", "localhost:http", "a b:80", "::1:80:", "x:65536"] {
            assert!(WorkerAddress::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_namespace_is_what_cloudwatch_takes() {
        for text in ["Thumbs", "team/thumbs 2", "a.b-c_d#e:f"] {
            assert!(EmfNamespace::read(text).is_ok(), "{text}");
        }
        let long = "x".repeat(256);
        for text in ["", " ", "AWS/SQS", ":x", "ü", "a\nb", "a,b", &long] {
            assert!(EmfNamespace::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_collector_is_named_by_an_http_url_without_credentials() {
        for text in ["http://127.0.0.1:4318", "https://collector.example/otlp", "http://[::1]:4318/"] {
            assert_eq!(CollectorUrl::read(text).map(|url| url.0), Ok(text.trim_end_matches('/').into()));
        }
        for text in
            ["", "4318", "localhost:4318", "grpc://h:4317", "http://", "http://u:p@h", "http://h/?x=1"]
        {
            assert!(CollectorUrl::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_a_percentage() {
        let share = |text: &str| Percent::read(text).map(|percent| percent.0);
        assert_eq!(share("1%").ok(), Sampling::new(0.01));
        assert_eq!(share("0 %").ok(), Sampling::new(0.0));
        for text in ["", "1", "%", "-1%", "101%", "nan%", "inf%", "0.01"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
