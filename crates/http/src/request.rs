//! Requests of the worker itself, to registries and collectors: each is bounded in time, and so is each wait for the answer.

use crate::client::Client;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_LENGTH, HOST};
use hyper::http::request::Builder;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use std::fmt;
use std::time::Duration;
use tokio::time::timeout;
use wasmrun_runtime::ports::http::{Body, Destination, HttpClient as _, HttpError};

/// Longest look-up of a host's addresses.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Longest time to connect: long enough for another continent and a lost packet.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time until the response's head has arrived, for a request without content. A person who starts a worker waits.
const FIRST_BYTE: Duration = Duration::from_secs(8);
/// Longest time between two pieces of a response's body.
const STALL: Duration = Duration::from_secs(8);
/// Slowest connection, in bytes a second, for which content isn't given up.
pub const SLOWEST_BYTES_PER_SECOND: u64 = 256 << 10;

/// Scheme, host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Whether connections are encrypted.
    pub is_tls: bool,
    /// Host without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Server {
    /// Returns the server and the path of an absolute URL.
    pub fn of(url: &Uri) -> Option<(Self, String)> {
        let is_tls = match url.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = url.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().trim_matches(['[', ']']).to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        (!host.is_empty()).then_some((Self { is_tls, host, port }, path))
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.is_tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls { "https" } else { "http" }, self.authority())
    }
}

/// A response whose body is still to be read.
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    body: Body,
    /// Moves the bytes. `None` once the connection has ended.
    connection: Option<BoxFuture<'static, ()>>,
}

/// Sends a request to a server, and returns its answer, whatever its status. `content` is the request's body.
///
/// # Errors
///
/// There is no answer in time.
pub async fn send(
    client: &Client,
    server: &Server,
    head: Builder,
    content: Bytes,
) -> Result<Response, HttpError> {
    send_within(client, server, head, content, FIRST_BYTE).await
}

/// Sends a request like [`send`]. The response's head may take `first_byte`, and the time that a slow connection takes for
/// the content.
///
/// # Errors
///
/// There is no answer in time.
pub async fn send_within(
    client: &Client,
    server: &Server,
    head: Builder,
    content: Bytes,
    first_byte: Duration,
) -> Result<Response, HttpError> {
    let sending = Duration::from_secs(content.len() as u64 / SLOWEST_BYTES_PER_SECOND);
    let mut to = Destination {
        is_tls: server.is_tls,
        host: server.host.clone(),
        port: server.port,
        addresses: Vec::new(),
        connect: CONNECT,
        first_byte: first_byte.saturating_add(sending),
    };
    // A proxy looks the name up itself, often where this host can't.
    if !client.uses_proxy(&to) {
        let addresses = timeout(LOOK_UP, client.resolve(&server.host)).await;
        to.addresses = addresses.unwrap_or_else(|_| Err(HttpError::Name("no answer in time".into())))?;
    }
    // Some servers refuse a POST or PUT without a length, also if it has no content.
    let may_lack_length = matches!(head.method_ref(), Some(&Method::GET | &Method::HEAD));
    let mut request = head.header(HOST, server.authority());
    if !content.is_empty() || !may_lack_length {
        request = request.header(CONTENT_LENGTH, content.len());
    }
    let body = Full::new(content).map_err(|never| match never {}).boxed_unsync();
    let request = request.body(body).map_err(|error| HttpError::Protocol(error.to_string()))?;
    let answer = client.send(&to, request).await?;
    let (head, body) = answer.response.into_parts();
    Ok(Response { status: head.status, headers: head.headers, body, connection: Some(answer.connection) })
}

impl Response {
    /// Returns the text of a header, if there is one and it's ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the next piece of the body, or `None` at its end.
    ///
    /// # Errors
    ///
    /// The body stops or breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let (body, connection) = (&mut self.body, &mut self.connection);
            let frame = async {
                loop {
                    let Some(moving) = connection else { return body.frame().await };
                    tokio::select! {
                        biased;
                        frame = body.frame() => return frame,
                        () = moving => *connection = None,
                    }
                }
            };
            match timeout(STALL, frame).await.map_err(|_| HttpError::BetweenBytesTimeout)?.transpose()? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Reads the whole body. Returns `None` if it has more than `most` bytes.
    ///
    /// # Errors
    ///
    /// The body stops or breaks off.
    pub async fn read(&mut self, most: usize) -> Result<Option<Vec<u8>>, HttpError> {
        let mut content = Vec::new();
        while let Some(piece) = self.next().await? {
            if content.len() + piece.len() > most {
                return Ok(None);
            }
            content.extend_from_slice(&piece);
        }
        Ok(Some(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_host_and_a_port() {
        let of = |url: &str| Server::of(&url.parse().expect("a URL"));
        let (server, path) = of("https://R.test/a?b=c").expect("a server");
        assert_eq!((server.to_string().as_str(), path.as_str()), ("https://r.test", "/a?b=c"));
        let (server, path) = of("http://[::1]:5000").expect("a server");
        assert_eq!(
            (server.to_string().as_str(), server.host.as_str(), path.as_str()),
            ("http://[::1]:5000", "::1", "/")
        );
        for url in ["ftp://r.test/", "/a", "https://me:secret@r.test/a"] {
            assert_eq!(of(url), None, "{url}");
        }
    }
}
