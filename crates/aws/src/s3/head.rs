//! What is known of an object without its content.

use super::error::{Missing, RANGE_NOT_SATISFIABLE, store_error};
use super::{Place, check_version, head_info};
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
        // A HEAD is refused without a word. A version that can't be one, an object encrypted with a key of its writer's and
        // one that isn't there are this object's matter, a token that has expired and another server's page are the worker's.
        Err(failure) if is_refusal(&failure) => {
            let why = why_refused(place, key, version).await;
            Err(why.unwrap_or_else(|| store_error(failure, Missing::Object)))
        }
        Err(failure) => Err(store_error(failure, Missing::Object)),
    }
}

/// What another request with the same right may be told more of.
fn is_refusal(failure: &Failure) -> bool {
    const TIMEOUT: u16 = 408;
    const TOO_MANY: u16 = 429;
    failure.is_unnamed()
        && !failure.is_delete_marker
        && (300..500).contains(&failure.status)
        && ![TIMEOUT, TOO_MANY].contains(&failure.status)
}

/// Why an object can't be read, in the words that a GET is refused with; `None`: it can.
pub(super) async fn why_refused(place: &Place, key: &str, version: Option<&str>) -> Option<StoreError> {
    let request = place.client.get_object().bucket(&place.bucket).key(place.full(key));
    let request = request.set_version_id(version.map(Into::into)).range("bytes=0-0");
    match request.send().await.map_err(Failure::from) {
        // Of an empty object there is no first byte.
        Err(failure) if failure.status != RANGE_NOT_SATISFIABLE => {
            Some(store_error(failure, Missing::Object))
        }
        _ => None,
    }
}
