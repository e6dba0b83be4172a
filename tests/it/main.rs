//! Integration tests: each runs the real program in a directory of its own and asserts what a user sees.
//!
//! | folder | shows |
//! |---|---|
//! | `worlds` | components of other runtimes, built from the WIT that these publish |
//! | `worker` | a worker on its queue: outcomes, concurrency, signals |
//! | `commands` | programs with `main`: their messages, exit codes, inputs and outputs |
//! | `http` | the HTTP requests of guests |
//! | `serve` | services: requests, their outcomes, hostile clients, stopping |
//! | `queues` | the queue commands, and the contents of messages |
//! | `interfaces` | interfaces that WASI proposes: configuration values, log messages |
//! | `stores` | objects of any size, and their headers, versions and keys |
//! | `limits` | the bounds of a worker and of its compiler |
//! | `isolation` | what a guest can reach |
//! | `hostile` | attacks by guests, and the five properties that must hold under them |
//! | `faults` | faults around a worker: kills, outages, disks, permissions |
//! | `watch` | a worker's status, metrics, log and usage |
//! | `authors` | what authors of guests use: cases, watching, templates |
//! | `cli` | what the command line accepts and refuses, and its error messages |
//! | `docs` | that the examples in documents and help run as printed |
//! | `aws` | the behaviour of SQS and S3, the connections to them, and the permissions needed |
//! | `registry` | components in registries: pulled, pushed, and registries that misbehave |
//! | `deploy` | the container image, ECS, Kubernetes, Prometheus and Grafana |
//!
//! [`example`] shows how to write a test. Each folder's `mod.rs` lists its modules. `harness` holds the code that all
//! tests share.

#![allow(clippy::print_stdout, reason = "a test says what it measured, and why it was skipped")]

mod authors;
mod aws;
mod cli;
mod commands;
mod deploy;
mod docs;
mod example;
mod faults;
mod harness;
mod hostile;
mod http;
mod interfaces;
mod isolation;
mod limits;
mod queues;
mod registry;
mod serve;
mod stores;
mod watch;
mod worker;
mod worlds;
