//! Queries another worker over HTTP: whether it is alive, for the health check of a container that has no other HTTP
//! client, and its status.

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

/// Timeout of connection, request and response together: as long as the shortest timeout of an ECS health check.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Largest response that is read, in bytes. A status lists some tens of tasks, each with a reason of at most 1 KiB.
const MOST_BYTES: usize = 256 << 10;

/// Checks that the worker that listens on `address` is alive.
///
/// # Errors
///
/// Returns the reason in one line, also if there is no response.
pub async fn alive(address: SocketAddr) -> Result<(), String> {
    ask(address, "/healthz").await.map(drop)
}

/// Returns the status of the worker that listens on `address`, from its `/status`.
///
/// # Errors
///
/// Returns the reason in one line, if the status can't be read.
pub async fn status(address: SocketAddr) -> Result<Value, String> {
    let body = ask(address, "/status").await?;
    serde_json::from_str(&body).map_err(|_| format!("{address} is not a worker: its status is not JSON"))
}

async fn ask(address: SocketAddr, path: &str) -> Result<String, String> {
    match tokio::time::timeout(PATIENCE, exchange(address, path)).await {
        Ok(Ok((StatusCode::OK, body))) => Ok(body),
        Ok(Ok((StatusCode::SERVICE_UNAVAILABLE, why))) => Err(OneLine(why.trim()).to_string()),
        Ok(Ok((status, _))) => Err(format!("{address} is not a worker: it answers with status {status}")),
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
