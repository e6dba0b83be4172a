//! Where the services are and who calls them.
//!
//! Everything comes from where Amazon's own tools take it: the environment, the profile files, the endpoints of ECS, EKS
//! and EC2. It's read once; credentials are refreshed by the SDK before they expire.

use aws_config::{AppName, BehaviorVersion, Region, SdkConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{Builder as HttpClient, tls};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Long enough for another continent and a lost packet.
const CONNECT: Duration = Duration::from_secs(5);
/// How a worker presents itself to the services.
const NAME: &str = "wasmrun";

/// The access of one process to Amazon's services.
#[derive(Debug, Default)]
pub struct Aws {
    endpoint_url: Option<String>,
    sdk: OnceCell<SdkConfig>,
}

impl Aws {
    /// Nothing is read or asked for before the first use. The endpoint, if there is one, wins over those that
    /// `AWS_ENDPOINT_URL` and its like name.
    pub fn new(endpoint_url: Option<String>) -> Self {
        Self { endpoint_url, sdk: OnceCell::new() }
    }

    /// What all clients share.
    pub(crate) async fn sdk(&self) -> &SdkConfig {
        self.sdk.get_or_init(|| self.load()).await
    }

    async fn load(&self) -> SdkConfig {
        let http = HttpClient::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build());
        if let Ok(name) = AppName::new(NAME) {
            loader = loader.app_name(name);
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        loader.load().await
    }
}

/// Whether the user, the environment or the profile says where a service is; `variable` is the service's own.
pub(crate) fn names_endpoint(sdk: &SdkConfig, variable: &str) -> bool {
    sdk.endpoint_url().is_some() || std::env::var_os(variable).is_some_and(|url| !url.is_empty())
}

/// The region to use: the one that an address names, or else the one from the usual places.
pub(crate) fn region(sdk: &SdkConfig, named: Option<&str>) -> Result<Region, String> {
    named.map(|name| Region::new(name.to_owned())).or_else(|| sdk.region().cloned()).ok_or_else(|| {
        "no region is known: set AWS_REGION, or a region in the profile of ~/.aws/config".into()
    })
}
