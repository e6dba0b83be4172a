//! One rule of a grant of HTTP, and the target of a request.

use super::path::{is_below, segments};
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest host name, in bytes: DNS has no longer ones.
const MAX_HOST_BYTES: usize = 253;
/// Longest label of a host name.
const MAX_LABEL_BYTES: usize = 63;
const FORM: &str = "write HOST[:PORT][/PATH], where *.HOST is any name below HOST, with http:// before it for requests without TLS";

/// The host of a request or a rule: lower-case ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

/// Where a request wants to go, read strictly: what different programs could read differently is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    is_tls: bool,
    host: Host,
    port: u16,
    path: String,
}

/// Requests that a task may send: `HOST[:PORT][/PATH]`, with TLS unless `http://` precedes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    is_tls: bool,
    host: Host,
    /// Whether any name below the host is meant instead: `*.example.com`.
    is_below: bool,
    port: u16,
    /// Decoded segments with which a request's path begins; none: any path.
    path: Vec<Vec<u8>>,
    text: String,
}

impl HttpRule {
    pub(super) fn matches(&self, target: &Target) -> bool {
        self.is_tls == target.is_tls
            && self.port == target.port
            && self.has_host(&target.host)
            && (self.path.is_empty()
                || segments(&target.path).is_some_and(|path| is_below(&path, &self.path)))
    }

    fn has_host(&self, host: &Host) -> bool {
        match (self.is_below, &self.host, host) {
            (true, Host::Name(domain), Host::Name(name)) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            _ => !self.is_below && self.host == *host,
        }
    }
}

impl Target {
    /// Reads the target of a request. Returns `None` if it isn't a plain HTTP URL: with user information, an odd host,
    /// port 0, or another scheme.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let is_tls = *scheme == Scheme::HTTPS;
        if !is_tls && *scheme != Scheme::HTTP {
            return None;
        }
        let (host, port) = host_and_port(uri.authority()?.as_str())?;
        let path = uri.path_and_query().map_or("/", PathAndQuery::path).to_owned();
        Some(Self { is_tls, host, port: port.unwrap_or(default_port(is_tls)), path })
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the host name, or the address without brackets.
    pub(crate) fn host(&self) -> String {
        match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// Returns the address, if the host is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Address(address) => Some(*address),
            Host::Name(_) => None,
        }
    }

    /// Returns the value of the header `Host`.
    pub(crate) fn authority(&self) -> String {
        let host = self.host.to_string();
        if self.port == default_port(self.is_tls) { host } else { format!("{host}:{}", self.port) }
    }
}

fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// Reads `HOST` or `HOST:PORT`. An address of IPv6 is in brackets.
fn host_and_port(text: &str) -> Option<(Host, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (Host::Address(address.parse::<Ipv6Addr>().ok()?.into()), port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host_of(host)?, Some(port)),
            None => (host_of(text)?, None),
        },
    };
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse::<u16>().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
    };
    Some((host, port))
}

/// Reads a host name or an address of IPv4. Resolvers take `127.1`, `0x7f.1` and `2130706433` for addresses, so a name
/// whose last label begins like a number is refused.
fn host_of(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Address(address.into()));
    }
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next()?;
    let is_name = text.len() <= MAX_HOST_BYTES
        && text.split('.').all(is_label)
        && !last.starts_with(|first: char| first.is_ascii_digit());
    is_name.then(|| Host::Name(text.to_ascii_lowercase()))
}

impl FromStr for HttpRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} allows no requests: {why}; {FORM}");
        // `10.0.0.0/8` would be read as one address and a path.
        if text.parse::<IpNet>().is_ok() {
            return Err(wrong(
                "it is a range of addresses, which --allow-http-address takes (a host with a path is written with its port)",
            ));
        }
        let (is_tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err(wrong("only http and https are known")),
            None => (true, text),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(wrong("it has a user name"));
        }
        if !authority.is_ascii() {
            return Err(wrong("its host is not in ASCII (write the form that begins with xn--)"));
        }
        if authority.contains(['?', '#']) || path.contains(['?', '#']) {
            return Err(wrong("it has a query or a fragment"));
        }
        let (authority, is_below) = match authority.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (authority, false),
        };
        let (host, port) =
            host_and_port(authority).ok_or_else(|| wrong("its host or its port is not valid"))?;
        if is_below && matches!(host, Host::Address(_)) {
            return Err(wrong("an address has no names below it"));
        }
        let path = match path.trim_end_matches('/') {
            "" => Vec::new(),
            path => segments(path).ok_or_else(|| wrong("its path could lead elsewhere"))?,
        };
        Ok(Self {
            is_tls,
            host,
            is_below,
            port: port.unwrap_or(default_port(is_tls)),
            path,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Without the query, which may hold secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Option<Target> {
        Target::of(&url.parse().ok()?)
    }

    fn allows(rule: &str, url: &str) -> bool {
        let rule: HttpRule = rule.parse().unwrap_or_else(|error| panic!("{rule}: {error}"));
        target(url).is_some_and(|target| rule.matches(&target))
    }

    #[test]
    fn scheme_host_and_port_must_be_those_of_the_rule() {
        for url in ["https://api.test/", "https://api.test:443/x?y", "https://API.test"] {
            assert!(allows("api.test", url) && allows("https://API.test:443/", url), "{url}");
        }
        for url in [
            "http://api.test/",
            "https://api.test:8443/",
            "https://x.api.test/",
            "https://api.test.evil/",
            "https://apiXtest/",
            "https://api.test./",
            "https://api.test:0/",
            "https://api.test:/",
            "https://me@api.test/",
            "https://evil@api.test:443/",
            "https://api.test@evil/",
            "ftp://api.test/",
        ] {
            assert!(!allows("api.test", url), "{url}");
        }
        assert!(
            allows("http://api.test", "http://api.test:80/")
                && !allows("http://api.test", "https://api.test:80/")
        );
        assert!(
            allows("api.test:8443", "https://api.test:8443/")
                && !allows("api.test:8443", "https://api.test/")
        );
    }

    #[test]
    fn a_star_stands_for_every_name_below_and_not_for_the_name_itself() {
        for url in ["https://a.api.test/", "https://a.b.api.test/"] {
            assert!(allows("*.api.test", url), "{url}");
        }
        for url in
            ["https://api.test/", "https://.api.test/", "https://xapi.test/", "https://a.api.test.evil/"]
        {
            assert!(!allows("*.api.test", url), "{url}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_other_ways_to_write_it_are_refused() {
        assert!(allows("http://10.0.0.5:8080", "http://10.0.0.5:8080/"));
        assert!(allows("[fd00::1]", "https://[fd00:0::1]/"), "the same address");
        for host in [
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "1.2.3.4.5",
            "a.1",
            "[::1%25eth0]",
        ] {
            assert_eq!(target(&format!("http://{host}/")), None, "{host}");
            assert!(host.parse::<HttpRule>().is_err(), "{host}");
        }
    }

    #[test]
    fn a_path_bounds_the_rule_and_no_path_means_all() {
        assert!(
            allows("api.test/v1", "https://api.test/v1/x?q=/../")
                && allows("api.test/v1/", "https://api.test/v1")
        );
        assert!(!allows("api.test/v1", "https://api.test/v10") && !allows("api.test/v1", "https://api.test"));
        assert!(!allows("api.test/v1", "https://api.test/v1/%2e%2e/admin"));
        assert!(allows("api.test", "https://api.test/a/../b"));
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said() {
        for (rule, why) in [
            ("", "not valid"),
            ("*", "not valid"),
            ("*.10.0.0.1", "no names below"),
            ("10.0.0.0/8", "--allow-http-address"),
            ("fd00::/8", "--allow-http-address"),
            ("a.*.test", "not valid"),
            ("ftp://x.test", "only http"),
            ("me:pw@x.test", "user name"),
            ("münchen.test", "xn--"),
            ("x.test/a?b", "query"),
            ("x.test/a/../b", "elsewhere"),
            ("x.test:99999", "not valid"),
            ("fd00::1", "not valid"),
        ] {
            let error = rule.parse::<HttpRule>().expect_err(rule);
            assert!(error.contains(why) && error.contains("HOST[:PORT][/PATH]"), "{rule}: {error}");
        }
    }

    #[test]
    fn the_host_header_holds_the_port_if_it_is_not_the_usual_one() {
        for (url, host) in [
            ("https://A.test:443/", "a.test"),
            ("https://a.test:80/", "a.test:80"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            assert_eq!(target(url).expect("a target").authority(), host);
        }
    }
}
