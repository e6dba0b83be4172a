//! Looks at each response before the SDK reads it: whether the service sent it at all, and whether one object's headers
//! would make it unreadable.

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

/// A header that is added to each response: where it came from. Nothing else of a request reaches the error of its call.
const ENDPOINT: &str = "wasmrun-endpoint";
/// Of a content type no more is shown.
const MAX_TYPE_BYTES: usize = 64;
/// What isn't an object's content has no more bytes: a page of a listing has a thousand keys of a kibibyte each, thrice that in
/// a URL's form, and an answer of SQS a mebibyte, up to six times that as JSON.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Headers in which S3 names a request. Source: "Common Response Headers" in the S3 API reference.
const REQUEST_NAMES: [&str; 2] = ["x-amz-request-id", "x-amz-id-2"];
/// What the answers of SQS that have content begin with.
const SQS_MEMBERS: [&str; 5] = ["Attributes", "Failed", "Messages", "QueueUrl", "Successful"];

/// Something else than the service answered: a proxy, a load balancer, a server at a mistyped address.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Foreign(String);

impl Foreign {
    /// A response that the service doesn't send.
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
            "{endpoint} doesn't answer as {service} does (status {status}, {content}): check the endpoint, and proxies before it"
        ))
    }

    /// The one that caused an error, if one did.
    pub(crate) fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
    }
}

/// Notes where a response comes from. It goes before what looks at responses.
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
        remember(context, cfg);
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(asked) = cfg.load::<Asked>() {
            // It was in a request's address, and so can be in a header.
            let _ = context.response_mut().headers_mut().try_insert(ENDPOINT, asked.endpoint.clone());
        }
        Ok(())
    }
}

/// Looks at the responses of S3.
#[derive(Debug, Default)]
pub(crate) struct S3Responses {
    /// When headers were last said to be left out, in seconds since 1970: whoever writes objects can have it said.
    noted_at: AtomicU64,
    /// Whether the server names its requests, as its first answer has it: not all that speak S3 do. From one that does, no
    /// answer without a name is taken, whatever marks of an object a page may have. Answers that come later don't change it:
    /// what a proxy says must not shut out the server behind it.
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
        let asked = cfg.load::<Asked>();
        let (is_good, for_xml) = (response.status().is_success(), asked.is_some_and(|asked| asked.for_xml));
        if !is_good || for_xml {
            bound(response);
        }
        if !is_good {
            return Ok(());
        }
        let lacks_name = self.names_requests.get() == Some(&true) && !is_named(response);
        if lacks_name || !is_from_s3(response, for_xml) {
            return Err(Foreign::new("S3", response).into());
        }
        let left_out = make_readable(response);
        if !left_out.is_empty() {
            self.note(asked.map_or("", |asked| &asked.path), &left_out);
        }
        Ok(())
    }

    /// The content of an error isn't there any earlier.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let for_xml = cfg.load::<Asked>().is_some_and(|asked| asked.for_xml);
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

/// Refuses what answers to a request for an object that nobody can have put there.
#[derive(Debug)]
pub(crate) struct NothingIsThere;

impl Intercept for NothingIsThere {
    fn name(&self) -> &'static str {
        "NothingIsThere"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_there = context.response().status().is_success();
        if is_there { Err(Foreign::new("S3", context.response()).into()) } else { Ok(()) }
    }
}

/// Looks at the responses of SQS.
#[derive(Debug)]
pub(crate) struct SqsResponses;

impl Intercept for SqsResponses {
    fn name(&self) -> &'static str {
        "SqsResponses"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bound(context.response_mut());
        Ok(())
    }

    /// The content isn't there any earlier.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let is_fine = !response.status().is_success() || is_from_sqs(response);
        if is_fine { Ok(()) } else { Err(Foreign::new("SQS", response).into()) }
    }
}

/// What is known of a response's request, which is gone when the response comes.
#[derive(Debug)]
struct Asked {
    /// Of the form `http://host:port`.
    endpoint: String,
    path: String,
    /// Whether a good response is XML.
    for_xml: bool,
}

impl Storable for Asked {
    type Storer = StoreReplace<Self>;
}

fn remember(context: &BeforeTransmitInterceptorContextRef<'_>, cfg: &mut ConfigBag) {
    let request = context.request();
    let uri = request.uri();
    let (scheme, rest) = uri.split_once("://").unwrap_or(("http", uri));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    // There may be a password before it.
    let host = authority.rsplit('@').next().unwrap_or_default();
    let for_xml = match request.method() {
        "POST" => true,
        "GET" => query.contains("list-type=2"),
        "PUT" => request.headers().contains_key("x-amz-copy-source"),
        _ => false,
    };
    let asked = Asked { endpoint: format!("{scheme}://{host}"), path: format!("/{path}"), for_xml };
    cfg.interceptor_state().store_put(asked);
}

/// An answer that doesn't end is an error and fills no memory: the SDK reads these as a whole.
fn bound(response: &mut HttpResponse) {
    let body = std::mem::replace(response.body_mut(), SdkBody::taken());
    *response.body_mut() =
        body.map_preserve_contents(|body| SdkBody::from_body_1_x(Limited::new(body, MAX_ANSWER_BYTES)));
}

/// Whether a good response is one of S3's: the content of most is an object's, or none, so that any page could pass
/// for it. What is in XML is looked at by the SDK.
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

/// Whether a good response is one of SQS's. To the SDK any JSON object, and no content at all, is an empty receive.
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
