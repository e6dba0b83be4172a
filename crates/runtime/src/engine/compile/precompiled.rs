//! Files of precompiled code: the compiler's output, its options, and a digest of both.
//!
//! The digest shows that a file is complete, not who wrote it.

use crate::engine::{CodeOptions, WASMTIME};
use sha2::{Digest, Sha256};

/// Magic bytes of the compiler's output format.
const ELF: &[u8] = b"\x7fELF";
const DIGEST_BYTES: usize = 32;
/// Value of the options byte, which follows the code. After it come the digest of the versions that made the code, and
/// the digest of all.
const DETERMINISTIC: u8 = 1;
const MAKER_BYTES: usize = 32;

/// Returns whether the bytes may be such a file.
pub(super) fn is_code(bytes: &[u8]) -> bool {
    bytes.starts_with(ELF)
}

#[cfg(any(feature = "compiler", test))]
pub(super) fn pack(mut code: Vec<u8>, options: CodeOptions) -> Vec<u8> {
    code.push(if options.deterministic { DETERMINISTIC } else { 0 });
    code.extend_from_slice(&maker());
    let digest = Sha256::digest(&code);
    code.extend_from_slice(&digest);
    code
}

/// Returns a digest of the exact versions of wasmrun and Wasmtime: a newer version may have fixed code generation.
fn maker() -> [u8; MAKER_BYTES] {
    Sha256::digest(format!("{} {WASMTIME}", env!("CARGO_PKG_VERSION"))).into()
}

/// Returns the options that the code was compiled for, as far as they matter for running it.
pub(super) fn options(bytes: &[u8]) -> CodeOptions {
    let deterministic = bytes.len().checked_sub(DIGEST_BYTES + MAKER_BYTES + 1).map(|at| bytes[at]);
    CodeOptions { deterministic: deterministic == Some(DETERMINISTIC), portable: false }
}

/// Returns the code if it's complete and was compiled for these options.
///
/// # Errors
///
/// Says what is wrong, without a full stop.
pub(super) fn unpack(bytes: &[u8], options: CodeOptions) -> Result<Vec<u8>, String> {
    if bytes.starts_with(b"\0asm") {
        return Err("this is WebAssembly and not precompiled code: leave out --precompiled".into());
    }
    let parts = is_code(bytes).then(|| bytes.split_last_chunk::<DIGEST_BYTES>()).flatten();
    let parts = parts.and_then(|(content, digest)| {
        let (options, maker) = content.split_last_chunk::<MAKER_BYTES>()?;
        let (deterministic, code) = options.split_last()?;
        Some((code, *deterministic == DETERMINISTIC, maker, digest, content))
    });
    let Some((code, deterministic, made_by, digest, content)) = parts else {
        return Err("this is not precompiled code: `wasmrun compile` makes it".into());
    };
    if Sha256::digest(content)[..] != digest[..] {
        return Err("the precompiled code is damaged: compile the component again".into());
    }
    if *made_by != maker() {
        return Err("it was compiled by another version of wasmrun: compile the component again".into());
    }
    match (deterministic, options.deterministic) {
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
