//! Reads the cases of a guest's project, and runs each as one task, with stores and queues in memory.
//!
//! | module | owns |
//! |---|---|
//! | `files` | reads a case's directory, within bounds |
//! | `run` | runs the task of a case, and collects what is seen of it |
//! | `queue` | a queue that keeps what is sent |
//! | `log` | collects the log lines of one task |

mod files;
mod log;
mod queue;
mod run;

pub(crate) use self::files::{Case, expected_path, find_cases};
pub(crate) use self::log::LogLine;
pub(crate) use self::run::{Observed, Runner, SeenObject};
