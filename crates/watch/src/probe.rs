//! Asks a worker from outside: whether it's alive, for a container's health check, which has no other program for it; and
//! what it does.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_runtime::model::text::OneLine;

/// For connection, request and answer together: less than the shortest that ECS gives a health check.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// More of an answer isn't read. A status names some tens of tasks, with a reason of a KiB at most for each.
const MOST_BYTES: usize = 256 << 10;

/// Asks the worker that listens there.
///
/// # Errors
///
/// Why it isn't alive, in one line; also if nobody answers.
pub async fn alive(address: SocketAddr) -> Result<(), String> {
    ask(address, "/healthz").await.map(drop)
}

/// What the worker that listens there does: its `/status`.
///
/// # Errors
///
/// Why that isn't known, in one line.
pub async fn status(address: SocketAddr) -> Result<Value, String> {
    let body = ask(address, "/status").await?;
    serde_json::from_str(&body).map_err(|_| format!("{address} is no worker: its status is no JSON"))
}

async fn ask(address: SocketAddr, path: &str) -> Result<String, String> {
    match tokio::time::timeout(PATIENCE, exchange(address, path)).await {
        Ok(Ok((StatusCode::OK, body))) => Ok(body),
        Ok(Ok((StatusCode::SERVICE_UNAVAILABLE, why))) => Err(OneLine(why.trim()).to_string()),
        Ok(Ok((status, _))) => Err(format!("{address} is no worker: it answers {status}")),
        Ok(Err(error)) => Err(format!("{address} gives no answer: {}", OneLine(&error.to_string()))),
        Err(_) => Err(format!("{address} gives no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn exchange(
    address: SocketAddr,
    path: &str,
) -> Result<(StatusCode, String), Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
