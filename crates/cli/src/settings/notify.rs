//! Setting of the recipient of notifications.

use super::text::{Written, expected};
use crate::output::failure::Failure;
use wasmrun_http::Server;

/// Prefix of the URL of a server: the URL of a queue of SQS looks like any other.
const POST: &str = "post:";

/// Where notifications of how messages end go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotifySetting {
    /// The queue with this URL, ARN or name.
    Queue(String),
    /// The HTTP server with this URL.
    Post(String),
}

impl Written for NotifySetting {
    const FORM: &'static str = "a queue, or post:URL with an http or https URL without a password";

    fn read(text: &str) -> Result<Self, String> {
        match text.strip_prefix(POST) {
            Some(url) if url.parse().ok().as_ref().and_then(Server::of).is_some() => {
                Ok(Self::Post(url.into()))
            }
            None if !text.is_empty() => Ok(Self::Queue(text.into())),
            Some(_) | None => Err(expected::<Self>()),
        }
    }
}

impl NotifySetting {
    /// Returns the queue, if it is one.
    pub(crate) fn queue(&self) -> Option<&str> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Post(_) => None,
        }
    }

    /// Returns the URL of the server, if it is one.
    pub(crate) fn server(&self) -> Option<&str> {
        match self {
            Self::Queue(_) => None,
            Self::Post(url) => Some(url),
        }
    }

    /// Returns the error for a recipient that can't be reached.
    pub(crate) fn unusable(&self, why: &str) -> Failure {
        let (Self::Queue(url) | Self::Post(url)) = self;
        Failure::usage(format!("cannot send notifications to {url}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_is_a_queue_or_the_url_of_a_server_after_post() {
        let queue = |text: &str| Ok(NotifySetting::Queue(text.into()));
        for text in ["done", "sqlite:jobs.db#done", "https://sqs.eu-west-1.amazonaws.com/1/done"] {
            assert_eq!(NotifySetting::read(text), queue(text));
        }
        let url = "https://example.com/hooks/a?b=c";
        assert_eq!(NotifySetting::read(&format!("post:{url}")), Ok(NotifySetting::Post(url.into())));
        for text in ["", "post:", "post:done", "post:ftp://a.example/", "post:https://me:secret@a.example/"] {
            assert!(NotifySetting::read(text).is_err(), "{text}");
        }
    }
}
