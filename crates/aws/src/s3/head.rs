//! What is known of an object without its content.

use super::error::{Missing, RANGE_NOT_SATISFIABLE, store_error};
use super::{Place, head_info};
use crate::failure::Failure;
use wasmrun_runtime::object_store::{ObjectInfo, StoreError};

/// What a request that can't be carried out is answered with, and one whose token has expired as well.
const BAD_REQUEST: u16 = 400;

pub(super) async fn head(place: &Place, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
    let request = place.client.head_object().bucket(&place.bucket).key(place.full(key));
    let answer = request.set_version_id(version.map(Into::into)).send().await.map_err(Failure::from);
    match answer {
        Ok(answer) => Ok(head_info(key, answer)),
        // A HEAD is refused without a word. A version that can't be one and an object encrypted with a key of its writer's
        // are this object's matter, a token that has expired is the worker's.
        Err(failure) if failure.status == BAD_REQUEST && failure.code.is_empty() => {
            let why = why_refused(place, key, version).await;
            Err(why.unwrap_or_else(|| store_error(failure, Missing::Object)))
        }
        Err(failure) => Err(store_error(failure, Missing::Object)),
    }
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
