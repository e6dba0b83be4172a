//! The directory that caches compiled components, and components of registries.
//!
//! It holds native code that runs without further checks, so write access to it is equivalent to full control over the
//! worker. Therefore the directory must belong to this user and have mode 0700. Each file of code carries a digest, which
//! detects damage by a crash or a failing disk. What comes from a registry is named by its digest.

use crate::model::text::hex;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Maximum number of files in the cache; the least recently used are removed first.
const MAX_FILES: usize = 32;
/// Maximum number of bytes in the cache, except that the newest file always stays: a hostile component's code may be
/// large.
const MAX_BYTES: u64 = 1 << 30;
const DIGEST_BYTES: usize = 32;

/// Compiled components, by a digest of the component and of the engine that compiled it.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens the directory, and creates it if it doesn't exist.
    ///
    /// # Errors
    ///
    /// The directory can't be created, belongs to another user or is open to others; the sentence says what to do.
    pub fn open(directory: &Path) -> Result<Self, String> {
        let shown = directory.display();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| format!("the cache directory {shown} cannot be created: {error}"))?;
        let metadata = fs::metadata(directory)
            .map_err(|error| format!("the cache directory {shown} cannot be read: {error}"))?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(format!(
                "the cache directory {shown} belongs to another user: choose one of your own"
            ));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(format!("the cache directory {shown} is open to other users: chmod 700 it"));
        }
        let directory = directory
            .canonicalize()
            .map_err(|error| format!("the cache directory {shown} cannot be read: {error}"))?;
        Ok(Self { directory })
    }

    /// Returns the directory's path without symbolic links.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the code for a key. A damaged file is treated as missing.
    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.path(key);
        let mut content = fs::read(&path).ok()?;
        let code_bytes = content.len().checked_sub(DIGEST_BYTES)?;
        if Sha256::digest(&content[..code_bytes])[..] != content[code_bytes..] {
            tracing::warn!(file = %path.display(), "recompiling: a file of the cache is damaged");
            return None;
        }
        content.truncate(code_bytes);
        // Marks the file as used; failing to do so is harmless.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(content)
    }

    /// Stores code. If that fails, the next start has to compile again.
    pub(crate) fn put(&self, key: &str, code: &[u8]) {
        if let Err(error) = self.try_put(&self.path(key), &[code, &Sha256::digest(code)]) {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "cannot cache the compiled component");
        }
        self.evict();
    }

    /// Returns the content with this SHA-256 digest, in lower-case hexadecimal digits, if it has at most `most` bytes. A
    /// damaged file is treated as missing.
    pub fn blob(&self, digest: &str, most: u64) -> Option<Vec<u8>> {
        let file = File::open(self.blob_path(digest)).ok()?;
        if file.metadata().ok()?.len() > most {
            return None;
        }
        let mut content = Vec::new();
        (&file).take(most).read_to_end(&mut content).ok()?;
        if hex(&Sha256::digest(&content)) != digest {
            tracing::warn!(digest, "fetching again: a file of the cache is damaged");
            return None;
        }
        let _ = file.set_modified(SystemTime::now());
        Some(content)
    }

    /// Stores content under its digest. If that fails, the next start has to fetch it again.
    pub fn keep_blob(&self, digest: &str, content: &[u8]) {
        if let Err(error) = self.try_put(&self.blob_path(digest), &[content]) {
            let directory = self.directory.display();
            tracing::warn!(%directory, %error, "cannot cache the component");
        }
        self.evict();
    }

    fn try_put(&self, path: &Path, content: &[&[u8]]) -> io::Result<()> {
        let temporary = path.with_added_extension(format!("{}.tmp", std::process::id()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)?);
        let written = (|| {
            content.iter().try_for_each(|part| file.write_all(part))?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.cwasm"))
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.directory.join(format!("sha256-{digest}"))
    }

    fn evict(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut bytes = 0;
        for (index, (_, length, path)) in files.iter().rev().enumerate() {
            bytes += length;
            // The newest file always stays.
            if index >= MAX_FILES || (index > 0 && bytes > MAX_BYTES) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_put_is_found_until_a_byte_of_it_changes() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(&directory.path().join("a/b")).expect("a cache");
        assert_eq!(cache.get("k"), None);
        cache.put("k", b"code");
        assert_eq!(cache.get("k").as_deref(), Some(&b"code"[..]));
        let path = cache.path("k");
        let mut content = fs::read(&path).expect("a file");
        content[0] ^= 1;
        fs::write(&path, content).expect("written");
        assert_eq!(cache.get("k"), None);
        fs::write(&path, b"short").expect("written");
        assert_eq!(cache.get("k"), None);
    }

    #[test]
    fn content_is_kept_under_its_digest_and_not_taken_if_it_has_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(&directory.path().join("cache")).expect("a cache");
        let digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert_eq!(cache.blob(digest, 9), None);
        cache.keep_blob(digest, b"x");
        assert_eq!(cache.blob(digest, 9).as_deref(), Some(&b"x"[..]));
        assert_eq!(cache.blob(digest, 0), None, "it is longer");
        cache.keep_blob(digest, b"y");
        assert_eq!(cache.blob(digest, 9), None);
    }

    #[test]
    fn a_directory_that_others_can_enter_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let error = Cache::open(directory.path()).expect_err("refused");
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn only_the_files_used_last_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(&directory.path().join("cache")).expect("a cache");
        for i in 0..MAX_FILES + 5 {
            cache.put(&format!("{i:03}"), b"code");
        }
        assert_eq!(fs::read_dir(cache.directory()).expect("a directory").count(), MAX_FILES);
        assert!(cache.get(&format!("{:03}", MAX_FILES + 4)).is_some());
        assert!(cache.get("000").is_none());
    }

    #[test]
    fn code_takes_no_more_of_the_disk_than_a_bound() {
        let directory = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(&directory.path().join("cache")).expect("a cache");
        for i in 0..4 {
            // A sparse file: long, but it takes no space.
            let file = File::create(cache.path(&i.to_string())).expect("a file");
            file.set_len(MAX_BYTES / 2).expect("longer");
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(i)).expect("older");
        }
        cache.put("new", b"code");
        let mut kept: Vec<_> = fs::read_dir(cache.directory())
            .expect("a directory")
            .map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"))
            .collect();
        kept.sort();
        assert_eq!(kept, ["3.cwasm", "new.cwasm"]);
    }
}
