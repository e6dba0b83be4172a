//! Writes an object: in one request if it is small, else in parts. The object is visible only when it is complete.

use super::error::{Missing, settings_error, store_error};
use super::values::{is_version, quoted, unquoted};
use super::{Place, rfc2047};
use crate::failure::Failure;
use async_trait::async_trait;
use aws_sdk_s3::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use std::collections::HashMap;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use wasmrun_runtime::ports::object_store::{Condition, ObjectInfo, ObjectWriter, PutOptions, StoreError};

/// Part size in bytes. An object up to this size is sent in one request.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Largest number of parts of an upload.
pub(super) const MOST_PARTS: i32 = 10_000;
/// Code of the error when another client writes the same key at the same time.
const CONFLICT: &str = "ConditionalRequestConflict";
/// Number of attempts of a write that meets a conflict, and the pause before the second attempt, which doubles for each
/// further one.
const TRIES: (u32, Duration) = (5, Duration::from_millis(50));

/// Error text for a response without an etag, which doesn't show that anything was written.
pub(super) const NO_ETAG: &str = "the service gives no etag for what it has written";

/// An object being written.
pub(super) struct S3Writer {
    place: Place,
    key: String,
    options: PutOptions,
    /// Content that isn't sent yet.
    content: BytesMut,
    size: u64,
    upload: Option<Upload>,
}

/// A multipart upload.
pub(super) struct Upload {
    place: Place,
    /// Key with the store's prefix.
    key: String,
    id: String,
    parts: Vec<CompletedPart>,
    /// Whether the upload must be aborted when this is dropped.
    open: bool,
    io: Handle,
}

impl S3Writer {
    pub(super) fn new(place: Place, key: &str, options: PutOptions) -> Self {
        Self { place, key: key.to_owned(), options, content: BytesMut::new(), size: 0, upload: None }
    }

    async fn send_part(&mut self, content: Bytes) -> Result<(), StoreError> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(Upload::begin(&self.place, &self.key, &self.options).await?),
        };
        upload.send(content).await
    }

    async fn put(&self, content: Bytes) -> Result<ObjectInfo, StoreError> {
        let put = || {
            let request = self
                .place
                .client
                .put_object()
                .bucket(&self.place.bucket)
                .key(self.place.full(&self.key))
                .set_content_type(self.options.content_type.clone())
                .set_cache_control(self.options.cache_control.clone())
                .set_metadata(Some(metadata(&self.options)))
                .set_server_side_encryption(self.place.put.encryption.clone())
                .set_ssekms_key_id(self.place.put.kms_key.clone())
                .set_acl(self.place.put.acl.clone())
                .set_if_none_match(if_none_match(&self.options.condition))
                .set_if_match(if_match(&self.options.condition))
                .body(ByteStream::from(content.clone()));
            async move { request.send().await.map_err(Failure::from) }
        };
        let answer = despite_conflicts(put).await.map_err(write_error)?;
        Ok(self.info(answer.e_tag, answer.version_id))
    }

    fn info(&self, etag: Option<String>, version: Option<String>) -> ObjectInfo {
        ObjectInfo {
            key: self.key.clone(),
            size: self.size,
            etag: etag.map(unquoted),
            version: version.filter(is_version),
            content_type: self.options.content_type.clone(),
            cache_control: self.options.cache_control.clone(),
            metadata: self.options.metadata.clone(),
            modified_at: Some(SystemTime::now()),
        }
    }
}

#[async_trait]
impl ObjectWriter for S3Writer {
    async fn write(&mut self, mut content: Bytes) -> Result<(), StoreError> {
        self.size += content.len() as u64;
        while self.content.len() + content.len() > PART_BYTES {
            let missing = content.split_to(PART_BYTES - self.content.len());
            let part = if self.content.is_empty() {
                missing
            } else {
                self.content.extend_from_slice(&missing);
                self.content.split().freeze()
            };
            self.send_part(part).await?;
        }
        self.content.extend_from_slice(&content);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<ObjectInfo, StoreError> {
        let content = self.content.split().freeze();
        if self.upload.is_none() {
            return self.put(content).await;
        }
        if !content.is_empty() {
            self.send_part(content).await?;
        }
        let Some(mut upload) = self.upload.take() else { unreachable!("it was there just now") };
        let (etag, version) = upload.complete(&self.options.condition).await?;
        Ok(self.info(etag, version))
    }
}

impl Upload {
    pub(super) async fn begin(place: &Place, key: &str, options: &PutOptions) -> Result<Self, StoreError> {
        let key = place.full(key);
        let answer = place
            .client
            .create_multipart_upload()
            .bucket(&place.bucket)
            .key(&key)
            .set_content_type(options.content_type.clone())
            .set_cache_control(options.cache_control.clone())
            .set_metadata(Some(metadata(options)))
            .set_server_side_encryption(place.put.encryption.clone())
            .set_ssekms_key_id(place.put.kms_key.clone())
            .set_acl(place.put.acl.clone())
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await
            .map_err(|error| write_error(error.into()))?;
        let id = answer.upload_id.ok_or_else(|| {
            StoreError::Unavailable("the service gives no id for an upload in parts".into())
        })?;
        Ok(Self { place: place.clone(), key, id, parts: Vec::new(), open: true, io: Handle::current() })
    }

    async fn send(&mut self, content: Bytes) -> Result<(), StoreError> {
        let number = self.parts.len() as i32 + 1;
        if number > MOST_PARTS {
            let most = (PART_BYTES as u64 * MOST_PARTS as u64) >> 30;
            return Err(StoreError::TooLarge(format!(
                "an object that is written here has at most {most} GiB"
            )));
        }
        let answer = self
            .place
            .client
            .upload_part()
            .bucket(&self.place.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(content))
            .send()
            .await
            .map_err(|error| write_error(error.into()))?;
        let etag = answer.e_tag.ok_or_else(|| StoreError::Unavailable(NO_ETAG.into()))?;
        let part = CompletedPart::builder().part_number(number).e_tag(etag);
        self.parts.push(part.set_checksum_crc32(answer.checksum_crc32).build());
        Ok(())
    }

    /// Copies a part from another object in S3. Parts are numbered from 1.
    pub(super) fn copy(
        &self,
        number: i32,
        source: &str,
        source_etag: Option<String>,
        range: String,
    ) -> impl Future<Output = Result<CompletedPart, Failure>> + use<> {
        let request = self.place.client.upload_part_copy().bucket(&self.place.bucket).key(&self.key);
        let request = request.upload_id(&self.id).part_number(number).copy_source(source);
        let request = request.set_copy_source_if_match(source_etag).copy_source_range(range);
        async move {
            let answer = request.customize().config_override(silent()).send().await.map_err(Failure::from)?;
            let part = CompletedPart::builder().part_number(number);
            let copied = answer.copy_part_result.filter(|copied| copied.e_tag.is_some());
            let copied = copied.ok_or_else(|| Failure::incomplete(NO_ETAG))?;
            Ok(part.set_e_tag(copied.e_tag).set_checksum_crc32(copied.checksum_crc32).build())
        }
    }

    /// Adds copied parts, in their order.
    pub(super) fn add(&mut self, parts: impl IntoIterator<Item = CompletedPart>) {
        self.parts.extend(parts);
    }

    /// Completes the upload, which makes the object visible. Returns its etag and version.
    pub(super) async fn complete(
        &mut self,
        condition: &Condition,
    ) -> Result<(Option<String>, Option<String>), StoreError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.parts)));
        let answer = self
            .place
            .client
            .complete_multipart_upload()
            .bucket(&self.place.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .multipart_upload(parts.build())
            .set_if_none_match(if_none_match(condition))
            .set_if_match(if_match(condition))
            .customize()
            .config_override(silent())
            .send()
            .await
            .map_err(|error| write_error(error.into()))?;
        self.open = false;
        Ok((answer.e_tag, answer.version_id))
    }
}

impl Drop for Upload {
    /// Aborts an unfinished upload: its parts are stored and billed until they are aborted.
    fn drop(&mut self) {
        if self.open {
            let Place { client, bucket, .. } = &self.place;
            let abort = client.abort_multipart_upload().bucket(bucket).key(&self.key).upload_id(&self.id);
            self.io.spawn(async move {
                if let Err(error) = abort.send().await.map_err(Failure::from) {
                    tracing::warn!(error = error.text, "cannot abort an unfinished multipart upload: let a lifecycle rule of the bucket do that");
                }
            });
        }
    }
}

/// Runs a write, and retries it if another client writes the same key at the same time.
pub(super) async fn despite_conflicts<T, Write>(write: impl Fn() -> Write) -> Result<T, Failure>
where
    Write: Future<Output = Result<T, Failure>>,
{
    let (mut tries, mut pause) = TRIES;
    loop {
        tries -= 1;
        match write().await {
            Err(failure) if failure.is_any(&[CONFLICT]) && tries > 0 => {
                tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                pause *= 2;
            }
            answer => return answer,
        }
    }
}

pub(super) fn write_error(failure: Failure) -> StoreError {
    // The upload no longer exists, or another client wins each time. A retry of the whole task may succeed.
    if failure.is_any(&["NoSuchUpload"]) {
        return StoreError::Unavailable(failure.text);
    }
    if failure.is_any(&[CONFLICT]) {
        return StoreError::Conflict("others write the same object at this moment".into());
    }
    // The KMS key and the ACL come from the store's settings.
    if let Some(error) = settings_error(&failure) {
        return error;
    }
    match store_error(failure, Missing::Object) {
        // The object of an `if-match` condition doesn't exist.
        StoreError::NotFound => StoreError::PreconditionFailed,
        error => error,
    }
}

/// Returns the metadata, encoded for headers.
fn metadata(options: &PutOptions) -> HashMap<String, String> {
    let encoded = |(name, value): &(String, String)| (name.clone(), rfc2047::encode(value).into_owned());
    options.metadata.iter().map(encoded).collect()
}

/// Returns the settings of a call for which the service may send nothing for a long time.
fn silent() -> Builder {
    Builder::new().stalled_stream_protection(StalledStreamProtectionConfig::disabled())
}

pub(super) fn if_none_match(condition: &Condition) -> Option<String> {
    (*condition == Condition::IfAbsent).then(|| "*".to_owned())
}

pub(super) fn if_match(condition: &Condition) -> Option<String> {
    match condition {
        Condition::IfMatch(etag) => Some(quoted(etag)),
        Condition::Always | Condition::IfAbsent => None,
    }
}
