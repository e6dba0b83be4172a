//! Reads the metadata of an object.

use super::Place;
use super::error::{Missing, RANGE_NOT_SATISFIABLE, store_error};
use super::values::{check_version, head_info, quoted};
use crate::failure::Failure;
use wasmrun_runtime::ports::object_store::{ObjectInfo, StoreError};

pub(super) async fn head(place: &Place, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
    let request = place.client.head_object().bucket(&place.bucket).key(place.full(key));
    let answer = request.set_version_id(version.map(Into::into)).send().await.map_err(Failure::from);
    match answer {
        Ok(answer) => {
            check_version(version, answer.version_id.as_deref())?;
            head_info(key, answer)
        }
        // S3 refuses a HEAD without an error code. Some refusals concern the object: an invalid version, an object with
        // a customer-provided key, a missing object. Others concern the worker: an expired token, the page of another
        // server.
        Err(failure) if is_refusal(&failure) => {
            let why = why_refused(place, key, version).await;
            Err(why.unwrap_or_else(|| store_error(failure, Missing::Object)))
        }
        Err(failure) => Err(store_error(failure, Missing::Object)),
    }
}

/// Returns whether a GET with the same right may report more about the refusal.
fn is_refusal(failure: &Failure) -> bool {
    const TIMEOUT: u16 = 408;
    const TOO_MANY: u16 = 429;
    failure.is_unnamed()
        && !failure.is_delete_marker
        && (300..500).contains(&failure.status)
        && ![TIMEOUT, TOO_MANY].contains(&failure.status)
}

/// Returns the reason why an object can't be read, from the error of a GET. Returns `None` if it can be read.
async fn why_refused(place: &Place, key: &str, version: Option<&str>) -> Option<StoreError> {
    let refused = first_byte(place, key, version, None).await.err();
    refused.map(|failure| store_error(failure, Missing::Object))
}

/// Reads the first byte of an object, if its etag is `etag`.
pub(super) async fn first_byte(
    place: &Place,
    key: &str,
    version: Option<&str>,
    etag: Option<&str>,
) -> Result<(), Failure> {
    let request = place.client.get_object().bucket(&place.bucket).key(place.full(key));
    let request = request.set_version_id(version.map(Into::into)).set_if_match(etag.map(quoted));
    match request.range("bytes=0-0").send().await.map_err(Failure::from) {
        // An empty object has no first byte.
        Err(failure) if failure.status != RANGE_NOT_SATISFIABLE => Err(failure),
        _ => Ok(()),
    }
}
