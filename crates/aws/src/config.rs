//! Loads the configuration that all AWS clients of a process share: endpoints, regions, credentials and timeouts.
//!
//! The settings come from the sources that the AWS CLI uses: the environment, the profile files, and the endpoints of
//! ECS, EKS and EC2. They are read once. The SDK refreshes credentials before they expire.

use crate::endpoint::Endpoints;
use crate::failure::causes;
use crate::http;
use crate::sessions::RoleSessions;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{ProvideCredentials, SharedCredentialsProvider};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};
use wasmrun_runtime::ports::object_store::StoreError;
use wasmrun_runtime::ports::queue::QueueError;

/// Connect timeout: long enough for another continent and a lost packet.
const CONNECT: Duration = Duration::from_secs(5);
/// Name of the worker in user agents and role sessions.
pub(crate) const NAME: &str = "wasmrun";

/// Variables with files that the SDK reads: whole, and on a thread that the worker needs for everything else.
const FILES: [&str; 4] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Access of one process to AWS services.
#[derive(Debug, Default)]
pub struct Aws {
    endpoint_url: Option<String>,
    sdk: OnceCell<SdkConfig>,
    /// Configurations by role ARN: clients that assume the same role share its credentials.
    roles: Mutex<HashMap<String, SdkConfig>>,
}

impl Aws {
    /// Creates the access without reading or requesting anything before the first use. `endpoint_url` takes precedence
    /// over the endpoints that `AWS_ENDPOINT_URL` and its per-service variants name.
    pub fn new(endpoint_url: Option<String>) -> Self {
        Self { endpoint_url, sdk: OnceCell::new(), roles: Mutex::default() }
    }

    /// Returns the configuration that all clients with the rights of `role` share, or of the worker's own identity
    /// without a role. A role is assumed here, so that a role that can't be assumed is an error here. `region` is the
    /// region of that STS call if the configuration has none.
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
                    "the role {role} cannot be assumed: the worker's role needs sts:AssumeRole on it, and its trust policy must name the worker's role: {}",
                    causes(&error)
                ))
            })?;
        let assumed = own.clone().into_builder().credentials_provider(provider).build();
        roles.insert(role.to_owned(), assumed.clone());
        Ok(assumed)
    }

    /// Returns the sessions of a role for keys, and the configuration of the worker, whose region and endpoint they use.
    /// The role is assumed here once, for no key.
    pub(crate) async fn sessions(&self, role: &str, region: Option<&str>) -> Result<RoleSessions, NoAccess> {
        let own = self.sdk(None, None).await?;
        let region = region.filter(|_| own.region().is_none()).map(str::to_owned);
        let sessions = RoleSessions { role: role.to_owned(), own, region };
        sessions.check().await.map_err(NoAccess::Unavailable)?;
        Ok(sessions)
    }

    async fn load(&self) -> Result<SdkConfig, NoAccess> {
        let http = http::client().map_err(NoAccess::Settings)?;
        check_files(|name| std::env::var_os(name).map(Into::into)).map_err(NoAccess::Settings)?;
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

/// Refuses a variable that leads to a pipe, a socket or a device, which the SDK might read forever. `/dev/null` is how
/// users leave out a file. A missing file is the SDK's to report.
fn check_files(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<(), String> {
    let named = FILES.iter().filter_map(|name| Some((name, variable(name)?)));
    for (name, path) in named.filter(|(_, path)| path != Path::new("/dev/null")) {
        if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Err(format!("the file {} ({name}) is not a regular file", path.display()));
        }
    }
    Ok(())
}

/// Reason why no AWS service can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAccess {
    /// The environment has a wrong setting. A retry doesn't help.
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

/// Returns whether a text is the ARN of a role that can be assumed: `arn:aws:iam::123456789012:role/NAME`.
pub fn is_role(text: &str) -> bool {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "iam", "", account, role]
        if partition.starts_with("aws")
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty())
            && role.bytes().all(|b| b.is_ascii_graphic()))
}

/// Returns the region to use: `named`, which comes from an address, or else the configured region.
pub(crate) fn region(sdk: &SdkConfig, named: Option<&str>) -> Result<Region, String> {
    named.map(|name| Region::new(name.to_owned())).or_else(|| sdk.region().cloned()).ok_or_else(|| {
        "no region is known: set AWS_REGION, or a region in the profile of ~/.aws/config".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_leads_to_a_device_is_refused_and_no_file_is_no_file() {
        let with = |name: &'static str, path: &'static str| {
            check_files(move |asked| (asked == name).then(|| PathBuf::from(path)))
        };
        for name in FILES {
            assert!(with(name, "/dev/zero").is_err_and(|error| error.contains(name)), "{name}");
            for path in ["/dev/null", "missing", "Cargo.toml", "."] {
                assert_eq!(with(name, path), Ok(()), "{name}={path}");
            }
        }
        assert_eq!(check_files(|_| None), Ok(()));
    }

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
