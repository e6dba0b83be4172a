//! All behaviour of wasmrun: engine, isolation, host interfaces, worker. Knows no AWS and no command line.

pub mod message;
pub mod object_store;
pub mod queue;
