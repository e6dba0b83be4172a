//! One request: checks it, waits for an instance and for the guest, and says what went wrong without details. These are in
//! the log and in the usage, under the ID that the response names.

use crate::body::{GuestBody, read_ahead};
use crate::connection::InFlight;
use crate::requests::{Added, End};
use crate::server::Shared;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wasmrun_runtime::model::limits::Limit;
use wasmrun_runtime::model::message::{Attribute, AttributeValue, Message};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::http::Body;

/// Longest time in which the first part of a request's body arrives.
const READ_AHEAD_TIME: Duration = Duration::from_secs(30);
/// When a client that finds no instance may try again, in seconds.
const TRY_AGAIN: HeaderValue = HeaderValue::from_static("1");
/// Longest value of a trace that is passed on.
const MAX_TRACE_BYTES: usize = 1024;
/// The header with which AWS's load balancers pass on a trace.
const XRAY: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// The headers of W3C's "Trace Context", and the attributes that hold them.
const W3C: [&str; 2] = ["traceparent", "tracestate"];

/// The response of a guest, or the server's own.
pub(crate) type Answered = Response<Either<Full<Bytes>, GuestBody>>;

/// Answers a request.
///
/// # Errors
///
/// The client's connection fails while its request is read.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    in_flight: InFlight,
    mut request: Request<Incoming>,
) -> Result<Answered, hyper::Error> {
    let is_http1 = request.version() <= Version::HTTP_11;
    let is_head = *request.method() == Method::HEAD;
    if request.version() == Version::HTTP_10 {
        name_host(&mut request, shared.address);
    }
    let permit = shared.requests.clone().try_acquire_owned();
    let mut answered = match (permit, check(&request, shared.options.request_bytes)) {
        (Ok(permit), Ok(())) => answer_checked(&shared, in_flight.with(permit), request).await?,
        (_, Err(status)) => refused(status),
        (Err(_), _) => refused(StatusCode::SERVICE_UNAVAILABLE),
    };
    if let Either::Left(body) = answered.body_mut() {
        let length = body.size_hint().lower();
        if is_head {
            // HTTP/2's server would send it.
            *body = Full::default();
        }
        answered.headers_mut().insert(CONTENT_LENGTH, length.into());
        (shared.on_error)(answered.status().as_u16());
    }
    if is_http1 && shared.stopping.load(Ordering::Relaxed) {
        answered.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(answered)
}

async fn answer_checked(
    shared: &Shared,
    in_flight: InFlight,
    request: Request<Incoming>,
) -> Result<Answered, hyper::Error> {
    let progress = in_flight.progress().clone();
    let reading = tokio::time::timeout(READ_AHEAD_TIME, read_ahead(request, &shared.ahead, &progress));
    let Ok(request) = reading.await else { return Ok(refused(StatusCode::REQUEST_TIMEOUT)) };
    let request = request?;
    let method = request.method().clone();
    // Formatted only if a trace or the debug log has it.
    let is_logged = tracing::enabled!(tracing::Level::DEBUG);
    let line = (shared.options.is_traced || is_logged).then(|| line(&request));
    let message = Message { body: line.clone().unwrap_or_default(), ..message(&request) };
    let Some(mut added) = shared.queue.add(request, message) else {
        return Ok(refused(StatusCode::SERVICE_UNAVAILABLE));
    };
    let Some(response) = response(&mut added, shared.options.queue_time).await else {
        // No task has started, or it has ended, or it is about to.
        let end = (&mut added.end).await.ok();
        let status = status(end);
        tracing::debug!(
            message_id = added.id(),
            request = line,
            status = status.as_u16(),
            "no response of a guest"
        );
        return Ok(failed(status, &added.id()));
    };
    let body = GuestBody::of(response, &method, added.take_guard(), in_flight);
    Ok(body.map(Either::Right))
}

/// Waits for the response of a guest. Returns `None` if there is none: because no instance was free in time, or because
/// the task has failed.
async fn response(added: &mut Added<'_>, queue_time: Duration) -> Option<Response<Body>> {
    if let Ok(response) = tokio::time::timeout(queue_time, &mut added.response).await {
        return response.ok();
    }
    if added.withdraw() {
        return None;
    }
    (&mut added.response).await.ok()
}

/// Checks what a guest can't be asked.
fn check(request: &Request<Incoming>, most_bytes: u64) -> Result<(), StatusCode> {
    let headers = request.headers();
    if *request.method() == Method::CONNECT {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    if !names_host(request) || !names_path(request.uri()) {
        return Err(StatusCode::BAD_REQUEST);
    }
    // Another coding would reach the guest as if it were the body (RFC 9112, 6.1).
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if !headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked) {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    // hyper has checked the number.
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most_bytes) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    Ok(())
}

/// Returns whether a request names its host, without a user: in HTTP/1.1 with one header (RFC 9112, 3.2), in HTTP/2 with
/// its authority.
fn names_host(request: &Request<Incoming>) -> bool {
    let is_host = |host: &Authority| !host.host().is_empty() && !host.as_str().contains('@');
    let authority = request.uri().authority();
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().map(|host| Authority::try_from(host.as_bytes()).ok().filter(is_host));
    hosts.next().is_none()
        && authority.is_none_or(is_host)
        && match host {
            Some(host) => host.is_some(),
            None => request.version() == Version::HTTP_2 && authority.is_some(),
        }
}

/// Returns whether a URI has a path that a guest can be asked for: `*` is that of `OPTIONS`.
fn names_path(uri: &Uri) -> bool {
    let is_http = uri.scheme().is_none_or(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    is_http && (uri.path().starts_with('/') || uri.path() == "*")
}

/// Adds the server's address as the host of a request that names none. HTTP/1.0 requires none, and health checks of
/// load balancers use it.
fn name_host(request: &mut Request<Incoming>, address: SocketAddr) {
    let host = HeaderValue::try_from(address.to_string());
    if let (Ok(host), false) = (host, request.headers().contains_key(HOST)) {
        request.headers_mut().insert(HOST, host);
    }
}

/// Returns a request's method and path. The query may hold secrets, and isn't in it.
fn line(request: &Request<Body>) -> String {
    format!("{} {}", request.method(), request.uri().path())
}

/// Returns a message without a body, for the trace that a request belongs to.
fn message(request: &Request<Body>) -> Message {
    let headers = request.headers();
    // The header may be split ("Trace Context", 3.3.1). Of several parents, none is right: joined, they are no parent.
    let text = |name: &HeaderName| {
        let values: Result<Vec<&str>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
        let value = values.ok().filter(|values| !values.is_empty())?.join(",");
        (value.len() <= MAX_TRACE_BYTES).then_some(value)
    };
    let attributes = W3C.into_iter().filter_map(|name| {
        let value = AttributeValue::Text(text(&HeaderName::from_static(name))?);
        Some(Attribute { name: name.to_owned(), value })
    });
    let attributes = attributes.collect();
    Message { attributes, trace_header: text(&XRAY), ..Message::new("", "") }
}

/// Returns the status of a request whose guest gave no response. Without an end, it got no instance.
fn status(end: Option<End>) -> StatusCode {
    let Some(End { outcome, limit }) = end else { return StatusCode::SERVICE_UNAVAILABLE };
    match outcome {
        OutcomeKind::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        OutcomeKind::Cancelled | OutcomeKind::HostFailed | OutcomeKind::Expired | OutcomeKind::Repeated => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        OutcomeKind::LimitExceeded if limit == Some(Limit::HttpReceivedSize) => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Returns the server's response to a request that got no task.
fn refused(status: StatusCode) -> Answered {
    own(status, format!("{status}\n"))
}

/// Returns the server's response to a request whose task failed.
fn failed(status: StatusCode, id: &str) -> Answered {
    own(status, format!("{status}\nrequest {id}\n"))
}

fn own(status: StatusCode, text: String) -> Answered {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, TRY_AGAIN);
    }
    response
}
