//! Builds the HTTP client of all services, with the proxies and certificates that the environment names.
//!
//! The variables are those of curl and the AWS CLI. They are read once. Their values are never shown, as a proxy's URL
//! may hold a password.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use wasmrun_http::{Proxies, certificates};

/// Builds the HTTP client of all services.
///
/// # Errors
///
/// Fails if a variable doesn't name a valid proxy or certificate bundle.
pub(crate) fn client() -> Result<SharedHttpClient, String> {
    let trusted = trusted(|name| std::env::var_os(name).map(Into::into))?;
    let tls = TlsContext::builder().with_trust_store(trusted).build();
    let tls = tls.map_err(|error| format!("the certificates cannot be used: {error}"))?;
    let proxies = Proxies::of(|name| std::env::var(name).ok())?;
    let through = |proxy| connecting(tls.clone(), proxy);
    Ok(match proxies {
        Proxies { http: None, https: None, .. } => through(ProxyConfig::disabled()),
        Proxies { http: Some(http), https: None, except } => {
            through(config(&http, ProxyConfig::http)?.no_proxy(except))
        }
        Proxies { http: None, https: Some(https), except } => {
            through(config(&https, ProxyConfig::https)?.no_proxy(except))
        }
        Proxies { http: Some(http), https: Some(https), except } if http == https => {
            through(config(&http, ProxyConfig::all)?.no_proxy(except))
        }
        Proxies { http: Some(http), https: Some(https), except } => SharedHttpClient::new(ByScheme {
            http: through(config(&http, ProxyConfig::http)?.no_proxy(&except)),
            https: through(config(&https, ProxyConfig::https)?.no_proxy(except)),
        }),
    })
}

/// Returns a client with the same connector as the SDK's default client. The SDK's builder for the default client can't
/// set a proxy.
fn connecting(tls: TlsContext, proxy: ProxyConfig) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls.clone())
            .proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        if let Some(components) = components {
            connector.set_sleep_impl(components.sleep_impl());
        }
        connector.build()
    })
}

fn config<Error>(
    url: &str,
    kind: impl FnOnce(String) -> Result<ProxyConfig, Error>,
) -> Result<ProxyConfig, String> {
    // The URL was checked before. The SDK's error is left out, as it might repeat the URL.
    kind(url.to_owned()).map_err(|_| "the proxy cannot be used".into())
}

/// Chooses a client by the scheme of a request, as a [`ProxyConfig`] has only one proxy.
#[derive(Debug)]
struct ByScheme<T> {
    http: T,
    https: T,
}

impl HttpClient for ByScheme<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(ByScheme {
            http: self.http.http_connector(settings, components),
            https: self.https.http_connector(settings, components),
        })
    }
}

impl HttpConnector for ByScheme<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if request.uri().starts_with("https:") { self.https.call(request) } else { self.http.call(request) }
    }
}

/// Loads the trusted root certificates: from `AWS_CA_BUNDLE`, or else from the system, where `SSL_CERT_FILE` may
/// replace them.
fn trusted(variable: impl Fn(&str) -> Option<std::path::PathBuf>) -> Result<TrustStore, String> {
    let set = |name: &str| variable(name).filter(|path| !path.as_os_str().is_empty());
    if let Some(path) = set("AWS_CA_BUNDLE") {
        let bundle = certificates("AWS_CA_BUNDLE", &path)?;
        return Ok(bundle.iter().fold(TrustStore::empty(), |store, certificate| {
            store.with_pem_certificate(certificate.as_bytes())
        }));
    }
    if let Some(path) = set("SSL_CERT_FILE") {
        // The client reads the file itself, and doesn't report a file without a certificate.
        certificates("SSL_CERT_FILE", &path)?;
    }
    Ok(TrustStore::default())
}
