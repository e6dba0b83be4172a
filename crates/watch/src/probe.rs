//! Asks a worker whether it's alive, from outside: for a container's health check, which has no other program for it.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use wasmrun_runtime::text::OneLine;

/// For connection, request and answer together: less than the shortest that ECS gives a health check.
const PATIENCE: Duration = Duration::from_secs(2);
/// More of an answer isn't read: it is one line.
const MOST_BYTES: usize = 4 << 10;

/// Asks the worker that listens there.
///
/// # Errors
///
/// Why it isn't alive, in one line; also if nobody answers.
pub async fn alive(address: SocketAddr) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, ask(address)).await {
        Ok(Ok((StatusCode::OK, _))) => Ok(()),
        Ok(Ok((StatusCode::SERVICE_UNAVAILABLE, why))) => Err(OneLine(why.trim()).to_string()),
        Ok(Ok((status, _))) => Err(format!("{address} is no worker: it answers {status}")),
        Ok(Err(error)) => Err(format!("{address} gives no answer: {}", OneLine(&error.to_string()))),
        Err(_) => Err(format!("{address} gives no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn ask(address: SocketAddr) -> Result<(StatusCode, String), Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get("/healthz").header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
