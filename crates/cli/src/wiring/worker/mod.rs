//! Opens and runs a worker, for `wasmrun run`, `wasmrun serve` and `wasmrun dev`.
//!
//! | module | owns |
//! |---|---|
//! | `plan` | merges settings into a plan, without opening anything |
//! | `open`, `queues` | open and check the queues, the component and everything else that a worker needs |
//! | `notify` | opens the recipient of notifications, and the store of groups |
//! | `budgets` | opens the store in which workers share what keys have used |
//! | `service` | the address and the requests of a service |
//! | `serve` | runs the worker |

mod budgets;
mod notify;
mod open;
mod plan;
mod queues;
mod serve;
mod service;

pub(crate) use self::open::{Opened, open};
pub(crate) use self::plan::{RunPlan, Variable, WorkArgs, own_variable};
pub(crate) use self::serve::serve;
