//! Parses the name of an artefact: `oci://HOST/REPOSITORY:TAG`, `oci://HOST/REPOSITORY@sha256:…`, or with both.

use crate::digest::Digest;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Beginning of the name of an artefact.
pub const SCHEME: &str = "oci://";
/// How to name an artefact.
const FORM: &str = "write oci://HOST/REPOSITORY:TAG or oci://HOST/REPOSITORY@sha256:DIGEST";
/// Maximum length of host and repository, in bytes (many registries' own).
const MAX_NAME: usize = 255;
/// Maximum length of a tag, in bytes (distribution specification).
const MAX_TAG: usize = 128;
/// Docker Hub's name, and the host that serves its artefacts.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// The name of an artefact in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host of the registry, with its port if the name has one.
    host: String,
    repository: String,
    tag: Option<String>,
    /// If there is one, the tag is only for people.
    digest: Option<Digest>,
}

/// Returns whether a text has the scheme of an artefact's name, valid or not.
pub fn is_reference(text: &str) -> bool {
    text.starts_with(SCHEME)
}

impl Reference {
    /// Returns the host of the registry as the name has it, with its port if the name has one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the repository in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest that the artefact must have.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the last part of the repository: the name of the component without a version.
    pub fn name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// Returns a name of the component with the tag and the digest behind it, such as `thumbnail:1.2@sha256:…`.
    pub fn versioned(&self, name: &str) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{name}{tag}{digest}")
    }

    /// Returns the same name with this digest.
    pub fn pinned(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }

    /// Returns the host that answers requests, without its port, and the port.
    pub(crate) fn server(&self) -> (&str, Option<u16>) {
        if self.host == DOCKER_HUB.0 {
            return (DOCKER_HUB.1, None);
        }
        split_port(&self.host).unwrap_or((&self.host, None))
    }

    /// Returns whether the registry is this host itself.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(self.server().0)
    }

    /// Returns how the manifest is asked for: by digest, or else by tag.
    pub(crate) fn version(&self) -> String {
        let digest = self.digest.as_ref().map(Digest::to_string);
        digest.or_else(|| self.tag.clone()).unwrap_or_default()
    }
}

/// Returns whether a host is the host itself.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Splits `HOST:PORT`, `[IPV6]:PORT`, or either without a port. Brackets are removed.
fn split_port(host: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<std::net::Ipv6Addr>().ok()?;
        return match port.strip_prefix(':') {
            Some(port) => Some((address, Some(port.parse().ok()?))),
            None => port.is_empty().then_some((address, None)),
        };
    }
    match host.split_once(':') {
        Some((name, port)) => Some((name, Some(port.parse().ok()?))),
        None => Some((host, None)),
    }
}

fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    split_port(host).is_some_and(|(name, port)| {
        port != Some(0) && (host.starts_with('[') || name.split('.').all(is_label))
    })
}

/// Returns whether a text is a repository's name by the distribution specification.
fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| {
        let ends = part.as_bytes().first().zip(part.as_bytes().last());
        let is_separator =
            |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
        ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
            && part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(is_separator)
    };
    text.split('/').all(is_part)
}

fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix(SCHEME).ok_or(FORM)?;
        let (host, path) = rest.split_once('/').ok_or(FORM)?;
        if host.contains('@') {
            return Err(
                "a credential has no place in it: `docker login` and the worker's role provide them".into()
            );
        }
        if !is_host(host) {
            return Err(format!("{host:?} is not a host: {FORM}"));
        }
        let (path, digest) = match path.split_once('@') {
            Some((path, digest)) => (path, Some(digest.parse()?)),
            None => (path, None),
        };
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        if let Some(tag) = tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(format!("{tag:?} is not a tag: {FORM}"));
        }
        if host.len() + repository.len() > MAX_NAME || !is_repository(repository) {
            return Err(format!(
                "{repository:?} is not a repository: its name has lower-case letters, digits, and single . _ - between them"
            ));
        }
        if tag.is_none() && digest.is_none() {
            return Err(format!("it has neither a tag nor a digest: {FORM}"));
        }
        // Docker Hub keeps the repositories without an owner in one place.
        let is_official = host == DOCKER_HUB.0 && !repository.contains('/');
        let repository = if is_official { format!("library/{repository}") } else { repository.to_owned() };
        Ok(Self { host: host.to_ascii_lowercase(), repository, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artefact_is_named_by_host_repository_and_tag_or_digest() {
        let digest = Digest::of(b"x");
        for (text, server, repository, tag, is_pinned, loopback) in [
            (
                "oci://ghcr.io/acme/thumbnail:1.2",
                ("ghcr.io", None),
                "acme/thumbnail",
                Some("1.2"),
                false,
                false,
            ),
            (
                "oci://localhost:5000/a/b__c/d-e:v_1",
                ("localhost", Some(5000)),
                "a/b__c/d-e",
                Some("v_1"),
                false,
                true,
            ),
            ("oci://[::1]:5000/a:1", ("::1", Some(5000)), "a", Some("1"), false, true),
            ("oci://[fd00::1]/a:1", ("fd00::1", None), "a", Some("1"), false, false),
            ("oci://127.0.0.1:1/a@DIGEST", ("127.0.0.1", Some(1)), "a", None, true, true),
            ("oci://r.test/a:1@DIGEST", ("r.test", None), "a", Some("1"), true, false),
            (
                "oci://docker.io/alpine:3",
                ("registry-1.docker.io", None),
                "library/alpine",
                Some("3"),
                false,
                false,
            ),
            ("oci://docker.io/me/x:3", ("registry-1.docker.io", None), "me/x", Some("3"), false, false),
        ] {
            let text = text.replace("DIGEST", &digest.to_string());
            let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.server(), server, "{text}");
            assert_eq!((reference.repository(), reference.tag()), (repository, tag), "{text}");
            assert_eq!(
                (reference.digest().is_some(), reference.is_loopback()),
                (is_pinned, loopback),
                "{text}"
            );
        }
        let reference: Reference = "oci://r.test/a/thumbnail:1".parse().expect("valid");
        let pinned = reference.pinned(&digest);
        assert_eq!(pinned.versioned("thumbnail"), format!("thumbnail:1@{digest}"));
        assert_eq!(pinned.to_string(), format!("oci://r.test/a/thumbnail:1@{digest}"));
        assert_eq!(reference.to_string(), "oci://r.test/a/thumbnail:1");
    }

    #[test]
    fn what_is_no_name_is_refused_without_the_password_in_it() {
        for (text, said) in [
            ("oci://", "oci://HOST/REPOSITORY:TAG"),
            ("oci://r.test", "oci://HOST/REPOSITORY:TAG"),
            ("oci://r.test/a", "neither a tag nor a digest"),
            ("oci:///a:1", "not a host"),
            ("oci://-x/a:1", "not a host"),
            ("oci://r.test:port/a:1", "not a host"),
            ("oci://r.test:0/a:1", "not a host"),
            ("oci://r.test:99999/a:1", "not a host"),
            ("oci://[::g]/a:1", "not a host"),
            ("oci://me:secret@r.test/a:1", "no place"),
            ("oci://r.test/A:1", "not a repository"),
            ("oci://r.test//a:1", "not a repository"),
            ("oci://r.test/a/../b:1", "not a repository"),
            ("oci://r.test/a/:1", "not a repository"),
            ("oci://r.test/a..b:1", "not a repository"),
            ("oci://r.test/a_:1", "not a repository"),
            ("oci://r.test/a?x=y:1", "not a repository"),
            ("oci://r.test/a:", "not a tag"),
            ("oci://r.test/a:.x", "not a tag"),
            ("oci://r.test/a:x/y", "not a tag"),
            ("oci://r.test/a:1 2", "not a tag"),
            ("oci://r.test/a@sha256:12", "64 digits"),
            ("oci://r.test/a@md5:12", "64 digits"),
        ] {
            let error = text.parse::<Reference>().expect_err(text);
            assert!(error.contains(said) && !error.contains("secret"), "{text}: {error}");
        }
        assert!(format!("oci://r.test/a:{}", "x".repeat(129)).parse::<Reference>().is_err());
        assert!(format!("oci://r.test/{}:1", "a".repeat(300)).parse::<Reference>().is_err());
    }
}
