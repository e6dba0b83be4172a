//! Reading the configuration again while the worker works: limits, instances and the log's level. What else has changed
//! there needs a restart.

use crate::args::RunArgs;
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::File;
use crate::task::TaskPlan;
use std::sync::Arc;
use wasmrun_runtime::component::Component;
use wasmrun_runtime::limits::Limits;
use wasmrun_runtime::worker::{Sizing, Worker};

/// All that is needed for it.
pub(crate) struct Reload {
    /// As typed: flags win over the file, then as now.
    pub(crate) args: RunArgs,
    pub(crate) output: Output,
    pub(crate) worker: Arc<Worker>,
    pub(crate) component: Arc<Component>,
}

impl Reload {
    /// Reads it. The number of instances and the log's level hold at once; returns what sets the limits, which may have to
    /// wait for tasks to end. `None` if anything is wrong, and nothing is changed.
    pub(crate) fn read(&self) -> Option<impl Future<Output = ()> + Send + '_> {
        let taken_up = self.take_up();
        if let Err(failure) = &taken_up {
            let error = failure.to_string();
            tracing::error!(error, "The configuration isn't taken up: what was read before stands.");
        }
        taken_up.ok()
    }

    fn take_up(&self) -> Result<impl Future<Output = ()> + Send + '_, Failure> {
        let args = self.args.clone();
        let mut file = File::read(args.task.config.as_deref())?;
        let level = args.task.log.clone().or(std::mem::take(&mut file.log)).level;
        let worker = args.worker.or(std::mem::take(&mut file.worker));
        let plan = TaskPlan::new(args.component, args.task, &mut file, worker.body_store.is_some())?;
        // What belongs to stores stays with them.
        let Limits { body_bytes, streams_bytes, files, .. } = self.component.limits();
        let limits = Limits { body_bytes, streams_bytes, files, ..plan.limits };
        let capacity = self.component.capacity_for(worker.instances()?, &limits);
        let most = capacity.map_err(|error| Failure::usage(error.to_string()))?.instances;
        let sizing = Sizing { most, scale: worker.scale()? };
        let set_level = self.output.level(level.as_deref())?;
        let reloaded = self.worker.reload(limits, sizing).map_err(Failure::usage)?;
        set_level();
        Ok(async move {
            let taken_up = reloaded.await;
            if taken_up.most < most {
                tracing::warn!(asked = most, instances = taken_up.most, "More instances need a restart.");
            }
            tracing::info!(instances = taken_up.most, "The configuration was read again.");
        })
    }
}
