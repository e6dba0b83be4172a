//! Serves `/`, `/events`, `/healthz`, `/readyz`, `/metrics` and `/status` over HTTP.
//!
//! Any client that can reach the server may ask: there is no authentication, and no request changes anything. The
//! resources that clients can use are bounded: the number of connections, the duration of each, and the bytes that are
//! read of a request.
//!
//! Browsers are clients that other sites may command. A server on a loopback address answers only requests for an
//! address or `localhost`, so that no site can read the answers by making its own name lead here (DNS rebinding). No
//! answer allows another origin to read it, to embed it or to frame it.

use crate::page::page;
use crate::{Watch, health, openmetrics};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::Authority;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Most connections at a time: enough for scrapers, health checks and people. A further connection closes the oldest
/// one.
const MOST_CONNECTIONS: usize = 64;
/// Time to receive the headers of a request, which fit into one packet.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Longest duration of a connection, which carries one request and a response of some ten kilobytes.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Interval of the events of a stream.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// Number of events of a stream, which ends within [`CONNECTION_TIME`] like any response. The client then connects
/// again, so that neither a slow client nor one that is gone keeps a connection.
const MOST_EVENTS: u32 = 9;
/// Size of hyper's read buffer, in bytes: the smallest that hyper accepts.
const MOST_HEADER_BYTES: usize = 8 << 10;
/// Pause after a failed accept: if the process has no free file descriptor, one may become free.
const PAUSE: Duration = Duration::from_millis(100);

/// Content type of Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";
const EVENTS: &str = "text/event-stream";

/// Paths that are served.
const PATHS: [&str; 6] = ["/", "/events", "/healthz", "/readyz", "/metrics", "/status"];

/// [Fetch: `Cross-Origin-Resource-Policy`](https://fetch.spec.whatwg.org/#cross-origin-resource-policy-header).
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A server that listens on an address and doesn't answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on an address. Port 0 selects any free port.
    ///
    /// # Errors
    ///
    /// Fails if the address is in use, or isn't one of this host.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Returns the address, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until the future is dropped, which closes all connections.
    pub async fn serve(self, watch: Arc<Watch>) {
        let mut connections = JoinSet::new();
        let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
        let is_loopback = self.address.ip().is_loopback();
        loop {
            by_age.retain(|connection| !connection.is_finished());
            // Idle connections must not keep a health check from being answered. One that is ended still holds its socket
            // for a moment: the next is accepted after that.
            while connections.len() >= MOST_CONNECTIONS {
                if let Some(oldest) = by_age.pop_front() {
                    oldest.abort();
                }
                let _ = connections.join_next().await;
            }
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        by_age.push_back(connections.spawn(answer(stream, watch.clone(), is_loopback)));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "cannot accept a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }
}

/// Answers one request of a connection.
async fn answer(stream: TcpStream, watch: Arc<Watch>, is_loopback: bool) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(&watch, &request, is_loopback);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MOST_HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "cannot serve a request"),
        Err(_) => tracing::debug!("closed a slow connection"),
    }
}

type Content = Either<Full<Bytes>, Events>;

fn respond(watch: &Arc<Watch>, request: &Request<Incoming>, is_loopback: bool) -> Response<Content> {
    let (method, path) = (request.method(), request.uri().path());
    if is_loopback && !names_an_address(request.headers()) {
        let why = "the Host header must name an address or localhost, as this worker listens on a loopback address\n";
        return text(StatusCode::FORBIDDEN, TEXT, why.into());
    }
    if PATHS.contains(&path) && method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n".into());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/" => {
            let mut response = response(StatusCode::OK, HTML, Either::Left(Full::new(page().html.clone())));
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, page().policy.clone());
            response
        }
        "/events" => response(StatusCode::OK, EVENTS, Either::Right(Events::new(watch.clone()))),
        "/healthz" => said(health::alive(&watch.status()), "alive"),
        "/readyz" => said(health::ready(&watch.status()), "ready"),
        "/metrics" => {
            let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let in_openmetrics = openmetrics::is_preferred(accept);
            let kind = if in_openmetrics { openmetrics::TYPE } else { METRICS };
            text(StatusCode::OK, kind, watch.metrics(in_openmetrics))
        }
        "/status" => text(StatusCode::OK, JSON, watch.json()),
        _ => text(StatusCode::NOT_FOUND, TEXT, format!("{}\n", PATHS.join(" "))),
    }
}

/// Returns whether each `Host` header names an IP address or `localhost`. Requests without one aren't of a browser.
fn names_an_address(headers: &HeaderMap) -> bool {
    headers.get_all(HOST).iter().all(|host| {
        let Ok(host) = Authority::try_from(host.as_bytes()) else { return false };
        let host = host.host().trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
    })
}

fn said(health: Result<(), String>, well: &str) -> Response<Content> {
    match health {
        Ok(()) => text(StatusCode::OK, TEXT, format!("{well}\n")),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Content> {
    response(status, kind, Either::Left(Full::new(Bytes::from(body))))
}

fn response(status: StatusCode, kind: &'static str, body: Content) -> Response<Content> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The status as server-sent events
/// ([HTML](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation)): one each
/// [`EVENT_INTERVAL`]. An event is created when it can be sent, so that no more than one waits for a slow client.
struct Events {
    watch: Arc<Watch>,
    ticks: Interval,
    left: u32,
}

impl Events {
    fn new(watch: Arc<Watch>) -> Self {
        let mut ticks = interval(EVENT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { watch, ticks, left: MOST_EVENTS }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(context));
        self.left -= 1;
        // The status ends with its only line end. The client waits as long between two streams as between two events.
        let event = format!("retry: {}\ndata: {}\n", EVENT_INTERVAL.as_millis(), self.watch.json());
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_anybody_may_direct_here_is_no_address() {
        let names = |hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            names_an_address(&headers)
        };
        for host in
            ["127.0.0.1", "127.0.0.1:9464", "[::1]:9464", "[::1]", "localhost", "LocalHost:9464", "10.0.0.7"]
        {
            assert!(names(&[host]), "{host}");
        }
        assert!(names(&[]), "HTTP/1.0");
        for host in [
            "evil.example",
            "localhost.evil.example:9464",
            "127.0.0.1.evil.example",
            "",
            "a b",
            "evil@",
            "[::1",
        ] {
            assert!(!names(&[host]), "{host}");
        }
        assert!(!names(&["127.0.0.1", "evil.example"]));
    }
}
