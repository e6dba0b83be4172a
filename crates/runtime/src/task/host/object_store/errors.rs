//! Errors of stores: for guests, for streams, and in words.

use super::Error;
use crate::model::outcome::shorten;
use crate::ports::object_store::StoreError;
use wasmtime_wasi::p2::StreamError;

/// Trap of a command whose standard input or output failed.
#[derive(Debug, thiserror::Error)]
#[error("{stream}: {what}")]
pub(crate) struct StreamFailed {
    stream: &'static str,
    what: String,
}

impl StreamFailed {
    pub(crate) fn new(stream: &'static str, error: &Error) -> Self {
        Self { stream, what: in_words(error).0 }
    }
}

/// Returns an error in words, and whether another try would meet it again.
pub(crate) fn in_words(error: &Error) -> (String, bool) {
    match error {
        Error::NotFound => ("there is no such object".into(), true),
        Error::AccessDenied => ("the store refuses access".into(), false),
        Error::TooLarge => ("the object is larger than the store allows".into(), true),
        Error::PreconditionFailed => ("the object has changed".into(), false),
        Error::Unavailable => ("the store cannot be used now".into(), false),
        Error::Other(text) => (shorten(text), true),
    }
}

/// Returns the error that a guest is told of a store's error, without details of the store.
pub(crate) fn error_of(error: &StoreError) -> Error {
    match error {
        StoreError::NotFound => Error::NotFound,
        StoreError::PreconditionFailed => Error::PreconditionFailed,
        StoreError::TooLarge(_) => Error::TooLarge,
        StoreError::AccessDenied(_) | StoreError::KeyDenied(_) => Error::AccessDenied,
        StoreError::Unavailable(_) | StoreError::Conflict(_) => Error::Unavailable,
        StoreError::Invalid(text) => Error::Other(text.clone()),
    }
}

/// Returns the error of a stream whose object can't be read or written.
pub(crate) fn failed_operation(error: &Error) -> StreamError {
    StreamError::LastOperationFailed(wasmtime::format_err!("{}", in_words(error).0))
}
