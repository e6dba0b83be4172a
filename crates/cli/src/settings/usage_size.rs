//! The setting of the usage file's size.

use super::range::check;
use crate::output::failure::Failure;
use bytesize::ByteSize;

/// Default size of a usage file: the lines of some hundred thousand tasks.
const USAGE_SIZE: ByteSize = ByteSize(64 << 20);
/// Minimum size of a usage file: the lines of some hundred tasks. Smaller files would be deleted before anybody has
/// read them.
const MIN_USAGE_SIZE: ByteSize = ByteSize(64 << 10);

/// Returns the size in bytes at which a usage file is rotated.
pub(crate) fn usage_bytes(size: Option<ByteSize>) -> Result<u64, Failure> {
    let size = size.unwrap_or(USAGE_SIZE);
    check(size, "usage-size", MIN_USAGE_SIZE..=ByteSize(u64::MAX))?;
    Ok(size.0)
}
