//! Amazon's services behind the runtime's interfaces: queues of SQS, stores in S3, the agent of ECS.
//!
//! | module | owns |
//! |---|---|
//! | `config` | credentials, regions, timeouts: one configuration for all clients of a process |
//! | `endpoint` | where a service is, if the user says so |
//! | `http` | proxies and certificates |
//! | `failure` | what a failed call says, whatever the operation |
//! | `response` | whether a response is the service's, and can be read |
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
mod response;
mod s3;
mod sqs;

pub use config::{Aws, is_role};
pub use policy::Permissions;
pub use s3::{FetchError, S3Store, fetch, is_object};
pub use sqs::{SqsQueue, is_queue_address};

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::Event;
    use std::collections::BTreeSet;
    use wasmrun_runtime::model::event::{EVENT_KINDS, Sender};

    /// A type of event that a later SDK knows fails here, so that somebody decides what it says.
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
