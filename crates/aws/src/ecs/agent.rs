//! One request to the agent: plain HTTP to an address of this host.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;

/// More than any answer of the agent's.
const LONGEST_ANSWER: usize = 256 << 10;

/// Asks the agent, and returns its answer.
///
/// # Errors
///
/// It says no, says something that isn't JSON, or says nothing in time: one sentence, without a full stop.
pub(super) async fn ask(
    method: Method,
    url: &str,
    body: Option<&Value>,
    within: Duration,
) -> Result<Value, String> {
    let answer = tokio::time::timeout(within, exchange(method, url, body)).await;
    let (status, body) = answer.unwrap_or_else(|_| Err("it gives no answer".into()))?;
    let value = serde_json::from_slice(&body);
    match value {
        Ok(value) if status.is_success() => Ok(value),
        // What it has to say is in the body.
        Ok(value) => Err(format!("it answers {status}: {}", text(&value))),
        Err(_) => Err(format!("it answers {status} without JSON")),
    }
}

/// A value as it is shown in a sentence.
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
        // It goes on as long as somebody drives it.
        ended = connection => Err(ended.map_or_else(|error| error.to_string(), |()| "it hangs up".into())),
    }
}
