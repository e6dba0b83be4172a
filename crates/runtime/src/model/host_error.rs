//! Failed calls of tasks that are caused by a backend or by a missing grant.
//!
//! The worker decides whether such an error concerns all messages or only one, as it sees the other tasks.

/// A call of a task that failed for a reason on the host's or the operator's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// The backend, and the access that failed.
    pub used: Used,
    /// What went wrong.
    pub kind: HostErrorKind,
    /// One sentence for the operator only: it may contain what a guest must not know.
    pub text: String,
}

/// A kind of access to a backend. Whether one kind works says nothing about another: a read-only disk can still be
/// read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used {
    /// The alias of the store, `queue ALIAS`, `keyvalue ALIAS`, or the worker's name for a backend of its own.
    pub backend: String,
    /// The kind of access.
    pub access: Access,
}

/// A kind of access to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reading objects and their metadata.
    Read,
    /// Listing objects.
    List,
    /// Writing, copying and deleting objects; sending messages.
    Write,
}

impl Access {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Read, Self::List, Self::Write];
}

/// What went wrong in a call to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The backend couldn't be reached or couldn't carry out the call.
    Unavailable {
        /// The key of the object that was being read; `None` for other calls.
        reading: Option<String>,
    },
    /// The backend refused the call to the worker.
    Refused {
        /// The key of the object that was being read; `None` for other calls.
        reading: Option<String>,
    },
    /// The backend can never carry out the call, because of the message's own data: other messages don't meet this.
    Invalid,
    /// No grant covers the call: an alias, a mode, or an announced object.
    NotGranted,
}

impl HostErrorKind {
    /// Returns the key of the object that was being read, if one was.
    pub fn reading(&self) -> Option<&str> {
        match self {
            Self::Unavailable { reading } | Self::Refused { reading } => reading.as_deref(),
            Self::Invalid | Self::NotGranted => None,
        }
    }
}
