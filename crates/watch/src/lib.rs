//! What a worker shows to those who watch it.
//!
//! | module | owns |
//! |---|---|
//! | [`metrics`] | counters and histograms that each task's end is counted in, for Prometheus |
//! | `families` | what is told of a worker's state in Prometheus' words |
//! | [`health`] | whether a worker is alive, and whether it's ready |
//! | `status` | all of it as JSON, for people and their scripts |
//! | [`server`] | HTTP: `/healthz`, `/readyz`, `/metrics`, `/status` |
//! | [`probe`] | asks another worker whether it's alive |
//! | [`emf`] | a line for CloudWatch each minute |
//!
//! A task's end costs some tenths of a microsecond; all else is done when somebody asks. Nothing grows with what guests
//! do: labels are words of our own and aliases of the configuration.

pub mod emf;
mod families;
pub mod health;
pub mod metrics;
pub mod probe;
pub mod server;
mod status;

use crate::metrics::Metrics;
use std::sync::Arc;
use std::time::SystemTime;
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::worker::{Status, Worker};

/// A worker, and what is the same for as long as it lives.
pub struct Watch {
    /// What it is.
    pub about: About,
    /// Its tasks, once they have ended.
    pub metrics: Arc<Metrics>,
    /// The worker.
    pub worker: Arc<Worker>,
    /// What it runs.
    pub component: Arc<Component>,
}

/// What a worker is.
#[derive(Clone, Debug)]
pub struct About {
    /// Of the program.
    pub version: &'static str,
    /// Of the component: a file's name.
    pub component: String,
    /// The queue's URL, without secrets.
    pub queue: String,
    /// When the program began.
    pub started_at: SystemTime,
}

impl Watch {
    /// What the worker does now.
    pub fn status(&self) -> Status {
        self.worker.status()
    }

    /// In Prometheus' text format.
    fn metrics(&self) -> String {
        let mut families = families::of_status(&self.status());
        families.extend(families::of_calls(self.component.calls()));
        families.extend(families::of_program(&self.about, self.component.was_cached()));
        self.metrics.text(families)
    }

    /// As JSON.
    fn json(&self) -> String {
        status::json(&self.about, &self.status(), &self.worker.tally().summary())
    }
}
