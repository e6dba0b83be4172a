//! Settings of AWS.

use super::text::written;
use clap::Args;
use serde::Deserialize;

settings! {
    /// Where Amazon's services are.
    pub(crate) struct AwsSettings {
        /// Endpoint of SQS, S3 and ECR [default: AWS_ENDPOINT_URL and its like, else Amazon's endpoints]
        #[arg(long, global = true, value_name = "URL", env = "WASMRUN_ENDPOINT_URL")]
        #[serde(deserialize_with = "written")]
        pub(crate) endpoint_url: Option<String>,
    }
}
