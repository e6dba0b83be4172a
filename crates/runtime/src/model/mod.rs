//! Plain data: what all other rooms speak of.
//!
//! | module | owns |
//! |---|---|
//! | [`message`] | a message, as it's received and as it's sent |
//! | [`event`] | which objects a message announces |
//! | [`outcome`] | how a task ended, and what follows from it |
//! | [`host_error`] | what a task complains of: a backend, or a grant that it lacks |
//! | [`limits`] | what a task may use |
//! | [`usage`], [`distribution`] | what a task consumed; percentiles of what tasks consumed |
//! | [`trace`] | the request that a message belongs to |
//! | [`text`] | text from outside, shown to people |

pub mod distribution;
pub mod event;
pub mod host_error;
pub mod limits;
pub mod message;
pub mod outcome;
pub mod text;
pub mod trace;
pub mod usage;
