//! Talks to the ECS agent next to a task's containers: reads the task's metadata, and protects the task from scale-in
//! while messages are processed.
//!
//! The worker runs without the agent too. A missing or invalid response disables only the feature that needs it.

mod agent;
mod metadata;
mod protection;

pub use metadata::EcsTask;
pub use protection::Protection;
