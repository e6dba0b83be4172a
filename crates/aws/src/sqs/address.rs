//! Parses the address of a queue: its URL, its ARN or its name.
//!
//! URLs of AWS hold the region in the host name, in several historical forms. URLs of SQS-compatible servers hold it in
//! the host name, in the path, or not at all.

/// Suffix of FIFO queues. Names consist of letters, digits, `-` and `_` (SQS API reference).
const FIFO: &str = ".fifo";
const MAX_NAME: usize = 80;

/// A parsed address of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    /// Account of the queue, if the address names it: the last but one part of a URL.
    pub(crate) account: Option<String>,
    /// Partition of the queue, if the address is an ARN.
    pub(crate) partition: Option<String>,
    /// Region of the queue, if the address names it.
    pub(crate) region: Option<String>,
    /// URL of the queue, as requests name it. `None` if it must be looked up.
    pub(crate) url: Option<String>,
    /// Scheme, host and port of the address. `None` for the standard endpoint of the region, which the SDK finds on its
    /// own.
    pub(super) endpoint: Option<String>,
}

/// The place of a queue, as far as its address names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePlace {
    /// Region of the queue.
    pub region: Option<String>,
    /// Account of the queue: the last but one part of its URL.
    pub account: Option<String>,
    /// URL of the queue. `None` if only the service knows it.
    pub url: Option<String>,
}

impl QueuePlace {
    /// Reads the place from a queue's URL, ARN or name.
    ///
    /// # Errors
    ///
    /// Fails if the text is none of these.
    pub fn of(text: &str) -> Result<Self, String> {
        let Address { name, account, partition, region, url, .. } = Address::of(text)?;
        let domain = match partition.as_deref() {
            Some("aws" | "aws-us-gov") => Some("amazonaws.com"),
            Some("aws-cn") => Some("amazonaws.com.cn"),
            _ => None,
        };
        let url = url.or_else(|| {
            let (domain, region, account) = (domain?, region.as_ref()?, account.as_ref()?);
            Some(format!("https://sqs.{region}.{domain}/{account}/{name}"))
        });
        Ok(Self { region, account, url })
    }
}

impl Address {
    /// Parses a URL, an ARN or a name.
    ///
    /// # Errors
    ///
    /// Fails if the text is none of these.
    pub(crate) fn of(text: &str) -> Result<Self, String> {
        Self::parse(text)
            .ok_or_else(|| format!("{text:?} is neither the URL of an SQS queue, nor its ARN, nor its name"))
    }

    /// Parses a URL, an ARN or a name. Returns `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("arn:") {
            return Self::from_arn(rest);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Self::from_url(text);
        }
        is_name(text).then(|| Self {
            name: text.to_owned(),
            account: None,
            partition: None,
            region: None,
            url: None,
            endpoint: None,
        })
    }

    /// Parses `aws:sqs:REGION:ACCOUNT:NAME`, in any partition.
    fn from_arn(rest: &str) -> Option<Self> {
        let mut parts = rest.split(':');
        let (partition, service) = (parts.next()?, parts.next()?);
        let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        let is_arn = service == "sqs" && parts.next().is_none() && is_name(name) && !region.is_empty();
        is_arn.then(|| Self {
            name: name.into(),
            account: Some(account.into()),
            partition: Some(partition.into()),
            region: Some(region.into()),
            url: None,
            endpoint: None,
        })
    }

    fn from_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once('/')?;
        let mut segments = path.split('/').rev();
        let (name, account) = (segments.next()?, segments.next()?);
        // Credentials in a URL would be logged with it.
        if !is_name(name) || account.is_empty() || host.is_empty() || host.contains('@') {
            return None;
        }
        let domain = host.split(':').next().unwrap_or(host);
        let in_path = || match path.split('/').collect::<Vec<_>>()[..] {
            ["queue", region, _, _] => Some(region),
            _ => None,
        };
        let region = region_in(domain).or_else(in_path).map(Into::into);
        let is_standard = region.as_deref().is_some_and(|region: &str| is_standard(host, region));
        // All public endpoints of AWS support TLS.
        let scheme = if is_public(domain) { "https" } else { scheme };
        let endpoint = (!is_standard).then(|| format!("{scheme}://{host}"));
        let (name, account) = (name.to_owned(), Some(account.to_owned()));
        Some(Self { name, account, partition: None, region, url: Some(url.into()), endpoint })
    }

    /// Returns the endpoint to call, or `None` if the SDK finds it. `wants_fips` is true if the environment asks for
    /// FIPS endpoints.
    ///
    /// # Errors
    ///
    /// Fails if FIPS is wanted and the address names a server that isn't a FIPS endpoint.
    pub(super) fn server(&self, wants_fips: bool) -> Result<Option<&str>, String> {
        match self.endpoint.as_deref() {
            Some(endpoint) if wants_fips && !endpoint.contains("://sqs-fips.") => Err(format!(
                "AWS_USE_FIPS_ENDPOINT (or use_fips_endpoint of the profile) asks for a FIPS endpoint, and the queue's URL names {endpoint}: name sqs-fips.REGION.amazonaws.com there, or leave that setting out"
            )),
            endpoint => Ok(endpoint),
        }
    }

    /// Returns whether the queue is a FIFO queue, which keeps the order within a message group.
    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO)
    }
}

/// Returns whether the queue with this URL is a FIFO queue.
pub(super) fn is_fifo_url(url: &str) -> bool {
    url.ends_with(FIFO)
}

fn is_name(text: &str) -> bool {
    let stem = text.strip_suffix(FIFO).unwrap_or(text);
    !stem.is_empty()
        && text.len() <= MAX_NAME
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Returns whether a host is the standard endpoint of a region, as in the URLs that SQS returns. For it, the SDK finds
/// the endpoint on its own, and uses the FIPS or dual-stack one if the environment asks for that.
fn is_standard(host: &str, region: &str) -> bool {
    let suffix = host.strip_prefix("sqs.").and_then(|rest| rest.strip_prefix(region));
    let is_chinese = region.starts_with("cn-");
    suffix == Some(if is_chinese { ".amazonaws.com.cn" } else { ".amazonaws.com" })
}

/// Returns whether a domain is a public endpoint of AWS. Endpoints within a VPC are not.
fn is_public(domain: &str) -> bool {
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|end| domain.ends_with(end))
        && !domain.contains(".vpce.")
}

/// Returns the region in a host name: `sqs.REGION.…`, `sqs-fips.REGION.…`, `VPCE.sqs.REGION.vpce.…`, or the legacy form
/// `REGION.queue.…`.
fn region_in(domain: &str) -> Option<&str> {
    let labels: Vec<&str> = domain.split('.').collect();
    let is_region = |label: &str| label.contains('-') && label.ends_with(|c: char| c.is_ascii_digit());
    let service = labels.iter().position(|label| matches!(*label, "sqs" | "sqs-fips"));
    if let Some(at) = service {
        return labels.get(at + 1).copied().filter(|label| is_region(label));
    }
    match labels[..] {
        [region, "queue", ..] if is_region(region) => Some(region),
        ["queue", "amazonaws", "com"] => Some("us-east-1"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (Option<String>, Option<String>) {
        let address = Address::parse(text).unwrap_or_else(|| panic!("{text} is an address"));
        (address.region, address.endpoint)
    }

    #[test]
    fn a_queues_url_names_the_region_and_the_host_that_is_called() {
        for (host, region, is_standard) in [
            ("sqs.eu-west-1.amazonaws.com", "eu-west-1", true),
            ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1", true),
            ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1", true),
            ("sqs-fips.us-east-2.amazonaws.com", "us-east-2", false),
            ("sqs.eu-west-1.api.aws", "eu-west-1", false),
            ("sqs-fips.us-gov-west-1.api.aws", "us-gov-west-1", false),
            ("sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", false),
            ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", false),
            ("eu-central-1.queue.amazonaws.com", "eu-central-1", false),
            ("queue.amazonaws.com", "us-east-1", false),
            ("vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1", false),
            ("vpce-1-2.sqs.cn-north-1.vpce.amazonaws.com.cn", "cn-north-1", false),
        ] {
            let url = format!("https://{host}/123456789012/uploads");
            let endpoint = (!is_standard).then(|| format!("https://{host}"));
            assert_eq!(parts(&url), (Some(region.into()), endpoint), "{url}");
        }
        let plain = "http://sqs-fips.us-east-2.amazonaws.com/123456789012/uploads";
        assert_eq!(parts(plain).1.as_deref(), Some("https://sqs-fips.us-east-2.amazonaws.com"));
    }

    #[test]
    fn a_host_without_fips_is_refused_where_fips_is_asked_for() {
        let server = |host: &str| {
            let address = Address::parse(&format!("https://{host}/123456789012/uploads")).expect("a URL");
            address.server(true).map(|server| server.map(str::to_owned))
        };
        assert_eq!(server("sqs.us-east-1.amazonaws.com"), Ok(None), "the SDK finds it");
        let fips = "sqs-fips.us-east-1.amazonaws.com";
        assert_eq!(server(fips), Ok(Some(format!("https://{fips}"))));
        for host in ["sqs.us-east-1.api.aws", "queue.amazonaws.com", "localhost:4566"] {
            assert!(server(host).expect_err(host).contains("AWS_USE_FIPS_ENDPOINT"));
        }
    }

    #[test]
    fn other_servers_are_their_own_endpoints() {
        let vpce = "https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com";
        for (url, region, endpoint) in [
            ("http://localhost:4566/000000000000/q", None, "http://localhost:4566"),
            ("http://127.0.0.1:9324/queue/q", None, "http://127.0.0.1:9324"),
            (
                "http://localhost:4566/queue/eu-west-3/000000000000/q",
                Some("eu-west-3"),
                "http://localhost:4566",
            ),
            (
                "http://eu-west-2.queue.localhost.localstack.cloud:4566/000000000000/q",
                Some("eu-west-2"),
                "http://eu-west-2.queue.localhost.localstack.cloud:4566",
            ),
            (
                "http://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/q",
                Some("us-east-1"),
                "http://sqs.us-east-1.localhost.localstack.cloud:4566",
            ),
            (&format!("{vpce}/123456789012/q"), Some("eu-west-1"), vpce),
        ] {
            assert_eq!(parts(url), (region.map(Into::into), Some(endpoint.into())), "{url}");
        }
    }

    #[test]
    fn names_and_arns_are_looked_up() {
        let address = Address::parse("arn:aws-cn:sqs:cn-north-1:123456789012:uploads.fifo").expect("an ARN");
        assert_eq!(address.region.as_deref(), Some("cn-north-1"));
        assert_eq!((&*address.name, address.account.as_deref()), ("uploads.fifo", Some("123456789012")));
        assert!(address.url.is_none() && address.is_fifo());
        let address = Address::parse("up_loads-1").expect("a name");
        assert_eq!((&*address.name, address.account.as_deref()), ("up_loads-1", None));
        assert!(address.url.is_none() && !address.is_fifo());
    }

    #[test]
    fn what_is_no_queue_is_none() {
        for text in [
            "",
            "jobs.db",
            "sqlite:jobs.db",
            "s3://bucket",
            "https://sqs.eu-west-1.amazonaws.com",
            "https://sqs.eu-west-1.amazonaws.com/",
            "https://sqs.eu-west-1.amazonaws.com/uploads",
            "https://user:secret@example.com/1/q",
            "arn:aws:sns:eu-west-1:123456789012:uploads",
            "arn:aws:sqs:eu-west-1:123456789012",
            ".fifo",
            &"x".repeat(81),
        ] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(https?://|arn:)?[a-z0-9.:/@-]{0,60}") {
            let _ = Address::parse(&text);
        }
    }

    #[test]
    fn the_place_of_a_queue_is_what_its_address_says() {
        let url = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs";
        let of_url = QueuePlace::of(url).expect("an address");
        assert_eq!(QueuePlace::of("arn:aws:sqs:eu-west-1:123456789012:jobs"), Ok(of_url.clone()));
        assert_eq!(
            (of_url.region.as_deref(), of_url.account.as_deref()),
            (Some("eu-west-1"), Some("123456789012"))
        );
        assert_eq!(of_url.url.as_deref(), Some(url));
        let chinese = QueuePlace::of("arn:aws-cn:sqs:cn-north-1:1:jobs").expect("an address");
        assert_eq!(chinese.url.as_deref(), Some("https://sqs.cn-north-1.amazonaws.com.cn/1/jobs"));
        let nowhere = QueuePlace { region: None, account: None, url: None };
        assert_eq!(QueuePlace::of("jobs"), Ok(nowhere));
        assert!(QueuePlace::of("sqlite:jobs.db").is_err());
    }
}
