//! Where a worker runs: the container image, ECS and Kubernetes.
//!
//! | module | shows |
//! |---|---|
//! | `container` | the image: confinement, stopping, and use as a sidecar |
//! | `deploying` | the templates for ECS: permissions, stack, and a working deployment |
//! | `ecs` | the ECS agent |
//! | `kubernetes` | the manifests that the program prints: files, schemas, chart, hostile texts, and a pod |
//! | `monitoring` | the rules for Prometheus and the dashboard for Grafana |

mod container;
pub(crate) mod deploying;
mod ecs;
pub(crate) mod kubernetes;
mod monitoring;
