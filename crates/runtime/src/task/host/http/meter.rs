//! Counts a task's requests and the bytes of their bodies, and those of the request that a service answers.

use super::Shared;
use crate::model::limits::Limit;
use crate::ports::http::HttpError;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Counts of one task's requests.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) refusals: AtomicU64,
    /// Status of a service's response.
    pub(super) status: OnceLock<u16>,
    /// The first limit that was exceeded.
    pub(super) exceeded: OnceLock<Limit>,
}

impl Counts {
    pub(super) fn exceed(&self, limit: Limit) -> HttpError {
        let _ = self.exceeded.set(limit);
        HttpError::Limit
    }
}

/// Returns the bytes of headers as they are sent.
pub(super) fn head_bytes(headers: &HeaderMap) -> u64 {
    // A colon, a space and a line's end.
    headers.iter().map(|(name, value)| name.as_str().len() as u64 + value.len() as u64 + 4).sum()
}

/// Returns the bytes of a request's line and headers, without the version.
pub(crate) fn request_head_bytes(parts: &http::request::Parts) -> u64 {
    let path = parts.uri.path_and_query().map_or(1, |path| path.as_str().len());
    (parts.method.as_str().len() + path) as u64 + head_bytes(&parts.headers)
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    Sent,
    Received,
}

/// Counts the bytes of one direction against the task's limit.
pub(crate) struct Meter {
    pub(super) shared: Arc<Shared>,
    pub(super) direction: Direction,
}

impl Meter {
    /// Counts a part of a body, or its trailers.
    pub(crate) fn count_frame(&self, frame: &Frame<Bytes>) -> Result<(), HttpError> {
        self.count(match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => data.len() as u64,
            (None, trailers) => trailers.map_or(0, head_bytes),
        })
    }

    /// Counts the head of a service's response.
    pub(crate) fn count_head(&self, headers: &HeaderMap) -> Result<(), HttpError> {
        self.count(head_bytes(headers))
    }

    /// Records the status of a service's response that is passed on.
    pub(crate) fn passed_on(&self, status: u16) {
        let _ = self.shared.counts.status.set(status);
    }

    pub(crate) fn count(&self, bytes: u64) -> Result<(), HttpError> {
        let Shared { config, counts, .. } = &*self.shared;
        let (calls, limits) = (&config.calls, &config.limits);
        let (sum, most, limit) = match self.direction {
            Direction::Sent => {
                calls.http_sent(bytes);
                (&counts.sent, limits.http_sent_bytes, Limit::HttpSentSize)
            }
            Direction::Received => {
                calls.http_received(bytes);
                (&counts.received, limits.http_received_bytes, Limit::HttpReceivedSize)
            }
        };
        let sum = sum.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if sum > most { Err(counts.exceed(limit)) } else { Ok(()) }
    }
}

/// A body whose bytes are counted, and which may not pause for longer than `between_bytes`.
pub(crate) struct Counted<B> {
    body: B,
    meter: Meter,
    between_bytes: Option<Duration>,
    /// Set while the reader waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> Counted<B> {
    pub(crate) fn new(body: B, meter: Meter, between_bytes: Option<Duration>) -> Self {
        Self { body, meter, between_bytes, waiting: None }
    }
}

impl<B> http_body::Body for Counted<B>
where
    B: http_body::Body<Data = Bytes, Error = HttpError> + Unpin,
{
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let Some(most) = self.between_bytes else { return Poll::Pending };
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(most)));
                let expired = waiting.as_mut().poll(context);
                return expired.map(|()| Some(Err(HttpError::BetweenBytesTimeout)));
            }
        };
        self.waiting = None;
        let counted = match &frame {
            Some(Ok(part)) => self.meter.count_frame(part),
            _ => self.meter.count(0),
        };
        match counted {
            Ok(()) => Poll::Ready(frame),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
