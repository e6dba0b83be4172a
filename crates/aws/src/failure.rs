//! Describes a failed call of any operation: error code, HTTP status and a sentence.

use crate::response::NotTheService;
use crate::sessions::KeyRefused;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_s3::operation as s3;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::operation as sqs;
use std::error::Error;
use wasmrun_runtime::model::text::first_chars;

/// Codes of errors that a retry may not meet, in addition to the SDK's own lists and to the statuses 5xx, 408 and 429.
///
/// Source: "Error handling" in the SQS, S3 and STS API references.
const TRANSIENT: [&str; 11] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalError",
    "InternalFailure",
    "KMS.ThrottlingException",
    "KmsThrottled",
    "OperationAborted",
    "OverLimit",
    "RequestTimeTooSkewed",
    "ServiceUnavailable",
    "Throttled",
];
/// Codes of errors that refuse the caller.
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
/// Maximum length of a service's text in logs, in characters.
const MAX_TEXT: usize = 500;

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Error code of the service; empty if the response has none.
    pub(crate) code: String,
    /// HTTP status; 0 if there was no response.
    pub(crate) status: u16,
    /// Description of the failure for the operator.
    pub(crate) text: String,
    /// Whether the object was deleted in a versioned bucket, so that only a delete marker is left.
    pub(crate) is_delete_marker: bool,
    /// Whether the service wasn't reached, the response was lost on its way, or another server sent the response.
    lost: bool,
}

impl Failure {
    /// A successful response without a required member.
    pub(crate) fn incomplete(text: &str) -> Self {
        Self { code: String::new(), status: 0, text: text.into(), is_delete_marker: false, lost: true }
    }

    /// Returns whether a retry may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        self.lost || is_transient(&self.code) || self.status >= 500 || matches!(self.status, 408 | 429)
    }

    /// Returns whether the caller lacks a right or wasn't authenticated.
    pub(crate) fn is_denied(&self) -> bool {
        DENIED.contains(&short(&self.code)) || matches!(self.status, 401 | 403)
    }

    /// Returns whether there was a response without an error code. S3 sends such a response only to HEAD; for other
    /// methods, another server sent it.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.status != 0 && self.code.is_empty()
    }

    /// Returns whether the error code is one of `codes`.
    pub(crate) fn is_any(&self, codes: &[&str]) -> bool {
        codes.contains(&short(&self.code))
    }
}

/// Returns whether an error code concerns every message and not only the one that was sent: the caller lacks a right,
/// or the KMS key of the queue or bucket can't be used.
///
/// Source of the codes: "Errors" of `SendMessage` in the SQS API reference (`KmsAccessDenied`, `KmsDisabled`, …).
pub(crate) fn is_refused_to_all(code: &str) -> bool {
    let code = short(code);
    DENIED.contains(&code) || code.starts_with("Kms") || code.starts_with("KMS.")
}

/// Returns whether a retry may succeed after an error with this code.
pub(crate) fn is_transient(code: &str) -> bool {
    let lists = [&TRANSIENT[..], THROTTLING_ERRORS, TRANSIENT_ERRORS];
    lists.iter().any(|codes| codes.contains(&code) || codes.contains(&short(code)))
}

/// Strips the prefix of codes that SQS writes as `AWS.SimpleQueueService.NonExistentQueue`.
fn short(code: &str) -> &str {
    code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code)
}

/// Codes of errors for an authenticated caller that lacks a right.
pub(crate) const UNALLOWED: [&str; 3] = ["AccessDenied", "AccessDeniedException", "AccessDeniedFault"];

/// The error of an operation, with the IAM action that the operation needs. Sources: "Actions" of SQS and S3 in the
/// Service Authorization Reference.
pub(crate) trait Operation: ProvideErrorMetadata + Error + Send + Sync + 'static {
    const ACTION: &'static str;

    /// Returns the name of the operation's service.
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
    sqs::list_dead_letter_source_queues::ListDeadLetterSourceQueuesError => "sqs:ListDeadLetterSourceQueues",
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
        let failed = |text: String, lost| {
            let text = first_chars(&text, MAX_TEXT);
            Self { code: String::new(), status, text, is_delete_marker, lost }
        };
        match &error {
            SdkError::ServiceError(service) => {
                let Some(code) = service.err().code().filter(|_| is_named::<E>(service.raw())) else {
                    return failed(NotTheService::new(E::service(), service.raw()).to_string(), true);
                };
                let code = code.to_owned();
                let text = match service.err().message().filter(|message| !message.is_empty()) {
                    Some(message) => format!("{code}: {message}"),
                    None => code.clone(),
                };
                let is_unallowed = UNALLOWED.contains(&short(&code));
                let text = match first_chars(&text, MAX_TEXT) {
                    // A text of the service that names the missing action is kept: the action may be one on a KMS key.
                    text if is_unallowed && !text.contains("perform: ") => {
                        format!("{text} (the right to {} is missing)", E::ACTION)
                    }
                    text => text,
                };
                Self { code, status, text, is_delete_marker, lost: false }
            }
            // The request can't be built, so a retry fails too.
            SdkError::ConstructionFailure(_) => failed(causes(&error), false),
            // These include missing credentials, which may be available later.
            _ => {
                if let Some(refused) = KeyRefused::behind(&error) {
                    let code = KeyRefused::CODE.to_owned();
                    return Self { code, ..failed(refused.to_string(), false) };
                }
                let foreign = NotTheService::behind(&error).map(NotTheService::to_string);
                failed(foreign.unwrap_or_else(|| causes(&error)), true)
            }
        }
    }
}

/// Returns whether the error code of a response came from the service. The SDK also derives codes on its own.
fn is_named<E: Operation>(response: &HttpResponse) -> bool {
    E::service() != S3 || is_s3_error(response)
}

/// Returns whether the body of a response is S3's XML for an error: its root element is `Error`. The SDK accepts any
/// root element, and makes up a code for a 404 without a body.
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

/// Joins the texts of an error and its sources, the most general first: the SDK's own texts leave out their sources.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Many errors repeat the text of their source.
        if !texts.last().is_some_and(|last| last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    without_providers(&texts.join(": "))
}

/// Shortens the SDK's text for missing credentials, which lists all providers and their types.
fn without_providers(text: &str) -> String {
    const FILES: &str = "~/.aws/config and ~/.aws/credentials";
    let text = text.strip_prefix("dispatch failure: other: ").unwrap_or(text);
    if !text.contains("no credentials found in chain") {
        return text.to_owned();
    }
    let undefined = text.split_once("profile `").and_then(|(_, rest)| rest.split_once("` was not defined"));
    match undefined {
        Some((profile, _)) => {
            format!("the profile {profile} is not in {FILES}: add it, or name another one with AWS_PROFILE")
        }
        None => "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile that has some, or run where a role gives them, as on ECS, EC2 and EKS".into(),
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
}
