//! What a failed call says, whatever the operation: a code, a status, a sentence.

use crate::response::Foreign;
use aws_sdk_s3::operation as s3;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation as sqs;
use std::error::Error;

/// Codes of errors that another try may well not meet, beside those with a status of 5xx or 429.
///
/// Sources: "Error handling" in the SQS, S3 and STS API references, and the SDKs' own lists of throttling errors.
const TRANSIENT: [&str; 23] = [
    "BandwidthLimitExceeded",
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalError",
    "InternalFailure",
    "KMS.ThrottlingException",
    "KmsThrottled",
    "OperationAborted",
    "OverLimit",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
    "SlowDown",
    "Throttled",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];
/// Codes of errors that say: not you.
const DENIED: [&str; 9] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "KmsAccessDenied",
    "KMS.AccessDeniedException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];
/// A service's text goes to the log no further than this.
const MAX_TEXT: usize = 500;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The service's name of the error; empty if the service named none.
    pub(crate) code: String,
    /// HTTP's; 0: there was no response.
    pub(crate) status: u16,
    /// A sentence for the operator.
    pub(crate) text: String,
    /// The service says that the object was deleted, and that only a mark of this is left in a bucket with versions.
    pub(crate) is_delete_marker: bool,
    /// The service wasn't reached, its answer was lost on the way, or something else answered in its place.
    lost: bool,
}

impl Failure {
    /// A good answer that leaves out what it must hold.
    pub(crate) fn incomplete(text: &str) -> Self {
        Self { code: String::new(), status: 0, text: text.into(), is_delete_marker: false, lost: true }
    }

    /// Another try may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        self.lost || is_transient(&self.code) || self.status >= 500 || matches!(self.status, 408 | 429)
    }

    /// The caller may not do that, or isn't who it says.
    pub(crate) fn is_denied(&self) -> bool {
        DENIED.contains(&short(&self.code)) || matches!(self.status, 401 | 403)
    }

    /// Something answered without naming an error: to a HEAD, the service; to all else, something in its place.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.status != 0 && self.code.is_empty()
    }

    /// Whether the service calls it one of these.
    pub(crate) fn is_any(&self, codes: &[&str]) -> bool {
        codes.contains(&short(&self.code))
    }
}

/// Whether an error of this name says that the caller may not, or that the queue's or the bucket's key can't be used: not
/// one message's matter.
///
/// Source of the names: "Errors" of `SendMessage` in the SQS API reference (`KmsAccessDenied`, `KmsDisabled`, …).
pub(crate) fn is_refused_to_all(code: &str) -> bool {
    let code = short(code);
    DENIED.contains(&code) || code.starts_with("Kms") || code.starts_with("KMS.")
}

/// Whether an error of this name may be gone at the next try.
pub(crate) fn is_transient(code: &str) -> bool {
    TRANSIENT.contains(&code) || TRANSIENT.contains(&short(code))
}

/// SQS writes some of its codes as `AWS.SimpleQueueService.NonExistentQueue`.
fn short(code: &str) -> &str {
    code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)
}

/// Codes that say that the caller is known and lacks a right.
const UNALLOWED: [&str; 3] = ["AccessDenied", "AccessDeniedException", "AccessDeniedFault"];

/// The error of an operation, and the right without which the operation is refused. Sources: "Actions" of SQS and S3 in the
/// Service Authorization Reference.
pub(crate) trait Operation: ProvideErrorMetadata + Error + Send + Sync + 'static {
    const ACTION: &'static str;

    /// Whose operation it is.
    fn service() -> &'static str {
        if Self::ACTION.starts_with("s3:") { S3 } else { "SQS" }
    }
}

const S3: &str = "S3";

macro_rules! actions {
    ($($error:ty => $action:literal,)*) => {
        $(impl Operation for $error { const ACTION: &'static str = $action; })*
    };
}

actions! {
    sqs::change_message_visibility_batch::ChangeMessageVisibilityBatchError => "sqs:ChangeMessageVisibility",
    sqs::delete_message_batch::DeleteMessageBatchError => "sqs:DeleteMessage",
    sqs::get_queue_attributes::GetQueueAttributesError => "sqs:GetQueueAttributes",
    sqs::get_queue_url::GetQueueUrlError => "sqs:GetQueueUrl",
    sqs::purge_queue::PurgeQueueError => "sqs:PurgeQueue",
    sqs::receive_message::ReceiveMessageError => "sqs:ReceiveMessage",
    sqs::send_message_batch::SendMessageBatchError => "sqs:SendMessage",
    s3::abort_multipart_upload::AbortMultipartUploadError => "s3:AbortMultipartUpload",
    s3::complete_multipart_upload::CompleteMultipartUploadError => "s3:PutObject",
    s3::copy_object::CopyObjectError => "s3:PutObject (with an ACL s3:PutObjectAcl), and s3:GetObject on the source",
    s3::create_multipart_upload::CreateMultipartUploadError => "s3:PutObject (with an ACL s3:PutObjectAcl)",
    s3::delete_object::DeleteObjectError => "s3:DeleteObject",
    s3::get_object::GetObjectError => "s3:GetObject (of a version s3:GetObjectVersion; of a missing object s3:ListBucket)",
    s3::head_object::HeadObjectError => "s3:GetObject (of a version s3:GetObjectVersion; of a missing object s3:ListBucket)",
    s3::list_objects_v2::ListObjectsV2Error => "s3:ListBucket",
    s3::put_object::PutObjectError => "s3:PutObject (with an ACL s3:PutObjectAcl)",
    s3::upload_part::UploadPartError => "s3:PutObject",
    s3::upload_part_copy::UploadPartCopyError => "s3:PutObject, and s3:GetObject on the source",
}

impl<E: Operation> From<SdkError<E, HttpResponse>> for Failure {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let is_delete_marker = error.raw_response().is_some_and(is_delete_marker);
        let failed =
            |text, lost| Self { code: String::new(), status, text: cut(text), is_delete_marker, lost };
        match &error {
            SdkError::ServiceError(service) => {
                let Some(code) = service.err().code().filter(|_| is_named::<E>(service.raw())) else {
                    return failed(Foreign::new(E::service(), service.raw()).to_string(), true);
                };
                let code = code.to_owned();
                let text = match service.err().message().filter(|message| !message.is_empty()) {
                    Some(message) => format!("{code}: {message}"),
                    None => code.clone(),
                };
                let is_unallowed = UNALLOWED.contains(&short(&code));
                let text = match cut(text) {
                    // Where the service says it itself, it may mean a right on a key.
                    text if is_unallowed && !text.contains("perform: ") => {
                        format!("{text} (the right to {} is missing)", E::ACTION)
                    }
                    text => text,
                };
                Self { code, status, text, is_delete_marker, lost: false }
            }
            // It can't be sent as it is, now or later.
            SdkError::ConstructionFailure(_) => failed(causes(&error), false),
            // Credentials that can't be had are among these: they may come back.
            _ => {
                let foreign = Foreign::behind(&error).map(Foreign::to_string);
                failed(foreign.unwrap_or_else(|| causes(&error)), true)
            }
        }
    }
}

/// Whether an error that has a name got it from the service.
fn is_named<E: Operation>(response: &HttpResponse) -> bool {
    E::service() != S3 || is_s3_error(response)
}

/// Whether a response is S3's word for an error: XML whose root is an error. To the SDK any root will do, and it has a name of
/// its own for a 404 without content.
pub(crate) fn is_s3_error(response: &HttpResponse) -> bool {
    const DECLARATION: (&[u8], &[u8]) = (b"<?xml", b"?>");
    let mut xml = response.body().bytes().unwrap_or_default().trim_ascii_start();
    if xml.starts_with(DECLARATION.0) {
        let end = xml.windows(DECLARATION.1.len()).position(|bytes| bytes == DECLARATION.1);
        xml = end.map_or(&[][..], |end| xml[end + DECLARATION.1.len()..].trim_ascii_start());
    }
    xml.strip_prefix(b"<Error")
        .is_some_and(|rest| rest.first().is_some_and(|&byte| !byte.is_ascii_alphanumeric()))
}

fn is_delete_marker(response: &HttpResponse) -> bool {
    matches!(response.status().as_u16(), 404 | 405)
        && response.headers().get("x-amz-delete-marker").is_some_and(|is| is.eq_ignore_ascii_case("true"))
}

/// The causes of an error, the most general first: the SDK's own texts name none.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Many wrap one with the same text.
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    told(&texts.join(": "))
}

/// What the SDK says of missing credentials is a list of all places that it asked, and of their types.
fn told(text: &str) -> String {
    const FILES: &str = "~/.aws/config and ~/.aws/credentials";
    let text = text.strip_prefix("dispatch failure: other: ").unwrap_or(text);
    if !text.contains("no credentials found in chain") {
        return text.to_owned();
    }
    let undefined = text.split_once("profile `").and_then(|(_, rest)| rest.split_once("` was not defined"));
    match undefined {
        Some((profile, _)) => {
            format!("the profile {profile} isn't in {FILES}: add it, or name another one with AWS_PROFILE")
        }
        None => "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile that has some, or run where a role gives them, as on ECS, EC2 and EKS".into(),
    }
}

fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &str, status: u16) -> Failure {
        Failure { code: code.into(), status, text: String::new(), is_delete_marker: false, lost: false }
    }

    #[test]
    fn throttling_and_servers_in_trouble_are_transient_and_refusals_are_not() {
        for (code, status) in [
            ("RequestThrottled", 403),
            ("AWS.SimpleQueueService.OverLimit", 403),
            ("SlowDown", 503),
            ("", 500),
            ("", 429),
            ("ExpiredToken", 400),
        ] {
            assert!(failure(code, status).is_transient(), "{code} {status}");
        }
        for (code, status) in [("AccessDenied", 403), ("InvalidAddress", 400), ("NoSuchBucket", 404)] {
            assert!(!failure(code, status).is_transient(), "{code} {status}");
        }
        assert!(failure("SignatureDoesNotMatch", 403).is_denied());
        assert!(failure("", 403).is_denied());
        assert!(!failure("NoSuchKey", 404).is_denied());
    }

    #[test]
    fn a_service_that_talks_much_is_cut_short() {
        let text = cut("ü".repeat(MAX_TEXT + 1));
        assert_eq!(text.chars().count(), MAX_TEXT + 1);
        assert!(text.ends_with('…'));
        assert_eq!(cut("short".into()), "short");
    }
}
