//! Reads a case's directory. It may come from anywhere, so links are refused and sizes are bounded.

use crate::output::failure::Failure;
use crate::settings::project::{CASE_FILE, CaseFile};
use crate::settings::read::{MAX_TOML_BYTES, read_file, read_text};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use wasmrun_runtime::model::message::MAX_MESSAGE_BYTES;
use wasmrun_runtime::task::grant::check_key;

/// Directory of a project with its cases.
const CASES: &str = "cases";
/// Directory of a case with the objects that exist before the task: `given/ALIAS/KEY`.
const GIVEN: &str = "given";
/// Directory of a case with the objects that are expected after the task: `expected/ALIAS/KEY`.
const EXPECTED: &str = "expected";
/// Maximum number of cases of a project.
const MAX_CASES: usize = 1_000;
/// Maximum number of files of a case.
const MAX_FILES: usize = 1_000;
/// Maximum number of bytes of a case's files together.
const MAX_BYTES: u64 = 256 << 20;

/// Contents of objects, by alias and key.
pub(crate) type Objects = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// A case, as its directory holds it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) directory: PathBuf,
    pub(crate) file: CaseFile,
    /// Text of the case's file.
    pub(crate) text: String,
    /// The body in `message-file`.
    pub(crate) body: Option<String>,
    pub(crate) given: Objects,
    /// `None` if there is no directory `expected`.
    pub(crate) expected: Option<Objects>,
}

/// Returns the names and the directories of a project's cases whose names contain `filter`, in the order of the names.
pub(crate) fn find_cases(project: &Path, filter: &str) -> Result<Vec<(String, PathBuf)>, Failure> {
    let directory = project.join(CASES);
    let shown = directory.display();
    let unreadable = |error| Failure::usage(format!("cannot read the cases in {shown}: {error}"));
    let mut found = Vec::new();
    match fs::read_dir(&directory) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(unreadable)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                // A file next to the cases, such as a README, is no case.
                if entry.file_type().is_ok_and(|kind| kind.is_file()) || name.starts_with('.') {
                    continue;
                }
                if found.len() == MAX_CASES {
                    return Err(Failure::usage(format!("there are more than {MAX_CASES} cases in {shown}")));
                }
                if name.contains(filter) {
                    found.push((name, entry.path()));
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(error)),
    }
    if found.is_empty() {
        let named = if filter.is_empty() { "no case".into() } else { format!("no case named {filter:?}") };
        return Err(Failure::usage(format!(
            "there is {named} in {shown}: a case is a directory with a {CASE_FILE}, which may be empty"
        )));
    }
    found.sort();
    Ok(found)
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    ///
    /// Says what is wrong with its files.
    pub(crate) fn read(directory: &Path) -> Result<Self, String> {
        if !kind(directory)?.is_dir() {
            return Err("it is not a directory".into());
        }
        let file = inside(directory, Path::new(CASE_FILE))?;
        if !file.is_file() {
            return Err(format!("it has no {CASE_FILE}, which may be empty"));
        }
        let text = read_text(&file, CASE_FILE, MAX_TOML_BYTES).map_err(|failure| failure.to_string())?;
        let file = CaseFile::parse(&text).map_err(|failure| failure.to_string())?;
        let body = match &file.message_file {
            Some(path) => {
                let most = MAX_MESSAGE_BYTES as u64;
                let what = format!("the message {}", path.display());
                let path = inside(directory, path)?;
                if !kind(&path)?.is_file() {
                    return Err(format!("{what} is not a file"));
                }
                Some(read_text(&path, &what, most).map_err(|failure| failure.to_string())?)
            }
            None => None,
        };
        let mut room = Room { files: MAX_FILES, bytes: MAX_BYTES };
        let given = objects(directory, GIVEN, &mut room)?.unwrap_or_default();
        let expected = objects(directory, EXPECTED, &mut room)?;
        Ok(Self { directory: directory.to_owned(), file, text, body, given, expected })
    }
}

/// How many files and bytes a case may still have.
struct Room {
    files: usize,
    bytes: u64,
}

/// Reads `NAME/ALIAS/KEY` in a case's directory. Returns `None` if there is no directory of that name.
fn objects(directory: &Path, name: &str, room: &mut Room) -> Result<Option<Objects>, String> {
    let root = directory.join(name);
    if fs::symlink_metadata(&root).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    if !kind(&root)?.is_dir() {
        return Err(format!("{name} is not a directory"));
    }
    let mut objects = Objects::new();
    for (alias, path) in entries(&root)? {
        if !kind(&path)?.is_dir() {
            return Err(format!("{name}/{alias} is not a directory: objects are {name}/ALIAS/KEY"));
        }
        let mut found = BTreeMap::new();
        read_below(&path, "", &mut found, room)?;
        objects.insert(alias, found);
    }
    Ok(Some(objects))
}

fn read_below(
    directory: &Path,
    prefix: &str,
    found: &mut BTreeMap<String, Vec<u8>>,
    room: &mut Room,
) -> Result<(), String> {
    for (name, path) in entries(directory)? {
        let key = format!("{prefix}{name}");
        // Bounds the depth as well.
        check_key(&key).map_err(|error| format!("the object {key:.80?} cannot be used: {error}"))?;
        let kind = kind(&path)?;
        if kind.is_dir() {
            read_below(&path, &format!("{key}/"), found, room)?;
        } else if kind.is_file() {
            room.files =
                room.files.checked_sub(1).ok_or_else(|| format!("it has more than {MAX_FILES} files"))?;
            let content = read_file(&path, &format!("the object {key}"), room.bytes)
                .map_err(|failure| failure.to_string())?;
            room.bytes -= content.len() as u64;
            found.insert(key, content);
        } else {
            return Err(format!("{key} is neither a file nor a directory"));
        }
    }
    Ok(())
}

/// Returns the path of the file that holds an expected object.
///
/// # Errors
///
/// No file can have such a name.
pub(crate) fn expected_path(directory: &Path, alias: &str, key: &str) -> Result<PathBuf, String> {
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    if !key.split('/').all(is_name) {
        return Err(format!("no file can hold the object {alias}/{key:.80}: name it in [expect.objects]"));
    }
    inside(directory, &Path::new(EXPECTED).join(alias).join(key))
}

/// Returns the names and paths in a directory, in the order of the names.
fn entries(directory: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let failed = |error| format!("cannot read the directory {}: {error}", directory.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entries.len() > MAX_FILES {
            return Err(format!("{} has more than {MAX_FILES} entries", directory.display()));
        }
        let name = entry.file_name().into_string();
        let name = name.map_err(|name| format!("the name {name:?} is not UTF-8"))?;
        entries.push((name, entry.path()));
    }
    entries.sort();
    Ok(entries)
}

/// Returns what a path is. Refuses a symbolic link, which could lead out of the case.
fn kind(path: &Path) -> Result<fs::FileType, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let kind = fs::symlink_metadata(path).map_err(failed)?.file_type();
    if kind.is_symlink() {
        return Err(format!("{} is a symbolic link: a case holds its files itself", path.display()));
    }
    Ok(kind)
}

/// Returns the path of a file in a directory. Refuses a path that leads out of it.
fn inside(directory: &Path, path: &Path) -> Result<PathBuf, String> {
    let mut inside = directory.to_owned();
    for component in path.components() {
        let Component::Normal(name) = component else {
            return Err(format!("the path {} leads out of the case", path.display()));
        };
        inside.push(name);
        if fs::symlink_metadata(&inside).is_ok() {
            kind(&inside)?;
        }
    }
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn case(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for (path, content) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("created");
            fs::write(path, content).expect("written");
        }
        directory
    }

    fn error(directory: &tempfile::TempDir) -> String {
        Case::read(directory.path()).expect_err("refused")
    }

    #[test]
    fn objects_are_read_by_alias_and_key() {
        let directory = case(&[("case.toml", ""), ("given/input/a/b.txt", "x"), ("given/input/c", "y")]);
        let case = Case::read(directory.path()).expect("a case");
        let input: Vec<_> = case.given["input"].iter().collect();
        assert_eq!(input, [(&"a/b.txt".to_owned(), &b"x".to_vec()), (&"c".to_owned(), &b"y".to_vec())]);
        assert!(case.expected.is_none());
    }

    #[test]
    fn a_link_or_a_path_that_leads_out_is_refused() {
        for path in ["../secret", "/etc/hostname", "a/../../secret", "."] {
            let directory = case(&[("case.toml", &format!("message-file = {path:?}"))]);
            let error = error(&directory);
            assert!(error.contains("leads out") || error.contains("is not a file"), "{path}: {error}");
        }
        for link in ["given", "given/input", "given/input/x", "expected", "message.txt"] {
            let directory = case(&[("case.toml", "message-file = 'message.txt'")]);
            let path = directory.path().join(link);
            fs::create_dir_all(path.parent().expect("a directory")).expect("created");
            if link != "message.txt" {
                fs::write(directory.path().join("message.txt"), "x").expect("written");
            }
            symlink("/etc", &path).expect("linked");
            assert!(error(&directory).contains("is a symbolic link"), "{link}");
        }
        let directory = case(&[]);
        symlink("/dev/zero", directory.path().join("case.toml")).expect("linked");
        assert!(error(&directory).contains("is a symbolic link"));
    }

    #[test]
    fn the_number_of_files_is_bounded() {
        let directory = case(&[("case.toml", "")]);
        for half in ["a", "b"] {
            let store = directory.path().join("given/input").join(half);
            fs::create_dir_all(&store).expect("created");
            for number in 0..=MAX_FILES / 2 {
                fs::write(store.join(number.to_string()), "").expect("written");
            }
        }
        assert!(error(&directory).contains("more than 1000 files"));
    }
}
