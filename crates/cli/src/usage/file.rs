//! The file that lines of usage are appended to: whole lines only, by several workers, never larger than it may be.
//!
//! Whoever writes holds the file's lock (flock), and has looked whether the path still leads to it: nobody appends to
//! a file that another worker has renamed. The kernel frees the lock of a worker that dies.
//!
//! A line survives SIGKILL whole, because no write crosses a block of [`BLOCK`] bytes. The kernel copies a write into
//! its cache page by page, and looks between two of them for a signal that kills: of large writes, most kills leave a
//! part. Where a line doesn't fit into what is left of a block, spaces fill the block; JSON doesn't mind. Lines that
//! are larger than a block go without this promise, and all do when the machine itself fails. So whoever writes next
//! ends a torn line with a line break.

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Old files that are kept: `FILE.1`, the youngest, to `FILE.4`.
const KEPT: usize = 4;
/// The smallest page of any system: larger ones are multiples of it.
pub(super) const BLOCK: usize = 4096;
/// What fills a block.
const SPACES: [u8; BLOCK] = [b' '; BLOCK];
/// The lock is held for a millisecond, unless a worker was stopped while it held it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// So often may others rotate the file between its opening and its locking.
const ATTEMPTS: usize = 16;

/// The file at a path, whichever that is.
#[derive(Debug)]
pub(super) struct UsageFile {
    path: PathBuf,
    max_bytes: u64,
    open: Option<File>,
}

/// The file that is at the path now, for as long as its lock is held.
struct Locked<'a> {
    path: &'a Path,
    file: &'a File,
    bytes: u64,
}

impl UsageFile {
    /// Opens the file, and creates it with mode 0600 if it isn't there.
    pub(super) fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let mut file = Self { path: path.to_owned(), max_bytes, open: None };
        file.lock()?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines, each with its line break, and takes out of `lines` what is in the file. After an error, what is
    /// left may be tried again.
    pub(super) fn append(&mut self, lines: &mut Vec<u8>) -> io::Result<()> {
        let mut written = 0;
        let result = loop {
            if written == lines.len() {
                break Ok(());
            }
            match self.append_some(&lines[written..]) {
                Ok(some) => written += some,
                Err(error) => break Err(error),
            }
        };
        lines.drain(..written);
        result
    }

    /// Appends what fits into the file, or makes room for it. An error means that nothing was appended.
    fn append_some(&mut self, lines: &[u8]) -> io::Result<usize> {
        let max_bytes = self.max_bytes;
        let mut locked = self.lock()?;
        locked.end_torn_line()?;
        let mut written = 0;
        while let Some((spaces, block)) = next_block(locked.bytes, &lines[written..]) {
            if locked.bytes > 0 && locked.bytes + (spaces + block) as u64 > max_bytes {
                if written == 0 {
                    locked.make_room()?;
                }
                break;
            }
            let appended =
                locked.write(&SPACES[..spaces]).and_then(|()| locked.write(&lines[written..written + block]));
            match appended {
                Ok(()) => written += block,
                // It comes again.
                Err(_) if written > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// Locks the file that is at the path.
    fn lock(&mut self) -> io::Result<Locked<'_>> {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        for _ in 0..ATTEMPTS {
            let file = match self.open.take() {
                Some(file) => file,
                None => open(&self.path)?,
            };
            wait_for_lock(&file, deadline)?;
            let is = file.metadata()?;
            let there = fs::symlink_metadata(&self.path);
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (is.dev(), is.ino())) {
                return Ok(Locked { path: &self.path, file: self.open.insert(file), bytes: is.len() });
            }
        }
        Err(io::Error::other("others replace it again and again"))
    }
}

impl Locked<'_> {
    /// What a crash of the machine or a full disk left behind must not spoil the next line.
    fn end_torn_line(&mut self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let mut last = [0];
        self.file.read_exact_at(&mut last, self.bytes - 1)?;
        // Spaces that fill a block are followed by a line in the next one.
        if matches!(last, [b'\n' | b' ']) { Ok(()) } else { self.write(b"\n") }
    }

    /// Gives each old file the next number, up to the first that is free, and this one the first; the oldest goes.
    /// Nobody else does it meanwhile: they wait for the lock.
    fn make_room(&self) -> io::Result<()> {
        let free = (1..KEPT).find(|number| !old(self.path, *number).exists()).unwrap_or(KEPT);
        for number in (1..free).rev() {
            fs::rename(old(self.path, number), old(self.path, number + 1))?;
        }
        fs::rename(self.path, old(self.path, 1))
    }

    /// All or nothing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write(bytes);
        match written {
            Ok(written) if written == bytes.len() => {
                self.bytes += written as u64;
                Ok(())
            }
            other => {
                // If that fails too, there is a torn line.
                let _ = self.file.set_len(self.bytes);
                Err(other.err().unwrap_or_else(|| io::ErrorKind::StorageFull.into()))
            }
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // The kernel frees it at the latest when the file is closed.
        let _ = rustix::fs::flock(self.file, FlockOperation::Unlock);
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        // Where links lead was looked at before, and that it's no place that a guest may write to.
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it isn't a plain file"));
    }
    Ok(file)
}

fn wait_for_lock(file: &File, deadline: Instant) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(Errno::WOULDBLOCK) => {
                return Err(io::Error::other("another process has locked it for more than a second"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn old(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// What to write next to a file of so many bytes: spaces that fill a block, and then whole lines that stay within one.
fn next_block(bytes: u64, lines: &[u8]) -> Option<(usize, usize)> {
    let line = 1 + lines.iter().position(|byte| *byte == b'\n')?;
    let room = BLOCK - (bytes % BLOCK as u64) as usize;
    let fit = |room: usize| {
        let within = &lines[..room.min(lines.len())];
        within.iter().rposition(|byte| *byte == b'\n').map(|last| last + 1)
    };
    Some(match fit(room) {
        Some(block) => (0, block),
        None if line > BLOCK => (0, line),
        None => (room, fit(BLOCK).unwrap_or(line)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn scratch() -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("usage.jsonl");
        (directory, path)
    }

    fn line(number: usize, length: usize) -> Vec<u8> {
        format!("{{\"n\":{number},\"x\":\"{}\"}}\n", "x".repeat(length)).into_bytes()
    }

    /// The numbers of the lines of a file, each of which must be whole.
    fn numbers(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).expect("text");
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .map(|line| line["n"].as_u64().expect("a number"))
            .collect()
    }

    #[test]
    fn no_write_crosses_a_block_and_nothing_but_spaces_is_added() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let lines: Vec<u8> =
                (0..random.usize(1..40)).flat_map(|number| line(number, random.usize(0..3000))).collect();
            let (mut bytes, mut rest, mut file) = (random.u64(0..10_000), &lines[..], Vec::new());
            while let Some((spaces, block)) = next_block(bytes, rest) {
                for written in [&SPACES[..spaces], &rest[..block]] {
                    let (first, last) = (bytes, bytes + written.len().max(1) as u64 - 1);
                    assert_eq!(first / BLOCK as u64, last / BLOCK as u64, "{first} to {last}");
                    bytes += written.len() as u64;
                }
                assert!(rest[..block].ends_with(b"\n"));
                file.extend_from_slice(&rest[..block]);
                rest = &rest[block..];
            }
            assert_eq!(file, lines);
        }
    }

    #[test]
    fn a_line_that_is_larger_than_a_block_is_written_too() {
        let (_directory, path) = scratch();
        let mut file = UsageFile::open(&path, 1 << 16).expect("opened");
        let mut lines: Vec<u8> = [10, 9000, 10].iter().enumerate().flat_map(|(n, l)| line(n, *l)).collect();
        file.append(&mut lines).expect("appended");
        assert_eq!(numbers(&path), [0, 1, 2]);
        assert!(lines.is_empty());
    }

    #[test]
    fn only_its_owner_can_read_the_file() {
        let (_directory, path) = scratch();
        UsageFile::open(&path, 1 << 16).expect("opened");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn rotation_keeps_the_youngest_lines_in_order_and_no_file_is_too_large() {
        let (_directory, path) = scratch();
        let mut file = UsageFile::open(&path, 10_000).expect("opened");
        for number in 0..200 {
            file.append(&mut line(number, 480)).expect("appended");
        }
        let files: Vec<PathBuf> =
            (1..=KEPT).rev().map(|number| old(&path, number)).chain([path.clone()]).collect();
        let all: Vec<u64> = files.iter().flat_map(|file| numbers(file)).collect();
        let first = all[0];
        assert_eq!(all, (first..200).collect::<Vec<_>>());
        assert!(all.len() > 60, "{} lines", all.len());
        for file in files {
            assert!(fs::metadata(&file).expect("there").len() <= 10_000);
        }
        assert!(!old(&path, KEPT + 1).exists());
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let (_directory, path) = scratch();
        fs::write(&path, "{\"n\":1}\n{\"n\":").expect("written");
        let mut file = UsageFile::open(&path, 1 << 16).expect("opened");
        file.append(&mut line(2, 0)).expect("appended");
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(text, "{\"n\":1}\n{\"n\":\n{\"n\":2,\"x\":\"\"}\n");
    }

    #[test]
    fn who_appends_after_another_has_rotated_appends_to_the_new_file() {
        let (_directory, path) = scratch();
        let mut one = UsageFile::open(&path, 10_000).expect("opened");
        let mut two = UsageFile::open(&path, 10_000).expect("opened");
        for number in 0..40 {
            let file = if number % 3 == 0 { &mut one } else { &mut two };
            file.append(&mut line(number, 480)).expect("appended");
        }
        let all: Vec<u64> = [old(&path, 2), old(&path, 1), path].iter().flat_map(|f| numbers(f)).collect();
        assert_eq!(all, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_directory_that_vanishes_is_an_error_until_it_is_back() {
        let (directory, _) = scratch();
        let (there, away) = (directory.path().join("there"), directory.path().join("away"));
        fs::create_dir(&there).expect("a directory");
        let mut file = UsageFile::open(&there.join("usage"), 10_000).expect("opened");
        let mut lines = line(1, 0);
        fs::rename(&there, &away).expect("renamed");
        assert_eq!(file.append(&mut lines).expect_err("gone").kind(), io::ErrorKind::NotFound);
        fs::rename(&away, &there).expect("renamed");
        file.append(&mut lines).expect("appended");
        assert_eq!(numbers(&there.join("usage")), [1]);
    }

    #[test]
    fn only_plain_files_are_written_to() {
        let (directory, path) = scratch();
        assert!(UsageFile::open(directory.path(), 10_000).is_err());
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &path).expect("a link");
        assert!(UsageFile::open(&path, 10_000).is_err(), "a link was followed");
        assert!(UsageFile::open(Path::new("/dev/null"), 10_000).is_err());
    }

    #[test]
    fn a_lock_that_another_holds_is_waited_for_and_no_longer_than_a_second() {
        let (_directory, path) = scratch();
        let mut file = UsageFile::open(&path, 10_000).expect("opened");
        let other = File::open(&path).expect("opened");
        rustix::fs::flock(&other, FlockOperation::LockExclusive).expect("locked");
        let mut lines = line(1, 0);
        let error = file.append(&mut lines).expect_err("locked");
        assert!(error.to_string().contains("locked"), "{error}");
        drop(other);
        file.append(&mut lines).expect("appended");
        assert_eq!(numbers(&path), [1]);
    }
}
