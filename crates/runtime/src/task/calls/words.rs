//! The kinds of calls and their results, with their names in metrics.

use crate::model::host_error::Access;
use crate::ports::keyvalue::KeyValueError;
use crate::ports::object_store::StoreError;
use crate::ports::queue::QueueError;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name in metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// A kind of call to a store.
    StoreCall {
        /// Reads an object's metadata.
        Head = "head",
        /// Reads a whole object.
        Get = "get",
        /// Reads a part of an object.
        GetRange = "get-range",
        /// Opens a reader of an object.
        Read = "read",
        /// Reads the next part from a reader.
        ReaderRead = "reader-read",
        /// Writes a whole object.
        Put = "put",
        /// Opens a writer of an object.
        Write = "write",
        /// Writes the next part to a writer.
        WriterWrite = "writer-write",
        /// Completes a writer's object.
        WriterFinish = "writer-finish",
        /// Reads a page of a listing.
        List = "list",
        /// Deletes an object.
        Delete = "delete",
        /// Copies an object from this store.
        Copy = "copy",
    }
}

words! {
    /// A kind of call to a key-value bucket. A batch is a call of the kind that it does for each key.
    BucketCall {
        /// Reads values.
        Get = "get",
        /// Writes values.
        Set = "set",
        /// Deletes keys.
        Delete = "delete",
        /// Asks whether a key exists, or for the version of its value.
        Exists = "exists",
        /// Reads a page of keys.
        ListKeys = "list-keys",
        /// Adds to a number.
        Increment = "increment",
        /// Writes a value if it hasn't changed.
        Swap = "swap",
    }
}

words! {
    /// The result of a call to a store, a queue or a bucket.
    CallResult {
        /// The call succeeded.
        Ok = "ok",
        /// There is no such object.
        NotFound = "not-found",
        /// The worker lacks permission.
        AccessDenied = "access-denied",
        /// The object is larger than allowed.
        TooLarge = "too-large",
        /// The condition doesn't hold.
        PreconditionFailed = "precondition-failed",
        /// The call can't be carried out now.
        Unavailable = "unavailable",
        /// The call is invalid.
        Invalid = "invalid",
    }
}

impl StoreCall {
    /// Returns whether the call opens an object's content.
    pub(crate) fn opens_content(self) -> bool {
        matches!(self, Self::Get | Self::GetRange | Self::Read)
    }

    /// Returns the access that the call needs; that of a copy, to the store that is read.
    pub(crate) fn access(self) -> Access {
        match self {
            Self::Copy | Self::Head | Self::Get | Self::GetRange | Self::Read | Self::ReaderRead => {
                Access::Read
            }
            Self::List => Access::List,
            Self::Put | Self::Write | Self::WriterWrite | Self::WriterFinish | Self::Delete => Access::Write,
        }
    }
}

impl BucketCall {
    /// Returns the access that the call needs.
    pub(crate) fn access(self) -> Access {
        match self {
            Self::Get | Self::Exists => Access::Read,
            Self::ListKeys => Access::List,
            Self::Set | Self::Delete | Self::Increment | Self::Swap => Access::Write,
        }
    }
}

impl CallResult {
    /// Returns the result of a call to a store.
    pub(crate) fn of_store<T>(answer: &Result<T, StoreError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(StoreError::NotFound) => Self::NotFound,
            Err(StoreError::AccessDenied(_) | StoreError::KeyDenied(_)) => Self::AccessDenied,
            Err(StoreError::TooLarge(_)) => Self::TooLarge,
            Err(StoreError::PreconditionFailed) => Self::PreconditionFailed,
            Err(StoreError::Unavailable(_) | StoreError::Conflict(_)) => Self::Unavailable,
            Err(StoreError::Invalid(_)) => Self::Invalid,
        }
    }

    /// Returns the result of a call to a key-value bucket.
    pub(super) fn of_bucket<T>(answer: &Result<T, KeyValueError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(KeyValueError::Unavailable(_)) => Self::Unavailable,
            Err(KeyValueError::Unusable(_)) => Self::AccessDenied,
            Err(KeyValueError::TooLarge) => Self::TooLarge,
            Err(KeyValueError::Changed) => Self::PreconditionFailed,
            Err(KeyValueError::Invalid(_)) => Self::Invalid,
        }
    }

    /// Returns the result of sending a message.
    pub(super) fn of_queue<T>(answer: &Result<T, QueueError>) -> Self {
        match answer {
            Ok(_) => Self::Ok,
            Err(QueueError::InvalidMessage(_)) => Self::Invalid,
            Err(QueueError::NotFound(_)) => Self::NotFound,
            Err(QueueError::Unusable(_)) => Self::AccessDenied,
            Err(QueueError::Unavailable(_) | QueueError::ReceiptExpired) => Self::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_place_and_a_word_of_its_own() {
        for (index, call) in StoreCall::ALL.iter().enumerate() {
            assert_eq!(*call as usize, index);
        }
        for (index, call) in BucketCall::ALL.iter().enumerate() {
            assert_eq!(*call as usize, index);
        }
        for (index, result) in CallResult::ALL.iter().enumerate() {
            assert_eq!(*result as usize, index);
        }
    }
}
