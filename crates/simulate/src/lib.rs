//! Simulates a fleet of workers in virtual time: how long messages wait, how many workers that takes, and what they do.
//!
//! The rules are those of production: the simulated worker calls [`Scaler::decide`] at the worker's own intervals and
//! [`decision::decide`] for each message, and it polls and settles in batches as the worker does. With keys, it holds
//! messages and starts those that [`Shares`] chooses. A clock, a queue and the platform that starts and stops workers are simulated. The same plan and seed give the same result.
//!
//! | module | owns |
//! |---|---|
//! | [`plan`], [`tenants`] | what is simulated: arrivals, tasks, queue, worker, fleet; whose messages they are |
//! | [`sources`] | figures of platforms, with their sources |
//! | `world` | virtual time, and the events in it |
//! | `calendar`, `arena`, `time` | events in the order of time; values that events refer to; units of time |
//! | `arrivals`, `service` | when messages arrive; how long their tasks take |
//! | `queue` | messages that wait |
//! | `worker`, `receive`, `work`, `processor` | a worker; how it receives, runs and settles; how tasks share its threads |
//! | `hold` | with keys: how it holds messages, and starts those that fair shares choose |
//! | `fleet`, `autoscaling` | starts and stops of workers; how many are wanted |
//! | `measure`, [`report`], [`svg`] | what is measured; the result; its drawing |
//!
//! [`Scaler::decide`]: wasmrun_runtime::worker::scaler::Scaler::decide
//! [`decision::decide`]: wasmrun_runtime::worker::decision::decide
//! [`Shares`]: wasmrun_runtime::worker::shares::Shares

mod arena;
mod arrivals;
mod autoscaling;
mod calendar;
mod fleet;
mod hold;
mod measure;
pub mod plan;
mod processor;
mod queue;
mod receive;
pub mod report;
mod service;
pub mod sources;
pub mod svg;
pub mod tenants;
mod time;
mod work;
mod worker;
mod world;

use plan::{Plan, PlanError};
use report::Report;
use std::time::Duration;

/// How far a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Simulated time so far.
    pub now: Duration,
    /// Messages settled so far.
    pub settled: u64,
}

/// Why a simulation has no result.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The plan can't be simulated.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The memory of the simulation is used up.
    #[error(
        "more than {most} messages that arrived at different times wait after {}: the fleet cannot keep up; raise --workers or --instances, or shorten --duration",
        humane(.after)
    )]
    Backlog {
        /// Maximum number of messages.
        most: usize,
        /// Simulated time until then.
        after: Duration,
    },
}

/// Formats a simulated time: whole seconds.
fn humane(time: &Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..7_200 => format!("{seconds} s"),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// Simulates a plan. `progress` is called now and then.
///
/// # Errors
///
/// Fails if the plan can't be simulated, or takes more memory than is allowed.
pub fn simulate(plan: &Plan, progress: &mut dyn FnMut(Progress)) -> Result<Report, SimulateError> {
    plan.check()?;
    world::World::new(plan).run(progress)
}

#[cfg(test)]
mod tests;
