//! All behaviour of wasmrun: the engine, isolation, host interfaces and the worker. Depends on no AWS library and no
//! command line.
//!
//! The crate has five rooms, here from the top down. Each uses only the rooms below it; a test checks that.
//!
//! | room | owns |
//! |---|---|
//! | [`worker`] | many tasks: receive, process, settle; permits, leases, the circuit breaker, the scaler |
//! | [`task`] | one task: its component, its store, what a guest may call and touch. **Isolation is audited here** |
//! | [`engine`] | the engine's configuration, compiling, the cache of compiled code, threads, capacity |
//! | [`ports`] | what a backend implements: queues, object stores, key-value buckets, ledgers, an HTTP client; doubles in memory |
//! | [`model`] | messages, events, outcomes, limits, usage: plain data, without the engine and without tokio |
//!
//! # Embedding
//!
//! A program that runs a worker inside itself builds [`Grants`](task::grant::Grants), loads a
//! [`Component`](task::component::Component) with a [`Compiler`](engine::compile::Compiler), and gives it to a
//! [`Worker`](worker::Worker) with a [`Queue`](ports::queue::Queue). `examples/embed.rs` does so in a hundred lines;
//! the guide "Embed the worker in your program" explains it.

pub mod engine;
pub mod model;
pub mod ports;
pub mod task;
pub mod worker;

#[doc(hidden)]
pub use task::log::write_as_guest;
