//! The HTTP client that sends the requests of guests, and the bodies of requests and responses. It decides nothing: what
//! a task may request, and which addresses it may reach, is checked before.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A body on its way. Sending a request fails if its body fails.
pub type Body = UnsyncBoxBody<Bytes, HttpError>;

/// What is kept for as long as some work lasts, such as a permit.
pub type Hold = Arc<dyn Any + Send + Sync>;

/// Maximum number of bytes of a response's status line and headers together.
pub const MAX_HEAD_BYTES: usize = 32 << 10;
/// Maximum number of headers of a response.
pub const MAX_HEADERS: usize = 100;

/// Sends requests, each over a connection of its own, so that nothing of a task is left for the next one.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Looks up the addresses of a host name. A look-up may go on after its caller has stopped waiting: `hold` is dropped
    /// when it has ended.
    ///
    /// # Errors
    ///
    /// There is no such name, or it can't be looked up now.
    async fn resolve(&self, host: &str, hold: Hold) -> Result<Vec<IpAddr>, HttpError>;

    /// Connects to one of the destination's addresses, or to a proxy, and sends a request. Doesn't look the host up
    /// again. Adds no credentials, no cookies, and follows no redirect. A response's head is bounded by
    /// [`MAX_HEAD_BYTES`] and [`MAX_HEADERS`].
    ///
    /// # Errors
    ///
    /// There is no response within the timeouts.
    async fn send(&self, to: &Destination, request: Request<Body>) -> Result<Answer, HttpError>;
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// Host name, which the server's certificate must hold, or an address without brackets.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Checked addresses of the host, to be tried in this order.
    pub addresses: Vec<IpAddr>,
    /// Longest time to connect, for all addresses together.
    pub connect: Duration,
    /// Longest time from sending the request until its response's head has arrived.
    pub first_byte: Duration,
}

/// The answer to a request.
pub struct Answer {
    /// The response. Its body arrives while `connection` is polled.
    pub response: Response<Body>,
    /// Moves the bytes. Dropping it ends the connection.
    pub connection: BoxFuture<'static, ()>,
}

/// Why a request has no response, or only a part of one. The texts are for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The name can't be looked up.
    #[error("the host name cannot be looked up: {0}")]
    Name(String),
    /// No address accepts connections.
    #[error("no connection: {0}")]
    Connect(String),
    /// The time to connect is over.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The server's certificate isn't valid for the host.
    #[error("the server's certificate is refused: {0}")]
    Certificate(String),
    /// The connection can't be encrypted.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The proxy doesn't connect to the server.
    #[error("the proxy refused: {0}")]
    Proxy(String),
    /// The time until the response's head is over.
    #[error("no response in time")]
    FirstByteTimeout,
    /// The time until the next bytes of the response's body is over.
    #[error("the response stopped")]
    BetweenBytesTimeout,
    /// The response's head has too many headers or bytes.
    #[error("the response's head is too large")]
    HeadSize,
    /// The connection ended before the response did.
    #[error("the connection ended early")]
    Ended,
    /// The server doesn't speak HTTP.
    #[error("not HTTP: {0}")]
    Protocol(String),
    /// The guest's body ended early.
    #[error("the request's body failed: {0}")]
    Body(String),
    /// The task that sends the response has failed.
    #[error("the task failed")]
    Task,
    /// More bytes than a task may send or receive.
    #[error("the task's limit is exceeded")]
    Limit,
}
