//! Where a worker runs: the container image and ECS.
//!
//! | module | shows |
//! |---|---|
//! | `container` | the image: confinement, stopping, and use as a sidecar |
//! | `deploying` | the templates for ECS: permissions, stack, and a working deployment |
//! | `ecs` | the ECS agent |

mod container;
pub(crate) mod deploying;
mod ecs;
