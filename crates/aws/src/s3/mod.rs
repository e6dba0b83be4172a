//! Implements the runtime's [`ObjectStore`] with S3: a bucket, or a prefix of a bucket.
//!
//! Objects are read as streams and written in parts, so the memory per object is bounded for any size. Source of all
//! rules: the S3 API reference and user guide.

mod address;
mod copy;
mod error;
mod head;
mod headers;
mod name;
mod object;
mod read;
mod rfc2047;
mod values;
mod write;

pub(crate) use self::address::Address as StoreAddress;
pub(crate) use self::headers::make_readable;
pub(crate) use self::name::Kind as BucketKind;
pub(crate) use self::object::ObjectAddress;
pub use self::object::{FetchError, fetch, is_object, revision};

use self::address::{Address, Addressing, PutSettings};
use self::copy::Source;
use self::error::{Missing, store_error};
use self::read::{ARRIVING_BYTES, S3Reader};
use self::values::{decoded, time, unquoted};
use self::write::{PART_BYTES, S3Writer};
use crate::config::{Aws, region};
use crate::endpoint::{Service, endpoint, is_address};
use crate::failure::Failure;
use crate::response::{MustBeAbsent, Origin, S3Responses};
use crate::sessions::KeyClients;
use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::types::EncodingType;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use wasmrun_runtime::model::host_error::Access;
use wasmrun_runtime::ports::object_store::{
    Condition, Footprint, MAX_KEY_BYTES, MAX_PAGE, ObjectInfo, ObjectPage, ObjectReader, ObjectStore,
    ObjectSummary, ObjectWriter, PutOptions, StoreError, TooMuch, Transfer, copy_through,
};

/// How long a response may take to begin.
const ANSWER: Duration = Duration::from_secs(30);
/// First part of the key that a probe requests. A random number follows, so no object has the key; the response shows
/// whether the bucket answers.
const PROBE_KEY: &str = ".wasmrun-probe";

/// An S3 store.
#[derive(Debug)]
pub struct S3Store {
    place: Place,
    url: String,
    /// Role whose rights are used, with the key of its session if it has one; `None` for the worker's own rights.
    role: Option<String>,
    /// Clients of the parts of keys, if each key has a session of the role.
    of_keys: Option<Arc<KeyClients>>,
}

/// A bucket, the prefix of all keys, and the client and settings to access it.
#[derive(Clone, Debug)]
struct Place {
    client: Client,
    bucket: String,
    /// Prefix of all keys: empty, or ends with `/`.
    prefix: String,
    put: Arc<PutSettings>,
}

impl S3Store {
    /// Opens the store `s3://BUCKET` or `s3://BUCKET/PREFIX`, with the rights of `role` or the worker's own. If it is
    /// `by_key`, the first segment of a part's prefix is a key, and the key has a session of the role. Settings follow after a `?`: `region`, `encryption`, `kms-key`, `acl`, `addressing`, `bucket`. Sends no request to S3.
    ///
    /// # Errors
    ///
    /// [`StoreError::Invalid`] if the URL is invalid, if no region is known, or if the configuration is invalid.
    /// [`StoreError::Unavailable`] if the role can't be assumed.
    pub async fn open(url: &str, aws: &Aws, role: Option<&str>, by_key: bool) -> Result<Self, StoreError> {
        Self::at(Address::parse(url).map_err(StoreError::Invalid)?, aws, role, by_key).await
    }

    async fn at(address: Address, aws: &Aws, role: Option<&str>, by_key: bool) -> Result<Self, StoreError> {
        let sessions = match role.filter(|_| by_key) {
            Some(role) => Some(aws.sessions(role, address.region.as_deref()).await?),
            None => None,
        };
        let sdk = match &sessions {
            Some(sessions) => sessions.own.clone(),
            None => aws.sdk(role, address.region.as_deref()).await?,
        };
        let region = region(&sdk, address.region.as_deref()).map_err(StoreError::Invalid)?;
        let endpoint = endpoint(&sdk, Service::S3).map_err(StoreError::Invalid)?;
        let by_path = is_by_path(&address, endpoint.as_deref()).map_err(StoreError::Invalid)?;
        let timeouts = sdk.timeout_config().map(TimeoutConfig::to_builder).unwrap_or_default();
        let config = Builder::from(&sdk)
            .region(region)
            .interceptor(Origin)
            .interceptor(S3Responses::default())
            .force_path_style(by_path)
            // The timeout ends when the response begins; the SDK watches the throughput of its content.
            .timeout_config(timeouts.read_timeout(ANSWER).build());
        let of_keys = sessions.map(|sessions| Arc::new(KeyClients::new(sessions, config.clone())));
        let client = match &of_keys {
            Some(clients) => clients.of_no_key(),
            None => Client::from_conf(config.build()),
        };
        let url = address.url();
        let Address { bucket, prefix, put, .. } = address;
        let place = Place { client, bucket, prefix, put: Arc::new(put) };
        Ok(Self { place, url, role: role.map(Into::into), of_keys })
    }
}

/// Returns whether requests name the bucket in their path. With a configured endpoint this is the default, as
/// S3-compatible servers rarely have a host name for each bucket.
fn is_by_path(address: &Address, endpoint: Option<&str>) -> Result<bool, String> {
    match (address.addressing, endpoint) {
        (Some(Addressing::Virtual), Some(endpoint)) if is_address(endpoint) => Err(format!(
            "addressing=virtual needs an endpoint with a name, as the bucket is put before it: {endpoint} has none"
        )),
        (Some(addressing), _) => Ok(addressing == Addressing::Path),
        // Access points and directory buckets always have a host name of their own.
        (None, _) if BucketKind::of(&address.bucket).is_named_by_host() => Ok(false),
        (None, endpoint) => Ok(endpoint.is_some()),
    }
}

impl Place {
    /// Returns the key with the store's prefix, as S3 knows it.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn url(&self) -> &str {
        &self.url
    }

    fn part(&self, prefix: &str) -> Arc<dyn ObjectStore> {
        let mut place = Place { prefix: self.place.full(prefix), ..self.place.clone() };
        let mut role = self.role.clone();
        if let Some(clients) = &self.of_keys {
            let key = prefix.split('/').next().unwrap_or_default();
            place.client = clients.of(key);
            role = role.map(|role| format!("{role} {key}"));
        }
        Arc::new(Self { place, url: format!("{}{prefix}", self.url), role, of_keys: None })
    }

    fn reader_holds(&self) -> Footprint {
        Footprint { bytes: ARRIVING_BYTES, files: 1 }
    }

    fn writer_holds(&self) -> Footprint {
        Footprint { bytes: PART_BYTES, files: 1 }
    }

    fn check_key(&self, key: &str) -> Result<(), StoreError> {
        if self.place.full(key).len() > MAX_KEY_BYTES {
            let text = format!("with the store's prefix, the key is longer than {MAX_KEY_BYTES} bytes");
            return Err(StoreError::Invalid(text));
        }
        Ok(())
    }

    /// Requests an object that doesn't exist. An access denied error counts as success: a role that may read but not
    /// list gets no other error for a missing object. A returned object is an error: a server that has one for any name
    /// isn't S3.
    async fn probe(&self, _write: bool) -> Result<(), StoreError> {
        let Place { client, bucket, .. } = &self.place;
        let key = self.place.full(&format!("{PROBE_KEY}-{:016x}", fastrand::u64(..)));
        let request = client.get_object().bucket(bucket).key(key).range("bytes=0-0");
        match request.customize().interceptor(MustBeAbsent).send().await.map_err(Failure::from) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_any(&["AccessDenied"]) => Ok(()),
            Err(failure) => match store_error(failure, Missing::Object) {
                StoreError::NotFound => Ok(()),
                error => Err(error),
            },
        }
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<ObjectInfo, StoreError> {
        head::head(&self.place, key, version).await
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

    /// Lists objects, and continues after the last key of the previous page. The service's own tokens may reveal keys
    /// outside the store.
    async fn list(
        &self,
        prefix: &str,
        continuation: Option<&str>,
        limit: usize,
    ) -> Result<ObjectPage, StoreError> {
        if limit == 0 {
            return Ok(ObjectPage::default());
        }
        let Place { client, bucket, .. } = &self.place;
        if continuation.is_some() && BucketKind::of(bucket) == BucketKind::Directory {
            // A directory bucket ignores `start-after` and would list the first page again: it continues only with its
            // own tokens.
            let text = "a directory bucket lists no more than its first page here: list by prefixes";
            return Err(StoreError::Invalid(text.into()));
        }
        let answer = client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(self.place.full(prefix))
            .set_start_after(continuation.map(|after| self.place.full(after)))
            .max_keys(limit.min(MAX_PAGE) as i32)
            // XML can't hold every character of a key.
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
        // The last entry counts, whether it is an object of this store or not.
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
            // The "folder" object of the prefix, which consoles create.
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

    /// Copies within S3 if both stores use the same role and session. With different roles, the content moves through
    /// this process, so that each store is accessed with its own role.
    async fn copy(
        &self,
        key: &str,
        version: Option<&str>,
        to: &dyn ObjectStore,
        to_key: &str,
        condition: &Condition,
        transfer: &Transfer,
    ) -> Result<Result<ObjectInfo, TooMuch>, StoreError> {
        let in_s3 = (to as &dyn Any).downcast_ref::<Self>().filter(|to| to.role == self.role);
        let Some(in_s3) = in_s3 else {
            return copy_through(self, key, version, to, to_key, condition, transfer).await;
        };
        let source = Source::find(&self.place, key, version, transfer).await?;
        if let Err(too_much) = transfer.moves_within(source.size()) {
            return Ok(Err(too_much));
        }
        transfer.turn_to(Access::Write);
        source.copy_to(&in_s3.place, to_key, condition).await.map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
    use aws_sdk_s3::config::{ConfigBag, Intercept, Region, RuntimeComponents};
    use aws_sdk_s3::error::BoxError;

    /// Fails each call before its request is sent, with the URL of the request as the error.
    #[derive(Debug)]
    struct Unsent;

    impl Intercept for Unsent {
        fn name(&self) -> &'static str {
            "Unsent"
        }

        fn read_before_transmit(
            &self,
            context: &BeforeTransmitInterceptorContextRef<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            Err(context.request().uri().split('?').next().unwrap_or_default().into())
        }
    }

    /// Neither the SDK nor its dependencies normalise a path, or take the start of a path for a host.
    #[tokio::test]
    async fn odd_keys_are_in_an_address_as_they_are() {
        let credentials = aws_sdk_s3::config::Credentials::new("own", "secret", None, None, "tests");
        for (in_path, place) in [(true, "https://host/photos/"), (false, "https://photos.host/")] {
            let config = aws_sdk_s3::Config::builder()
                .behavior_version_latest()
                .region(Region::new("eu-west-1"))
                .endpoint_url("https://host")
                .credentials_provider(credentials.clone())
                .http_client(aws_smithy_http_client::Builder::new().build_http())
                .force_path_style(in_path)
                .interceptor(Unsent);
            let client = Client::from_conf(config.build());
            for (key, path) in [
                ("/a", "/a"),
                ("//host/a", "//host/a"),
                ("a//b", "a//b"),
                ("./a", "./a"),
                ("a/./b/.", "a/./b/."),
                ("a/", "a/"),
                ("http://x/", "http%3A//x/"),
                ("%2e%2e/a", "%252e%252e/a"),
            ] {
                let error = client.get_object().bucket("photos").key(key).send().await.expect_err("unsent");
                let sent = crate::failure::causes(&error);
                assert!(sent.ends_with(&format!(" {place}{path}")), "{key}: {sent}");
            }
        }
    }
}
