//! Checks values that come from the guest, and converts values for it.

use super::super::bindings::wasmrun::task::object_store::{
    Condition, Error, ObjectInfo, ObjectPage, ObjectSummary, PutOptions,
};
use super::{Fault, Result};
use crate::ports::object_store::{self as runtime, MAX_KEY_BYTES, MAX_METADATA_BYTES, is_header};
use crate::task::host::milliseconds;

pub(super) fn other(text: &str) -> Fault {
    Error::Other(text.to_owned()).into()
}

/// Accepts only options that every store can keep: S3 sends them in HTTP headers, and encodes only metadata.
pub(super) fn checked(options: PutOptions) -> Result<runtime::PutOptions> {
    if !options.content_type.as_deref().is_none_or(is_header) {
        return Err(other(
            "a content type is 1 to 256 printable ASCII characters, without spaces around them",
        ));
    }
    if !options.cache_control.as_deref().is_none_or(is_header) {
        return Err(other(
            "a cache control is 1 to 256 printable ASCII characters, without spaces around them",
        ));
    }
    // Checked first, so that the loop below sees only a few entries, however many the guest passes.
    let mut total = 0;
    for (name, value) in &options.metadata {
        total += name.len() + value.len();
        if name.is_empty() || total > MAX_METADATA_BYTES {
            return Err(other(
                "metadata is at most 2,048 bytes, names and values together, and no name is empty",
            ));
        }
    }
    for (index, (name, value)) in options.metadata.iter().enumerate() {
        let well_formed = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
        if !well_formed || value.contains(char::is_control) || value.trim() != value {
            return Err(other(
                "metadata is names of a-z, 0-9, '-', '_' and '.' with values of printable text, without spaces around them",
            ));
        }
        if options.metadata[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(other("a name of the metadata is given twice"));
        }
    }
    Ok(runtime::PutOptions {
        content_type: options.content_type,
        cache_control: options.cache_control,
        metadata: options.metadata,
        condition: checked_condition(options.condition)?,
    })
}

/// Checks a condition. No object's etag contains a character that an HTTP header can't hold.
pub(super) fn checked_condition(condition: Condition) -> Result<runtime::Condition> {
    let is_etag = |etag: &str| {
        (1..=MAX_KEY_BYTES).contains(&etag.len()) && etag.bytes().all(|b| b.is_ascii_graphic() && b != b'"')
    };
    match condition {
        Condition::Always => Ok(runtime::Condition::Always),
        Condition::IfAbsent => Ok(runtime::Condition::IfAbsent),
        Condition::IfMatch(etag) if is_etag(&etag) => Ok(runtime::Condition::IfMatch(etag)),
        Condition::IfMatch(_) => Err(Error::PreconditionFailed.into()),
    }
}

/// Checks a version or a continuation: S3 has no longer ones.
pub(super) fn checked_name(name: Option<String>) -> Result<Option<String>> {
    match name {
        Some(name) if name.len() > MAX_KEY_BYTES => {
            Err(other("a version or a continuation is at most 1,024 bytes"))
        }
        name => Ok(name),
    }
}

impl From<runtime::ObjectInfo> for ObjectInfo {
    fn from(info: runtime::ObjectInfo) -> Self {
        Self {
            key: info.key,
            size: info.size,
            etag: info.etag,
            version: info.version,
            content_type: info.content_type,
            cache_control: info.cache_control,
            metadata: info.metadata,
            modified_at: info.modified_at.map(milliseconds),
        }
    }
}

impl From<runtime::ObjectPage> for ObjectPage {
    fn from(page: runtime::ObjectPage) -> Self {
        let summary = |object: runtime::ObjectSummary| ObjectSummary {
            key: object.key,
            size: object.size,
            etag: object.etag,
            modified_at: object.modified_at.map(milliseconds),
        };
        Self { objects: page.objects.into_iter().map(summary).collect(), continuation: page.continuation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(metadata: Vec<(String, String)>) -> PutOptions {
        PutOptions { content_type: None, cache_control: None, metadata, condition: Condition::Always }
    }

    #[test]
    fn metadata_of_a_million_names_is_refused_without_comparing_them() {
        let names = (0..1_000_000).map(|n| (format!("{n}"), String::new())).collect();
        assert!(checked(put(names)).is_err());
        assert!(checked(put(vec![(String::new(), String::new()); 1_000_000])).is_err());
    }

    #[test]
    fn a_content_type_or_cache_control_that_http_headers_cannot_carry_is_refused() {
        let refused = |content_type: Option<&str>, cache_control: Option<&str>| {
            let options = PutOptions {
                content_type: content_type.map(str::to_owned),
                cache_control: cache_control.map(str::to_owned),
                ..put(Vec::new())
            };
            match checked(options) {
                Ok(kept) => {
                    assert_eq!(kept.cache_control.as_deref(), cache_control);
                    None
                }
                Err(fault) => Some(format!("{fault:?}")),
            }
        };
        let (longest, longer) = ("x".repeat(256), "x".repeat(257));
        for value in ["public, max-age=31536000, immutable", "no-cache=\"set-cookie\"", &longest] {
            assert_eq!(refused(Some(value), Some(value)), None);
        }
        for value in
            ["", " ", " a", "a ", "a\r\nx-amz-acl: public-read", "a\tb", "a\0", "a\x7f", "Zoë", &longer]
        {
            let text = refused(Some(value), None).expect("it is refused");
            assert!(text.contains("a content type is 1 to 256 printable ASCII"), "{value:?}: {text}");
            let text = refused(None, Some(value)).expect("it is refused");
            assert!(text.contains("a cache control is 1 to 256 printable ASCII"), "{value:?}: {text}");
        }
    }

    #[test]
    fn metadata_that_http_headers_cannot_carry_is_refused() {
        let one = |name: &str, value: &str| checked(put(vec![(name.into(), value.into())])).is_ok();
        assert!(one("a-b_c.1", "some text"));
        assert!(one("a", "Zoë"));
        for (name, value) in
            [("A", "x"), ("a b", "x"), ("ü", "x"), ("a", "x\n"), ("a", "\u{85}x"), ("a", " x")]
        {
            assert!(!one(name, value), "{name:?}: {value:?}");
        }
        assert!(checked(put(vec![("a".into(), "1".into()), ("a".into(), "2".into())])).is_err());
    }
}
