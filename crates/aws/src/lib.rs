//! Implements the runtime's interfaces with AWS services: SQS queues, S3 stores, the ECS agent, and passwords of ECR.
//!
//! | module | owns |
//! |---|---|
//! | `config` | credentials, regions, timeouts: one configuration for all clients of a process |
//! | `endpoint` | service endpoints that the user configures |
//! | `http` | proxies and certificates |
//! | `failure` | code, status and text of a failed call, for every operation |
//! | `response` | checks that a response comes from the service and can be parsed |
//! | `sqs` | an SQS queue |
//! | `s3` | an S3 store: a bucket or a prefix of a bucket |
//! | `sessions` | sessions of a role for keys, and the clients that use them |
//! | `ecr` | passwords for registries of ECR |
//! | `policy` | the IAM policy that the calls of this crate need |
//! | [`ecs`] | the agent next to an ECS task |

mod config;
mod ecr;
pub mod ecs;
mod endpoint;
mod failure;
mod http;
mod policy;
mod response;
mod s3;
mod sessions;
mod sqs;

pub use config::{Aws, is_role};
pub use ecr::{EcrPassword, EcrRegistry, ecr_password};
pub use policy::{Permissions, domain, partition};
pub use s3::{FetchError, S3Store, fetch, is_object, revision};
pub use sqs::{BATCH_POLICY, LONGEST_WAIT, QueuePlace, SqsQueue, is_queue_address};

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::Event;
    use std::collections::BTreeSet;
    use wasmrun_runtime::model::event::{EVENT_KINDS, Sender};

    /// Fails when a later SDK adds an event type, so that the type is added to `EVENT_KINDS`.
    #[test]
    fn the_table_of_events_has_each_type_that_s3_has_and_no_other() {
        let of_s3: BTreeSet<_> = Event::values()
            .iter()
            .filter(|name| !name.ends_with('*'))
            .map(|name| &name["s3:".len()..])
            .collect();
        let ours = EVENT_KINDS.iter().filter(|kind| kind.sender == Sender::Amazon);
        let ours: BTreeSet<_> = ours.flat_map(|kind| kind.types).copied().collect();
        assert_eq!(ours, of_s3);
    }
}
