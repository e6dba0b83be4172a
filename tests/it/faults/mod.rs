//! Faults around a worker: kills, outages, disks, permissions.
//!
//! | module | shows |
//! |---|---|
//! | `broken_starts` | workers that can't start, and their error messages |
//! | `crashes` | workers that are killed at random moments |
//! | `endurance` | SQS and S3 under load, with kills and outages |
//! | `failing_backends` | queues and stores that fail for a while |
//! | `host_errors` | the effects of a host error on a message and on the worker |
//! | `killing` | kills at random moments, and what must hold after them |
//! | `once`, `once_aws` | `--once` under kills, on disk and on SQS and S3 |
//! | `tenants` | everything for many tenants at the same time under kills, on disk and on SQS and S3 |

mod broken_starts;
mod crashes;
mod endurance;
mod failing_backends;
mod host_errors;
mod killing;
mod once;
mod once_aws;
mod tenants;
