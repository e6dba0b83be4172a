//! Removes headers of an object that can't be parsed. The writer of the object chooses some of them, so they must not
//! look like a failure of S3.

use super::rfc2047;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use std::borrow::Cow;
use std::collections::BTreeSet;
use wasmrun_runtime::ports::object_store::is_header;

const METADATA: &str = "x-amz-meta-";
const CHECKSUM: &str = "x-amz-checksum-";
/// Headers of a successful response that the worker reads, in addition to metadata and checksums. All others are
/// removed, as the SDK would fail on values that it can't parse.
const READ: [&str; 11] = [
    "cache-control",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "wasmrun-endpoint",
    "x-amz-id-2",
    "x-amz-request-id",
    "x-amz-version-id",
];
/// Header that the service sets and never an object's writer.
const LENGTH: &str = "content-length";
/// Number of removed headers that the log names.
const MOST_NAMED: usize = 8;

/// Removes headers that can't be parsed, and decodes metadata in S3's encoding. Returns the names of the first removed
/// headers that the worker would read.
pub(crate) fn make_readable(response: &mut HttpResponse) -> Vec<String> {
    let headers = response.headers_mut();
    let names: BTreeSet<String> = headers.iter_bytes().map(|(name, _)| name.to_owned()).collect();
    let mut missed = Vec::new();
    for name in names {
        if name == LENGTH {
            continue;
        }
        let is_read =
            READ.contains(&&*name) || [METADATA, CHECKSUM].iter().any(|prefix| name.starts_with(prefix));
        if !is_read {
            headers.remove(&name);
            continue;
        }
        let values: Vec<&[u8]> = headers.get_all_bytes(&name).collect();
        let changed = match readable(&name, &values) {
            Some(Cow::Borrowed(_)) => continue,
            Some(Cow::Owned(value)) => Some(value),
            None => None,
        };
        let is_kept = changed.is_some_and(|value| headers.try_insert(name.clone(), value).is_ok());
        if !is_kept {
            headers.remove(&name);
            if missed.len() < MOST_NAMED {
                missed.push(name);
            }
        }
    }
    missed
}

/// Returns the value of a header, decoded if needed. Returns `None` if it can't be parsed.
fn readable<'a>(name: &str, values: &[&'a [u8]]) -> Option<Cow<'a, str>> {
    if name.starts_with(METADATA) {
        return metadata(values);
    }
    let [value] = values else { return None };
    let value = std::str::from_utf8(value).ok()?;
    let is_fine = match name {
        "last-modified" => DateTime::from_str(value.trim(), DateTimeFormat::HttpDate).is_ok(),
        // Copies write the value to the headers of other objects unchanged.
        "cache-control" | "content-type" => is_header(value),
        _ => true,
    };
    is_fine.then_some(Cow::Borrowed(value))
}

/// Joins the values of one name with commas, as HTTP does, and decodes them. S3 encodes values beyond ASCII with RFC
/// 2047; other servers send them as they are.
fn metadata<'a>(values: &[&'a [u8]]) -> Option<Cow<'a, str>> {
    let values = values.iter().map(|value| std::str::from_utf8(value)).collect::<Result<Vec<_>, _>>().ok()?;
    let value = match values[..] {
        [value] => Cow::Borrowed(value),
        _ => Cow::Owned(values.join(",")),
    };
    match rfc2047::decode(&value) {
        // A header can't hold control characters, so such a value stays encoded.
        Some(decoded) if !decoded.contains(char::is_control) => Some(Cow::Owned(decoded)),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the headers that remain of a response, and the names of those that were removed.
    fn read(headers: &[(&'static str, &[u8])]) -> (Vec<(String, String)>, Vec<String>) {
        let mut builder = hyper::http::Response::builder();
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let response = builder.body(aws_sdk_s3::primitives::SdkBody::empty()).expect("a response");
        let mut response = HttpResponse::try_from(response).expect("a response");
        let missed = make_readable(&mut response);
        let kept = response.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        (kept.collect(), missed)
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_the_rest_stays() {
        let (kept, missed) = read(&[
            ("etag", b"\"abc\""),
            ("last-modified", b"yesterday"),
            ("cache-control", b"max-age=1\t"),
            ("content-type", b"text/\xeb"),
            ("x-amz-meta-author", b"Zo\xeb"),
            ("x-amz-meta-town", "Köln".as_bytes()),
        ]);
        let kept: Vec<_> = kept.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(kept, [("etag", "\"abc\""), ("x-amz-meta-town", "Köln")]);
        assert_eq!(missed, ["cache-control", "content-type", "last-modified", "x-amz-meta-author"]);
    }

    #[test]
    fn what_nobody_reads_is_removed_without_a_word() {
        let headers: [(&'static str, &[u8]); 4] = [
            ("expires", b"\xff"),
            ("x-amz-tagging-count", b"many"),
            ("x-amz-storage-class", b"\xeb"),
            ("x-amz-object-lock-retain-until-date", b"never"),
        ];
        assert_eq!(read(&headers), (vec![], vec![]));
    }

    #[test]
    fn metadata_is_decoded_and_its_values_of_one_name_are_joined() {
        let (kept, missed) = read(&[
            ("x-amz-meta-author", b"=?UTF-8?Q?Zo=C3=AB?="),
            ("x-amz-meta-lines", b"=?UTF-8?Q?a=0Ab?="),
            ("x-amz-meta-tag", b"a"),
            ("x-amz-meta-tag", b"b"),
        ]);
        let kept: Vec<_> = kept.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = [
            ("x-amz-meta-author", "Zoë"),
            ("x-amz-meta-lines", "=?UTF-8?Q?a=0Ab?="),
            ("x-amz-meta-tag", "a,b"),
        ];
        assert_eq!((kept, missed), (expected.to_vec(), vec![]));
    }
}
