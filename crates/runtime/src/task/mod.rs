//! One task: a run of the component for one message. Isolation is audited in this room.
//!
//! | module | owns |
//! |---|---|
//! | [`component`] | the loaded component, and a run of it from an empty store to its report |
//! | [`routes`] | the components of a worker, and which of them handles a message |
//! | `store` | the one function that builds a task's store: all that the task can reach |
//! | [`world`] | the kinds of components: wasmrun's own world, and the others as adapters |
//! | [`command`] | the adapter of programs with `main` |
//! | `messaging` | the adapter of `wasi:messaging` |
//! | `spin` | the adapter of Spin's SQS trigger |
//! | `service` | the adapter of handlers of HTTP requests |
//! | `stream` | streams of WASI that are connected to objects |
//! | `staged` | with `--once`: what a run has written, until it commits |
//! | `holds` | what the open handles of a task hold of the host |
//! | `host` | the interfaces that a guest calls, above the backends |
//! | [`grant`], [`http`] | what a task may touch; what it may request over HTTP |
//! | [`by_key`] | stores of which a task reaches the part of its message's key |
//! | [`directory`] | stores that are granted as directories |
//! | `limiter` | the limit of the sum of a task's memories |
//! | `time_slice` | when a task yields its thread |
//! | `metering` | where a task's time goes |
//! | `classify` | turns the result of a call into a guest into an outcome; only this module reads traps |
//! | `deterministic` | random numbers and clocks that depend on the message alone |
//! | `log` | what a guest writes to its log |
//! | `last_words` | which lines of standard error say why a guest failed |
//! | [`calls`] | counts of the calls to stores and queues |

#[cfg(all(test, feature = "compiler"))]
mod async_tests;
pub mod by_key;
pub mod calls;
mod classify;
pub mod command;
pub mod component;
mod deterministic;
pub mod directory;
pub mod grant;
mod holds;
mod host;
pub mod http;
mod last_words;
mod limiter;
pub(crate) mod log;
mod messaging;
mod metering;
pub mod routes;
mod service;
mod spin;
pub(crate) mod staged;
mod store;
mod stream;
mod time_slice;
pub mod world;
