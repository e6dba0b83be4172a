//! Finds the configured endpoint of a service: from a flag, a variable, a profile or the profile's `services` section.

use aws_config::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use hyper::Uri;
use std::net::IpAddr;
use wasmrun_runtime::model::text::without_passwords;

/// Key of an endpoint in a profile.
const PROFILE_KEY: &str = "endpoint_url";
/// Variable that names an endpoint; the SDK appends the name of a service.
const VARIABLE: &str = "AWS_ENDPOINT_URL";

/// An AWS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    S3,
    Sqs,
    Ecr,
}

impl Service {
    fn id(self) -> &'static str {
        match self {
            Self::S3 => "S3",
            Self::Sqs => "SQS",
            Self::Ecr => "ECR",
        }
    }
}

/// Appends a slash to every endpoint that has a path, wherever the endpoint is configured. Without the slash, the SDK's
/// S3 client joins the bucket's name to the last segment of the path.
#[derive(Debug)]
pub(crate) struct Endpoints(SdkConfig);

impl Endpoints {
    pub(crate) fn completed(sdk: SdkConfig) -> SdkConfig {
        let mut completed = sdk.to_builder();
        completed.set_endpoint_url(sdk.endpoint_url().map(complete));
        completed.service_config(Self(sdk)).build()
    }
}

impl LoadServiceConfig for Endpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let is_endpoint = key.profile() == PROFILE_KEY;
        let value = self.0.service_config()?.load_config(key)?;
        Some(if is_endpoint { complete(&value) } else { value })
    }
}

/// Returns the endpoint that the user configured for a service. The order of precedence is that of the SDK's clients.
///
/// # Errors
///
/// Fails if the endpoint isn't an `http` or `https` URL with a host and without a query.
pub(crate) fn endpoint(sdk: &SdkConfig, service: Service) -> Result<Option<String>, String> {
    let of_service = || {
        let key = ServiceConfigKey::builder().service_id(service.id()).env(VARIABLE).profile(PROFILE_KEY);
        sdk.service_config()?.load_config(key.build().ok()?)
    };
    let is_flag = sdk.get_origin("endpoint_url").is_client_config();
    let named = if is_flag { None } else { of_service() };
    let Some(url) = named.or_else(|| sdk.endpoint_url().map(str::to_owned)) else { return Ok(None) };
    let uri = url.parse::<Uri>().ok();
    let is_url = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    if is_url {
        Ok(Some(url))
    } else {
        let (id, url) = (service.id(), without_passwords(&url));
        Err(format!(
            "the endpoint {url:?} of {id} is not a URL: write http://HOST:PORT or https://HOST, with a path if it has one"
        ))
    }
}

/// Returns whether an endpoint names its host by IP address, so that there is no host name for each bucket.
pub(crate) fn is_address(endpoint: &str) -> bool {
    let uri = endpoint.parse::<Uri>().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or_default();
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn complete(url: &str) -> String {
    let has_path = url.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    let needs_slash = has_path && !url.ends_with('/') && !url.contains(['?', '#']);
    if needs_slash { format!("{url}/") } else { url.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_with_a_path_ends_with_a_slash() {
        for (url, complete_url) in [
            ("http://host:1/storage/v1/s3", "http://host:1/storage/v1/s3/"),
            ("http://host/storage/", "http://host/storage/"),
            ("http://host/", "http://host/"),
            ("http://host:1", "http://host:1"),
            ("host", "host"),
        ] {
            assert_eq!(complete(url), complete_url);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["localhost:4566", "ftp://host", "http://", "", "http://host/?x=y"] {
            let sdk = SdkConfig::builder().endpoint_url(url).build();
            let error = endpoint(&sdk, Service::S3).expect_err(url);
            assert!(error.contains("http://HOST:PORT"), "{error}");
        }
        let sdk = SdkConfig::builder().endpoint_url("http://[::1]:4566/s3").build();
        assert_eq!(endpoint(&sdk, Service::Sqs), Ok(Some("http://[::1]:4566/s3".into())));
        assert_eq!(endpoint(&SdkConfig::builder().build(), Service::Sqs), Ok(None));
    }

    #[test]
    fn an_address_is_told_from_a_name() {
        assert!(is_address("http://127.0.0.1:4566") && is_address("https://[::1]/s3/"));
        assert!(!is_address("http://localhost:4566"));
    }
}
