//! Requests to registries and realms, and their answers that are errors.

use crate::RegistryError;
use bytes::Bytes;
use hyper::header::USER_AGENT;
use hyper::http::request::Builder;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::time::Duration;
use wasmrun_http::{Client, Response, Server};
use wasmrun_runtime::model::text::OneLine;
use wasmrun_runtime::ports::http::HttpError;

/// Maximum size of an error's text that is read, in bytes.
const MAX_ERROR: usize = 64 << 10;
/// Maximum number of characters of a registry's error that are shown.
const SHOWN: usize = 200;
/// Pauses before a request is sent again because the server is busy or unreachable.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// Describes a server that a request doesn't reach.
pub(crate) fn unreachable(server: &Server, error: &HttpError) -> RegistryError {
    RegistryError::Unavailable(format!("{server} cannot be reached: {error}"))
}

/// Sends a request to a server. `content` is its body. A GET or HEAD request is sent again if the server is busy or can't be
/// reached.
pub(crate) async fn send(
    client: &Client,
    server: &Server,
    head: impl Fn() -> Builder,
    content: Bytes,
) -> Result<Response, HttpError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let head = head().header(USER_AGENT, "wasmrun");
        let is_safe = matches!(head.method_ref(), Some(&Method::GET | &Method::HEAD));
        let sent = wasmrun_http::send(client, server, head, content.clone()).await;
        let may_pass = is_safe
            && match &sent {
                Ok(response) => is_busy(response.status),
                Err(error) => is_passing(error),
            };
        match pauses.next().filter(|_| may_pass) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return sent,
        }
    }
}

/// Returns whether a server may answer the same request soon.
fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

/// Returns whether a connection may succeed soon. Timeouts took long enough.
fn is_passing(error: &HttpError) -> bool {
    matches!(error, HttpError::Name(_) | HttpError::Connect(_) | HttpError::Ended)
}

/// Describes an answer that is an error: its status, and the code and text in the body, if it has the format of the
/// distribution specification.
pub(crate) async fn describe(mut response: Response) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        code: String,
        #[serde(default)]
        message: String,
    }
    let status = response.status.as_u16();
    let body = response.read(MAX_ERROR).await.ok().flatten().unwrap_or_default();
    let first = serde_json::from_slice::<Errors>(&body).ok().and_then(|all| all.errors.into_iter().next());
    match first {
        None => status.to_string(),
        Some(Error { code, message }) => {
            let text: String = format!("{code} {message}").chars().take(SHOWN).collect();
            format!("{status} ({})", OneLine(text.trim()))
        }
    }
}
