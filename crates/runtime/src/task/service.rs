//! The adapter of services: components that export `wasi:http/incoming-handler`. A request is a task like a message, with
//! the same store, limits and outcomes. Its bytes count as received over HTTP, and those of its response as sent.
//!
//! The task passes on the response itself, so that a body that the guest leaves unfinished when it fails never ends as if
//! it were whole, and so that each byte is counted before the task ends.

use super::host::{Counted, Direction, Failure, LimitHit, Meter, head_bytes};
use super::store::{Delivered, TaskState};
use crate::model::limits::Limit;
use crate::ports::http::{Body, HttpError};
use crate::ports::requests::Exchange;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
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
    let line = parts.method.as_str().len() + parts.uri.path_and_query().map_or(1, |path| path.as_str().len());
    let head = meter.count(line as u64 + head_bytes(&parts.headers));
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
    let within =
        |counted: std::result::Result<(), HttpError>| counted.map_err(|_| LimitHit(Limit::HttpSentSize));
    within(meter.count_head(parts.status.as_u16(), &parts.headers))?;
    let (frames, rest) = mpsc::channel(PARTS_AHEAD);
    let hint = http_body::Body::size_hint(&body);
    // `run` ends the task if the client has gone. Of a response to HEAD it takes the head alone.
    let _ = respond
        .send(Response::from_parts(parts, ResponseBody { rest, hint, is_whole: false }.boxed_unsync()));
    while let Some(frame) = body.frame().await {
        // The guest dropped its body, or said another length.
        let Ok(frame) = frame else {
            return Ok(Err(Failure::Reject("the handler left its response unfinished".into())));
        };
        let bytes = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => data.len() as u64,
            (None, trailers) => trailers.map_or(0, head_bytes),
        };
        within(meter.count(bytes))?;
        let _ = frames.send(Some(frame)).await;
    }
    let _ = frames.send(None).await;
    Ok(Ok(()))
}

/// The body of a response, as the task passes it on.
struct ResponseBody {
    /// Its frames, and `None` as its end.
    rest: mpsc::Receiver<Option<Frame<Bytes>>>,
    hint: SizeHint,
    is_whole: bool,
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, HttpError>>> {
        if self.is_whole {
            return Poll::Ready(None);
        }
        self.rest.poll_recv(context).map(|frame| match frame {
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
        self.is_whole || self.hint.exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}
