//! From settings to what commands work with.
//!
//! | module | owns |
//! |---|---|
//! | `logging` | the log, started |
//! | `backends` | from a URL to a queue or a store: the one place that knows all of them |
//! | `compiler`, `component` | from a plan to a component that is ready to run |
//! | `signals`, `reload` | what signals ask of a worker; the configuration, read again |
//! | `watch` | what shows a worker to those who watch it, and how it's found |
//! | `usage_log` | the file that `run` appends what each task consumed to |

pub(crate) mod backends;
pub(crate) mod compiler;
pub(crate) mod component;
pub(crate) mod logging;
pub(crate) mod reload;
pub(crate) mod signals;
pub(crate) mod usage_log;
pub(crate) mod watch;
