//! Where the services are and who calls them.
//!
//! Everything comes from where Amazon's own tools take it: the environment, the profile files, the endpoints of ECS, EKS
//! and EC2. It's read once; credentials are refreshed by the SDK before they expire.

use crate::endpoint::Endpoints;
use crate::failure::causes;
use crate::http;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{ProvideCredentials, SharedCredentialsProvider};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};
use wasmrun_runtime::ports::object_store::StoreError;
use wasmrun_runtime::ports::queue::QueueError;

/// Long enough for another continent and a lost packet.
const CONNECT: Duration = Duration::from_secs(5);
/// How a worker presents itself to the services.
const NAME: &str = "wasmrun";

/// The access of one process to Amazon's services.
#[derive(Debug, Default)]
pub struct Aws {
    endpoint_url: Option<String>,
    sdk: OnceCell<SdkConfig>,
    /// By role: those who assume the same one share its credentials.
    roles: Mutex<HashMap<String, SdkConfig>>,
}

impl Aws {
    /// Nothing is read or asked for before the first use. The endpoint, if there is one, wins over those that
    /// `AWS_ENDPOINT_URL` and its like name.
    pub fn new(endpoint_url: Option<String>) -> Self {
        Self { endpoint_url, sdk: OnceCell::new(), roles: Mutex::default() }
    }

    /// What all clients share that have the rights of a role, or the worker's own. A role is assumed at once, so that one
    /// that can't be is found here; `region` is where that's asked for if no other is known.
    pub(crate) async fn sdk(&self, role: Option<&str>, region: Option<&str>) -> Result<SdkConfig, NoAccess> {
        let own = self.sdk.get_or_try_init(|| self.load()).await?;
        let Some(role) = role else { return Ok(own.clone()) };
        let mut roles = self.roles.lock().await;
        if let Some(known) = roles.get(role) {
            return Ok(known.clone());
        }
        let builder = AssumeRoleProvider::builder(role).session_name(NAME).configure(own);
        let builder = match region.filter(|_| own.region().is_none()) {
            Some(region) => builder.region(Region::new(region.to_owned())),
            None => builder,
        };
        let provider = SharedCredentialsProvider::new(builder.build().await);
        provider
            .provide_credentials()
            .await
            .map_err(|error| {
                NoAccess::Unavailable(format!(
                    "the role {role} can't be assumed, for which the worker's needs sts:AssumeRole on it, and its trust policy the worker's: {}",
                    causes(&error)
                ))
            })?;
        let assumed = own.clone().into_builder().credentials_provider(provider).build();
        roles.insert(role.to_owned(), assumed.clone());
        Ok(assumed)
    }

    async fn load(&self) -> Result<SdkConfig, NoAccess> {
        let http = http::client().map_err(NoAccess::Settings)?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build());
        if let Ok(name) = AppName::new(NAME) {
            loader = loader.app_name(name);
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        Ok(Endpoints::completed(loader.load().await))
    }
}

/// Why the services can't be used at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAccess {
    /// What the environment says is wrong: another try changes nothing.
    Settings(String),
    /// A role can't be assumed.
    Unavailable(String),
}

impl From<NoAccess> for QueueError {
    fn from(why: NoAccess) -> Self {
        match why {
            NoAccess::Settings(why) => Self::Unusable(why),
            NoAccess::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<NoAccess> for StoreError {
    fn from(why: NoAccess) -> Self {
        match why {
            NoAccess::Settings(why) => Self::Invalid(why),
            NoAccess::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

/// Whether a text is the ARN of a role that can be assumed: `arn:aws:iam::123456789012:role/NAME`.
pub fn is_role(text: &str) -> bool {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "iam", "", account, role]
        if partition.starts_with("aws")
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
            && role.bytes().all(|b| b.is_ascii_graphic()))
}

/// The region to use: the one that an address names, or else the one from the usual places.
pub(crate) fn region(sdk: &SdkConfig, named: Option<&str>) -> Result<Region, String> {
    named.map(|name| Region::new(name.to_owned())).or_else(|| sdk.region().cloned()).ok_or_else(|| {
        "no region is known: set AWS_REGION, or a region in the profile of ~/.aws/config".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_named_by_its_arn() {
        for role in ["arn:aws:iam::123456789012:role/thumbs", "arn:aws-cn:iam::123456789012:role/a/b/c"] {
            assert!(is_role(role), "{role}");
        }
        for text in [
            "",
            "thumbs",
            "arn:aws:iam::123456789012:user/thumbs",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::12345678901x:role/thumbs",
            "arn:aws:sts::123456789012:assumed-role/thumbs/x",
            "arn:aws:iam:eu-west-1:123456789012:role/thumbs",
        ] {
            assert!(!is_role(text), "{text}");
        }
    }
}
