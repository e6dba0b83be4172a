//! All behaviour of wasmrun: engine, isolation, host interfaces, worker. Knows no AWS and no command line.
//!
//! | module | owns |
//! |---|---|
//! | [`worker`] | the way of a message: receive, process, settle; when to receive and when to stop |
//! | [`component`] | the compiled component, and a run of it for one message: a task |
//! | `state` | the one function that builds a task's store: isolation is audited there |
//! | `host` | the WIT interfaces that a guest calls, above the backends |
//! | [`host_error`] | what a task complains of: a backend, or a grant that it lacks |
//! | [`outcome`] | how a task ended (the one reader of traps), and what follows from it |
//! | [`limits`], `limiter` | what a task may use; the sum of its memories |
//! | [`capacity`] | how many tasks the host's memory bears |
//! | `turn`, [`usage`] | when a task hands its thread back, and where its time goes; what it consumed |
//! | [`calls`] | how often tasks called stores and queues |
//! | `deterministic` | random numbers and clocks |
//! | [`scaler`] | how many tasks may run at once, from what is seen of the queue and of the tasks |
//! | [`grant`] | what a task may touch |
//! | [`event`] | which objects a message announces |
//! | [`engine`], [`threads`] | which parts of Wasm exist; where guests compute |
//! | [`compile`], [`cache`] | from a file to code, in a child process; where code is kept |
//! | [`queue`], [`object_store`], [`message`] | what a backend implements |
//! | [`trace`] | the request that a message belongs to |
//! | `heap` | what the allocator keeps |
//! | [`distribution`] | percentiles of what tasks consumed |
//! | [`text`] | text from outside, shown to people |
//! | [`memory`] | backends for tests and benchmarks |

#[cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "nothing is compiled"))]
pub mod cache;
pub mod calls;
pub mod capacity;
pub mod compile;
pub mod component;
mod deterministic;
pub mod distribution;
pub mod engine;
pub mod event;
pub mod grant;
mod heap;
mod host;
pub mod host_error;
mod limiter;
pub mod limits;
mod log;
pub mod memory;
pub mod message;
mod names;
pub mod object_store;
pub mod outcome;
pub mod queue;
pub mod scaler;
mod state;
pub mod text;
pub mod threads;
pub mod trace;
mod turn;
pub mod usage;
pub mod worker;

#[doc(hidden)]
pub use log::write_as_guest;
