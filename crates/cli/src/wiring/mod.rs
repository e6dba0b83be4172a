//! From settings to what commands work with: backends, components, the worker's signals, observers and usage file.

pub(crate) mod backends;
pub(crate) mod reload;
pub(crate) mod signals;
pub(crate) mod task;
pub(crate) mod usage;
pub(crate) mod watch;
