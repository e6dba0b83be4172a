//! The bodies of a request and of its response, on their way between the client and the task.

use crate::connection::{InFlight, Progress};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio_util::sync::DropGuard;
use wasmrun_runtime::ports::http::{Body, HttpError};

/// Bytes of a body that are read before the request gets an instance, so that a slow client costs none.
const READ_AHEAD: usize = 64 << 10;

/// Bytes that all requests together may have been read ahead. Beyond them, a request takes an instance at once.
const MOST_AHEAD_BYTES: usize = 128 << 20;

/// Counts the bytes that were read ahead of all requests, and that no guest has taken yet.
#[derive(Debug, Default)]
pub(crate) struct AheadBytes(AtomicUsize);

/// The part of one request.
struct AheadPart {
    all: Arc<AheadBytes>,
    bytes: usize,
}

impl AheadPart {
    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn may_grow(&self) -> bool {
        self.bytes < READ_AHEAD && self.all.0.load(Ordering::Relaxed) < MOST_AHEAD_BYTES
    }
}

impl Drop for AheadPart {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads the beginning of a request's body, or all of a small one. A client that waits for `100 Continue` is asked for its
/// body only by the guest.
///
/// # Errors
///
/// The connection fails.
pub(crate) async fn read_ahead(
    request: Request<Incoming>,
    all: &Arc<AheadBytes>,
    progress: &Progress,
) -> Result<Request<Body>, hyper::Error> {
    let (parts, mut rest) = request.into_parts();
    let (mut ahead, mut trailers) = (BytesMut::new(), None);
    let mut part = AheadPart { all: all.clone(), bytes: 0 };
    if !parts.headers.contains_key(header::EXPECT) {
        while part.may_grow()
            && let Some(frame) = rest.frame().await.transpose()?
        {
            progress.touch();
            match frame.into_data() {
                Ok(data) => {
                    part.add(data.len());
                    ahead.extend_from_slice(&data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
    }
    let body =
        RequestBody { ahead: ahead.freeze(), part: Some(part), trailers, rest, progress: progress.clone() };
    Ok(Request::from_parts(parts, UnsyncBoxBody::new(body)))
}

/// A request's body: what was read ahead, then the rest.
struct RequestBody {
    ahead: Bytes,
    /// `None`: the guest has taken it.
    part: Option<AheadPart>,
    trailers: Option<HeaderMap>,
    rest: Incoming,
    progress: Progress,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if !self.ahead.is_empty() {
            self.part = None;
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ahead)))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = Pin::new(&mut self.rest).poll_frame(context);
        if frame.is_ready() {
            self.progress.touch();
        }
        frame.map_err(|_| HttpError::Ended)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.rest.size_hint();
        let ahead = self.ahead.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }
}

/// The body of a guest's response. If the client doesn't take it to its end, the guest's task ends.
pub(crate) struct GuestBody {
    body: Body,
    /// Bytes that are left, if the response says its length.
    left: Option<u64>,
    /// Whether the response has no body, whatever the guest gives: HTTP/2's server would send it.
    is_head: bool,
    gone: Option<DropGuard>,
    in_flight: InFlight,
}

impl GuestBody {
    /// Takes the body out of the response to a request with this method.
    pub(crate) fn of(
        response: Response<Body>,
        method: &Method,
        gone: Option<DropGuard>,
        in_flight: InFlight,
    ) -> Response<Self> {
        let (parts, body) = response.into_parts();
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let left = length.and_then(|length| length.to_str().ok()?.parse().ok());
        // These have no body, whatever their headers say.
        let is_head = *method == Method::HEAD
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || parts.status.is_informational();
        Response::from_parts(parts, Self { body, left, is_head, gone, in_flight })
    }

    /// Returns whether nothing is left for the client to take.
    fn is_taken(&self) -> bool {
        self.left == Some(0) || self.is_end_stream()
    }
}

impl http_body::Body for GuestBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if self.is_head {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame) = &frame {
            self.in_flight.progress().touch();
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            let bytes = data.map_or(0, |data| data.len() as u64);
            self.left = self.left.map(|left| left.saturating_sub(bytes));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.is_head || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        // A guest may go on after its response was taken.
        if self.is_taken()
            && let Some(gone) = self.gone.take()
        {
            gone.disarm();
        }
    }
}
