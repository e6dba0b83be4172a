//! What users see: the real program, run in a directory of its own for each test.
//!
//! | folder | shows |
//! |---|---|
//! | `worker` | a worker on its queue: outcomes, concurrency, signals |
//! | `queues` | the commands around queues, and what messages hold |
//! | `stores` | objects, whatever their size, headers, versions and keys |
//! | `limits` | what bounds a worker and its compiler |
//! | `isolation` | what a guest can reach |
//! | `hostile` | everything that a guest may try, against the five things that must hold |
//! | `faults` | what goes wrong around a worker: kills, outages, disks, permissions |
//! | `watch` | what a worker shows: status, metrics, log, usage |
//! | `cli` | what the command line takes, what it refuses, and how it says so |
//! | `docs` | that what documents and help show runs as printed |
//! | `aws` | SQS and S3: what they do, the way there, and the rights that it needs |
//! | `deploy` | the container image and ECS |
//!
//! [`example`] shows how a test is written. The head of each folder's `mod.rs` says which module shows what. `harness` is what all of them are written with.

#![allow(clippy::print_stdout, reason = "a test says what it measured, and why it was skipped")]

mod aws;
mod cli;
mod deploy;
mod docs;
mod example;
mod faults;
mod harness;
mod hostile;
mod isolation;
mod limits;
mod queues;
mod stores;
mod watch;
mod worker;
