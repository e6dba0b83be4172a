//! Reading an object, front to back.

use super::error::{Missing, RANGE_NOT_SATISFIABLE, store_error};
use super::head::head;
use super::{Place, check_version, is_version, length, quoted, sorted, time, unquoted};
use crate::failure::Failure;
use async_trait::async_trait;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use wasmrun_runtime::ports::object_store::{ObjectInfo, ObjectReader, StoreError};

/// What may have arrived of a content that nobody reads: the HTTP client's buffer, and the system's, which grows to 6 MiB on
/// most systems where a connection is fast enough (`net.ipv4.tcp_rmem`) and counts half of that for data.
pub(super) const ARRIVING_BYTES: usize = 4 << 20;
/// How often a content that ends too soon is asked for again, from where it ended.
const RESUMES: u32 = 3;

/// An object's content as it arrives.
pub(super) struct S3Reader {
    place: Place,
    /// As the service knows it.
    key: String,
    version: Option<String>,
    info: ObjectInfo,
    body: ByteStream,
    /// Arrived and not read yet.
    rest: Bytes,
    /// What is yet to arrive: positions in the object.
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

    /// Asks for what has not arrived yet. The object must still be the same.
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

/// What is known of an object that begins to arrive, and the positions that will; `start` if a range was asked for.
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
        metadata: sorted(answer.metadata.unwrap_or_default()),
        modified_at: answer.last_modified.and_then(time),
    };
    let start = start.unwrap_or_default();
    Ok((info, start..start.saturating_add(length)))
}

/// A server may ignore a range, and send the whole object.
fn begins_at(content_range: Option<&str>, start: u64) -> Result<(), StoreError> {
    match content_range {
        Some(range) if range.starts_with(&format!("bytes {start}-")) => Ok(()),
        _ => Err(StoreError::Unavailable("another part of it is sent than was asked for".into())),
    }
}

/// The header that asks for a range, which isn't empty: there the last byte belongs to it.
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
                    // More than was announced isn't taken.
                    Some(Ok(bytes)) => {
                        let most = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX);
                        self.rest = bytes.slice(..bytes.len().min(most));
                        self.left.start += self.rest.len() as u64;
                        continue;
                    }
                    None if self.left.is_empty() => break,
                    None => self.resume("the connection was closed".into()).await?,
                    // All has arrived, but it isn't what was sent.
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
