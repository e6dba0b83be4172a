//! Passwords for registries of Amazon ECR: one request, signed and sent as the SDK's clients do. The crate with the whole
//! client of ECR would be compiled for that request alone.

use crate::config::{Aws, NoAccess};
use crate::endpoint::{Service, endpoint};
use crate::failure::causes;
use crate::response::Origin;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::auth::{SigV4OperationSigningConfig, SigningOptions};
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::SdkError;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{AuthSchemeOptionResolverParams, SharedAuthScheme};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SigningName;
use aws_types::region::{Region, SigningRegion};
use serde::Deserialize;
use std::time::Duration;

/// Time for the request, with retries. A person who starts a worker waits.
const PATIENCE: Duration = Duration::from_secs(20);
const ACTION: &str = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken";
/// Suffixes of Amazon's own hosts. A host with another suffix gets no password.
const SUFFIXES: [&str; 7] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];
/// Suffixes of Amazon's own hosts with IPv6, and those of the matching endpoints.
const DUAL_STACK: [(&str, &str); 2] =
    [("on.aws", "api.aws"), ("on.amazonwebservices.com.cn", "api.amazonwebservices.com.cn")];

/// A private registry of Amazon ECR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrRegistry {
    pub(crate) account: String,
    pub(crate) region: String,
    /// Host of the service that issues its passwords.
    endpoint: String,
}

impl EcrRegistry {
    /// Parses the host of a private registry: `123456789012.dkr.ecr.eu-west-1.amazonaws.com`, also in its forms with FIPS
    /// and for IPv6. Returns `None` for another host.
    ///
    /// Source: "Amazon ECR endpoints and quotas", and "Making requests over IPv6" in the ECR guide.
    pub fn of(host: &str) -> Option<Self> {
        let (account, rest) = host.split_once('.')?;
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let rest = rest.strip_prefix("dkr.").or_else(|| rest.strip_prefix("dkr-"))?;
        let is_dual = host.as_bytes()[account.len() + 4] == b'-';
        let (service, rest) = rest.split_once('.')?;
        let (region, suffix) = rest.split_once('.')?;
        let is_region = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !matches!(service, "ecr" | "ecr-fips") || region.is_empty() || !region.bytes().all(is_region) {
            return None;
        }
        let endpoint = if is_dual {
            let (_, suffix) = DUAL_STACK.iter().find(|(known, _)| *known == suffix)?;
            format!("https://{service}.{region}.{suffix}")
        } else {
            SUFFIXES.contains(&suffix).then_some(())?;
            let service = if service == "ecr" { "api.ecr" } else { service };
            format!("https://{service}.{region}.{suffix}")
        };
        Some(Self { account: account.to_owned(), region: region.to_owned(), endpoint })
    }
}

/// A name and a password for a registry.
pub struct EcrPassword {
    /// Name of the user.
    pub user: String,
    /// Password of the user, valid for some hours.
    pub password: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    authorization_data: Vec<Data>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    authorization_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: String,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoToken(String);

/// Asks ECR for the password of a registry, with the worker's own credentials.
///
/// # Errors
///
/// There are no credentials, they lack the right, or ECR doesn't answer. The text is a sentence without a full stop.
pub async fn ecr_password(registry: &EcrRegistry, aws: &Aws) -> Result<EcrPassword, String> {
    let failed = |why: String| format!("ECR issues no password for the registry: {why}");
    let asked = tokio::time::timeout(PATIENCE, ask(registry, aws)).await;
    let token = asked.unwrap_or_else(|_| Err("no answer in time".into())).map_err(failed)?;
    let decoded =
        aws_smithy_types::base64::decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_ref().and_then(|text| text.split_once(':'));
    let (user, password) = pair.ok_or_else(|| failed("its answer is none".into()))?;
    Ok(EcrPassword { user: user.to_owned(), password: password.to_owned() })
}

async fn ask(registry: &EcrRegistry, aws: &Aws) -> Result<String, String> {
    let EcrRegistry { region, endpoint: default, .. } = registry;
    let sdk = aws.sdk(None, Some(region)).await.map_err(|why| match why {
        NoAccess::Settings(why) | NoAccess::Unavailable(why) => why,
    })?;
    let Some((credentials, http)) = sdk.credentials_provider().zip(sdk.http_client()) else {
        return Err("there are no credentials of AWS".into());
    };
    let url = endpoint(&sdk, Service::Ecr)?.unwrap_or_else(|| default.clone());
    let mut signing = Layer::new("signing");
    signing.store_put(SigningRegion::from(Region::new(region.clone())));
    signing.store_put(SigningName::from_static("ecr"));
    signing.store_put(SigV4OperationSigningConfig {
        signing_options: SigningOptions::default(),
        ..SigV4OperationSigningConfig::default()
    });
    signing.store_put(AuthSchemeOptionResolverParams::new(()));
    let mut components = RuntimeComponentsBuilder::new("signing")
        .with_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
        .with_identity_cache(Some(IdentityCache::no_cache()));
    components.set_identity_resolver(SCHEME_ID, credentials);
    let signing =
        StaticRuntimePlugin::new().with_config(signing.freeze()).with_runtime_components(components);
    let operation = Operation::builder()
        .service_name("ECR")
        .operation_name("GetAuthorizationToken")
        .http_client(http)
        .endpoint_url(&url)
        .standard_retry(&RetryConfig::standard())
        .timeout_config(sdk.timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled))
        .retry_classifier(HttpStatusCodeClassifier::default())
        .retry_classifier(TransientErrorClassifier::<NoToken>::new())
        .runtime_plugin(signing)
        .interceptor(Origin)
        .serializer(|(): ()| {
            let mut request = HttpRequest::new(SdkBody::from("{}"));
            request.set_method("POST")?;
            request.set_uri("/")?;
            for (name, value) in [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", ACTION)] {
                request.headers_mut().insert(name, value);
            }
            Ok(request)
        })
        .deserializer(|response: &HttpResponse| {
            token_of(response).map_err(|why| OrchestratorError::operation(NoToken(why)))
        });
    operation.build().invoke(()).await.map_err(|error| match error {
        SdkError::ServiceError(error) => error.into_err().to_string(),
        error => causes(&error),
    })
}

fn token_of(response: &HttpResponse) -> Result<String, String> {
    let body = response.body().bytes().unwrap_or_default();
    let status = response.status().as_u16();
    if !response.status().is_success() {
        let Refusal { kind, message } = serde_json::from_slice(body).unwrap_or_default();
        let kind = kind.rsplit('#').next().unwrap_or_default();
        return Err(match kind {
            "AccessDeniedException" => {
                format!("access denied; the role needs ecr:GetAuthorizationToken: {message}")
            }
            _ => format!("it answers {status} {kind}: {message}"),
        });
    }
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let first = answer.and_then(|answer| answer.authorization_data.into_iter().next());
    first.map(|data| data.authorization_token).ok_or_else(|| "its answer is none".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_of_ecr_is_known_by_its_host_and_asks_its_own_region() {
        for (host, region, endpoint) in [
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "eu-west-1",
                "https://api.ecr.eu-west-1.amazonaws.com",
            ),
            (
                "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com",
                "us-east-1",
                "https://ecr-fips.us-east-1.amazonaws.com",
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
                "https://api.ecr.cn-north-1.amazonaws.com.cn",
            ),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", "eu-west-1", "https://ecr.eu-west-1.api.aws"),
        ] {
            let registry = EcrRegistry::of(host).expect(host);
            assert_eq!((registry.region.as_str(), registry.endpoint.as_str()), (region, endpoint), "{host}");
        }
        for host in [
            "ghcr.io",
            "public.ecr.aws",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com:443",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.test",
            "123456789012.dkr.ecr.eu-west-1.evil.test",
            "123456789012.dkr-ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu_west.amazonaws.com",
            "12345678901x.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.s3.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr..amazonaws.com",
            "123456789012.d",
            "123456789012.",
        ] {
            assert_eq!(EcrRegistry::of(host), None, "{host}");
        }
    }
}
