//! Notifications over HTTP: each is the JSON body of a POST.

use crate::client::Client;
use crate::request::{Server, send};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use std::time::Duration;
use wasmrun_runtime::model::message::{AttributeValue, OutgoingMessage};
use wasmrun_runtime::ports::queue::QueueError;
use wasmrun_runtime::ports::recipient::Recipient;

/// Pauses between tries of one request. After the last try, the worker sends the notification again later.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// Maximum number of batches in flight, of which each opens at most ten connections.
const CALLS: usize = 2;

/// A server that takes notifications.
pub struct PostRecipient {
    client: Client,
    server: Server,
    path: String,
    shown: String,
}

impl PostRecipient {
    /// Creates the recipient at a URL. Returns `None` if the text is no URL of `http` or `https`, or has credentials.
    pub fn new(url: &str, client: Client) -> Option<Self> {
        let (server, path) = Server::of(&url.parse::<Uri>().ok()?)?;
        // The path may hold a secret.
        let shown = server.to_string();
        Some(Self { client, server, path, shown })
    }

    /// Sends one notification. Any status of success means that it was taken.
    async fn post(&self, notification: &OutgoingMessage) -> Result<(), QueueError> {
        let mut pauses = PAUSES.iter();
        loop {
            let why = match self.try_post(notification).await {
                Ok(status) if status.is_success() => return Ok(()),
                Ok(status) if may_be_of_content(status) => {
                    return Err(QueueError::InvalidMessage(format!(
                        "the server answers {}",
                        status.as_u16()
                    )));
                }
                Ok(status) => format!("the server answers {}", status.as_u16()),
                Err(why) => why,
            };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(QueueError::Unavailable(why)),
            }
        }
    }

    async fn try_post(&self, notification: &OutgoingMessage) -> Result<StatusCode, String> {
        let mut head =
            Request::post(&self.path).header(CONTENT_TYPE, "application/json").header(USER_AGENT, "wasmrun");
        // The trace: attributes with the names of W3C's headers.
        for attribute in &notification.attributes {
            if let AttributeValue::Text(text) = &attribute.value {
                head = head.header(&attribute.name, text);
            }
        }
        let content = Bytes::copy_from_slice(notification.body.as_bytes());
        let answer = send(&self.client, &self.server, head, content).await;
        answer.map(|answer| answer.status).map_err(|error| error.to_string())
    }
}

/// Returns whether a status may concern the content of one notification, so that a shorter one may be taken: it is too
/// large, or a proxy finds the text of a guest suspicious. Neither missing rights nor a server that is busy are.
fn may_be_of_content(status: StatusCode) -> bool {
    let of_all = [
        StatusCode::UNAUTHORIZED,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_client_error() && !of_all.contains(&status)
}

#[async_trait]
impl Recipient for PostRecipient {
    fn url(&self) -> &str {
        &self.shown
    }

    fn calls(&self) -> usize {
        CALLS
    }

    /// Sends nothing: a server has no request that is sure to have no effect.
    async fn check(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn send(&self, notifications: &[OutgoingMessage]) -> Vec<Result<(), QueueError>> {
        join_all(notifications.iter().map(|notification| self.post(notification))).await
    }
}
