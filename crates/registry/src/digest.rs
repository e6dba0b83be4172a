//! A digest, and the check that content has it.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use wasmrun_runtime::model::text::hex;

const ALGORITHM: &str = "sha256:";
/// Number of hexadecimal digits.
const DIGITS: usize = 64;

/// The SHA-256 digest of a manifest or a layer, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest(String);

impl Digest {
    /// Computes the digest of content.
    pub fn of(content: &[u8]) -> Self {
        Self::from_hash(&Sha256::digest(content))
    }

    pub(crate) fn from_hash(hash: &[u8]) -> Self {
        Self(format!("{ALGORITHM}{}", hex(hash)))
    }

    /// Returns the hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        &self.0[ALGORITHM.len()..]
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let hex = text.strip_prefix(ALGORITHM).unwrap_or_default();
        if hex.len() == DIGITS && hex.bytes().all(is_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a digest is written sha256: and 64 digits of 0 to 9 and a to f".into())
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sha256_in_lower_case() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(Digest::of(b"")));
        for text in ["", "sha256:", "sha256:E3", &empty.to_uppercase(), &empty[7..], &format!("{empty}0")] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(empty.replace("sha256", "sha512").parse::<Digest>().is_err());
        assert!(empty.replace('e', "/").parse::<Digest>().is_err());
    }
}
