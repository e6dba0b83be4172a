//! Replaces files in one step.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use wasmrun_local::resolve;

/// Beginning of the names of temporary files, which lie next to the files that they replace.
const TEMPORARY: &str = ".wasmrun-";
/// Mode of a new file, before the umask takes bits away.
const NEW: u32 = 0o666;

/// Replaces a file in one step, or creates it: whoever reads it, also after a crash or on a full disk, finds the old content
/// or the new one. A link stays, and the file that it leads to is replaced. `mode`: that of the file, whatever the umask;
/// `None`: as it was. Returns the file, open for reading and for writing at its end.
///
/// # Errors
///
/// Fails if `write` does, or the path leads to something else than a plain file. The file is then as it was.
pub(crate) fn replace(
    path: &Path,
    mode: Option<u32>,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    let path = resolve(path)?;
    let before = match path.symlink_metadata() {
        Ok(before) if before.is_file() => Some(before),
        Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .append(true)
        .permissions(Permissions::from_mode(NEW))
        .tempfile_in(directory)?;
    if let Some(permissions) =
        mode.map(Permissions::from_mode).or_else(|| before.map(|before| before.permissions()))
    {
        temporary.as_file().set_permissions(permissions)?;
    }
    write(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    let file = temporary.persist(&path)?;
    File::open(directory)?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_stays_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        // As long as a name may be.
        let path = folder.path().join("x".repeat(255));
        replace(&path, None, |file| file.write_all(b"old")).expect("created");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        let half = replace(&path, None, |file| {
            file.write_all(b"ne")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(half.expect_err("the disk is full").kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).expect("read"), b"old");
        let mut file = replace(&path, None, |file| file.write_all(b"new")).expect("replaced");
        assert_eq!(mode(&path), 0o640);
        file.write_all(b"er").expect("appended");
        assert_eq!(fs::read(&path).expect("read"), b"newer");
        replace(&path, Some(0o644), |_| Ok(())).expect("replaced");
        assert_eq!((fs::read(&path).expect("read"), mode(&path)), (Vec::new(), 0o644));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_link_stays_and_only_a_plain_file_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let (link, target) = (folder.path().join("link"), folder.path().join("target"));
        std::os::unix::fs::symlink("target", &link).expect("a link");
        for content in ["one", "two"] {
            replace(&link, None, |file| file.write_all(content.as_bytes())).expect("written");
            assert!(link.is_symlink());
            assert_eq!(fs::read_to_string(&target).expect("read"), content);
        }
        for path in [folder.path(), Path::new("/dev/null")] {
            assert!(replace(path, None, |_| Ok(())).is_err(), "{}", path.display());
        }
    }
}
