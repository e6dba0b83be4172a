//! Translates the operating system's errors for the user of a store.

use rustix::io::Errno;
use std::io;
use wasmrun_runtime::ports::object_store::StoreError;

/// Returns the error for a failure while `doing` something to `key`. An empty `key` stands for the store. The text
/// names the key but not the directory, as a guest may read it.
pub(super) fn failed(doing: &str, key: &str, error: &io::Error) -> StoreError {
    let what = || if key.is_empty() { "the store".to_owned() } else { format!("{key:?}") };
    let text = || format!("cannot {doing} {}: {}", what(), plain(error));
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => StoreError::NotFound,
        Some(Errno::ACCESS | Errno::PERM) => StoreError::AccessDenied(text()),
        Some(Errno::FBIG) => StoreError::TooLarge(text()),
        Some(
            Errno::NAMETOOLONG | Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::NOTDIR | Errno::ILSEQ,
        ) => StoreError::Invalid(text()),
        _ => StoreError::Unavailable(text()),
    }
}

/// Returns the error's text in lower case, without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

pub(super) fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Reports whether opening a directory failed because the file isn't one. Links are not followed, so a link isn't one.
pub(super) fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::NOTDIR | Errno::LOOP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(errno: Errno) -> StoreError {
        failed("write", "a/b", &errno.into())
    }

    #[test]
    fn what_may_pass_is_unavailable_and_what_stays_is_not() {
        for errno in
            [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::MFILE, Errno::STALE, Errno::NODEV, Errno::ROFS]
        {
            assert!(matches!(of(errno), StoreError::Unavailable(_)), "{errno}");
        }
        for errno in [Errno::ACCESS, Errno::PERM] {
            assert!(matches!(of(errno), StoreError::AccessDenied(_)), "{errno}");
        }
        for errno in [Errno::NAMETOOLONG, Errno::LOOP, Errno::ISDIR, Errno::NXIO] {
            assert!(matches!(of(errno), StoreError::Invalid(_)), "{errno}");
        }
        assert_eq!(of(Errno::NOENT), StoreError::NotFound);
    }

    #[test]
    fn the_text_is_a_sentence_about_the_key() {
        assert_eq!(of(Errno::NOSPC).to_string(), "cannot write \"a/b\": no space left on device");
        let store = failed("write", "", &Errno::ACCESS.into());
        assert_eq!(store.to_string(), "cannot write the store: permission denied");
    }
}
