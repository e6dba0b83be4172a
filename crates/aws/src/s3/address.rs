//! Parses the URL of a store: `s3://BUCKET/PREFIX`, with settings for all its requests after a `?`. The ARN of an
//! access point may take the place of the bucket.

use super::name::{self, Kind};
use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption};
use wasmrun_runtime::task::grant::check_key;

pub(crate) const SCHEME: &str = "s3://";

/// The parsed URL of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// What requests name: a bucket, the alias of an access point, or its ARN.
    pub(crate) bucket: String,
    /// Prefix of all keys: empty, or ends with `/`.
    pub(crate) prefix: String,
    /// Region of the bucket, if the URL names it.
    pub(crate) region: Option<String>,
    /// Bucket behind an access point, as events name the bucket.
    pub(crate) behind: Option<String>,
    pub(crate) addressing: Option<Addressing>,
    pub(crate) put: PutSettings,
}

/// Part of a request's URL that names the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressing {
    /// The path.
    Path,
    /// The host name.
    Virtual,
}

/// Settings for every object that is written, whatever the guest asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PutSettings {
    pub(crate) encryption: Option<ServerSideEncryption>,
    /// ARN, id or alias of a KMS key; `None` for the AWS managed key for S3.
    pub(crate) kms_key: Option<String>,
    pub(crate) acl: Option<ObjectCannedAcl>,
}

impl Address {
    /// Parses `s3://BUCKET` and `s3://BUCKET/PREFIX`, with optional settings `?NAME=VALUE&…`.
    ///
    /// # Errors
    ///
    /// Describes the fault, without a full stop.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let (place, settings) = with_settings(url)?;
        let (bucket, prefix) = bucket_and_prefix(place)?;
        Self::new(bucket, prefix, &settings)
    }

    /// Creates the address of a bucket, or of a part of it, with settings.
    ///
    /// # Errors
    ///
    /// Describes the fault, without a full stop.
    pub(super) fn new(bucket: String, prefix: String, settings: &[(&str, &str)]) -> Result<Self, String> {
        let mut address = Self { region: name::region(&bucket), bucket, prefix, ..Self::default() };
        for &(name, value) in settings {
            match name {
                "region" if address.region.as_ref().is_some_and(|region| region != value) => {
                    return Err(format!("the region is {value:?}, and the ARN names another"));
                }
                "region" => address.region = Some(value.into()),
                "bucket" => address.behind = Some(name::bucket(value)?),
                "addressing" => address.addressing = Some(addressing(value)?),
                "encryption" => address.put.encryption = Some(encryption(value)?),
                "kms-key" => address.put.kms_key = Some(value.into()),
                "acl" => address.put.acl = Some(acl(value)?),
                _ => {
                    return Err(format!(
                        "unknown setting {name:?}: one of region, encryption, kms-key, acl, addressing, bucket"
                    ));
                }
            }
        }
        let by_kms = matches!(
            address.put.encryption,
            Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse)
        );
        if address.put.kms_key.is_some() && !by_kms {
            return Err("kms-key needs encryption=kms or encryption=kms-dsse".into());
        }
        let kind = Kind::of(&address.bucket);
        if address.behind.is_some() && !kind.is_access_point() {
            return Err("bucket= names the bucket behind an access point, and this store is a bucket".into());
        }
        if address.addressing == Some(Addressing::Path) && kind.is_named_by_host() {
            return Err("addressing=path cannot name it: access points by ARN and directory buckets have hosts of their own".into());
        }
        Ok(address)
    }

    /// Returns the URL of the store with the bucket that events name.
    pub(crate) fn url(&self) -> String {
        format!("{SCHEME}{}/{}", self.behind.as_ref().unwrap_or(&self.bucket), self.prefix)
    }
}

/// The settings of a URL, each with its value.
pub(super) type Settings<'a> = Vec<(&'a str, &'a str)>;

/// Splits a URL into the place and the settings `NAME=VALUE&…`, each of which is there once.
pub(super) fn with_settings(url: &str) -> Result<(&str, Settings<'_>), String> {
    let (place, text) = url.split_once('?').unwrap_or((url, ""));
    let mut settings = Settings::new();
    for setting in text.split('&').filter(|setting| !setting.is_empty()) {
        let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
        if settings.iter().any(|(known, _)| *known == name) {
            return Err(format!("the setting {name:?} is there twice"));
        }
        if value.trim_matches('"').is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("the setting {setting:?} has no value: write NAME=VALUE"));
        }
        settings.push((name, value));
    }
    Ok((place, settings))
}

/// Splits `s3://BUCKET/REST` into the bucket, which may be the ARN of an access point, and the rest.
pub(crate) fn bucket_and_rest(place: &str) -> Result<(String, &str), String> {
    let rest = place.strip_prefix(SCHEME).unwrap_or_default();
    // An ARN has a slash before the access point's name.
    let slash = if rest.starts_with("arn:") { 1 } else { 0 };
    let end = rest.match_indices('/').nth(slash).map_or(rest.len(), |(at, _)| at);
    Ok((name::bucket_or_access_point(&rest[..end])?, rest[end..].strip_prefix('/').unwrap_or_default()))
}

fn bucket_and_prefix(place: &str) -> Result<(String, String), String> {
    let (bucket, prefix) = bucket_and_rest(place)?;
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        return Ok((bucket, String::new()));
    }
    // Keys of guests may have such segments. In a prefix, they are a mistake of the operator.
    let is_plain = |segment: &str| !matches!(segment, "" | "." | "..");
    match check_key(prefix) {
        Ok(()) if prefix.split('/').all(is_plain) => Ok((bucket, format!("{prefix}/"))),
        _ => Err(name::FORM.into()),
    }
}

fn addressing(value: &str) -> Result<Addressing, String> {
    match value {
        "path" => Ok(Addressing::Path),
        "virtual" => Ok(Addressing::Virtual),
        _ => Err(format!("unknown addressing {value:?}: one of path, virtual")),
    }
}

fn encryption(value: &str) -> Result<ServerSideEncryption, String> {
    match value {
        "s3" => Ok(ServerSideEncryption::Aes256),
        "kms" => Ok(ServerSideEncryption::AwsKms),
        "AES256" => Err("the encryption AES256 is called s3 here".into()),
        "aws:kms" => Err("the encryption aws:kms is called kms here".into()),
        "kms-dsse" => Ok(ServerSideEncryption::AwsKmsDsse),
        _ => Err(format!("unknown encryption {value:?}: one of s3, kms, kms-dsse")),
    }
}

fn acl(value: &str) -> Result<ObjectCannedAcl, String> {
    if ObjectCannedAcl::values().contains(&value) {
        Ok(ObjectCannedAcl::from(value))
    } else {
        Err(format!("unknown ACL {value:?}: one of {}", ObjectCannedAcl::values().join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_bucket_or_a_part_of_it() {
        let parsed = |url: &str| {
            Address::parse(url).ok().map(|address| format!("{} {}", address.bucket, address.prefix))
        };
        assert_eq!(parsed("s3://photos").as_deref(), Some("photos "));
        assert_eq!(parsed("s3://photos/").as_deref(), Some("photos "));
        assert_eq!(parsed("s3://photos.eu/in/new/").as_deref(), Some("photos.eu in/new/"));
        assert_eq!(parsed("s3://photos/a b+ü").as_deref(), Some("photos a b+ü/"));
        assert_eq!(parsed("s3://photos/in?region=eu-west-1").as_deref(), Some("photos in/"));
        for url in
            ["s3://", "s3:photos", "s3://ab", "s3://Photos", "s3://photos/../x", "s3://photos//x", "dir:x"]
        {
            assert_eq!(parsed(url), None, "{url}");
        }
    }

    #[test]
    fn a_store_says_how_its_objects_are_encrypted_and_who_may_read_them() {
        let key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd";
        let url = format!("s3://photos/?encryption=kms&kms-key={key}&acl=bucket-owner-full-control");
        let address = Address::parse(&url).expect("valid");
        assert_eq!(address.put.encryption, Some(ServerSideEncryption::AwsKms));
        assert_eq!(address.put.kms_key.as_deref(), Some(key));
        assert_eq!(address.put.acl, Some(ObjectCannedAcl::BucketOwnerFullControl));
    }

    #[test]
    fn what_is_wrong_with_a_setting_is_said() {
        for (setting, said) in [
            ("region", "no value"),
            ("region=", "no value"),
            ("regoin=x", "one of region, encryption, kms-key, acl, addressing, bucket"),
            ("addressing=host", "one of path, virtual"),
            ("bucket=photos-in", "this store is a bucket"),
            ("encryption=rot13", "one of s3, kms, kms-dsse"),
            ("encryption=aws:kms", "called kms here"),
            ("region=a&region=b", "twice"),
            ("kms-key=x", "needs encryption=kms"),
            ("encryption=s3&kms-key=x", "needs encryption=kms"),
            ("acl=everybody", "public-read"),
        ] {
            let error = Address::parse(&format!("s3://photos?{setting}")).expect_err("invalid");
            assert!(error.contains(said), "{setting}: {error}");
        }
    }
}
