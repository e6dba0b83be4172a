//! The usage file. Several workers may append to it. It holds whole lines, and is rotated at a maximum size.
//!
//! A writer locks the file (flock), then checks that the path still leads to it. So no worker appends to a file that
//! another worker has renamed. The kernel releases the lock of a worker that dies.
//!
//! A batch of lines is one write. SIGKILL during that write, a crash of the machine or a full disk may leave a part of
//! a line at the end of the file. The next writer ends such a torn line with a line break, and readers skip it.

use rustix::fs::{Access, FlockOperation, OFlags};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Number of old files that are kept: `FILE.1`, the youngest, to `FILE.4`.
const KEPT: usize = 4;
/// Maximum time to wait for the lock. A worker holds it for a millisecond, unless it was stopped in that time.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// Number of times that other workers may rotate the file between its opening and its locking.
const ATTEMPTS: usize = 16;

/// The usage file at a path. Reopens the path after another worker has rotated the file.
#[derive(Debug)]
pub(super) struct UsageFile {
    path: PathBuf,
    max_bytes: u64,
    open: Option<File>,
}

/// The file that is at the path now, while its lock is held.
struct Locked<'a> {
    path: &'a Path,
    file: &'a File,
    bytes: u64,
}

impl UsageFile {
    /// Checks that the file can be opened, or that it can be created in its directory.
    pub(super) fn check(path: &Path) -> io::Result<()> {
        match open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = path.parent().unwrap_or(path);
                Ok(rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
            }
            opened => opened.map(drop),
        }
    }

    /// Opens the file. Creates a missing file with mode 0600.
    pub(super) fn open(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let mut file = Self { path: path.to_owned(), max_bytes, open: None };
        file.lock()?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines, each with its line break, and removes the written bytes from `lines`. After an error, the rest of
    /// `lines` may be retried.
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

    /// Appends the lines that fit into the file in one write, or rotates the file if none fits. Returns the number of
    /// bytes of `lines` that were written. After an error, none were.
    fn append_some(&mut self, lines: &[u8]) -> io::Result<usize> {
        let max_bytes = self.max_bytes;
        let mut locked = self.lock()?;
        locked.end_torn_line()?;
        let bytes = match lines_within(lines, max_bytes.saturating_sub(locked.bytes)) {
            0 if locked.bytes > 0 => {
                locked.rotate()?;
                return Ok(0);
            }
            // The first line is larger than the maximum size, and gets a file of its own.
            0 => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1),
            bytes => bytes,
        };
        locked.write(&lines[..bytes])?;
        Ok(bytes)
    }

    /// Locks the file that is at the path.
    fn lock(&mut self) -> io::Result<Locked<'_>> {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        for _ in 0..ATTEMPTS {
            let file = match self.open.take() {
                Some(file) => file,
                None => open(&self.path, true)?,
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
    /// Ends a line that another process, a crash of the machine or a full disk left torn.
    fn end_torn_line(&mut self) -> io::Result<()> {
        if self.bytes == 0 {
            return Ok(());
        }
        let mut last = [0];
        self.file.read_exact_at(&mut last, self.bytes - 1)?;
        if last == *b"\n" { Ok(()) } else { self.write(b"\n") }
    }

    /// Renames each old file to the next number, up to the first that is free, and this file to the first number. The
    /// oldest file is overwritten. Other processes wait for the lock meanwhile.
    fn rotate(&self) -> io::Result<()> {
        let free = (1..KEPT).find(|number| !old(self.path, *number).exists()).unwrap_or(KEPT);
        for number in (1..free).rev() {
            fs::rename(old(self.path, number), old(self.path, number + 1))?;
        }
        fs::rename(self.path, old(self.path, 1))
    }

    /// Writes all bytes or none.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write(bytes);
        match written {
            Ok(written) if written == bytes.len() => {
                self.bytes += written as u64;
                Ok(())
            }
            other => {
                // If this fails too, the next writer ends the torn line.
                let _ = self.file.set_len(self.bytes);
                Err(other.err().unwrap_or_else(|| io::ErrorKind::StorageFull.into()))
            }
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // If this fails, the kernel releases the lock when the file is closed.
        let _ = rustix::fs::flock(self.file, FlockOperation::Unlock);
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(create)
        .mode(0o600)
        // The path was resolved and compared with the guests' stores before, so a link here is new and not followed.
        .custom_flags(OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
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

/// Returns the length of the whole lines at the start of `lines` that fit into `room` bytes.
fn lines_within(lines: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX).min(lines.len());
    lines[..room].iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1)
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

    /// Returns the numbers of the lines of a file. Each line must be whole.
    fn numbers(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).expect("text");
        text.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .map(|line| line["n"].as_u64().expect("a number"))
            .collect()
    }

    #[test]
    fn a_batch_is_appended_as_it_is() {
        let (_directory, path) = scratch();
        let mut file = UsageFile::open(&path, 1 << 20).expect("opened");
        let batch: Vec<u8> = (0..100).flat_map(|number| line(number, 90 * number)).collect();
        file.append(&mut batch.clone()).expect("appended");
        file.append(&mut batch.clone()).expect("appended");
        assert!(fs::read(&path).expect("read") == batch.repeat(2), "something else is in the file");
    }

    #[test]
    fn a_line_that_is_larger_than_the_file_may_be_gets_a_file_of_its_own() {
        let (_directory, path) = scratch();
        let mut file = UsageFile::open(&path, 1000).expect("opened");
        let mut batch: Vec<u8> = [10, 5000, 10].iter().zip(0..).flat_map(|(x, n)| line(n, *x)).collect();
        file.append(&mut batch).expect("appended");
        assert_eq!([old(&path, 2), old(&path, 1), path].map(|file| numbers(&file)), [[0], [1], [2]]);
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
        for number in 0..60 {
            let file = if number % 3 == 0 { &mut one } else { &mut two };
            file.append(&mut line(number, 480)).expect("appended");
        }
        let all: Vec<u64> = [old(&path, 2), old(&path, 1), path].iter().flat_map(|f| numbers(f)).collect();
        assert_eq!(all, (0..60).collect::<Vec<_>>());
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
    fn a_check_creates_no_file_and_finds_what_would_fail() {
        let (directory, path) = scratch();
        UsageFile::check(&path).expect("it could be created");
        assert!(!path.exists());
        UsageFile::open(&path, 10_000).expect("opened");
        UsageFile::check(&path).expect("it is there");
        for wrong in [directory.path(), Path::new("/dev/null"), &directory.path().join("no/usage.jsonl")] {
            assert!(UsageFile::check(wrong).is_err(), "{}", wrong.display());
        }
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
