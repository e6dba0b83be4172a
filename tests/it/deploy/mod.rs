//! Where a worker runs: the container image and ECS.
//!
//! | module | shows |
//! |---|---|
//! | `container` | the image: confined, stopped, and as a sidecar |
//! | `deploying` | the files that deploy to ECS: their rights, their stack, and that it works |
//! | `ecs` | the agent of ECS |

mod container;
pub(crate) mod deploying;
mod ecs;
