//! Exposes the metrics, health and status of a worker.
//!
//! | module | owns |
//! |---|---|
//! | [`metrics`] | counters and histograms of ended tasks |
//! | [`exemplars`] | traces of tasks as examples of a histogram's values |
//! | `openmetrics` | the text format of OpenMetrics |
//! | `families` | metric families of a worker's state, for Prometheus |
//! | `queue_labels` | the names of queues in labels and dimensions |
//! | [`health`] | whether a worker is alive, and whether it's ready |
//! | `status` | the state of a worker as JSON, for people and scripts |
//! | `page` | the page that shows the status in a browser |
//! | [`server`] | HTTP: `/`, `/events`, `/healthz`, `/readyz`, `/metrics`, `/status` |
//! | [`probe`] | queries another worker over HTTP: whether it's alive, and its status |
//! | [`emf`] | a line for CloudWatch each minute |
//!
//! Recording the end of a task takes some tenths of a microsecond; everything else is done on request. Guests can't
//! make the number of labels grow: labels are fixed words and aliases from the configuration.

pub mod emf;
pub mod exemplars;
mod families;
pub mod health;
pub mod metrics;
mod openmetrics;
mod page;
pub mod probe;
mod queue_labels;
pub mod server;
mod status;

use crate::metrics::{Gathered, Metrics};
use crate::status::Components;
use std::sync::Arc;
use std::time::SystemTime;
use wasmrun_runtime::task::routes::Routes;
use wasmrun_runtime::worker::{Status, Worker};

/// A worker, with the data that stays the same during its life.
pub struct Watch {
    /// Description of the worker.
    pub about: About,
    /// Metrics of ended tasks.
    pub metrics: Arc<Metrics>,
    /// The worker.
    pub worker: Arc<Worker>,
    /// The components that the worker runs.
    pub routes: Routes,
}

/// Description of a worker.
#[derive(Clone, Debug)]
pub struct About {
    /// Version of the program.
    pub version: &'static str,
    /// The URLs of the queues, without secrets.
    pub queues: Vec<String>,
    /// Start time of the program.
    pub started_at: SystemTime,
}

impl Watch {
    /// Returns the current status of the worker.
    pub fn status(&self) -> Status {
        self.worker.status()
    }

    /// Returns all metrics, as they are now.
    pub fn gather(&self) -> Gathered {
        let mut families = families::of_status(&self.status());
        families.extend(families::of_calls(self.routes.components().map(|component| component.calls())));
        families.extend(families::of_versions(self.routes.components()));
        let were_cached: Vec<bool> =
            self.routes.components().map(|component| component.was_cached()).collect();
        families.extend(families::of_program(&self.about, &self.routes.name(), &were_cached));
        self.metrics.gather(families)
    }

    /// Returns all metrics in Prometheus' text format, or in that of OpenMetrics.
    fn metrics(&self, in_openmetrics: bool) -> String {
        let gathered = self.gather();
        if in_openmetrics { openmetrics::text(&gathered) } else { gathered.text() }
    }

    /// Returns the status as JSON.
    fn json(&self) -> String {
        let of_routes = self.routes.routes().iter().map(|route| (route.name.clone(), route.component.name()));
        let components = Components { default: self.routes.name(), of_routes: of_routes.collect() };
        status::json(&self.about, &components, &self.status(), &self.worker.tally().summary())
    }
}
