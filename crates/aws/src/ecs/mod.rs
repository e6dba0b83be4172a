//! The agent of ECS, beside which a task's containers run: what the task is, and how to keep it from being ended while
//! it works.
//!
//! Nothing here is needed for the work itself. An agent that doesn't answer, or answers nonsense, changes nothing but
//! what its answer would have been for.

mod agent;
mod metadata;
mod protection;

pub use metadata::EcsTask;
pub use protection::Protection;
