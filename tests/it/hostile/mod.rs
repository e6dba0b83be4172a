//! The hostile suite: guests whose authors know our source. [`siege`] checks five properties under each attack:
//!
//! - The attacking task ends as expected, and its outcome names the limit.
//! - A neighbour that started at the same moment completes with its normal result.
//! - The worker's heartbeats and timers go on, as the queue's own count of renewals shows.
//! - The process frees all resources that it held for the task.
//! - The files around the worker's stores don't change.
//!
//! `cargo xtask hostile` runs this module alone, on all cores and on one.
//!
//! | module | shows |
//! |---|---|
//! | `asynchronous` | components with async functions, which are refused |
//! | `bare` | attacks in WebAssembly text that no Rust compiler would produce |
//! | `components` | components that are hostile as a whole, by their structure |
//! | `drafts` | attacks by a component of `wasi:messaging` and `wasi:blobstore` |
//! | `ends` | how a task must end, and how it ended |
//! | `frame` | the component that the attacks of `bare` and `marks` are put into |
//! | `http` | attacks by requests, and by the servers that answer them |
//! | `interfaces` | attacks through interfaces that WASI proposes |
//! | `marks` | what tasks leave in memory, tables and globals, which no later task finds |
//! | `misbehave` | attacks by a program in Rust |
//! | `program` | attacks by a program with `main`, on what only commands have |
//! | `outside` | the files around a worker's stores, and those that guests leave in a store |
//! | `siege` | a worker under attack, and the checks of the five properties |

mod asynchronous;
mod bare;
mod components;
mod drafts;
mod ends;
mod frame;
mod http;
mod interfaces;
mod marks;
mod misbehave;
mod outside;
mod program;
mod siege;
