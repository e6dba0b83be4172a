//! Why a commit isn't completed, and whose error that is.

use super::LEDGER;
use crate::model::host_error::{Access, HostError, HostErrorKind, Used};
use crate::ports::object_store::StoreError;
use crate::ports::queue::QueueError;

/// Why a commit isn't completed.
pub(super) enum Unfinished {
    Ledger(QueueError),
    Store {
        /// Name of the store, as host errors have it.
        backend: String,
        error: StoreError,
    },
    /// No writable store has this URL.
    NoStore(String),
}

impl From<QueueError> for Unfinished {
    fn from(error: QueueError) -> Self {
        Self::Ledger(error)
    }
}

/// Returns the use of the ledger.
pub(super) fn ledger_used() -> Used {
    Used { backend: LEDGER.into(), access: Access::Write }
}

impl From<Unfinished> for HostError {
    fn from(why: Unfinished) -> Self {
        let unavailable = HostErrorKind::Unavailable { reading: None };
        let refused = HostErrorKind::Refused { reading: None };
        match why {
            Unfinished::Ledger(error) => Self {
                used: ledger_used(),
                kind: unavailable,
                text: format!("the ledger of --once: {error}"),
            },
            Unfinished::Store { backend, error } => {
                let kind = match error {
                    StoreError::Unavailable(_) | StoreError::Conflict(_) => unavailable,
                    // Another object has the place: two tasks can do this to each other. Or it is the message's key that
                    // the service refuses.
                    StoreError::Invalid(_) | StoreError::KeyDenied(_) => HostErrorKind::Invalid,
                    _ => refused,
                };
                let text = format!("store {backend}: a committed output cannot be put in place: {error}");
                Self { used: Used { backend, access: Access::Write }, kind, text }
            }
            Unfinished::NoStore(url) => Self {
                used: ledger_used(),
                kind: refused,
                text: format!(
                    "the ledger of --once has a commit with outputs in {url}: grant this store as wo or rw, so that they can be put in place"
                ),
            },
        }
    }
}
