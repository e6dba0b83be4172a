//! What a guest is told of a file.

use super::lookup::Found;
use super::types::{DescriptorStat, DescriptorType, MetadataHashValue};
use crate::task::store::TaskState;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;

impl TaskState {
    /// Returns the properties of what there is at a path.
    pub(super) fn stat_of(&self, path: &str, found: &Found) -> DescriptorStat {
        match found {
            Found::Directory => stat(DescriptorType::Directory, 0, None),
            Found::Message(text) => stat(DescriptorType::RegularFile, text.len() as u64, None),
            Found::Object(_, info) => stat(DescriptorType::RegularFile, info.size, info.modified_at),
            Found::Written => stat(DescriptorType::RegularFile, self.files.size(path), None),
        }
    }
}

fn stat(type_: DescriptorType, size: u64, modified_at: Option<SystemTime>) -> DescriptorStat {
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
pub(super) fn hash(path: &str, found: &Found) -> MetadataHashValue {
    let info = if let Found::Object(_, info) = found { Some(info) } else { None };
    let of = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, path, info.map(|info| (&info.etag, info.size, info.modified_at))).hash(&mut hasher);
        hasher.finish()
    };
    MetadataHashValue { lower: of(0), upper: of(1) }
}
