//! Sends spans to the collector.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Uri;
use hyper::header::HOST;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use wasmrun_http::Client;
use wasmrun_runtime::ports::http::{Answer, Destination, HttpClient as _};

/// Longest look-up of the collector's addresses.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Longest time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for a request and its response.
const REQUEST: Duration = Duration::from_secs(10);
/// Maximum size of a response that is read, in bytes: it says how many spans were refused.
const MAX_RESPONSE: usize = 64 << 10;

/// The client with which the SDK posts spans.
pub(crate) struct Transport(Arc<Shared>);

struct Shared {
    client: Client,
    io: Handle,
    /// URL of the collector, for the log.
    endpoint: String,
    /// Whether the last request failed: only changes are logged.
    fails: AtomicBool,
}

impl Transport {
    /// Creates a client whose requests are made on a runtime: the SDK's thread has none.
    pub(crate) fn new(client: Client, io: Handle, endpoint: String) -> Self {
        Self(Arc::new(Shared { client, io, endpoint, fails: AtomicBool::new(false) }))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let shared = self.0.clone();
        let sending = self.0.io.spawn(async move {
            let sent = timeout(CONNECT + REQUEST, shared.send(request)).await;
            let answer = sent.unwrap_or_else(|_| Err("no response in time".into()));
            shared.note(&answer);
            answer
        });
        Ok(sending.await??)
    }
}

impl Shared {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut to = destination(request.uri())?;
        // A proxy looks the name up itself.
        if !self.client.uses_proxy(&to) {
            to.addresses = timeout(LOOK_UP, self.client.resolve(&to.host)).await??;
        }
        let (head, content) = request.into_parts();
        let mut request = Request::post(head.uri.path_and_query().map_or("/", |path| path.as_str()));
        if let Some(headers) = request.headers_mut() {
            *headers = head.headers;
        }
        let authority = head.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let body = Full::new(content).map_err(|never| match never {}).boxed_unsync();
        let request = request.header(HOST, authority).body(body)?;
        let Answer { response, connection } = self.client.send(&to, request).await?;
        let (head, mut body) = response.into_parts();
        let reading = async {
            let mut read = BytesMut::new();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    read.extend_from_slice(&data);
                }
                if read.len() > MAX_RESPONSE {
                    return Err("the response is too large".into());
                }
            }
            Ok::<_, HttpError>(read.freeze())
        };
        let mut reading = std::pin::pin!(reading);
        let content = tokio::select! {
            biased;
            content = &mut reading => content?,
            () = connection => reading.await?,
        };
        Ok(Response::from_parts(head, content))
    }

    /// Logs that spans aren't sent, or are again.
    fn note(&self, answer: &Result<Response<Bytes>, HttpError>) {
        let error = match answer {
            Ok(response) if response.status().is_success() => {
                if self.fails.swap(false, Ordering::Relaxed) {
                    tracing::info!(endpoint = self.endpoint, "sending spans again");
                }
                return;
            }
            Ok(response) => format!("the collector answers {}", response.status()),
            Err(error) => error.to_string(),
        };
        if !self.fails.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                endpoint = self.endpoint,
                error,
                "cannot send spans to the collector: spans are dropped until it answers"
            );
        }
    }
}

/// Returns the server of an absolute URL.
fn destination(url: &Uri) -> Result<Destination, HttpError> {
    let is_tls = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err("the URL of the collector begins with neither http:// nor https://".into()),
    };
    let host = url.host().ok_or("the URL of the collector names no host")?;
    Ok(Destination {
        is_tls,
        host: host.trim_matches(['[', ']']).to_ascii_lowercase(),
        port: url.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
        addresses: Vec::new(),
        connect: CONNECT,
        first_byte: REQUEST,
    })
}
