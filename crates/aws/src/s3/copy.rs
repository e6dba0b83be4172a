//! Copies objects within S3, so that their content doesn't pass through this process.

use super::error::{Missing, store_error};
use super::head::{first_byte, head};
use super::values::{is_version, quoted, unquoted};
use super::write::{MOST_PARTS, NO_ETAG, Upload, despite_conflicts, if_match, if_none_match, write_error};
use super::{BucketKind, Place};
use crate::failure::Failure;
use aws_sdk_s3::types::TaggingDirective;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::{Duration, SystemTime};
use wasmrun_runtime::model::host_error::Access;
use wasmrun_runtime::ports::object_store::{Condition, ObjectInfo, PutOptions, StoreError, Transfer};

/// Largest object that one request can copy, in bytes.
const LARGEST_COPY: u64 = 5 << 30;
/// Size of the parts in which larger objects are copied, in bytes. Parts are larger if the object would need more than
/// [`MOST_PARTS`].
const COPIED_PART: u64 = 512 << 20;
/// Number of parts that are copied concurrently.
const AT_ONCE: usize = 8;
/// How long a failed copy waits for the answer of its source.
const SOURCE_ANSWER: Duration = Duration::from_secs(2);
/// Characters to escape in a copy source.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// An object to copy, with its properties when the copy began.
pub(super) struct Source<'a> {
    place: &'a Place,
    key: &'a str,
    version: Option<&'a str>,
    info: ObjectInfo,
    /// The copy's transfer, which says which of the stores a failure comes from.
    transfer: &'a Transfer,
}

impl<'a> Source<'a> {
    pub(super) async fn find(
        place: &'a Place,
        key: &'a str,
        version: Option<&'a str>,
        transfer: &'a Transfer,
    ) -> Result<Self, StoreError> {
        let info = head(place, key, version).await?;
        Ok(Self { place, key, version, info, transfer })
    }

    /// Returns the size of the object in bytes.
    pub(super) fn size(&self) -> u64 {
        self.info.size
    }

    /// Copies the object in one request, or in parts if it is too large for that.
    pub(super) async fn copy_to(
        &self,
        to: &Place,
        to_key: &str,
        condition: &Condition,
    ) -> Result<ObjectInfo, StoreError> {
        if self.info.size <= LARGEST_COPY {
            self.copy_at_once(to, to_key, condition).await
        } else {
            let part = COPIED_PART.max(self.info.size.div_ceil(MOST_PARTS as u64));
            self.copy_in_parts(to, to_key, condition, part).await
        }
    }

    async fn copy_at_once(
        &self,
        to: &Place,
        to_key: &str,
        condition: &Condition,
    ) -> Result<ObjectInfo, StoreError> {
        let copy = || {
            let request = to.client.copy_object().copy_source(self.name()).bucket(&to.bucket);
            let request = request.key(to.full(to_key));
            let request = request.set_copy_source_if_match(self.info.etag.as_deref().map(quoted));
            let request = request
                // Tags aren't copied, as in a copy in parts: copying them needs further rights on both sides.
                .tagging_directive(TaggingDirective::Replace)
                .set_server_side_encryption(to.put.encryption.clone())
                .set_ssekms_key_id(to.put.kms_key.clone())
                .set_acl(to.put.acl.clone())
                .set_if_none_match(if_none_match(condition))
                .set_if_match(if_match(condition));
            async move {
                let answer = request.send().await.map_err(Failure::from)?;
                let etag = answer.copy_object_result.and_then(|result| result.e_tag);
                Ok((etag.ok_or_else(|| Failure::incomplete(NO_ETAG))?, answer.version_id))
            }
        };
        match despite_conflicts(copy).await {
            Ok((etag, version)) => Ok(self.copied(to_key, Some(etag), version)),
            Err(failure) => Err(self.error(failure).await),
        }
    }

    /// Copies the object in parts. The copy is visible only when it is complete.
    async fn copy_in_parts(
        &self,
        to: &Place,
        to_key: &str,
        condition: &Condition,
        part: u64,
    ) -> Result<ObjectInfo, StoreError> {
        let options = PutOptions {
            content_type: self.info.content_type.clone(),
            cache_control: self.info.cache_control.clone(),
            metadata: self.info.metadata.clone(),
            condition: condition.clone(),
        };
        let mut upload = Upload::begin(to, to_key, &options).await?;
        let (source, etag) = (self.name(), self.info.etag.as_deref().map(quoted));
        let starts = (0..self.info.size).step_by(usize::try_from(part).unwrap_or(usize::MAX));
        let parts = (1..).zip(starts).map(|(number, start)| {
            let end = self.info.size.min(start + part);
            upload.copy(number, &source, etag.clone(), format!("bytes={start}-{}", end - 1))
        });
        let parts = stream::iter(parts).buffered(AT_ONCE).try_collect::<Vec<_>>().await;
        match parts {
            Ok(parts) => upload.add(parts),
            Err(failure) => return Err(self.error(failure).await),
        }
        let (etag, version) = upload.complete(condition).await?;
        Ok(self.copied(to_key, etag, version))
    }

    /// Returns the value of the copy source header.
    fn name(&self) -> String {
        let Place { bucket, .. } = self.place;
        // An object behind an access point is named by its own ARN ("CopyObject" in the S3 API reference).
        let objects = if BucketKind::of(bucket) == BucketKind::AccessPoint { "/object" } else { "" };
        let path = format!("{bucket}{objects}/{}", self.place.full(self.key));
        let mut name = utf8_percent_encode(&path, PATH).to_string();
        if let Some(version) = self.version {
            name.push_str("?versionId=");
            name.extend(utf8_percent_encode(version, PATH));
        }
        name
    }

    fn copied(&self, key: &str, etag: Option<String>, version: Option<String>) -> ObjectInfo {
        ObjectInfo {
            key: key.to_owned(),
            etag: etag.map(unquoted),
            version: version.filter(is_version),
            modified_at: Some(SystemTime::now()),
            ..self.info.clone()
        }
    }

    /// Converts a failure of a request that reads the source and writes the destination. S3 doesn't say which of the two
    /// it refuses, so this reads the source: if it can be read, or doesn't answer, the failure is the destination's.
    async fn error(&self, failure: Failure) -> StoreError {
        let etag = self.info.etag.as_deref();
        let read = first_byte(self.place, self.key, self.version, etag);
        let Ok(Err(of_source)) = tokio::time::timeout(SOURCE_ANSWER, read).await else {
            return write_error(failure);
        };
        self.transfer.turn_to(Access::Read);
        match store_error(of_source, Missing::Object) {
            StoreError::PreconditionFailed => {
                StoreError::Conflict("the object was changed while it was copied".into())
            }
            error => error,
        }
    }
}
