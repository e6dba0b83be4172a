//! Runs `wasmrun COMMAND`: a module for each command.

pub(crate) mod cases;
#[cfg(feature = "compiler")]
pub(crate) mod compile;
pub(crate) mod control;
pub(crate) mod enqueue;
pub(crate) mod health;
pub(crate) mod inspect;
pub(crate) mod invoke;
pub(crate) mod manifest;
pub(crate) mod new;
pub(crate) mod policy;
pub(crate) mod push;
pub(crate) mod queue;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod simulate;
pub(crate) mod top;
