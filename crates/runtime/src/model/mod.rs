//! Plain data types that the other modules share.
//!
//! | module | owns |
//! |---|---|
//! | [`message`] | a message, as it's received and as it's sent |
//! | [`event`] | which objects a message announces |
//! | [`key`] | whose message it is |
//! | [`budget`] | how much the tasks of a key may use in a period |
//! | [`once`] | which messages are the same for `--once` |
//! | [`route`] | which component handles a message |
//! | [`outcome`] | how a task ended, and what follows from it |
//! | [`dead_letter`] | what the worker records about a message that it dead-letters |
//! | [`completion`] | messages of which a sender wants to know when all have ended |
//! | [`notification`], [`outputs`] | what the worker says about a message that has ended; the objects that its task wrote |
//! | [`host_error`] | a failed call of a task: which backend, or which missing grant |
//! | [`limits`] | how much a task may use |
//! | [`usage`], [`distribution`] | how much a task consumed; percentiles over many tasks |
//! | [`trace`], [`task_trace`] | the request that a message belongs to; what its task did for it |
//! | [`text`] | escaping of untrusted text that is shown to people |

pub mod budget;
pub mod completion;
pub mod dead_letter;
pub mod distribution;
pub mod event;
pub mod host_error;
pub mod key;
pub mod limits;
pub mod message;
pub mod notification;
pub mod once;
pub mod outcome;
pub mod outputs;
pub mod route;
pub mod task_trace;
pub mod text;
pub mod trace;
pub mod usage;
