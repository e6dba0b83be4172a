//! What a worker shows: status, metrics, log, usage.
//!
//! | module | shows |
//! |---|---|
//! | `logs` | what guests can do to the log |
//! | `report` | what is told of that file |
//! | `usage` | the file of what tasks consumed |
//! | `watching` | what is shown to those who watch a worker |

mod logs;
mod report;
mod usage;
mod watching;
