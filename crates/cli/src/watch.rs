//! How a worker may be watched: what is set, from flags, variables and the file; and `wasmrun health`.

use crate::args::HealthArgs;
use crate::failure::{EXIT_UNHEALTHY, Failure};
use crate::output::Output;
use crate::settings::{File, from_number_or_text};
use clap::Args;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_runtime::worker::Worker;
use wasmrun_watch::emf::{self, Emf};
use wasmrun_watch::metrics::Metrics;
use wasmrun_watch::server::Server;
use wasmrun_watch::{Watch, probe};

/// How a worker may be watched.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WatchSettings {
    /// Answer HTTP here: /healthz, /readyz, /metrics and /status, to anybody who can reach it; a port alone is one of
    /// 127.0.0.1 [default: nowhere]
    #[arg(long, value_name = "[ADDRESS:]PORT", env = "WASMRUN_LISTEN")]
    pub(crate) listen: Option<Listen>,
    /// Print metrics for CloudWatch to standard output, a line each minute (Embedded Metric Format), for this namespace
    /// [default: none]
    #[arg(long, value_name = "NAMESPACE", env = "WASMRUN_EMF", value_parser = parse_namespace)]
    pub(crate) emf: Option<String>,
    /// What this worker is called there: the dimension `service` [default: the component's name]
    #[arg(long, value_name = "NAME", env = "WASMRUN_SERVICE")]
    pub(crate) service: Option<String>,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: write a port, or ADDRESS:PORT such as 0.0.0.0:9464 or [::1]:9464");
        if let Ok(port) = text.parse() {
            return Ok(Self((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse().map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let listen: Option<Self> = from_number_or_text(deserializer)?;
        listen.ok_or_else(|| serde::de::Error::custom("nothing"))
    }
}

impl Listen {
    /// Where a program on this host finds who listens there.
    pub(crate) fn on_this_host(self) -> SocketAddr {
        let Self(address) = self;
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, address.port())
    }
}

/// What CloudWatch takes.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>
pub(crate) fn parse_namespace(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_/#: ".contains(&b);
    if !(1..=255).contains(&text.len()) || !text.bytes().all(allowed) || text.trim().is_empty() {
        return Err(format!("{text:?}: a namespace is 1 to 255 of letters, digits, blanks and .-_/#:"));
    }
    if text.starts_with("AWS/") || text.starts_with(':') {
        return Err(format!("{text:?}: a namespace doesn't begin with AWS/ or a colon"));
    }
    Ok(text.to_owned())
}

impl WatchSettings {
    pub(crate) fn or(self, file: &mut File) -> Result<Self, Failure> {
        let in_file = |text: String| {
            parse_namespace(&text)
                .map_err(|error| Failure::usage(format!("in the configuration, emf: {error}")))
        };
        Ok(Self {
            listen: self.listen.or(file.listen.take()),
            emf: match (self.emf, file.emf.take()) {
                (None, Some(text)) => Some(in_file(text)?),
                (typed, _) => typed,
            },
            service: self.service.or(file.service.take()),
        })
    }

    /// Makes what is told of each task's end.
    pub(crate) fn observers(&self, component: &str, queue: &str) -> Observers {
        let service = self.service.clone().unwrap_or_else(|| {
            Path::new(component).file_stem().unwrap_or_default().to_string_lossy().into_owned()
        });
        Observers {
            metrics: self.listen.map(|_| Arc::new(Metrics::default())),
            emf: self.emf.clone().map(|namespace| Arc::new(Emf::new(namespace, &service, queue))),
        }
    }

    /// Listens, if that is asked for.
    pub(crate) async fn bind(&self) -> Result<Option<Server>, Failure> {
        let Some(Listen(address)) = self.listen else { return Ok(None) };
        let server = Server::bind(address)
            .await
            .map_err(|error| Failure::backend(format!("cannot listen on {address}: {error}")))?;
        let address = server.address();
        tracing::info!(%address, "Listening.");
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "Whoever can reach this address can see the worker's status and its metrics: there is no authentication."
            );
        }
        Ok(Some(server))
    }
}

/// What is told of each task's end, for those who watch.
pub(crate) struct Observers {
    pub(crate) metrics: Option<Arc<Metrics>>,
    pub(crate) emf: Option<Arc<Emf>>,
}

/// Answers until it's dropped.
pub(crate) fn serve(server: Server, watch: Arc<Watch>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(server.serve(watch)))
}

/// Prints a line each minute until it's dropped.
pub(crate) fn report(emf: Arc<Emf>, worker: Arc<Worker>, output: Output) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        emf.report(emf::EVERY, || worker.status(), |line| output.print(line)).await;
    }))
}

/// `wasmrun health`.
pub(crate) async fn health(args: HealthArgs) -> Result<ExitCode, Failure> {
    let (code, line) = match probe::alive(args.address.on_this_host()).await {
        Ok(()) => (ExitCode::SUCCESS, "alive".to_owned()),
        Err(why) => (ExitCode::from(EXIT_UNHEALTHY), why),
    };
    // That nobody reads it changes nothing.
    let _ = writeln!(io::stdout(), "{line}");
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_one_of_this_host_for_itself() {
        let parse = |text: &str| text.parse::<Listen>().map(|listen| listen.to_string());
        assert_eq!(parse("9464"), Ok("127.0.0.1:9464".into()));
        assert_eq!(parse("0.0.0.0:80"), Ok("0.0.0.0:80".into()));
        assert_eq!(parse("[::1]:80"), Ok("[::1]:80".into()));
        for text in ["", ":", ":9464", "localhost", "127.0.0.1", "65536", "-1", "host:80", "::1:80:"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for text in ["listen = 9464", "listen = '9464'", "listen = '127.0.0.1:9464'"] {
            let file: File = toml::from_str(text).expect("valid");
            assert_eq!(file.listen, "9464".parse().ok());
        }
        assert!(toml::from_str::<File>("listen = 'everywhere'").is_err());
    }

    #[test]
    fn who_listens_everywhere_is_found_on_this_host() {
        let on_this_host = |text: &str| text.parse::<Listen>().expect("valid").on_this_host().to_string();
        assert_eq!(on_this_host("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(on_this_host("[::]:80"), "[::1]:80");
        assert_eq!(on_this_host("10.1.2.3:80"), "10.1.2.3:80");
    }

    #[test]
    fn a_namespace_is_what_cloudwatch_takes() {
        for text in ["Thumbs", "team/thumbs 2", "a.b-c_d#e:f"] {
            assert!(parse_namespace(text).is_ok(), "{text}");
        }
        let long = "x".repeat(256);
        for text in ["", " ", "AWS/SQS", ":x", "ü", "a\nb", "a,b", &long] {
            assert!(parse_namespace(text).is_err(), "{text}");
        }
    }
}
