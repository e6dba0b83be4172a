//! Amazon's services behind the runtime's interfaces: queues of SQS, stores in S3, the agent of ECS.
//!
//! | module | owns |
//! |---|---|
//! | `config` | credentials, regions, timeouts: one configuration for all clients of a process |
//! | `endpoint` | where a service is, if the user says so |
//! | `http` | proxies and certificates |
//! | `failure` | what a failed call says, whatever the operation |
//! | `sqs` | a queue |
//! | `s3` | a store: a bucket, or a part of it |
//! | `policy` | the rights that all of this needs |
//! | [`ecs`] | the agent beside a task of ECS |

mod config;
pub mod ecs;
mod endpoint;
mod failure;
mod http;
mod policy;
mod s3;
mod sqs;

pub use config::{Aws, is_role};
pub use policy::Permissions;
pub use s3::{FetchError, S3Store, fetch, is_object};
pub use sqs::{SqsQueue, is_queue_address};
