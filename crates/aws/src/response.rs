//! Checks each response before the SDK parses it: whether the service sent it, and whether headers that come from an
//! object would make the response unparsable.

use crate::failure::is_s3_error;
use crate::s3::make_readable;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextMut,
    BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use http_body_util::Limited;
use std::error::Error;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Header that is added to each response and holds the endpoint of its request. Nothing else of a request is available
/// to the error of its call.
const ENDPOINT: &str = "wasmrun-endpoint";
/// Longest content type that an error text shows, in bytes.
const MAX_TYPE_BYTES: usize = 64;
/// Largest response in bytes, object contents aside. A page of a listing has up to a thousand keys of 1 KiB each, three
/// times that when URL-encoded. A response of SQS has up to 1 MiB, up to six times that as JSON.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Headers that hold the request ID of S3. Source: "Common Response Headers" in the S3 API reference.
const REQUEST_NAMES: [&str; 2] = ["x-amz-request-id", "x-amz-id-2"];
/// First members of SQS responses that have content.
const SQS_MEMBERS: [&str; 5] = ["Attributes", "Failed", "Messages", "QueueUrl", "Successful"];

/// Error for a response that didn't come from the service: from a proxy, a load balancer or a server at a mistyped
/// address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotTheService(String);

impl NotTheService {
    /// Describes a response that the service doesn't send.
    pub(crate) fn new(service: &str, response: &HttpResponse) -> Self {
        let headers = response.headers();
        let endpoint = headers.get(ENDPOINT).unwrap_or("the endpoint");
        let status = response.status().as_u16();
        let content = match headers.get("content-type").and_then(|kind| kind.split(';').next()) {
            Some(kind) if kind.len() <= MAX_TYPE_BYTES && !kind.is_empty() => kind,
            _ if response.body().bytes().is_some_and(<[u8]>::is_empty) => "no content",
            _ => "some content",
        };
        Self(format!(
            "{endpoint} does not answer as {service} does (status {status}, {content}): check the endpoint, and proxies before it"
        ))
    }

    /// Finds a `NotTheService` among an error and its sources.
    pub(crate) fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
    }
}

/// Adds the endpoint of the request to each response, and limits the response's size. Must run before the other interceptors
/// that check responses.
#[derive(Debug)]
pub(crate) struct Origin;

impl Intercept for Origin {
    fn name(&self) -> &'static str {
        "Origin"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        note_request(context, cfg);
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (asked, response) = (cfg.load::<Request>(), context.response_mut());
        if let Some(asked) = asked {
            // An endpoint was part of a request's URI, so it is a valid header value.
            let _ = response.headers_mut().try_insert(ENDPOINT, asked.endpoint.clone());
        }
        if !(response.status().is_success() && asked.is_some_and(|asked| asked.for_object)) {
            bound(response);
        }
        Ok(())
    }
}

/// Checks the responses of S3.
#[derive(Debug, Default)]
pub(crate) struct S3Responses {
    /// When removed headers were last logged, in seconds since 1970. This limits the log, as anybody who writes objects
    /// can cause a line.
    noted_at: AtomicU64,
    /// Whether the first response of the server had a request ID, which not all S3-compatible servers send. If it had,
    /// later responses without a request ID are refused, even if they look like an object. Later responses don't change
    /// the value, as a proxy's response must not block the server behind the proxy.
    names_requests: OnceLock<bool>,
}

impl S3Responses {
    fn note(&self, object: &str, headers: &[String]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.noted_at.swap(now, Ordering::Relaxed) != now {
            let headers = headers.join(" ");
            tracing::warn!(object, headers, "left out unreadable object headers");
        }
    }
}

impl Intercept for S3Responses {
    fn name(&self) -> &'static str {
        "S3Responses"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let asked = cfg.load::<Request>();
        if !response.status().is_success() {
            return Ok(());
        }
        let for_xml = asked.is_some_and(|asked| asked.for_xml);
        let lacks_name = self.names_requests.get() == Some(&true) && !is_named(response);
        if lacks_name || !is_from_s3(response, for_xml) {
            return Err(NotTheService::new("S3", response).into());
        }
        let left_out = make_readable(response);
        if !left_out.is_empty() {
            self.note(asked.map_or("", |asked| &asked.path), &left_out);
        }
        Ok(())
    }

    /// The body of an error isn't loaded before this hook.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let for_xml = cfg.load::<Request>().is_some_and(|asked| asked.for_xml);
        let is_of_s3 = match response.status().is_success() {
            true => is_from_s3(response, for_xml),
            false => is_s3_error(response),
        };
        if is_of_s3 {
            self.names_requests.get_or_init(|| is_named(response));
        }
        Ok(())
    }
}

/// Refuses a successful response to a request for an object that can't exist.
#[derive(Debug)]
pub(crate) struct MustBeAbsent;

impl Intercept for MustBeAbsent {
    fn name(&self) -> &'static str {
        "MustBeAbsent"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_there = context.response().status().is_success();
        if is_there { Err(NotTheService::new("S3", context.response()).into()) } else { Ok(()) }
    }
}

/// Checks the responses of SQS.
#[derive(Debug)]
pub(crate) struct SqsResponses;

impl Intercept for SqsResponses {
    fn name(&self) -> &'static str {
        "SqsResponses"
    }

    /// The body isn't loaded before this hook.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let is_fine = !response.status().is_success() || is_from_sqs(response);
        if is_fine { Ok(()) } else { Err(NotTheService::new("SQS", response).into()) }
    }
}

/// Properties of a request, kept for its response: the request is gone when the response arrives.
#[derive(Debug)]
struct Request {
    /// Endpoint in the form `http://host:port`.
    endpoint: String,
    path: String,
    /// Whether a successful response is XML.
    for_xml: bool,
    /// Whether a successful response has an object as its content, which the SDK doesn't read as a whole.
    for_object: bool,
}

impl Storable for Request {
    type Storer = StoreReplace<Self>;
}

fn note_request(context: &BeforeTransmitInterceptorContextRef<'_>, cfg: &mut ConfigBag) {
    let request = context.request();
    let uri = request.uri();
    let (scheme, rest) = uri.split_once("://").unwrap_or(("http", uri));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    // A user name and a password may precede the host.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let (is_get, is_list) = (request.method() == "GET", query.contains("list-type=2"));
    let for_xml = match request.method() {
        "POST" => true,
        "GET" => is_list,
        "PUT" => request.headers().contains_key("x-amz-copy-source"),
        _ => false,
    };
    let (endpoint, path) = (format!("{scheme}://{host}"), format!("/{path}"));
    let asked = Request { endpoint, path, for_xml, for_object: is_get && !is_list };
    cfg.interceptor_state().store_put(asked);
}

/// Limits the size of a response, as the SDK reads these responses as a whole. An endless response is an error and
/// doesn't fill the memory.
fn bound(response: &mut HttpResponse) {
    let body = std::mem::replace(response.body_mut(), SdkBody::taken());
    *response.body_mut() =
        body.map_preserve_contents(|body| SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER_BYTES)));
}

/// Returns whether a successful response comes from S3. The headers decide, as the content of most responses is an
/// object's or empty, so that any page could pass for one. The SDK checks the content of XML responses.
fn is_from_s3(response: &HttpResponse, for_xml: bool) -> bool {
    const NO_CONTENT: u16 = 204;
    let headers = response.headers();
    for_xml
        || response.status().as_u16() == NO_CONTENT
        || headers.contains_key("etag")
        || headers.iter_bytes().any(|(name, _)| name.starts_with("x-amz-"))
}

fn is_named(response: &HttpResponse) -> bool {
    REQUEST_NAMES.iter().any(|name| response.headers().contains_key(*name))
}

/// Returns whether a successful response comes from SQS. The SDK takes any JSON object, and also an empty body, for a
/// receive without messages.
fn is_from_sqs(response: &HttpResponse) -> bool {
    let headers = response.headers();
    if headers.contains_key("x-amzn-requestid") {
        return true;
    }
    let content = response.body().bytes().unwrap_or_default().trim_ascii_start();
    let Some(member) = content.strip_prefix(b"{").map(<[u8]>::trim_ascii_start) else { return false };
    match member.strip_prefix(b"\"") {
        Some(name) => SQS_MEMBERS
            .iter()
            .any(|known| name.strip_prefix(known.as_bytes()).is_some_and(|rest| rest.starts_with(b"\""))),
        None => headers.get("content-type").is_some_and(|kind| kind.contains("json")),
    }
}
