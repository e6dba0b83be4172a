//! What a task complains of when it fails: a backend, or a grant that it lacks.
//!
//! Whether such an error is everyone's or the message's own is for the worker to decide, which sees the other tasks.

/// A call of a task that failed for the host's or the operator's reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// What was asked of which backend.
    pub used: Used,
    /// What went wrong.
    pub kind: HostErrorKind,
    /// One sentence, for the operator alone: it may name what a guest must not know.
    pub text: String,
}

/// What a task does with a backend. That one works says nothing of another: a disk that is read-only can still be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Used {
    /// The alias of the store or the queue, or what the worker calls a backend of its own.
    pub backend: String,
    /// What for.
    pub access: Access,
}

/// What a backend is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Reading objects, and what is known of them.
    Read,
    /// Listing objects.
    List,
    /// Writing, copying and deleting objects; sending messages.
    Write,
}

impl Access {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::List, Self::Write];
}

/// What went wrong in a call to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The backend couldn't be reached, or couldn't do it; `reading`: the key of the object that was being read.
    Unavailable {
        /// `None`: something else was done.
        reading: Option<String>,
    },
    /// The backend itself refused it to the worker; `reading` as above.
    Refused {
        /// `None`: something else was done.
        reading: Option<String>,
    },
    /// No grant covers it: an alias, a mode, or an announced object.
    NotGranted,
}

impl HostErrorKind {
    /// The key of the object that was being read, if one was.
    pub fn reading(&self) -> Option<&str> {
        match self {
            Self::Unavailable { reading } | Self::Refused { reading } => reading.as_deref(),
            Self::NotGranted => None,
        }
    }
}
