//! Reads the proxies that the environment names.
//!
//! The variables are those of curl and the AWS CLI. Their values are never shown, as a proxy's URL may hold a password.

use hyper::Uri;

/// Addresses from which credentials come on EC2, ECS and EKS. Only the host itself can reach them.
const METADATA: &str = "169.254.0.0/16,fe80::/10,fd00:ec2::/32";
/// Variables that name another host for credentials.
const METADATA_VARIABLES: [&str; 2] =
    ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"];

/// Proxies from the environment.
#[derive(PartialEq, Eq)]
pub struct Proxies {
    /// URL of the proxy for requests without TLS.
    pub http: Option<String>,
    /// URL of the proxy for requests with TLS.
    pub https: Option<String>,
    /// Hosts that are reached without a proxy, in the format of the HTTP client.
    pub except: String,
}

impl Proxies {
    /// Reads the variables with the rules of curl and Python: the lower-case variable takes precedence over the
    /// upper-case one, and an empty value means no proxy.
    ///
    /// # Errors
    ///
    /// Names a variable that doesn't name a valid proxy, without its value.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let first = |names: [&'static str; 2]| {
            let set = names.into_iter().find_map(|name| Some((name, variable(name)?)));
            set.filter(|(_, value)| !value.trim().is_empty())
        };
        let proxy = |names| first(names).or_else(|| first(["all_proxy", "ALL_PROXY"]));
        let url = |found: Option<(&str, String)>| found.map(|(name, url)| proxy_url(name, &url)).transpose();
        let http = url(proxy(["http_proxy", "HTTP_PROXY"]))?;
        let https = url(proxy(["https_proxy", "HTTPS_PROXY"]))?;
        let direct = first(["no_proxy", "NO_PROXY"]).map(|(_, list)| list).unwrap_or_default();
        let direct: Vec<&str> = direct.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).collect();
        // The client applies `*` only to host names, not to IP addresses.
        let all_direct = direct.contains(&"*");
        let direct = direct.into_iter().map(exception);
        let metadata = METADATA_VARIABLES.into_iter().filter_map(variable);
        let metadata = metadata.filter_map(|url| Some(url.parse::<Uri>().ok()?.host()?.to_owned()));
        let metadata = metadata.map(|host| host.trim_matches(['[', ']']).to_owned());
        let except: Vec<String> = [METADATA.to_owned()].into_iter().chain(direct).chain(metadata).collect();
        let [http, https] = [http, https].map(|proxy| proxy.filter(|_| !all_direct));
        Ok(Self { http, https, except: except.join(",") })
    }
}

/// Checks the URL of a proxy, and adds the scheme if it has none.
fn proxy_url(variable: &str, value: &str) -> Result<String, String> {
    let value = value.trim();
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let uri = url.parse::<Uri>().ok();
    let is_proxy = uri.is_some_and(|uri| {
        let host_and_port =
            uri.authority().map_or("", |all| all.as_str().rsplit('@').next().unwrap_or_default());
        let has_port = host_and_port.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && has_port == uri.port_u16().is_some()
    });
    is_proxy.then_some(url).ok_or_else(|| {
        format!(
            "the variable {variable} does not name an HTTP proxy: write http://HOST:PORT or https://HOST:PORT"
        )
    })
}

/// Converts an entry of `NO_PROXY` to the format of the HTTP client, which doesn't support `*.example.com`, ports or IP
/// addresses in brackets.
fn exception(entry: &str) -> String {
    // `[::1]`, `[::1]:4566`
    if let Some((address, "" | ":")) = entry
        .strip_prefix('[')
        .and_then(|rest| rest.trim_end_matches(|c: char| c.is_ascii_digit()).rsplit_once(']'))
    {
        return address.to_owned();
    }
    let entry = entry.strip_prefix("*.").map_or_else(|| entry.to_owned(), |domain| format!(".{domain}"));
    match entry.split_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host.to_owned(),
        _ => entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<Proxies, String> {
        Proxies::of(|name| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).into()))
    }

    #[test]
    fn the_variables_of_proxies_are_read_as_curl_reads_them() {
        for (variables, http, https) in [
            (&[][..], None, None),
            (&[("HTTPS_PROXY", "http://p:3128")], None, Some("http://p:3128")),
            (&[("HTTP_PROXY", "p:3128")], Some("http://p:3128"), None),
            (&[("https_proxy", "http://low"), ("HTTPS_PROXY", "http://up")], None, Some("http://low")),
            (&[("https_proxy", ""), ("HTTPS_PROXY", "http://up")], None, None),
            (&[("ALL_PROXY", "http://p"), ("http_proxy", "http://q")], Some("http://q"), Some("http://p")),
            (&[("HTTPS_PROXY", "https://me:secret@p:443/")], None, Some("https://me:secret@p:443/")),
            (&[("ALL_PROXY", "http://p"), ("NO_PROXY", "a.test,*")], None, None),
        ] {
            let found = proxies(variables).unwrap_or_else(|error| panic!("{variables:?}: {error}"));
            assert_eq!((found.http.as_deref(), found.https.as_deref()), (http, https), "{variables:?}");
        }
    }

    #[test]
    fn what_names_no_proxy_is_refused_without_its_value() {
        for value in
            ["socks5://me:secret@p:1080", "http://", "http://me:secret@", "http://p:port/secret", "a b"]
        {
            let Err(error) = proxies(&[("HTTPS_PROXY", value)]) else { panic!("{value} is taken") };
            assert!(error.contains("HTTPS_PROXY") && error.contains("http://HOST:PORT"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn metadata_endpoints_are_never_asked_through_a_proxy() {
        let found = proxies(&[
            ("NO_PROXY", "*.internal, localhost:4566 [::1]"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://[fd00:ec2::23]/v1/credentials"),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://metadata.test:80/"),
        ]);
        let Ok(Proxies { except, .. }) = found else { panic!("valid") };
        let expected = format!("{METADATA},.internal,localhost,::1,fd00:ec2::23,metadata.test");
        assert_eq!(except, expected);
    }

    #[test]
    fn what_is_reached_directly_is_named_by_host_or_address_with_or_without_a_port() {
        for (entry, host) in [
            ("example.com", "example.com"),
            ("example.com:8080", "example.com"),
            (".example.com:8080", ".example.com"),
            ("*.example.com", ".example.com"),
            ("127.0.0.1:4566", "127.0.0.1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::1", "::1"),
            ("fd00::1:80", "fd00::1:80"),
            ("fd00::/8", "fd00::/8"),
            ("[::1]", "::1"),
            ("[::1]:4566", "::1"),
            ("[fd00::80]", "fd00::80"),
            ("[::1", "[::1"),
            ("[::1]x", "[::1]x"),
            ("host:name", "host:name"),
        ] {
            assert_eq!(exception(entry), host, "{entry}");
        }
    }
}
