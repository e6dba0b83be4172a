//! Traits that backends implement, backends in memory, and what any object store can be used for: a ledger, the counts
//! of groups, the accounts of budgets (`object_*`, on `shared_objects`) and a `staging_area`.

pub mod budgets;
pub mod groups;
pub mod http;
pub mod keyvalue;
pub mod ledger;
pub mod memory;
pub mod object_budgets;
pub mod object_groups;
pub mod object_ledger;
pub mod object_store;
pub mod queue;
pub mod recipient;
pub mod requests;
mod shared_objects;
pub mod staging;
pub mod staging_area;
pub mod walk;
