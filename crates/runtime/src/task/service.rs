//! The adapter of services: components that export `wasi:http/incoming-handler`. A request is a task like a message, with
//! the same store, limits and outcomes. Its bytes count as received over HTTP, and those of its response as sent.
//!
//! The task passes on the response itself, so that a body that the guest leaves unfinished when it fails never ends as if
//! it were whole, and so that each byte is counted before the task ends.

use super::host::{Counted, Direction, Failure, LimitHit, Meter, request_head_bytes};
use super::store::{Delivered, TaskState};
use crate::model::limits::Limit;
use crate::ports::http::{Body, HttpError};
use crate::ports::requests::Exchange;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use wasmtime::component::ResourceTable;
use wasmtime::{Result, Store};
use wasmtime_wasi_http::p2::bindings::Proxy;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

/// The interface that a component of this world exports, in any version of WASI 0.2.
pub(super) const EXPORT: &str = "wasi:http/incoming-handler@0.2.";
/// Bytes that the host holds of a request and of its response: heads, and the parts of the bodies that wait.
pub(super) const SERVICE_BYTES: usize = 512 << 10;
/// Number of parts of a response's body that wait for the client. Each has at most `Limits::HTTP_CHUNK_BYTES`.
const PARTS_AHEAD: usize = 4;

/// Ends the task of a request whose client has gone.
#[derive(Debug, thiserror::Error)]
#[error("the client has gone")]
pub(super) struct ClientGone;

/// What a guest gives the host as its response.
type Answer = std::result::Result<Response<HyperOutgoingBody>, ErrorCode>;

/// Calls the handler with the request of this message, and sends its response.
pub(super) async fn run(
    instance: &Proxy,
    store: &mut Store<TaskState>,
    delivered: &Delivered,
) -> Result<std::result::Result<(), Failure>> {
    let requests = store.data().config.requests.clone();
    let exchange = requests.and_then(|requests| requests.take(&delivered.message.id)).ok_or(ClientGone)?;
    let Exchange { request, respond, gone } = exchange;
    tokio::select! {
        biased;
        answered = answer(instance, store, request, respond) => answered,
        () = gone.cancelled() => Err(ClientGone.into()),
    }
}

async fn answer(
    instance: &Proxy,
    store: &mut Store<TaskState>,
    request: Request<Body>,
    respond: oneshot::Sender<Response<Body>>,
) -> Result<std::result::Result<(), Failure>> {
    let (received, sent) = {
        let http = &store.data().http;
        (http.meter(Direction::Received), http.meter(Direction::Sent))
    };
    let longest_pause = store.data().config.limits.http_timeout;
    let request = counted(request, received, longest_pause)?;
    let (sender, answer) = oneshot::channel();
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let out = http.new_response_outparam(sender)?;
    let mut sending = pin!(send(answer, respond, sent));
    let mut is_sent = None;
    {
        let handler = instance.wasi_http_incoming_handler();
        let mut call = pin!(handler.call_handle(&mut *store, request, out));
        loop {
            tokio::select! {
                biased;
                returned = &mut call => break returned?,
                result = &mut sending, if is_sent.is_none() => is_sent = Some(result?),
            }
        }
    }
    if let Some(result) = is_sent {
        return Ok(result);
    }
    // Ends a response that the guest has neither given nor finished.
    store.data_mut().table = ResourceTable::new();
    sending.await
}

/// Counts a request: its head now, and its body as it is read.
fn counted(request: Request<Body>, meter: Meter, longest_pause: Duration) -> Result<Request<WasiBody>> {
    let (parts, body) = request.into_parts();
    let head = meter.count(request_head_bytes(&parts));
    head.map_err(|_| LimitHit(Limit::HttpReceivedSize))?;
    let body = Counted::new(body, meter, Some(longest_pause)).map_err(HttpError::into_wasi).boxed_unsync();
    Ok(Request::from_parts(parts, body))
}

/// Passes on the response of the guest, part by part, as the client takes it.
async fn send(
    answer: oneshot::Receiver<Answer>,
    respond: oneshot::Sender<Response<Body>>,
    meter: Meter,
) -> Result<std::result::Result<(), Failure>> {
    let (parts, mut body) = match answer.await {
        Ok(Ok(response)) => response.into_parts(),
        Ok(Err(error)) => {
            return Ok(Err(Failure::Reject(format!("the handler answered with an error: {error}"))));
        }
        Err(_) => return Ok(Err(Failure::Reject("the handler ended without a response".into()))),
    };
    if parts.status.is_informational() {
        let status = parts.status.as_u16();
        return Ok(Err(Failure::Reject(format!(
            "the handler answered with {status}, which is no final status"
        ))));
    }
    meter.count_head(&parts.headers).map_err(|_| LimitHit(Limit::HttpSentSize))?;
    let mut passed_on = ResponseBody::new(http_body::Body::size_hint(&body));
    // A small response is passed on as a whole: each part on its own would wake the connection's thread.
    while passed_on.ahead.len() < PARTS_AHEAD && !passed_on.is_whole {
        match unless_waiting(body.frame()).await {
            Some(Some(Ok(frame))) => passed_on.ahead.push_back(sent(frame, &meter)?),
            Some(Some(Err(_))) => return Ok(Err(unfinished())),
            Some(None) => passed_on.is_whole = true,
            None => break,
        }
    }
    let frames = if passed_on.is_whole { None } else { Some(passed_on.begin_rest()) };
    // `run` ends the task if the client has gone. Of a response to HEAD it takes the head alone.
    let status = parts.status.as_u16();
    if respond.send(Response::from_parts(parts, passed_on.boxed_unsync())).is_ok() {
        meter.passed_on(status);
    }
    let Some(frames) = frames else { return Ok(Ok(())) };
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Ok(Err(unfinished())) };
        let _ = frames.send(Some(sent(frame, &meter)?)).await;
    }
    let _ = frames.send(None).await;
    Ok(Ok(()))
}

/// Counts a part of a response's body.
fn sent(frame: Frame<Bytes>, meter: &Meter) -> Result<Frame<Bytes>> {
    meter.count_frame(&frame).map_err(|_| LimitHit(Limit::HttpSentSize))?;
    Ok(frame)
}

/// The guest dropped its body, or said another length.
fn unfinished() -> Failure {
    Failure::Reject("the handler left its response unfinished".into())
}

/// Polls a future until it waits for something else than the guest, which is polled between the first two polls. Returns
/// `None` if it waits.
async fn unless_waiting<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut is_first = true;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(ready) => Poll::Ready(Some(ready)),
        Poll::Pending if std::mem::take(&mut is_first) => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The body of a response, as the task passes it on.
struct ResponseBody {
    /// Frames that were passed on with the head.
    ahead: VecDeque<Frame<Bytes>>,
    /// Those that follow, and `None` as their end.
    rest: Option<mpsc::Receiver<Option<Frame<Bytes>>>>,
    hint: SizeHint,
    /// Whether nothing follows `ahead`.
    is_whole: bool,
}

impl ResponseBody {
    fn new(hint: SizeHint) -> Self {
        Self { ahead: VecDeque::new(), rest: None, hint, is_whole: false }
    }

    /// Returns where to send the frames that follow.
    fn begin_rest(&mut self) -> mpsc::Sender<Option<Frame<Bytes>>> {
        let (frames, rest) = mpsc::channel(PARTS_AHEAD.saturating_sub(self.ahead.len()).max(1));
        self.rest = Some(rest);
        frames
    }

    /// Returns the bytes that are left of a whole body without trailers.
    fn left(&self) -> Option<u64> {
        let bytes = self.ahead.iter().map(|frame| Some(frame.data_ref()?.len() as u64));
        if self.is_whole { bytes.sum() } else { None }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, HttpError>>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.is_whole {
            return Poll::Ready(None);
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(Some(Err(HttpError::Task))) };
        rest.poll_recv(context).map(|frame| match frame {
            Some(Some(frame)) => Some(Ok(frame)),
            Some(None) => {
                self.is_whole = true;
                None
            }
            // The task has ended early.
            None => Some(Err(HttpError::Task)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole && self.ahead.is_empty() || self.hint.exact() == Some(0)
    }

    /// A response that is passed on as a whole says its length, even if the guest didn't.
    fn size_hint(&self) -> SizeHint {
        self.left().map_or(self.hint, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http_body::Body as _;

    fn whole(frames: impl IntoIterator<Item = Frame<Bytes>>) -> ResponseBody {
        let ahead = frames.into_iter().collect();
        ResponseBody { ahead, is_whole: true, ..ResponseBody::new(SizeHint::new()) }
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_whole_response_says_its_length_unless_trailers_follow() {
        let mut body = whole([data("ab"), data("cde")]);
        assert_eq!(body.size_hint().exact(), Some(5));
        body.frame().await.expect("a frame").expect("no error");
        assert!(body.size_hint().exact() == Some(3) && !body.is_end_stream());
        body.frame().await.expect("a frame").expect("no error");
        assert!(body.is_end_stream() && body.frame().await.is_none());
        assert_eq!(whole([data("ab"), Frame::trailers(HeaderMap::new())]).size_hint().exact(), None);
    }

    #[tokio::test]
    async fn a_response_whose_task_ends_early_never_ends_as_if_it_were_whole() {
        let mut body = ResponseBody::new(SizeHint::new());
        let frames = body.begin_rest();
        body.ahead.push_back(data("ab"));
        drop(frames);
        assert_eq!(body.size_hint().exact(), None);
        assert!(body.frame().await.expect("a frame").is_ok() && !body.is_end_stream());
        assert!(body.frame().await.expect("an error").is_err());
    }

    #[tokio::test]
    async fn what_the_guest_gives_at_its_next_poll_is_taken_and_nothing_later_is_waited_for() {
        let (sender, receiver) = oneshot::channel();
        let (mut sender, mut is_first) = (Some(sender), true);
        let guest = poll_fn(|_| match sender.take_if(|_| !std::mem::take(&mut is_first)) {
            Some(sender) => Poll::Ready(sender.send("given")),
            None => Poll::Pending,
        });
        let (given, taken) = tokio::join!(biased; guest, unless_waiting(receiver));
        assert!(given.is_ok() && matches!(taken, Some(Ok("given"))));
        let (_sender, receiver) = oneshot::channel::<()>();
        assert!(unless_waiting(receiver).await.is_none());
    }
}
