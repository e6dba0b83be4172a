//! Reads an object from start to end.

use super::Place;
use super::error::{Missing, RANGE_NOT_SATISFIABLE, store_error};
use super::head::head;
use super::values::{check_version, is_version, length, quoted, sorted, time, unquoted};
use crate::failure::Failure;
use async_trait::async_trait;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use wasmrun_runtime::ports::object_store::{ObjectInfo, ObjectReader, StoreError};

/// Largest part of a content that can be in memory before it is read. Most is in the receive buffer of the system,
/// which grows to 6 MiB on most systems with a fast connection (`net.ipv4.tcp_rmem`), of which half counts for data.
/// The rest is in the HTTP client's buffer.
pub(super) const ARRIVING_BYTES: usize = 4 << 20;
/// Number of times that a content that ended too soon is requested again from where it ended.
const RESUMES: u32 = 3;

/// The content of an object, as it arrives.
pub(super) struct S3Reader {
    place: Place,
    /// Key with the store's prefix.
    key: String,
    version: Option<String>,
    info: ObjectInfo,
    body: ByteStream,
    /// Content that has arrived and isn't read yet.
    rest: Bytes,
    /// Positions in the object that haven't arrived yet.
    left: Range<u64>,
    resumes: u32,
}

impl S3Reader {
    pub(super) async fn open(
        place: &Place,
        key: &str,
        version: Option<&str>,
        range: Option<Range<u64>>,
    ) -> Result<Self, StoreError> {
        let (full, version) = (place.full(key), version.map(str::to_owned));
        let reader = |info, body, left| Self {
            place: place.clone(),
            key: full.clone(),
            version: version.clone(),
            info,
            body,
            rest: Bytes::new(),
            left,
            resumes: 0,
        };
        let is_empty = range.as_ref().is_some_and(Range::is_empty);
        if !is_empty {
            let request = place.client.get_object().bucket(&place.bucket).key(&full);
            let request = request.set_version_id(version.clone()).set_range(range.as_ref().map(header));
            match request.send().await.map_err(Failure::from) {
                Ok(mut answer) => {
                    check_version(version.as_deref(), answer.version_id.as_deref())?;
                    let body = std::mem::take(&mut answer.body);
                    let (info, left) = arriving(key, answer, range.map(|range| range.start))?;
                    return Ok(reader(info, body, left));
                }
                Err(failure) if failure.status == RANGE_NOT_SATISFIABLE => {}
                Err(failure) => return Err(store_error(failure, Missing::Object)),
            }
        }
        let info = head(place, key, version.as_deref()).await?;
        Ok(reader(info, ByteStream::default(), 0..0))
    }

    /// Requests the content that hasn't arrived yet. Fails if the object has changed.
    async fn resume(&mut self, why: String) -> Result<(), StoreError> {
        if self.resumes == RESUMES {
            return Err(StoreError::Unavailable(format!("its content ends too soon: {why}")));
        }
        self.resumes += 1;
        let request = self.place.client.get_object().bucket(&self.place.bucket).key(&self.key);
        let answer = request
            .set_version_id(self.version.clone())
            .set_if_match(self.info.etag.as_deref().map(quoted))
            .range(header(&self.left))
            .send()
            .await
            .map_err(|error| match store_error(error.into(), Missing::Object) {
                StoreError::PreconditionFailed | StoreError::NotFound => {
                    StoreError::Conflict("the object was changed while it was read".into())
                }
                error => error,
            })?;
        check_version(self.version.as_deref(), answer.version_id.as_deref())?;
        begins_at(answer.content_range.as_deref(), self.left.start)?;
        self.body = answer.body;
        Ok(())
    }
}

/// Returns the properties of an object, and the positions that will arrive. `start` is the start of the requested
/// range, if there is one.
fn arriving(
    key: &str,
    answer: GetObjectOutput,
    start: Option<u64>,
) -> Result<(ObjectInfo, Range<u64>), StoreError> {
    let length = length(answer.content_length)?;
    if let Some(start) = start {
        begins_at(answer.content_range.as_deref(), start)?;
    }
    // `bytes 0-9/1234`
    let whole = answer.content_range.as_deref().and_then(|range| range.rsplit_once('/')?.1.parse().ok());
    let info = ObjectInfo {
        key: key.to_owned(),
        size: whole.unwrap_or(length),
        etag: answer.e_tag.map(unquoted),
        version: answer.version_id.filter(is_version),
        content_type: answer.content_type,
        cache_control: answer.cache_control,
        metadata: sorted(answer.metadata.unwrap_or_default()),
        modified_at: answer.last_modified.and_then(time),
    };
    let start = start.unwrap_or_default();
    Ok((info, start..start.saturating_add(length)))
}

/// Checks the start of a response's range: a server may ignore the requested range and send the whole object.
fn begins_at(content_range: Option<&str>, start: u64) -> Result<(), StoreError> {
    match content_range {
        Some(range) if range.starts_with(&format!("bytes {start}-")) => Ok(()),
        _ => Err(StoreError::Unavailable("another part of it is sent than was asked for".into())),
    }
}

/// Returns the value of the range header for a range that isn't empty. The header's range includes its last byte.
fn header(range: &Range<u64>) -> String {
    let last = range.end.saturating_sub(1).min(i64::MAX as u64);
    format!("bytes={}-{last}", range.start)
}

#[async_trait]
impl ObjectReader for S3Reader {
    fn info(&self) -> &ObjectInfo {
        &self.info
    }

    async fn read(&mut self, max: usize) -> Result<Bytes, StoreError> {
        let mut content = BytesMut::new();
        while content.len() < max {
            if self.rest.is_empty() {
                match self.body.next().await {
                    // Bytes beyond the announced length are dropped.
                    Some(Ok(bytes)) => {
                        let most = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
                        self.rest = bytes.slice(..bytes.len().min(most));
                        self.left.start += self.rest.len() as u64;
                        continue;
                    }
                    None if self.left.is_empty() => break,
                    None => self.resume("the connection was closed".into()).await?,
                    // All bytes have arrived, but their checksum is wrong.
                    Some(Err(error)) if self.left.is_empty() => {
                        return Err(StoreError::Unavailable(format!("its content is damaged: {error}")));
                    }
                    Some(Err(error)) => self.resume(error.to_string()).await?,
                }
                continue;
            }
            let piece = self.rest.split_to(self.rest.len().min(max - content.len()));
            if content.is_empty() && piece.len() == max {
                return Ok(piece);
            }
            content.extend_from_slice(&piece);
        }
        Ok(content.freeze())
    }
}
