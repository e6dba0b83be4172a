//! Where the tasks of a service get their HTTP requests. A request isn't in a queue itself: the message that a
//! worker receives for it only holds its ID and its trace.

use super::http::Body;
use http::{Request, Response};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// The requests that wait for their tasks.
pub trait Requests: Send + Sync {
    /// Takes the request of a message; `None` if its client has gone, or another task took it.
    fn take(&self, message_id: &str) -> Option<Exchange>;
}

/// A request, and the way to its client.
pub struct Exchange {
    /// The request. Its body arrives as it is read.
    pub request: Request<Body>,
    /// Takes the response's head; its body follows. If a body ends with an error, the response is cut off.
    pub respond: oneshot::Sender<Response<Body>>,
    /// Cancelled when the client has gone.
    pub gone: CancellationToken,
}
