//! Sends requests to the ECS agent, as plain HTTP to an address of this host.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;

/// Largest response that is read, in bytes: more than the agent sends.
const LONGEST_ANSWER: usize = 256 << 10;

/// Sends a request to the agent and returns its response.
///
/// # Errors
///
/// Fails if the status is an error, if the body isn't JSON, or if no response arrives in time. The text is one sentence
/// without a full stop.
pub(super) async fn ask(
    method: Method,
    url: &str,
    body: Option<&Value>,
    within: Duration,
) -> Result<Value, String> {
    let answer = tokio::time::timeout(within, exchange(method, url, body)).await;
    let (status, body) = answer.unwrap_or_else(|_| Err("no answer in time".into()))?;
    let value = serde_json::from_slice(&body);
    match value {
        Ok(value) if status.is_success() => Ok(value),
        // The body holds the reason.
        Ok(value) => Err(format!("it answers {status}: {}", text(&value))),
        Err(_) => Err(format!("it answers {status} without JSON")),
    }
}

/// Formats a value for a sentence, shortened to 300 characters.
pub(super) fn text(value: &Value) -> String {
    const LONGEST: usize = 300;
    value.to_string().chars().take(LONGEST).collect()
}

async fn exchange(method: Method, url: &str, body: Option<&Value>) -> Result<(StatusCode, Bytes), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no address: {error}"))?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("http"));
    let host = host.ok_or_else(|| format!("{url:?} is no http address"))?;
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, format!("{host}:{port}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::<Bytes>::from(body.map(Value::to_string).unwrap_or_default()))
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    tokio::select! {
        biased;
        answer = exchange => answer,
        // The connection makes progress only while its future is polled.
        ended = connection => Err(ended.map_or_else(|error| error.to_string(), |()| "the connection was closed without an answer".into())),
    }
}
