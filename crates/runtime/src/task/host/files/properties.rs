//! What a guest is told of a file.

use super::types::{DescriptorStat, DescriptorType, MetadataHashValue};
use crate::ports::object_store::ObjectInfo;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

pub(super) fn of_object(info: &ObjectInfo) -> DescriptorStat {
    stat(DescriptorType::RegularFile, info.size, info.modified_at)
}

pub(super) fn stat(type_: DescriptorType, size: u64, modified_at: Option<SystemTime>) -> DescriptorStat {
    let since = modified_at.map(|time| time.duration_since(UNIX_EPOCH).unwrap_or_default());
    let modified =
        since.map(|since| Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() });
    DescriptorStat {
        type_,
        link_count: 1,
        size,
        data_access_timestamp: modified,
        data_modification_timestamp: modified,
        status_change_timestamp: modified,
    }
}

/// Returns a value that differs for files that differ.
pub(super) fn hash(path: &str, info: Option<&ObjectInfo>) -> MetadataHashValue {
    let of = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, path, info.map(|info| (&info.etag, info.size, info.modified_at))).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: of(0), upper: of(1) }
}
