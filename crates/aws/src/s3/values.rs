//! Converts values of S3's responses: lengths, versions, keys, times, etags.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use percent_encoding::percent_decode_str;
use std::time::SystemTime;
use wasmrun_runtime::ports::object_store::{ObjectInfo, StoreError};

pub(super) fn head_info(key: &str, answer: HeadObjectOutput) -> Result<ObjectInfo, StoreError> {
    Ok(ObjectInfo {
        key: key.to_owned(),
        size: length(answer.content_length)?,
        etag: answer.e_tag.map(unquoted),
        version: answer.version_id.filter(is_version),
        content_type: answer.content_type,
        cache_control: answer.cache_control,
        metadata: sorted(answer.metadata.unwrap_or_default()),
        modified_at: answer.last_modified.and_then(time),
    })
}

pub(super) fn length(reported: Option<i64>) -> Result<u64, StoreError> {
    let length = reported.and_then(|length| u64::try_from(length).ok());
    length.ok_or_else(|| StoreError::Unavailable("the answer has no content length".into()))
}

/// Checks that a response has the requested version. A server without versions, and a proxy that drops the parameter,
/// return the current object.
pub(super) fn check_version(asked: Option<&str>, answered: Option<&str>) -> Result<(), StoreError> {
    const MOST_SHOWN: usize = 64;
    let Some(asked) = asked else { return Ok(()) };
    // An object without a version is requested as version `null`. A bucket that never had versioning returns no version
    // for it.
    if answered == Some(asked) || (answered.is_none() && asked == NO_VERSION) {
        return Ok(());
    }
    let shown = |version: &str| version.chars().take(MOST_SHOWN).collect::<String>();
    let came = answered
        .map_or("an object without a version".into(), |version| format!("version {:?}", shown(version)));
    Err(StoreError::Unavailable(format!(
        "version {:?} was asked for and {came} came: the server keeps no versions, or a proxy before it does not ask for them",
        shown(asked)
    )))
}

/// Decodes a URL-encoded key of a listing.
pub(super) fn decoded(key: &str) -> Option<String> {
    let key = key.replace('+', " ");
    percent_decode_str(&key).decode_utf8().ok().map(|key| key.into_owned())
}

/// Version ID of an object in a bucket without versioning.
const NO_VERSION: &str = "null";

pub(super) fn is_version(version: &String) -> bool {
    version != NO_VERSION
}

pub(super) fn sorted(metadata: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut metadata: Vec<_> = metadata.into_iter().collect();
    metadata.sort();
    metadata
}

pub(super) fn time(time: DateTime) -> Option<SystemTime> {
    SystemTime::try_from(time).ok()
}

/// Removes the quotes around an HTTP etag, as events name an etag without them.
pub(super) fn unquoted(etag: String) -> String {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).map(Into::into).unwrap_or(etag)
}

pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_listing_are_decoded_as_forms_are() {
        assert_eq!(decoded("a+b%2Bc%0D%20%C3%BC").as_deref(), Some("a b+c\r \u{fc}"));
        assert_eq!(decoded("%FF"), None);
    }

    #[test]
    fn an_answer_of_another_version_is_refused() {
        for (asked, answered) in
            [(None, None), (None, Some("a")), (Some("a"), Some("a")), (Some("null"), None)]
        {
            assert_eq!(check_version(asked, answered), Ok(()));
        }
        for (asked, answered) in [("a", None), ("a", Some("b")), ("a", Some("null")), ("null", Some("a"))] {
            assert!(matches!(check_version(Some(asked), answered), Err(StoreError::Unavailable(_))));
        }
    }

    #[test]
    fn an_etag_loses_its_quotes_and_gets_them_back() {
        assert_eq!(unquoted(r#""abc""#.into()), "abc");
        assert_eq!(unquoted("abc".into()), "abc");
        assert_eq!(unquoted("\"".into()), "\"");
        assert_eq!(quoted("abc"), r#""abc""#);
    }
}
