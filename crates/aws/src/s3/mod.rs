//! A store in S3: a bucket, or what lies below a prefix of it.
//!
//! Objects are read as streams and written in parts, so that what this process holds of one has a bound whatever its
//! size. Source of all rules: the S3 API reference and user guide.

mod error;
mod read;
mod write;

use self::error::{Missing, store_error};
use self::read::S3Reader;
use self::write::{PART_BYTES, S3Writer, write_error};
use crate::config::{Aws, names_endpoint, region};
use crate::failure::Failure;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::EncodingType;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::ops::Range;
use std::time::{Duration, SystemTime};
use wasmrun_runtime::object_store::{
    Condition, MAX_PAGE, ObjectInfo, ObjectPage, ObjectReader, ObjectStore, ObjectSummary, ObjectWriter,
    PutOptions, StoreError,
};

const SCHEME: &str = "s3://";
/// One request copies no larger object.
const LARGEST_COPY: u64 = 5 << 30;
/// How long an answer may take to begin.
const ANSWER: Duration = Duration::from_secs(30);
/// What nobody has: asking for it tells whether the bucket answers.
const PROBE_KEY: &str = ".wasmrun-probe";
/// What a copy's source may hold unescaped.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A store in S3.
#[derive(Debug)]
pub struct S3Store {
    place: Place,
    url: String,
}

/// A bucket, what lies before each key in it, and how to get there.
#[derive(Clone, Debug)]
struct Place {
    client: Client,
    bucket: String,
    /// Empty, or it ends with `/`.
    prefix: String,
}

impl S3Store {
    /// Opens the store `s3://BUCKET` or `s3://BUCKET/PREFIX`. Nothing is asked of the service yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if the URL isn't one, or if no region is known.
    pub async fn open(url: &str, aws: &Aws) -> Result<Self, StoreError> {
        let (bucket, prefix) = parse(url).ok_or_else(|| {
            StoreError::Invalid(format!("{url:?} is no store in S3: write s3://BUCKET or s3://BUCKET/PREFIX"))
        })?;
        let sdk = aws.sdk().await;
        let timeouts = sdk.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let config = Builder::from(sdk)
            .region(region(sdk, None).map_err(StoreError::Invalid)?)
            // Servers that stand in for Amazon seldom have a host name for each bucket.
            .force_path_style(names_endpoint(sdk, "AWS_ENDPOINT_URL_S3"))
            // Until an answer begins: its content is watched by the SDK.
            .timeout_config(timeouts.read_timeout(ANSWER).build());
        let client = Client::from_conf(config.build());
        let url = format!("{SCHEME}{bucket}/{prefix}");
        Ok(Self { place: Place { client, bucket, prefix }, url })
    }
}

/// Bucket and prefix.
fn parse(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix(SCHEME)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // "Bucket naming rules" in the user guide; ARNs of access points have colons.
    let is_bucket = (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
    let prefix = prefix.trim_end_matches('/');
    let is_prefix = prefix.is_empty() || wasmrun_runtime::grant::check_key(prefix).is_ok();
    if !is_bucket || !is_prefix {
        return None;
    }
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Some((bucket.to_owned(), prefix))
}

impl Place {
    /// A key as the service knows it.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn url(&self) -> &str {
        &self.url
    }

    fn writer_bytes(&self) -> usize {
        PART_BYTES
    }

    /// Asks for an object that isn't there. A refusal counts as an answer: a role that may read objects and not list
    /// them is told nothing else.
    async fn probe(&self, _write: bool) -> Result<(), StoreError> {
        let Place { client, bucket, .. } = &self.place;
        let request = client.get_object().bucket(bucket).key(self.place.full(PROBE_KEY)).range("bytes=0-0");
        match request.send().await.map_err(Failure::from) {
            Ok(_) => Ok(()),
            Err(failure) if failure.code == "AccessDenied" => Ok(()),
            Err(failure) => match store_error(failure, Missing::Object) {
                StoreError::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
        let Place { client, bucket, .. } = &self.place;
        let request = client.head_object().bucket(bucket).key(self.place.full(key));
        let answer = request.set_version_id(version.map(Into::into)).send().await;
        answer
            .map(|answer| head_info(key, answer))
            .map_err(|error| store_error(error.into(), Missing::Object))
    }

    async fn read(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Box<dyn ObjectReader>, StoreError> {
        Ok(Box::new(S3Reader::open(&self.place, key, version, range).await?))
    }

    async fn write(&self, key: &str, options: PutOptions) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(S3Writer::new(self.place.clone(), key, options)))
    }

    /// Goes on after the last key of the page before: the service's own tokens may tell what lies outside of the store.
    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError> {
        let Place { client, bucket, .. } = &self.place;
        let answer = client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(self.place.full(prefix))
            .set_start_after(continuation.map(|after| self.place.full(after)))
            .max_keys(limit.clamp(1, MAX_PAGE) as i32)
            // XML can't hold each character of a key.
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| store_error(error.into(), Missing::Bucket))?;
        let is_encoded = answer.encoding_type == Some(EncodingType::Url);
        let relative = |key: Option<String>| {
            let key = if is_encoded { decoded(&key?)? } else { key? };
            key.strip_prefix(&self.place.prefix).map(str::to_owned)
        };
        let contents = answer.contents.unwrap_or_default();
        // The last one, whether it's an object of ours or not.
        let last = contents.last().and_then(|object| relative(object.key.clone()));
        let continuation = last.filter(|_| answer.is_truncated == Some(true));
        let objects: Vec<ObjectSummary> = contents
            .into_iter()
            .filter_map(|object| {
                Some(ObjectSummary {
                    key: relative(object.key)?,
                    size: object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                    etag: object.e_tag.map(unquoted),
                    modified_at: object.last_modified.and_then(time),
                })
            })
            // The "folder" itself, which consoles make.
            .filter(|object| !object.key.is_empty())
            .collect();
        Ok(ObjectPage { objects, continuation })
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let Place { client, bucket, .. } = &self.place;
        let answer = client.delete_object().bucket(bucket).key(self.place.full(key)).send().await;
        match answer.map_err(|error| store_error(error.into(), Missing::Object)) {
            Ok(_) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn copy(
        &self,
        key: &str,
        version: Option<&str>,
        to_url: &str,
        to_key: &str,
        condition: &Condition,
    ) -> Option<Result<ObjectInfo, StoreError>> {
        let (to_bucket, to_prefix) = parse(to_url)?;
        let info = match self.head(key, version).await {
            Ok(info) if info.size > LARGEST_COPY => return None,
            Ok(info) => info,
            Err(error) => return Some(Err(error)),
        };
        let Place { client, bucket, .. } = &self.place;
        let mut source = utf8_percent_encode(&format!("{bucket}/{}", self.place.full(key)), PATH).to_string();
        if let Some(version) = version {
            source.push_str("?versionId=");
            source.extend(utf8_percent_encode(version, PATH));
        }
        let request = client.copy_object().copy_source(source).bucket(to_bucket);
        let request = request.key(format!("{to_prefix}{to_key}"));
        let request = match condition {
            Condition::Always => request,
            Condition::IfAbsent => request.if_none_match("*"),
            Condition::IfMatch(etag) => request.if_match(quoted(etag)),
        };
        let answer = request.send().await;
        Some(answer.map_err(|error| write_error(error.into())).map(|answer| ObjectInfo {
            key: to_key.to_owned(),
            etag: answer.copy_object_result.and_then(|result| result.e_tag).map(unquoted),
            version: answer.version_id.filter(is_version),
            modified_at: Some(SystemTime::now()),
            ..info
        }))
    }
}

fn head_info(key: &str, answer: HeadObjectOutput) -> ObjectInfo {
    ObjectInfo {
        key: key.to_owned(),
        size: answer.content_length.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        etag: answer.e_tag.map(unquoted),
        version: answer.version_id.filter(is_version),
        content_type: answer.content_type,
        metadata: sorted(answer.metadata.unwrap_or_default()),
        modified_at: answer.last_modified.and_then(time),
    }
}

/// A key as listings hold it, if they are asked for it in the form of URLs.
fn decoded(key: &str) -> Option<String> {
    let key = key.replace('+', " ");
    percent_decode_str(&key).decode_utf8().ok().map(|key| key.into_owned())
}

/// What a bucket without versions says of an object's version.
fn is_version(version: &String) -> bool {
    version != "null"
}

fn sorted(metadata: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut metadata: Vec<_> = metadata.into_iter().collect();
    metadata.sort();
    metadata
}

fn time(time: DateTime) -> Option<SystemTime> {
    SystemTime::try_from(time).ok()
}

/// Events name an etag without the quotes that HTTP wants.
fn unquoted(etag: String) -> String {
    etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).map(Into::into).unwrap_or(etag)
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_bucket_or_a_part_of_it() {
        let parsed = |url: &str| parse(url).map(|(bucket, prefix)| format!("{bucket} {prefix}"));
        assert_eq!(parsed("s3://photos").as_deref(), Some("photos "));
        assert_eq!(parsed("s3://photos/").as_deref(), Some("photos "));
        assert_eq!(parsed("s3://photos.eu/in/new/").as_deref(), Some("photos.eu in/new/"));
        assert_eq!(parsed("s3://photos/a b+ü").as_deref(), Some("photos a b+ü/"));
        for url in
            ["s3://", "s3:photos", "s3://ab", "s3://Photos", "s3://photos/../x", "s3://photos//x", "dir:x"]
        {
            assert_eq!(parsed(url), None, "{url}");
        }
    }

    #[test]
    fn keys_of_a_listing_are_decoded_as_forms_are() {
        assert_eq!(decoded("a+b%2Bc%0D%20%C3%BC").as_deref(), Some("a b+c\r \u{fc}"));
        assert_eq!(decoded("%FF"), None);
    }

    #[test]
    fn an_etag_loses_its_quotes_and_gets_them_back() {
        assert_eq!(unquoted(r#""abc""#.into()), "abc");
        assert_eq!(unquoted("abc".into()), "abc");
        assert_eq!(unquoted("\"".into()), "\"");
        assert_eq!(quoted("abc"), r#""abc""#);
    }
}
