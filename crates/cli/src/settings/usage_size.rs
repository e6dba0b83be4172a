//! The size of the usage file.

use super::range::check;
use crate::output::failure::Failure;
use bytesize::ByteSize;

/// The lines of some hundred thousand tasks.
const USAGE_SIZE: ByteSize = ByteSize(64 << 20);
/// Some hundred: less would be lost before anybody has looked at it.
const MIN_USAGE_SIZE: ByteSize = ByteSize(64 << 10);

/// The size at which a usage file is rotated.
pub(crate) fn usage_bytes(size: Option<ByteSize>) -> Result<u64, Failure> {
    let size = size.unwrap_or(USAGE_SIZE);
    check(size, "usage-size", MIN_USAGE_SIZE..=ByteSize(u64::MAX))?;
    Ok(size.0)
}
