//! Requests to registries and realms, and their answers that are errors.

use crate::RegistryError;
use bytes::Bytes;
use hyper::header::USER_AGENT;
use serde::Deserialize;
use wasmrun_http::{Client, Response, Server};
use wasmrun_runtime::model::text::OneLine;
use wasmrun_runtime::ports::http::HttpError;

/// Maximum size of an error's text that is read, in bytes.
const MAX_ERROR: usize = 64 << 10;
/// Maximum number of characters of a registry's error that are shown.
const SHOWN: usize = 200;

/// Describes a server that a request doesn't reach.
pub(crate) fn unreachable(server: &Server, error: &HttpError) -> RegistryError {
    RegistryError::Unavailable(format!("{server} cannot be reached: {error}"))
}

/// Sends a request to a server. `content` is its body.
pub(crate) async fn send(
    client: &Client,
    server: &Server,
    head: hyper::http::request::Builder,
    content: Bytes,
) -> Result<Response, HttpError> {
    wasmrun_http::send(client, server, head.header(USER_AGENT, "wasmrun"), content).await
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
