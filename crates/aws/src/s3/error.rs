//! Converts the errors of S3 for the task and the worker.

use crate::failure::Failure;
use crate::sessions::KeyRefused;
use wasmrun_runtime::ports::object_store::StoreError;

/// What a "not found" response refers to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Object,
    Bucket,
}

/// Codes of errors for an ACL in a bucket with ACLs disabled, which is the default.
const ACL_REFUSED: [&str; 3] = [
    "AccessControlListNotSupported",
    "InvalidBucketAclWithObjectOwnership",
    "InvalidBucketAclWithBlockPublicAccessError",
];
/// Status for a range that begins after the end of the object, which is any range of an empty object.
pub(super) const RANGE_NOT_SATISFIABLE: u16 = 416;

/// Returns an error if the store's settings for writing can't be used: the KMS key or the ACL.
pub(super) fn settings_error(failure: &Failure) -> Option<StoreError> {
    let is_of_settings = failure.code.starts_with("KMS.") || failure.is_any(&ACL_REFUSED);
    let text = || format!("the store's encryption or ACL cannot be used: {}", failure.text);
    is_of_settings.then(|| StoreError::Unavailable(text()))
}

/// Converts a failed call. A fault of the worker's configuration or credentials isn't a fault of the message. It counts
/// as an unavailable store, so that no message is dead-lettered for it. So does any response that isn't S3's: only an
/// error code of S3 says that an object is missing, as any proxy can send a status.
pub(super) fn store_error(failure: Failure, missing: Missing) -> StoreError {
    let is_absent = failure.is_any(&["NoSuchKey", "NoSuchVersion"]) || failure.is_delete_marker;
    if is_absent && missing == Missing::Object {
        return StoreError::NotFound;
    }
    if failure.is_any(&[KeyRefused::CODE]) {
        return StoreError::KeyDenied(failure.text);
    }
    if failure.is_any(&["NoSuchBucket"]) {
        return StoreError::Unavailable("there is no such bucket".into());
    }
    if failure.is_any(&[
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    ]) {
        let text = "the bucket is in another region than the one that is set: see AWS_REGION";
        return StoreError::Unavailable(text.into());
    }
    if failure.is_any(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"]) {
        return StoreError::Unavailable(failure.text);
    }
    match settings_error(&failure) {
        // The KMS key was chosen by the writer of the object.
        Some(StoreError::Unavailable(text)) if missing == Missing::Object && !failure.is_transient() => {
            return StoreError::AccessDenied(text);
        }
        Some(error) => return error,
        None => {}
    }
    // Copies and completed uploads can report this code after a status of 200.
    if failure.is_any(&["PreconditionFailed"]) {
        return StoreError::PreconditionFailed;
    }
    match failure.status {
        _ if failure.is_transient() => StoreError::Unavailable(failure.text),
        // The status of this code is 403, as for a refusal.
        _ if failure.is_any(&["InvalidObjectState"]) => {
            StoreError::Invalid("the object is in an archive and has to be restored first".into())
        }
        _ if failure.is_any(&["AccessDenied"]) => StoreError::AccessDenied(failure.text),
        // These concern the account or the credentials, and not this object.
        _ if failure.is_denied() => StoreError::Unavailable(failure.text),
        _ if failure.is_any(&["EntityTooLarge"]) => StoreError::TooLarge(failure.text),
        // A redirect, a missing path or a method that isn't allowed: the endpoint or the addressing is wrong, or a
        // proxy answered.
        300..=399 | 404 | 405 => StoreError::Unavailable(failure.text),
        // The guest reads this text, and the service's message may hold names that the guest must not learn.
        _ if !failure.code.is_empty() => {
            StoreError::Invalid(format!("the store refuses the request: {}", failure.code))
        }
        _ if failure.status == 0 => StoreError::Invalid("the request cannot be sent to the store".into()),
        _ => StoreError::Unavailable(failure.text),
    }
}
