//! Parses names of buckets and access points, and tells their kinds apart.
//!
//! Source: "Bucket naming rules", "Access points" and "Directory buckets" in the S3 user guide. S3 reserves the
//! suffixes of names, so a name shows its kind.

/// Error text for a name that is invalid.
pub(super) const FORM: &str = "write s3://BUCKET or s3://BUCKET/PREFIX, with a bucket's name of 3 to 63 small letters, digits, dots and hyphens, and no empty or dotted part in the prefix; or the ARN of an access point in the bucket's place";
/// Form of a store's URL with the ARN of an access point.
const ACCESS_POINT: &str = "s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME";

/// The kind of resource that a name refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bucket,
    /// A bucket in one zone, which is accessed in sessions.
    Directory,
    /// `arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME`.
    AccessPoint,
    /// An alias that S3 created for an access point, and that takes the place of a bucket's name. Holds the kind of the
    /// access point.
    Alias(&'static str),
}

impl Kind {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            _ if name.starts_with("arn:") => Self::AccessPoint,
            _ if name.ends_with("--x-s3") => Self::Directory,
            _ if name.ends_with("-s3alias") => Self::Alias("an access point"),
            _ if name.ends_with("--xa-s3") => Self::Alias("an access point of a directory bucket"),
            _ if name.ends_with("--ol-s3") => Self::Alias("an Object Lambda access point"),
            _ if name.ends_with("--op-s3") => Self::Alias("an access point on Outposts"),
            _ => Self::Bucket,
        }
    }

    /// Returns whether the name is the ARN or an alias of an access point.
    pub(super) fn is_access_point(self) -> bool {
        matches!(self, Self::AccessPoint | Self::Alias(_))
    }

    /// Returns whether requests must name the resource in the host name, and not in the path.
    pub(super) fn is_named_by_host(self) -> bool {
        matches!(self, Self::AccessPoint | Self::Directory)
    }
}

/// Checks the name of a bucket, or the ARN or alias of an access point.
pub(super) fn bucket_or_access_point(text: &str) -> Result<String, String> {
    if text.starts_with("arn:") { access_point(text) } else { bucket(text) }
}

pub(super) fn bucket(text: &str) -> Result<String, String> {
    let is_bucket = (3..=63).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
    if text.ends_with(".mrap") {
        return Err("multi-region access points are not supported".into());
    }
    is_bucket.then(|| text.to_owned()).ok_or_else(|| FORM.into())
}

/// Returns the region in an ARN.
pub(super) fn region(bucket: &str) -> Option<String> {
    bucket.strip_prefix("arn:")?.split(':').nth(2).map(Into::into)
}

fn access_point(arn: &str) -> Result<String, String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, service, region, account, resource] = parts[..] else {
        return Err(format!("{arn:?} is not the ARN of an access point: write {ACCESS_POINT}"));
    };
    let unsupported = match (service, region, resource) {
        ("s3-outposts", ..) => Some("access points and buckets on Outposts are not supported"),
        ("s3-object-lambda", ..) => Some("Object Lambda access points are not supported"),
        ("s3express", _, resource) if resource.starts_with("bucket/") => {
            Some("a directory bucket is named without its ARN: write s3://BUCKET")
        }
        ("s3express", ..) => {
            Some("access points of directory buckets are not supported by ARN: write their alias")
        }
        ("s3", "", resource) if resource.starts_with("accesspoint") => {
            Some("multi-region access points are not supported")
        }
        ("s3", "", _) => Some("a bucket is named without its ARN: write s3://BUCKET"),
        _ => None,
    };
    if let Some(why) = unsupported {
        return Err(why.into());
    }
    let is_word =
        |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let is_access_point = partition.starts_with("aws")
        && is_word(partition)
        && service == "s3"
        && is_word(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && resource
            .strip_prefix("accesspoint/")
            .is_some_and(|name| (3..=50).contains(&name.len()) && is_word(name));
    is_access_point
        .then(|| arn.to_owned())
        .ok_or_else(|| format!("{arn:?} is not the ARN of an access point: write {ACCESS_POINT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_point_is_named_by_its_arn() {
        for arn in [
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/photos",
            "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint/photos-2",
        ] {
            assert_eq!(bucket_or_access_point(arn), Ok(arn.into()));
            assert!(region(arn).is_some_and(|region| region.ends_with("-1")));
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_its_name() {
        for (arn, said) in [
            ("arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap", "multi-region access points"),
            ("mfzwi23gnjvgw.mrap", "multi-region access points"),
            ("arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/a", "Outposts"),
            ("arn:aws:s3-object-lambda:us-west-2:123456789012:accesspoint/a", "Object Lambda"),
            ("arn:aws:s3express:us-west-2:123456789012:bucket/a--usw2-az1--x-s3", "directory bucket"),
            ("arn:aws:s3express:us-west-2:123456789012:accesspoint/a--usw2-az1--xa-s3", "directory buckets"),
            ("arn:aws:s3:::photos", "write s3://BUCKET"),
            ("arn:aws:s3:eu-west-1:1234:accesspoint/photos", ACCESS_POINT),
            ("arn:aws:s3:eu-west-1:123456789012:accesspoint/Photos", ACCESS_POINT),
            ("arn:aws:s3:eu-west-1:*:accesspoint/photos", ACCESS_POINT),
            ("arn:aws:sqs:eu-west-1:123456789012:photos", ACCESS_POINT),
            ("arn:aws:s3", ACCESS_POINT),
        ] {
            let error = bucket_or_access_point(arn).expect_err(arn);
            assert!(error.contains(said), "{arn}: {error}");
        }
    }

    #[test]
    fn a_name_tells_its_kind() {
        for (name, kind) in [
            ("photos", Kind::Bucket),
            ("photos--usw2-az1--x-s3", Kind::Directory),
            ("arn:aws:s3:eu-west-1:123456789012:accesspoint/photos", Kind::AccessPoint),
            ("photos-abcdef123-s3alias", Kind::Alias("an access point")),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }
}
