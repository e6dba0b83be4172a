//! One request that was granted, from the look-up of its host to its response.

use super::meter::{Counted, Direction, Meter, head_bytes, request_head_bytes};
use super::{Answered, Connection, Shared};
use crate::ports::http::{Body, Destination, Hold, HttpError, MAX_HEAD_BYTES};
use crate::task::calls::CallResult;
use crate::task::http::{HttpGrant, Target};
use http::Request;
use http::header::{CONNECTION, HOST, HeaderValue, TRAILER};
use http_body_util::BodyExt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

/// Times that the guest may shorten.
pub(super) struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Timeouts {
    pub(super) fn of(options: Option<RequestOptions>, most: Duration) -> Self {
        let options = options.unwrap_or_default();
        let bounded = |time: Option<Duration>| time.map_or(most, |time| time.min(most));
        Self {
            connect: bounded(options.connect_timeout),
            first_byte: bounded(options.first_byte_timeout),
            between_bytes: bounded(options.between_bytes_timeout),
        }
    }
}

/// One request and its response.
pub(super) struct Exchange {
    pub(super) shared: Arc<Shared>,
    pub(super) grant: HttpGrant,
    pub(super) target: Target,
    pub(super) timeouts: Timeouts,
}

impl Exchange {
    pub(super) async fn carry_out(self, request: Request<WasiBody>) -> Answered {
        let began = Instant::now();
        let answered = self.try_carry_out(request).await;
        // The task ended while the request waited for a connection: it was never sent.
        if matches!(answered, Err(Error::ConnectionLimitReached)) && self.shared.connections.is_closed() {
            return answered;
        }
        let result = match &answered {
            Ok(_) => CallResult::Ok,
            Err(Error::DestinationIpProhibited) => CallResult::AccessDenied,
            Err(_) => CallResult::Unavailable,
        };
        self.shared.config.calls.requested(result);
        if let Some(recorder) = &self.shared.recorder {
            let times = (began, Instant::now());
            recorder.lock().record(times, "http", "request", &self.target.host(), result.as_str());
        }
        answered
    }

    async fn try_carry_out(&self, request: Request<WasiBody>) -> Answered {
        let longest = self.shared.config.limits.http_timeout;
        let permit = match timeout(longest, self.shared.connections.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Arc::new(permit),
            _ => return Err(Error::ConnectionLimitReached),
        };
        let destination = Destination {
            is_tls: self.target.is_tls(),
            host: self.target.host(),
            port: self.target.port(),
            addresses: self.addresses(permit.clone()).await?,
            connect: self.timeouts.connect,
            first_byte: self.timeouts.first_byte,
        };
        let request = self.prepared(request)?;
        let answer = self.grant.client.send(&destination, request).await;
        let answer = answer.map_err(|error| self.failed(error))?;
        let received = head_bytes(answer.response.headers());
        self.count(Direction::Received, received)?;
        let body = |body| {
            let body = self.counted(body, Direction::Received, Some(self.timeouts.between_bytes));
            body.map_err(|error| match error {
                HttpError::Ended => Error::HttpResponseIncomplete,
                error => error.into_wasi(),
            })
            .boxed_unsync()
        };
        let response = answer.response.map(body);
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            answer.connection.await;
            drop(permit);
        }));
        let connection: Connection = Box::new(async move {
            let _ = connection.await;
            Ok(())
        });
        Ok((response, connection))
    }

    /// Looks the host up once, and returns those of its addresses that may be reached. The connection goes to one of
    /// these. A look-up that is abandoned keeps the connection's permit until it ends, so that a task can't have more of
    /// them at once than connections.
    async fn addresses(&self, permit: Hold) -> Result<Vec<IpAddr>, Error> {
        let host = self.target.host();
        let found = match self.target.address() {
            Some(address) => vec![address],
            None => match timeout(self.timeouts.connect, self.grant.client.resolve(&host, permit)).await {
                Ok(found) => found.map_err(|error| self.failed(error))?,
                Err(_) => return Err(Error::DnsTimeout),
            },
        };
        let allowed: Vec<_> =
            found.iter().copied().filter(|address| self.grant.may_reach(&self.target, *address)).collect();
        if allowed.is_empty() {
            let why = match found.first() {
                Some(address) => {
                    format!("its address {address} is not public: --allow-http-address allows it")
                }
                None => "it has no address".into(),
            };
            self.shared.refuse(&self.target, &why);
            return Err(Error::DestinationIpProhibited);
        }
        Ok(allowed)
    }

    /// Sets the headers that a guest can't set, and counts the request.
    fn prepared(&self, request: Request<WasiBody>) -> Result<Request<Body>, Error> {
        let (mut parts, body) = request.into_parts();
        let host =
            HeaderValue::try_from(self.target.authority()).map_err(|_| Error::HttpRequestUriInvalid)?;
        parts.headers.insert(HOST, host);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        parts.headers.remove(TRAILER);
        self.count(Direction::Sent, request_head_bytes(&parts))?;
        let body = body.map_err(|error| HttpError::Body(error.to_string()));
        Ok(Request::from_parts(parts, self.counted(body, Direction::Sent, None).boxed_unsync()))
    }

    fn counted<B>(&self, body: B, direction: Direction, between_bytes: Option<Duration>) -> Counted<B> {
        Counted::new(body, self.meter(direction), between_bytes)
    }

    fn meter(&self, direction: Direction) -> Meter {
        self.shared.meter(direction)
    }

    fn count(&self, direction: Direction, bytes: u64) -> Result<(), Error> {
        self.meter(direction).count(bytes).map_err(HttpError::into_wasi)
    }

    /// Logs for the operator why there is no response. The guest receives the kind of error.
    fn failed(&self, error: HttpError) -> Error {
        if error != HttpError::Limit {
            self.shared.log.call_failed("http", &self.target.host(), &error.to_string());
        }
        error.into_wasi()
    }
}

impl HttpError {
    pub(crate) fn into_wasi(self) -> Error {
        match self {
            Self::Name(_) => Error::DnsError { rcode: None, info_code: None },
            Self::Connect(_) => Error::ConnectionRefused,
            Self::ConnectTimeout => Error::ConnectionTimeout,
            Self::Certificate(_) => Error::TlsCertificateError,
            Self::Tls(_) => Error::TlsProtocolError,
            Self::Proxy(_) => Error::DestinationUnavailable,
            Self::FirstByteTimeout => Error::HttpResponseTimeout,
            Self::BetweenBytesTimeout => Error::ConnectionReadTimeout,
            Self::HeadSize => Error::HttpResponseHeaderSectionSize(u32::try_from(MAX_HEAD_BYTES).ok()),
            Self::Ended => Error::ConnectionTerminated,
            Self::Protocol(_) | Self::Body(_) | Self::Task => Error::HttpProtocolError,
            Self::Limit => Error::HttpRequestDenied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TaskHttp;
    use super::super::meter::Counts;
    use super::*;
    use crate::model::limits::Limits;
    use crate::ports::http::{Answer, HttpClient};
    use crate::task::calls::HostCalls;
    use crate::task::grant::Grants;
    use crate::task::log::GuestLog;
    use crate::task::store::TaskConfig;
    use async_trait::async_trait;
    use futures_util::FutureExt;
    use http::Response;
    use http_body_util::{Empty, Full};
    use parking_lot::Mutex;
    use tokio::sync::Semaphore;

    /// A client that connects nowhere. Each look-up has the next answer.
    #[derive(Default)]
    struct Recording {
        answers: Mutex<Vec<Vec<IpAddr>>>,
        sent: Mutex<Vec<(Destination, String)>>,
        /// Of look-ups of `slow.test`, which go on when nobody waits.
        looking_up: Mutex<Vec<Hold>>,
    }

    #[async_trait]
    impl HttpClient for Recording {
        async fn resolve(&self, host: &str, hold: Hold) -> Result<Vec<IpAddr>, HttpError> {
            if host == "slow.test" {
                self.looking_up.lock().push(hold);
                std::future::pending::<()>().await;
            }
            let mut answers = self.answers.lock();
            if answers.is_empty() { Err(HttpError::Name("none".into())) } else { Ok(answers.remove(0)) }
        }

        async fn send(&self, to: &Destination, request: Request<Body>) -> Result<Answer, HttpError> {
            let host = request.headers()[HOST].to_str().expect("text").to_owned();
            self.sent.lock().push((to.clone(), host));
            request.into_body().collect().await?;
            let body = Full::new("hello".into()).map_err(|never| match never {}).boxed_unsync();
            Ok(Answer { response: Response::new(body), connection: Box::pin(async {}) })
        }
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    struct Task {
        client: Arc<Recording>,
        shared: Arc<Shared>,
    }

    impl Task {
        /// A task that may request `rule`, and for which look-ups have these answers.
        fn new(rule: &str, allowed: &[&str], answers: &[&[&str]]) -> Self {
            let answers = answers.iter().map(|answer| addresses(answer)).collect();
            let client = Arc::new(Recording { answers: Mutex::new(answers), ..Recording::default() });
            let http = HttpGrant {
                rules: vec![rule.parse().expect("a rule")],
                addresses: allowed.iter().map(|rule| rule.parse().expect("a rule")).collect(),
                client: client.clone(),
            };
            let grants = Grants { http: Some(http), ..Grants::default() };
            let config = TaskConfig {
                calls: Arc::new(HostCalls::of(&grants)),
                grants: Arc::new(grants),
                ..TaskConfig::within(Limits { http_received_bytes: 12, ..Limits::default() })
            };
            let shared = Shared {
                config: Arc::new(config),
                log: GuestLog::new("message", 1000),
                counts: Counts::default(),
                recorder: None,
                connections: Arc::new(Semaphore::new(1)),
            };
            Self { client, shared: Arc::new(shared) }
        }

        async fn get(&self, url: &str) -> Answered {
            let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            let request = Request::get(url).body(body).expect("a request");
            let grant = self.shared.config.grants.http.clone().expect("granted");
            let target = Target::of(request.uri()).filter(|target| grant.allows(target)).expect("granted");
            let timeouts = Timeouts::of(None, self.shared.config.limits.http_timeout);
            let exchange = Exchange { shared: self.shared.clone(), grant, target, timeouts };
            exchange.carry_out(request).await
        }

        /// The addresses to which requests were sent.
        fn reached(&self) -> Vec<Vec<IpAddr>> {
            self.client.sent.lock().iter().map(|(to, _)| to.addresses.clone()).collect()
        }
    }

    fn is_prohibited(result: &Answered) -> bool {
        matches!(result, Err(Error::DestinationIpProhibited))
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_refused_addresses_is_never_connected_to() {
        for refused in [
            &["127.0.0.1"][..],
            &["::1", "127.0.0.1"],
            &["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1"],
            &["169.254.169.254"],
            &["169.254.170.2"],
            &["fd00:ec2::254"],
            &["::ffff:127.0.0.1"],
            &["64:ff9b::7f00:1"],
            &["2002:7f00:1::"],
            &[],
        ] {
            let task = Task::new("api.test", &[], &[refused]);
            assert!(is_prohibited(&task.get("https://api.test/").await), "{refused:?}");
            assert!(task.reached().is_empty(), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_name_that_changes_between_two_look_ups_is_checked_each_time_and_used_as_checked() {
        let task =
            Task::new("api.test", &[], &[&["1.1.1.1"], &["127.0.0.1"], &["::ffff:10.0.0.1", "1.0.0.1"]]);
        assert!(task.get("https://api.test/").await.is_ok());
        assert_eq!(task.client.answers.lock().len(), 2, "one look-up for one request");
        assert!(is_prohibited(&task.get("https://api.test/").await));
        assert!(task.get("https://api.test/").await.is_ok());
        assert_eq!(task.reached(), [addresses(&["1.1.1.1"]), addresses(&["1.0.0.1"])]);
    }

    #[tokio::test]
    async fn a_look_up_that_goes_on_keeps_its_connection_from_the_task() {
        let task = Task::new("slow.test", &[], &[]);
        assert!(task.get("https://slow.test/").now_or_never().is_none(), "abandoned");
        assert_eq!(task.shared.connections.available_permits(), 0);
        task.client.looking_up.lock().clear();
        assert_eq!(task.shared.connections.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_private_address_is_reached_if_it_is_named() {
        let task =
            Task::new("api.test", &["10.0.0.0/8"], &[&["10.0.0.5", "127.0.0.1"], &["169.254.169.254"]]);
        assert!(task.get("https://api.test/").await.is_ok());
        assert!(is_prohibited(&task.get("https://api.test/").await));
        assert_eq!(task.reached(), [addresses(&["10.0.0.5"])]);
        // As the host of a rule, an address is named too. It isn't looked up.
        let literal = Task::new("http://[fd00::5]:8080", &[], &[]);
        assert!(literal.get("http://[FD00:0::5]:8080/x").await.is_ok());
        let (to, host) = literal.client.sent.lock().remove(0);
        assert_eq!((to.is_tls, to.port, to.addresses), (false, 8080, addresses(&["fd00::5"])));
        assert_eq!(host, "[fd00::5]:8080");
    }

    #[tokio::test]
    async fn a_request_that_waits_for_a_connection_gets_none_when_its_task_ends() {
        let mut task = Task::new("api.test", &[], &[&["1.1.1.1"]]);
        let http = TaskHttp::new(&task.shared.config, &GuestLog::new("message", 1000), None);
        task.shared = http.hooks.shared.clone();
        let all = task.shared.config.limits.http_connections() as u32;
        let open = task.shared.connections.clone().try_acquire_many_owned(all).expect("permits");
        let mut waiting = std::pin::pin!(task.get("https://api.test/"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(http);
        drop(open);
        assert!(matches!(waiting.await, Err(Error::ConnectionLimitReached)));
        assert!(task.reached().is_empty());
        let counts = task.shared.config.calls.http().expect("granted");
        assert_eq!(counts.requests(CallResult::Unavailable), 0, "it was never sent");
    }

    #[tokio::test]
    async fn the_bytes_of_a_response_are_counted_against_the_limit() {
        let task = Task::new("api.test", &[], &[&["1.1.1.1"], &["1.1.1.1"], &["1.1.1.1"]]);
        for number in 1..=3 {
            let (response, _) = task.get("https://api.test/").await.expect("a response");
            let read = response.into_body().collect().await;
            assert_eq!(
                (read.is_ok(), task.shared.counts.exceeded.get().is_some()),
                (number < 3, number == 3)
            );
        }
    }

    #[tokio::test]
    async fn a_body_that_pauses_for_too_long_fails() {
        let silent = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<bytes::Bytes>, HttpError>,
        >());
        let task = Task::new("api.test", &[], &[]);
        let meter = Meter { shared: task.shared, direction: Direction::Received };
        let read = Counted::new(silent, meter, Some(Duration::from_millis(1))).collect().await;
        assert!(matches!(read, Err(HttpError::BetweenBytesTimeout)));
    }
}
