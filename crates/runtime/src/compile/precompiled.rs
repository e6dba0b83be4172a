//! Files of code: what the compiler wrote, for which options, and a digest of both.
//!
//! The digest shows that a file is whole, and not who wrote it.

use crate::engine::CodeOptions;
use sha2::{Digest, Sha256};

/// What the compiler writes is in this format.
const ELF: &[u8] = b"\x7fELF";
const DIGEST_BYTES: usize = 32;
/// The byte before the digest.
const DETERMINISTIC: u8 = 1;

/// Whether it may be such a file.
pub(super) fn is_code(bytes: &[u8]) -> bool {
    bytes.starts_with(ELF)
}

#[cfg(feature = "compiler")]
pub(super) fn pack(mut code: Vec<u8>, options: CodeOptions) -> Vec<u8> {
    code.push(if options.deterministic { DETERMINISTIC } else { 0 });
    let digest = Sha256::digest(&code);
    code.extend_from_slice(&digest);
    code
}

/// The code, if it's whole and was compiled for these options.
///
/// # Errors
///
/// What is wrong, without a full stop.
pub(super) fn unpack(bytes: &[u8], options: CodeOptions) -> Result<Vec<u8>, String> {
    if bytes.starts_with(b"\0asm") {
        return Err("this is WebAssembly and not precompiled code: leave out --precompiled".into());
    }
    let parts = is_code(bytes).then(|| bytes.split_last_chunk::<DIGEST_BYTES>()).flatten();
    let Some(([code @ .., deterministic], digest)) = parts else {
        return Err("this isn't precompiled code: `wasmrun compile` makes it".into());
    };
    if Sha256::digest(&bytes[..=code.len()])[..] != digest[..] {
        return Err("the precompiled code is damaged: compile the component again".into());
    }
    match (*deterministic == DETERMINISTIC, options.deterministic) {
        (false, true) => {
            Err("it was compiled without --deterministic: compile the component again with it".into())
        }
        (true, false) => Err("it was compiled with --deterministic: run it with --deterministic, too".into()),
        _ => Ok(code.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: CodeOptions = CodeOptions { deterministic: false, portable: false };
    const TOLD: CodeOptions = CodeOptions { deterministic: true, portable: false };

    #[test]
    fn what_was_packed_is_unpacked_for_the_same_options_alone() {
        let code = b"\x7fELF and so on".to_vec();
        for (packed, wanted, fits) in
            [(USUAL, USUAL, true), (TOLD, TOLD, true), (USUAL, TOLD, false), (TOLD, USUAL, false)]
        {
            let file = pack(code.clone(), packed);
            let unpacked = unpack(&file, wanted);
            assert_eq!(unpacked.is_ok(), fits, "{unpacked:?}");
            assert!(!fits || unpacked.as_ref() == Ok(&code));
        }
    }

    #[test]
    fn a_byte_that_is_missing_or_other_is_seen() {
        let file = pack(b"\x7fELF and so on".to_vec(), USUAL);
        for length in 0..file.len() {
            assert!(unpack(&file[..length], USUAL).is_err(), "{length}");
        }
        for index in 0..file.len() {
            let mut file = file.clone();
            file[index] ^= 1;
            assert!(unpack(&file, USUAL).is_err(), "{index}");
        }
        let said = unpack(b"\0asm\x0d\0\x01\0", USUAL).expect_err("a component");
        assert!(said.contains("leave out --precompiled"), "{said}");
    }
}
