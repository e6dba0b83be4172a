//! The adapter of services: components that export `wasi:http/incoming-handler`. A request is a task like a message, with
//! the same store, limits and outcomes. Its bytes count as received over HTTP, and those of its response as sent.
//!
//! The task passes on the response itself, so that a body that the guest leaves unfinished when it fails never ends as if
//! it were whole, and so that each byte is counted before the task ends. If the task may write files, a client has the end
//! of the response only when they are objects.

mod response;

use self::response::{End, Files, ResponseBody};
use super::host::files;
use super::host::{Counted, Direction, Failure, Handled, LimitHit, Meter, request_head_bytes};
use super::store::{Delivered, TaskState};
use crate::model::limits::Limit;
use crate::ports::http::{Body, HttpError};
use crate::ports::requests::Exchange;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;
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
pub(super) async fn run(instance: &Proxy, store: &mut Store<TaskState>, delivered: &Delivered) -> Handled {
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
) -> Handled {
    let (received, sent) = {
        let http = &store.data().http;
        (http.meter(Direction::Received), http.meter(Direction::Sent))
    };
    let config = store.data().config.clone();
    let longest_pause = config.limits.http_timeout;
    let is_head = request.method() == Method::HEAD;
    let request = counted(request, received, longest_pause)?;
    let (sender, answer) = oneshot::channel();
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let out = http.new_response_outparam(sender)?;
    let writes_files = config.grants.directories.iter().any(|directory| directory.mode.writes());
    let (reached, at_the_end) = oneshot::channel();
    let (written, are_written) = oneshot::channel();
    let files = writes_files.then_some(Files { reached, are_written });
    let mut sending = pin!(send(answer, respond, sent, files, is_head));
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
    if writes_files {
        tokio::select! {
            biased;
            failed = &mut sending => return failed,
            _ = at_the_end => {}
        }
        if let Err(failure) = files::complete(store.data_mut()).await? {
            return Ok(Err(failure));
        }
        let _ = written.send(());
    }
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
    files: Option<Files>,
    is_head: bool,
) -> Handled {
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
    let hint = http_body::Body::size_hint(&body);
    let (mut passed_on, mut end) = (ResponseBody::new(hint), End::new(files, &parts, hint, is_head));
    // A small response is passed on as a whole: each part on its own would wake the connection's thread.
    while passed_on.ahead.len() < PARTS_AHEAD && !passed_on.is_whole {
        let next = if end.is_held() { Some(body.frame().await) } else { unless_waiting(body.frame()).await };
        match next {
            Some(Some(Ok(frame))) => passed_on.ahead.extend(end.pass(sent(frame, &meter)?)),
            // A response to HEAD has the length of a body that it doesn't have.
            Some(Some(Err(_))) if !(is_head && end.is_held()) => return Ok(Err(unfinished())),
            Some(None | Some(Err(_))) => {
                passed_on.ahead.extend(end.reach().await);
                passed_on.is_whole = true;
            }
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
        if let Some(frame) = end.pass(sent(frame, &meter)?) {
            let _ = frames.send(Some(frame)).await;
        }
    }
    for frame in end.reach().await.into_iter().map(Some).chain([None]) {
        let _ = frames.send(frame).await;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
