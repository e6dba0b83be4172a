//! The address of a queue: `sqlite:PATH` is the queue `main` in the file PATH, `sqlite:PATH#NAME` another queue in it.

use crate::paths::resolve;
use rustix::fs::Access;
use std::path::{Path, PathBuf};
use wasmrun_runtime::ports::queue::QueueError;

const SCHEME: &str = "sqlite:";
/// The name of the queue if the URL has none.
const DEFAULT_NAME: &str = "main";
/// As in SQS, a queue's name has at most 80 characters.
const MAX_NAME: usize = 80;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Queues, by name.
    Queues,
    /// One key-value bucket.
    Bucket,
    /// Counts of completion groups.
    Groups,
    /// The ledger of `--once`.
    Ledger,
    /// Accounts of budgets.
    Budgets,
}

impl Kind {
    /// Returns the noun for sentences to users.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Queues => "queue",
            Self::Bucket => "bucket",
            Self::Groups => "group store",
            Self::Ledger => "ledger",
            Self::Budgets => "budget store",
        }
    }
}

/// A file and the name of a queue in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) kind: Kind,
    /// The file's path, absolute and without symbolic links. So it is the same from every working directory, and can't
    /// be mistaken for one of SQLite's special names.
    pub(super) path: PathBuf,
    pub(super) name: String,
}

impl Address {
    /// Returns the address of a queue whose file must exist.
    pub(super) fn existing(url: &str) -> Result<Self, QueueError> {
        let (path, name) = split(url)?;
        match path.canonicalize() {
            Ok(path) if path.is_file() => Self::new(path, name),
            Ok(_) => Err(QueueError::Unusable(format!("cannot use {url}: {} is not a file", path.display()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(not_found(url)),
            Err(error) => Err(QueueError::Unusable(format!("cannot open {url}: {error}"))),
        }
    }

    /// Returns the address of a queue whose file may have to be created. The file's directory must exist.
    pub(super) fn to_create(url: &str) -> Result<Self, QueueError> {
        let (path, name) = split(url)?;
        if path.exists() {
            return Self::existing(url);
        }
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        if path.file_name().is_none() {
            return Err(QueueError::Unusable(format!("{url} names no file")));
        }
        match resolve(&path) {
            Ok(path) => Self::new(path, name),
            Err(error) if path.is_symlink() => Err(QueueError::Unusable(format!(
                "cannot create {url}: the link {} cannot be followed ({error})",
                path.display()
            ))),
            Err(error) => Err(QueueError::Unusable(format!(
                "cannot create {url}: its directory {} cannot be opened ({error}); create the directory first",
                parent.display()
            ))),
        }
    }

    /// Returns the address of a file that holds one thing of a kind, and may have to be created. Its directory must exist.
    pub(super) fn of_whole_file(url: &str, kind: Kind) -> Result<Self, QueueError> {
        let address = Self::to_create(url)?;
        if address.name != DEFAULT_NAME {
            return Err(QueueError::Unusable(format!(
                "{url} names a part of a file, and a file holds one {}: write {SCHEME}PATH",
                kind.noun()
            )));
        }
        Ok(Self { kind, ..address })
    }

    /// Checks that the file can be created.
    pub(super) fn may_be_created(&self) -> Result<(), QueueError> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            QueueError::Unusable(format!(
                "cannot create {}: its directory {} cannot be written ({})",
                self.url(),
                directory.display(),
                std::io::Error::from(error)
            ))
        })
    }

    /// Returns the address of another queue in the same file.
    pub(super) fn sibling(&self, name: &str) -> Self {
        Self { kind: self.kind, path: self.path.clone(), name: name.to_owned() }
    }

    /// Returns the URL, which is the same for every way of writing it.
    pub(super) fn url(&self) -> String {
        let path = self.path.display();
        if self.name == DEFAULT_NAME && !path.to_string().contains('#') {
            format!("{SCHEME}{path}")
        } else {
            format!("{SCHEME}{path}#{}", self.name)
        }
    }

    fn new(path: PathBuf, name: String) -> Result<Self, QueueError> {
        if path.to_str().is_none() {
            return Err(QueueError::Unusable(format!("the path {} is not UTF-8: rename it", path.display())));
        }
        Ok(Self { kind: Kind::Queues, path, name })
    }
}

/// Reports whether a text is a URL of this kind rather than a bare name.
pub(super) fn is_url(text: &str) -> bool {
    text.starts_with(SCHEME)
}

/// Checks a queue's name: 1 to 80 letters, digits, `-` and `_`, as in SQS.
pub(super) fn valid_name(name: &str) -> Result<(), QueueError> {
    let well_formed = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if well_formed {
        return Ok(());
    }
    Err(QueueError::Unusable(format!(
        "{:?} is not a queue's name: it has 1 to {MAX_NAME} letters, digits, '-' and '_'",
        name.chars().take(MAX_NAME).collect::<String>()
    )))
}

pub(super) fn not_found(url: &str) -> QueueError {
    QueueError::NotFound(format!(
        "there is no queue {url}: create it with `wasmrun queue create {url}` or by `wasmrun enqueue`"
    ))
}

/// Splits a URL into path and name. The name follows the last `#`, so a path that contains `#` needs `#NAME` after it.
fn split(url: &str) -> Result<(PathBuf, String), QueueError> {
    let rest = url.strip_prefix(SCHEME).ok_or_else(|| {
        QueueError::Unusable(format!("{url:?} is not such a URL: it starts with `{SCHEME}`"))
    })?;
    let (path, name) = rest.rsplit_once('#').unwrap_or((rest, DEFAULT_NAME));
    if path.is_empty() || path.contains('\0') {
        return Err(QueueError::Unusable(format!(
            "{url:?} names no file: write `{SCHEME}PATH` or `{SCHEME}PATH#NAME`"
        )));
    }
    valid_name(name)?;
    Ok((PathBuf::from(path), name.to_owned()))
}
