//! Serves `/healthz`, `/readyz`, `/metrics` and `/status` over HTTP.
//!
//! Any client that can reach the server may ask: there is no authentication, and no request changes anything. The
//! resources that clients can use are bounded: the number of connections, the duration of each, and the bytes that are
//! read of a request.

use crate::{Watch, health, openmetrics};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Most connections at a time: enough for scrapers, health checks and people. A further connection closes the oldest
/// one.
const MOST_CONNECTIONS: usize = 64;
/// Time to receive the headers of a request, which fit into one packet.
const HEADER_TIME: Duration = Duration::from_secs(5);
/// Longest duration of a connection, which carries one request and a response of about ten kilobytes.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Size of hyper's read buffer, in bytes: the smallest that hyper accepts.
const MOST_HEADER_BYTES: usize = 8 << 10;
/// Pause after a failed accept: if the process has no free file descriptor, one may become free.
const PAUSE: Duration = Duration::from_millis(100);

/// Content type of Prometheus' text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

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
        loop {
            by_age.retain(|connection| !connection.is_finished());
            // Idle connections must not keep a health check from being answered.
            if by_age.len() >= MOST_CONNECTIONS
                && let Some(oldest) = by_age.pop_front()
            {
                oldest.abort();
            }
            tokio::select! {
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        by_age.push_back(connections.spawn(answer(stream, watch.clone())));
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
async fn answer(stream: TcpStream, watch: Arc<Watch>) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let response = respond(&watch, request.method(), request.uri().path(), request.headers());
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

fn respond(watch: &Watch, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let (status, kind, body) = match path {
        "/healthz" | "/readyz" | "/metrics" | "/status"
            if method != Method::GET && method != Method::HEAD =>
        {
            let mut response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET or HEAD\n".into());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        "/healthz" => said(health::alive(&watch.status()), "alive"),
        "/readyz" => said(health::ready(&watch.status()), "ready"),
        "/metrics" => {
            let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
            let in_openmetrics = openmetrics::is_preferred(accept);
            let kind = if in_openmetrics { openmetrics::TYPE } else { METRICS };
            (StatusCode::OK, kind, watch.metrics(in_openmetrics))
        }
        "/status" => (StatusCode::OK, JSON, watch.json()),
        _ => (StatusCode::NOT_FOUND, TEXT, "/healthz, /readyz, /metrics or /status\n".into()),
    };
    response(status, kind, body)
}

fn said(health: Result<(), String>, well: &str) -> (StatusCode, &'static str, String) {
    match health {
        Ok(()) => (StatusCode::OK, TEXT, format!("{well}\n")),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
