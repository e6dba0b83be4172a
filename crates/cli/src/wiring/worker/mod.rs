//! Opens and runs a worker, for `wasmrun run` and `wasmrun dev`.
//!
//! | module | owns |
//! |---|---|
//! | `plan` | merges settings into a plan, without opening anything |
//! | `open`, `queues` | open and check the queues, the component and everything else that a worker needs |
//! | `serve` | runs the worker |

mod open;
mod plan;
mod queues;
mod serve;

pub(crate) use self::open::{Opened, open};
pub(crate) use self::plan::RunPlan;
pub(crate) use self::serve::serve;
