//! Asks a proxy for a connection to a server, with CONNECT.

use hyper::header::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wasmrun_runtime::ports::http::HttpError;

/// Maximum size of a proxy's answer, in bytes.
const MAX_ANSWER: usize = 8 << 10;

/// Asks the proxy behind `stream` for a connection to `authority` (`HOST:PORT`).
pub(crate) async fn open(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    authority: &str,
    credentials: Option<&HeaderValue>,
) -> Result<(), HttpError> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(credentials) = credentials {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(credentials.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let failed = |error: std::io::Error| HttpError::Proxy(error.to_string());
    stream.write_all(&request).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut answer = Vec::new();
    // Not a byte more: what follows belongs to the server.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err(HttpError::Proxy("its answer is too long".into()));
        }
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).unwrap_or_default();
    if status.len() == 3 && status.starts_with('2') {
        return Ok(());
    }
    Err(HttpError::Proxy(format!("it answered {status:?} to CONNECT")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    async fn answered(answer: &[u8]) -> (Result<(), HttpError>, String) {
        let (mut here, mut there) = duplex(64 << 10);
        there.write_all(answer).await.expect("room");
        let credentials = HeaderValue::from_static("Basic eDp5");
        let result = open(&mut here, "api.test:443", Some(&credentials)).await;
        drop(here);
        let mut asked = String::new();
        there.read_to_string(&mut asked).await.expect("text");
        (result, asked)
    }

    #[tokio::test]
    async fn a_proxy_is_asked_for_the_host_with_its_own_credentials() {
        let (result, asked) = answered(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n").await;
        assert_eq!(result, Ok(()));
        assert_eq!(
            asked,
            "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nProxy-Authorization: Basic eDp5\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_lies_or_never_ends_is_an_error() {
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), vec![b'x'; 20 << 10]].concat();
        for answer in
            [&b"HTTP/1.1 403 No\r\n\r\n"[..], b"HTTP/1.1 20 ?\r\n\r\n", b"SSH-2.0\r\n\r\n", &endless]
        {
            assert!(matches!(answered(answer).await.0, Err(HttpError::Proxy(_))));
        }
    }
}
