//! Errors of calls to a store, with a text that names the object.

use std::fmt;
use std::io;

pub use crate::bindings::wasmrun::task::object_store::Error as ErrorKind;

/// The action of [`Store::open`](super::Store::open), which comes before any other action.
pub(super) const OPEN: &str = "open";

/// Why a call to a store failed, and on which object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    action: &'static str,
    alias: String,
    key: Option<String>,
    kind: ErrorKind,
}

impl Error {
    pub(crate) fn new(action: &'static str, alias: &str, key: Option<&str>, kind: ErrorKind) -> Self {
        Error { action, alias: alias.to_owned(), key: key.map(str::to_owned), kind }
    }

    /// Returns the error as the host reported it.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Reports whether the task has no grant for the store, which is the only reason for the host to refuse to open it.
    fn is_without_grant(&self) -> bool {
        self.kind == ErrorKind::AccessDenied && self.action == OPEN
    }

    /// Reports whether the object doesn't exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == ErrorKind::NotFound
    }

    /// Reports whether the condition of a write didn't hold.
    pub fn is_precondition_failed(&self) -> bool {
        self.kind == ErrorKind::PreconditionFailed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "cannot {} {key} in store {}: ", self.action, self.alias)?,
            None => write!(f, "cannot {} store {}: ", self.action, self.alias)?,
        }
        match &self.kind {
            ErrorKind::NotFound => f.write_str("there is no such object"),
            ErrorKind::AccessDenied if self.is_without_grant() => f.write_str("the task has no such grant"),
            ErrorKind::AccessDenied => f.write_str("it is not granted, or the store refuses it"),
            ErrorKind::TooLarge => f.write_str("it is larger than a limit allows"),
            ErrorKind::PreconditionFailed => f.write_str("the condition does not hold"),
            ErrorKind::Unavailable => f.write_str("the store is unavailable for now"),
            ErrorKind::Other(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AccessDenied => io::ErrorKind::PermissionDenied,
            ErrorKind::TooLarge => io::ErrorKind::FileTooLarge,
            ErrorKind::Unavailable => io::ErrorKind::ResourceBusy,
            ErrorKind::PreconditionFailed | ErrorKind::Other(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_what_was_tried_on_what() {
        let error = Error::new("open", "output", None, ErrorKind::AccessDenied);
        assert_eq!(error.to_string(), "cannot open store output: the task has no such grant");
        let error =
            Error::new("write", "output", Some("a/b"), ErrorKind::Other("the key is malformed".into()));
        assert_eq!(error.to_string(), "cannot write a/b in store output: the key is malformed");
    }
}
