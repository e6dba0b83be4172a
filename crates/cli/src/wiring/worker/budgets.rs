//! Opens the store in which workers share what keys have used of their budgets.

use crate::output::failure::Failure;
use crate::settings::budgets::BudgetPlan;
use crate::wiring::backends::{Backends, Open};
use crate::wiring::prices::{Consumed, Prices};
use std::path::PathBuf;
use std::sync::Arc;
use wasmrun_runtime::model::budget::PARTS_OF_CURRENCY;
use wasmrun_runtime::model::usage::Usage;
use wasmrun_runtime::worker::BudgetOptions;

/// A budget store that is open.
pub(super) struct OpenBudgets {
    pub(super) options: BudgetOptions,
    /// Path of its file. `None` for one in S3.
    pub(super) file: Option<PathBuf>,
}

impl OpenBudgets {
    /// Opens what the settings name.
    pub(super) async fn open(
        backends: &Backends,
        plan: Option<&BudgetPlan>,
    ) -> Result<Option<Self>, Failure> {
        let Some(BudgetPlan { budgets, over, store, prices }) = plan else { return Ok(None) };
        let fargate = Prices::read(prices.as_deref())?.fargate;
        let cost = Arc::new(move |usage: &Usage| {
            let consumed = Consumed::new(usage.cpu, usage.wall, usage.peak_memory_bytes);
            // A float that is too large becomes the largest number.
            (fargate.service_cost(consumed, consumed) * PARTS_OF_CURRENCY) as u64
        });
        let Open { backend: store, file } = backends.open_budgets(store).await?;
        let options = BudgetOptions { budgets: budgets.clone(), over: *over, store, cost };
        Ok(Some(Self { options, file }))
    }
}
