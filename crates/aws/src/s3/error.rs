//! What the service's errors mean for a task and its worker.

use crate::failure::Failure;
use wasmrun_runtime::ports::object_store::StoreError;

/// What isn't there if something isn't.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Object,
    Bucket,
}

/// What is said of an ACL in a bucket that has none, as is usual.
const ACL_REFUSED: [&str; 3] = [
    "AccessControlListNotSupported",
    "InvalidBucketAclWithObjectOwnership",
    "InvalidBucketAclWithBlockPublicAccessError",
];
/// What a range that begins after the end is answered with, as any is of an empty object.
pub(super) const RANGE_NOT_SATISFIABLE: u16 = 416;

/// How the worker is to write here can't be done: a key, an ACL.
pub(super) fn settings_error(failure: &Failure) -> Option<StoreError> {
    let is_of_settings = failure.code.starts_with("KMS.") || failure.is_any(&ACL_REFUSED);
    let text = || format!("the store's encryption or ACL can't be used: {}", failure.text);
    is_of_settings.then(|| StoreError::Unavailable(text()))
}

/// A failed call. What is wrong with the worker's own place or credentials is no fault of the message: it counts as the
/// store's being unavailable, so that nothing is dead-lettered for it. So does whatever doesn't answer as S3 does: only S3's
/// own word says that an object isn't there, and not a status, which any proxy sends.
pub(super) fn store_error(failure: Failure, missing: Missing) -> StoreError {
    let is_absent = failure.is_any(&["NoSuchKey", "NoSuchVersion"]) || failure.is_delete_marker;
    if is_absent && missing == Missing::Object {
        return StoreError::NotFound;
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
        // The key is the one that whoever wrote the object has chosen.
        Some(StoreError::Unavailable(text)) if missing == Missing::Object && !failure.is_transient() => {
            return StoreError::AccessDenied(text);
        }
        Some(error) => return error,
        None => {}
    }
    // What is copied or put together is answered for when the status is on its way already.
    if failure.is_any(&["PreconditionFailed"]) {
        return StoreError::PreconditionFailed;
    }
    match failure.status {
        _ if failure.is_transient() => StoreError::Unavailable(failure.text),
        // Its status is that of a refusal.
        _ if failure.is_any(&["InvalidObjectState"]) => {
            StoreError::Invalid("the object is in an archive and has to be restored first".into())
        }
        _ if failure.is_any(&["AccessDenied"]) => StoreError::AccessDenied(failure.text),
        // The account, the credentials: not this object's matter.
        _ if failure.is_denied() => StoreError::Unavailable(failure.text),
        _ if failure.is_any(&["EntityTooLarge"]) => StoreError::TooLarge(failure.text),
        // Another place, another kind of address, another method: what the worker was told, or what lies before the service.
        300..=399 | 404 | 405 => StoreError::Unavailable(failure.text),
        // The guest reads this: the service's own sentence may name what it mustn't know.
        _ if !failure.code.is_empty() => {
            StoreError::Invalid(format!("the store refuses it: {}", failure.code))
        }
        _ if failure.status == 0 => StoreError::Invalid("the store can't be asked for that".into()),
        _ => StoreError::Unavailable(failure.text),
    }
}
