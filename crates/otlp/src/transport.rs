//! Posts spans and metrics to the collector, and logs once that it fails.

use crate::Collector;
use async_trait::async_trait;
use http::header::RETRY_AFTER;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use wasmrun_http::{Client, Server, send_within};

/// Maximum size of a response that is read, in bytes: it says how many spans or values were refused.
const MAX_RESPONSE: usize = 64 << 10;
/// Maximum size of the part of a response that is logged, in bytes.
const MAX_LOGGED: usize = 200;
/// First and longest pause before a request is repeated. It doubles with each failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Spans,
    Metrics,
}

impl Signal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Metrics => "metrics",
        }
    }

    /// What becomes of what can't be sent.
    fn fate(self) -> &'static str {
        match self {
            Self::Spans => "spans are dropped until it answers",
            Self::Metrics => "it misses their values until it answers",
        }
    }
}

/// Posts one signal. It is the client with which the SDK posts spans, too.
#[derive(Clone)]
pub(crate) struct Transport(Arc<Shared>);

struct Shared {
    client: Client,
    io: Handle,
    collector: Collector,
    signal: Signal,
    /// Whether the last request failed: only changes are logged.
    fails: AtomicBool,
    /// Cancelled when the worker ends: from then on, no request is repeated.
    closing: CancellationToken,
}

impl Transport {
    /// Creates a client whose requests are made on a runtime: the SDK's thread has none.
    pub(crate) fn new(client: Client, io: Handle, collector: Collector, signal: Signal) -> Self {
        let (fails, closing) = (AtomicBool::new(false), CancellationToken::new());
        Self(Arc::new(Shared { client, io, collector, signal, fails, closing }))
    }

    /// Ends the wait for the next attempt, which is the last.
    pub(crate) fn close(&self) {
        self.0.closing.cancel();
    }

    /// Posts a request. As the protocol wants it, repeats it for as long as it may have more luck, with growing pauses:
    /// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-response>.
    pub(crate) async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let shared = &self.0;
        let deadline = Instant::now() + shared.collector.timeout;
        let mut pause = PAUSES.0;
        loop {
            let sent = timeout_at(deadline, shared.send(request.clone())).await;
            let answer = sent.unwrap_or_else(|_| Err("no response in time".into()));
            shared.note(&answer);
            let is_last = shared.closing.is_cancelled() || !may_have_more_luck(&answer);
            // Random, so that workers which failed together don't come again together.
            let wait = pause.mul_f64(0.5 + fastrand::f64() / 2.0).max(asked_pause(&answer));
            let left = deadline.saturating_duration_since(Instant::now());
            if is_last || wait >= left {
                return answer;
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = shared.closing.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("collector", &self.0.collector).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let transport = self.clone();
        Ok(self.0.io.spawn(async move { transport.post(request).await }).await??)
    }
}

impl Shared {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, content) = request.into_parts();
        let (server, path) = Server::of(&head.uri).ok_or("the URL of the collector names no server")?;
        let mut request = Request::post(path);
        if let Some(headers) = request.headers_mut() {
            *headers = head.headers;
            headers.extend(self.collector.headers.clone());
        }
        let first_byte = self.collector.timeout;
        let mut answer = send_within(&self.client, &server, request, content, first_byte).await?;
        let content = answer.read(MAX_RESPONSE).await?.ok_or("the response is too large")?;
        let mut response = Response::new(content.into());
        *response.status_mut() = answer.status;
        *response.headers_mut() = std::mem::take(&mut answer.headers);
        Ok(response)
    }

    /// Logs that the collector doesn't take what is sent, or does again.
    fn note(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let (signal, endpoint) = (self.signal.as_str(), &self.collector.endpoint);
        match failure(answer) {
            None if self.fails.swap(false, Ordering::Relaxed) => {
                tracing::info!(endpoint, "sending {signal} again");
            }
            None => {}
            Some(error) if !self.fails.swap(true, Ordering::Relaxed) => {
                let fate = self.signal.fate();
                tracing::warn!(endpoint, error, "cannot send {signal} to the collector: {fate}");
            }
            Some(_) => {}
        }
    }
}

/// Says why the collector hasn't taken all that was sent.
fn failure(answer: &Result<Response<Bytes>, HttpError>) -> Option<String> {
    match answer {
        Ok(response) if response.status().is_success() => refused(response.body()),
        Ok(response) => Some(format!("the collector answers {}", response.status())),
        Err(error) => Some(error.to_string()),
    }
}

/// Says how much of what was sent a collector has refused. Its answers to spans have the same form as those to metrics. An
/// answer of another form says nothing.
fn refused(body: &[u8]) -> Option<String> {
    let partial = ExportMetricsServiceResponse::decode(body).ok()?.partial_success?;
    let (number, why) = (partial.rejected_data_points, partial.error_message);
    let why = &why[..why.floor_char_boundary(MAX_LOGGED)];
    (number > 0).then(|| format!("the collector refuses {number} of them: {why}"))
}

fn may_have_more_luck(answer: &Result<Response<Bytes>, HttpError>) -> bool {
    match answer {
        Ok(response) => matches!(response.status().as_u16(), 429 | 502 | 503 | 504),
        Err(_) => true,
    }
}

/// Returns the pause that the collector asks for, in seconds.
fn asked_pause(answer: &Result<Response<Bytes>, HttpError>) -> Duration {
    let asked = answer.as_ref().ok().and_then(|response| response.headers().get(RETRY_AFTER));
    let seconds = asked.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map_or(Duration::ZERO, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;

    fn answer(status: u16, retry_after: &str, body: Vec<u8>) -> Result<Response<Bytes>, HttpError> {
        let response = Response::builder().status(status).header(RETRY_AFTER, retry_after);
        Ok(response.body(body.into()).expect("a response"))
    }

    #[test]
    fn only_what_may_pass_is_repeated_and_not_before_the_collector_wants_it() {
        for (status, is_repeated) in [
            (200, false),
            (400, false),
            (404, false),
            (500, false),
            (429, true),
            (502, true),
            (503, true),
            (504, true),
        ] {
            assert_eq!(may_have_more_luck(&answer(status, "", Vec::new())), is_repeated, "{status}");
        }
        assert!(may_have_more_luck(&Err("refused".into())));
        for (retry_after, seconds) in
            [("7", 7), (" 7 ", 7), ("", 0), ("-1", 0), ("Fri, 31 Dec 1999 23:59:59 GMT", 0)]
        {
            let asked = asked_pause(&answer(503, retry_after, Vec::new()));
            assert_eq!(asked, Duration::from_secs(seconds), "{retry_after}");
        }
        let longest = asked_pause(&answer(503, &u64::MAX.to_string(), Vec::new()));
        assert_eq!(longest, Duration::from_secs(u64::MAX));
    }

    #[test]
    fn what_a_collector_refuses_of_a_request_is_said_and_what_is_no_answer_is_not() {
        let partial = |number, message: &str| {
            let partial =
                ExportMetricsPartialSuccess { rejected_data_points: number, error_message: message.into() };
            ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec()
        };
        let said = |body: Vec<u8>| failure(&answer(200, "", body));
        assert_eq!(said(partial(3, "old")).as_deref(), Some("the collector refuses 3 of them: old"));
        assert!(said(partial(1, &"ü".repeat(1000))).is_some_and(|text| text.len() < MAX_LOGGED + 100));
        for body in [Vec::new(), partial(0, "a hint"), partial(-1, ""), vec![0xff; 1000], b"{}".to_vec()] {
            assert_eq!(said(body), None);
        }
        assert!(failure(&answer(500, "", Vec::new())).is_some() && failure(&Err("no".into())).is_some());
    }
}
