//! Sends spans to the collector.

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;
use wasmrun_http::{Client, Server, send};

/// Longest time for a request and its response.
const REQUEST: Duration = Duration::from_secs(15);
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
            let sent = timeout(REQUEST, shared.send(request)).await;
            let answer = sent.unwrap_or_else(|_| Err("no response in time".into()));
            shared.note(&answer);
            answer
        });
        Ok(sending.await??)
    }
}

impl Shared {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, content) = request.into_parts();
        let (server, path) = Server::of(&head.uri).ok_or("the URL of the collector names no server")?;
        let mut request = Request::post(path);
        if let Some(headers) = request.headers_mut() {
            *headers = head.headers;
        }
        let mut answer = send(&self.client, &server, request, content).await?;
        let content = answer.read(MAX_RESPONSE).await?.ok_or("the response is too large")?;
        let mut response = Response::new(content.into());
        *response.status_mut() = answer.status;
        *response.headers_mut() = std::mem::take(&mut answer.headers);
        Ok(response)
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
