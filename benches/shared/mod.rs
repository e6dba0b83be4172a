//! What several benchmarks use: wasmrun in this process and as a program, and what it is compared with.
//!
//! | module | owns |
//! |---|---|
//! | [`guests`] | the components that tasks run |
//! | [`worker`] | workers in this process, and their queues |
//! | [`program`] | other processes: `wasmrun`, servers and clients |
//! | [`bare`] | the engine alone, without wasmrun, to compare with |
//! | [`sqs`] | a real server of SQS, and queues on it |
//! | [`packages`] | packages of npm and PyPI that benchmarks compare with |
//! | [`podman`] | podman with a storage of its own |

pub(crate) mod bare;
pub(crate) mod guests;
pub(crate) mod packages;
pub(crate) mod podman;
pub(crate) mod program;
pub(crate) mod sqs;
pub(crate) mod worker;

pub(crate) use bare::{Bare, Guards, Input, Memory};
pub(crate) use packages::Packages;
pub(crate) use podman::Storage;
pub(crate) use program::{
    Killed, PATIENCE, Process, dir_store, enqueue, free_address, get, milliseconds, sqlite, until, usage,
    wasmrun,
};
pub(crate) use sqs::Server;
pub(crate) use worker::{Observe, Observed, Running, Waits};
