//! Trait of the key-value buckets that tasks may be granted.
//!
//! A backend knows nothing of grants. The host interface checks alias, mode, keys and values.

use async_trait::async_trait;
use bytes::Bytes;

/// Longest value in bytes: 1 MiB, as in NATS and twice that of DynamoDB. Larger values belong in an object store.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// Maximum number of keys of one call, and of a page of keys.
pub const MAX_KEYS: usize = 1000;

/// A set of keys with values. All methods may be called concurrently, and each takes effect as a whole or not at all.
///
/// Dropping the future of a call abandons it: it then either took place or not.
#[async_trait]
pub trait KeyValueBucket: Send + Sync + 'static {
    /// Returns the name for logs: the bucket's URL, without secrets.
    fn url(&self) -> &str;

    /// Returns the entry of each key, in the order of the keys.
    ///
    /// # Errors
    ///
    /// [`KeyValueError::TooLarge`] if the values have more than `max_bytes` together.
    async fn get(&self, keys: Vec<String>, max_bytes: usize) -> Result<Vec<Option<Entry>>, KeyValueError>;

    /// Sets the values of keys. They are durable when the call returns.
    async fn set(&self, entries: Vec<(String, Bytes)>) -> Result<(), KeyValueError>;

    /// Deletes keys; succeeds for those that don't exist.
    async fn delete(&self, keys: Vec<String>) -> Result<(), KeyValueError>;

    /// Returns the version of a key's value, or `None` if the key doesn't exist.
    async fn version(&self, key: String) -> Result<Option<u64>, KeyValueError>;

    /// Lists at most `limit` keys, in any order that stays the same. `after` is the cursor of the previous page, and 0
    /// for the first.
    async fn list(&self, after: u64, limit: usize) -> Result<KeyPage, KeyValueError>;

    /// Adds a number to a key's value, which is an integer in decimal digits, and returns the sum. A missing key counts
    /// as 0.
    ///
    /// # Errors
    ///
    /// [`KeyValueError::Invalid`] if the value is no such number, or the sum doesn't fit.
    async fn increment(&self, key: String, delta: i64) -> Result<i64, KeyValueError>;

    /// Sets a key's value if its version is still `expected`; `None`: the key doesn't exist.
    ///
    /// # Errors
    ///
    /// [`KeyValueError::Changed`] if it is another one.
    async fn swap(&self, key: String, expected: Option<u64>, value: Bytes) -> Result<(), KeyValueError>;
}

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Differs from that of every earlier value of the bucket.
    pub version: u64,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<String>,
    /// The cursor of the next page, if there are more keys.
    pub next: Option<u64>,
}

/// Why a call to a bucket failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyValueError {
    /// The bucket can't carry out the call now.
    #[error("{0}")]
    Unavailable(String),
    /// The bucket can't be used until the operator has changed something.
    #[error("{0}")]
    Unusable(String),
    /// The values are larger than asked for.
    #[error("the values are larger than a call may return")]
    TooLarge,
    /// The value has changed since its version was read.
    #[error("the value has changed")]
    Changed,
    /// The call is invalid.
    #[error("{0}")]
    Invalid(String),
}

/// Adds a number to a value of decimal digits; a missing value counts as 0.
///
/// # Errors
///
/// [`KeyValueError::Invalid`] if the value is no integer of 64 bits, or the sum isn't.
pub fn sum(value: Option<&[u8]>, delta: i64) -> Result<i64, KeyValueError> {
    let number = match value {
        Some(value) => std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()),
        None => Some(0),
    };
    let number = number.ok_or_else(|| {
        KeyValueError::Invalid("the value is not an integer of 64 bits in decimal digits".into())
    })?;
    number
        .checked_add(delta)
        .ok_or_else(|| KeyValueError::Invalid("the sum does not fit into 64 bits".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_of_decimal_digits_and_never_wraps() {
        assert_eq!(sum(None, -3), Ok(-3));
        assert_eq!(sum(Some(b"40"), 2), Ok(42));
        for (value, delta) in
            [(&b"9223372036854775807"[..], 1), (b"x", 1), (b"", 1), (b"\xff", 1), (b" 1", 1)]
        {
            assert!(matches!(sum(Some(value), delta), Err(KeyValueError::Invalid(_))), "{value:?}");
        }
    }
}
