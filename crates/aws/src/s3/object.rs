//! Reads a whole object: a component in a bucket.

use super::S3Store;
use super::address::{Address, SCHEME, bucket_and_rest, with_settings};
use crate::config::Aws;
use std::time::Duration;
use wasmrun_runtime::ports::object_store::{ObjectReader, ObjectStore as _, StoreError};
use wasmrun_runtime::task::grant::check_key;

/// How long the store may take to begin its response. A person who starts a worker waits, and retries.
const ANSWER: Duration = Duration::from_secs(8);
/// Time for the content in addition to the size divided by [`SLOWEST_BYTES_PER_SECOND`].
const SLOWEST_START: Duration = Duration::from_secs(20);
const SLOWEST_BYTES_PER_SECOND: u64 = 256 << 10;
/// Largest chunk that one read asks for, in bytes.
const CHUNK: usize = 1 << 20;

/// Settings that concern the bucket of an object.
const OF_BUCKET: [&str; 2] = ["region", "addressing"];

/// The parsed URL of an object: `s3://BUCKET/KEY`, with settings after a `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectAddress {
    /// Bucket of the object.
    pub(crate) store: Address,
    pub(crate) key: String,
    /// Version to read; `None` for the current one.
    pub(crate) version: Option<String>,
    /// Etag that the object must have. The content determines the etag.
    pub(crate) etag: Option<String>,
}

/// Reason why an object can't be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL is invalid, or the object is missing or isn't the expected one. A retry doesn't help.
    #[error("{0}")]
    Unfit(String),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Returns whether a text has the scheme of an S3 URL, valid or not.
pub fn is_object(text: &str) -> bool {
    text.starts_with(SCHEME)
}

/// Reads the object `s3://BUCKET/KEY`, with the settings `region`, `addressing`, `version` and `etag` after a `?`.
/// Fails without reading the content if it is larger than `most` bytes.
///
/// # Errors
///
/// See [`FetchError`].
pub async fn fetch(url: &str, aws: &Aws, most: u64) -> Result<Vec<u8>, FetchError> {
    let late = |what: &str| StoreError::Unavailable(format!("the store {what} in time"));
    let reader = tokio::time::timeout(ANSWER, open(url, aws, most)).await;
    let reader = reader.map_err(|_| late("does not answer"))??;
    let patience = SLOWEST_START + Duration::from_secs(reader.info().size / SLOWEST_BYTES_PER_SECOND);
    let content = tokio::time::timeout(patience, read(reader, most)).await;
    content.map_err(|_| late("does not send the object"))?
}

/// Returns a text that changes whenever the object that [`fetch`] would read does.
///
/// # Errors
///
/// See [`FetchError`].
pub async fn revision(url: &str, aws: &Aws) -> Result<String, FetchError> {
    let ObjectAddress { store, key, version, .. } = ObjectAddress::parse(url).map_err(FetchError::Unfit)?;
    let look = async { S3Store::at(store, aws, None, false).await?.head(&key, version.as_deref()).await };
    let late = |_| StoreError::Unavailable("the store does not answer in time".into());
    let info = tokio::time::timeout(ANSWER, look).await.map_err(late)??;
    Ok(format!("{:?} {:?} {} {:?}", info.etag, info.version, info.size, info.modified_at))
}

async fn open(url: &str, aws: &Aws, most: u64) -> Result<Box<dyn ObjectReader>, FetchError> {
    let ObjectAddress { store, key, version, etag } = ObjectAddress::parse(url).map_err(FetchError::Unfit)?;
    let bucket = S3Store::at(store, aws, None, false).await;
    let bucket = bucket.map_err(|error| match error {
        StoreError::Invalid(why) => FetchError::Unfit(why),
        error => error.into(),
    })?;
    let reader = bucket.read(&key, version.as_deref(), None).await.map_err(|error| match error {
        StoreError::NotFound if version.is_some() => {
            FetchError::Unfit("there is no such version of the object in the bucket".into())
        }
        StoreError::NotFound => FetchError::Unfit("there is no such object in the bucket".into()),
        error => error.into(),
    })?;
    let info = reader.info();
    if let Some(wanted) = &etag
        && info.etag.as_ref() != Some(wanted)
    {
        let found = info.etag.as_deref().unwrap_or("none");
        return Err(FetchError::Unfit(format!("its etag is {found}, and {wanted} is wanted")));
    }
    if info.size > most {
        return Err(FetchError::Unfit(format!("it is larger than {most} bytes")));
    }
    Ok(reader)
}

async fn read(mut reader: Box<dyn ObjectReader>, most: u64) -> Result<Vec<u8>, FetchError> {
    let mut content = Vec::new();
    loop {
        let chunk = reader.read(CHUNK).await?;
        if chunk.is_empty() {
            return Ok(content);
        }
        if content.len() as u64 + chunk.len() as u64 > most {
            return Err(FetchError::Unfit(format!("it is larger than {most} bytes")));
        }
        content.extend_from_slice(&chunk);
    }
}

impl ObjectAddress {
    /// Parses `s3://BUCKET/KEY?NAME=VALUE&…`.
    ///
    /// # Errors
    ///
    /// Describes the fault, without a full stop.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let (place, mut settings) = with_settings(url)?;
        let (bucket, key) = bucket_and_rest(place)?;
        if check_key(key).is_err() || key.ends_with('/') {
            return Err("write s3://BUCKET/KEY".into());
        }
        let mut take = |wanted| {
            let at = settings.iter().position(|(name, _)| *name == wanted)?;
            Some(settings.remove(at).1.trim_matches('"').to_owned())
        };
        let (version, etag) = (take("version"), take("etag"));
        if let Some((name, _)) = settings.iter().find(|(name, _)| !OF_BUCKET.contains(name)) {
            return Err(format!(
                "unknown setting {name:?}: one of version=ID, etag=ETAG, region=NAME, addressing=path or addressing=virtual"
            ));
        }
        let store = Address::new(bucket, String::new(), &settings)?;
        Ok(Self { store, key: key.to_owned(), version, etag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_by_bucket_and_key_and_what_it_has_to_be() {
        let parsed =
            ObjectAddress::parse("s3://components/a/b.wasm?version=v-1&region=eu-west-1&etag=\"abc\"");
        let ObjectAddress { store, key, version, etag } = parsed.expect("valid");
        assert_eq!(
            (&*store.bucket, &*key, store.region.as_deref()),
            ("components", "a/b.wasm", Some("eu-west-1"))
        );
        assert_eq!((version.as_deref(), etag.as_deref()), (Some("v-1"), Some("abc")));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for url in [
            "s3://components",
            "s3://components/",
            "s3://components/a/",
            "s3://components/../a",
            "s3://co/a.wasm",
            "s3://components/a.wasm?version=",
            "s3://components/a.wasm?version=1&version=2",
            "s3://components/a.wasm?region=a&region=b",
            "s3://components/a.wasm?colour=red",
            "s3://components/a.wasm?etag=a b",
        ] {
            assert!(ObjectAddress::parse(url).is_err(), "{url}");
        }
    }
}
