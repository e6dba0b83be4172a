//! `{key}` in the URL of a store: each task reaches only the part of its message's key.

use super::grants::StoreSetting;
use crate::output::failure::Failure;
use std::num::NonZeroU32;
use wasmrun_runtime::model::key::KeySource;
use wasmrun_runtime::task::by_key::Scope;
use wasmrun_runtime::task::grant::check_key;

/// What stands for the key of a message.
const KEY: &str = "{key}";

/// Takes `{key}` out of the URL of a store. Returns the URL of the store that holds the parts of all keys, and what of it
/// a task reaches.
///
/// # Errors
///
/// Says where `{key}` can't be, without a full stop.
pub(super) fn without_key(url: &str) -> Result<(String, Scope), String> {
    // Only a store in S3 has settings.
    let (place, settings) = match url.find('?').filter(|_| url.starts_with("s3:")) {
        Some(at) => url.split_at(at),
        None => (url, ""),
    };
    if settings.contains(KEY) {
        return Err(format!("{KEY} can only be in its prefix, not in its settings"));
    }
    let Some((before, below)) = place.split_once(KEY) else { return Ok((url.to_owned(), Scope::All)) };
    if below.contains(KEY) {
        return Err(format!("{KEY} can be in its prefix only once"));
    }
    let bucket = before.strip_prefix("s3://").map(|rest| rest.trim_matches('/'));
    // The ARN of an access point has a slash before the name.
    if bucket.is_some_and(|bucket| bucket.is_empty() || bucket.starts_with("arn:") && !bucket.contains('/')) {
        return Err(format!(
            "{KEY} cannot stand for a bucket or an access point, as these names are global: a key could name somebody else's"
        ));
    }
    if !before.ends_with('/') || !(below.is_empty() || below.starts_with('/')) {
        return Err(format!("{KEY} has to be a whole segment of its prefix, such as PREFIX/{KEY}/thumbs"));
    }
    let below = below.strip_prefix('/').unwrap_or(below).trim_end_matches('/');
    let is_plain = |segment: &str| !matches!(segment, "" | "." | "..");
    let is_right = below.is_empty() || check_key(below).is_ok() && below.split('/').all(is_plain);
    if !is_right {
        return Err(format!("what follows {KEY} has an empty segment, `.` or `..`"));
    }
    let below = if below.is_empty() { String::new() } else { format!("{below}/") };
    Ok((format!("{before}{settings}"), Scope::EachKey { below }))
}

/// Refuses `{key}` where it would be taken literally.
pub(crate) fn refuse_key(what: &str, url: &str) -> Result<(), Failure> {
    if url.contains(KEY) {
        return Err(Failure::usage(format!(
            "{what} {url} has {KEY}, which only the prefix of a --store can have: write it out"
        )));
    }
    Ok(())
}

/// Checks that messages have keys that can name parts of the stores.
pub(super) fn check_source(stores: &[StoreSetting], source: Option<&KeySource>) -> Result<(), Failure> {
    let Some(store) = stores.iter().find(|store| store.scope != Scope::All) else { return Ok(()) };
    let alias = &store.alias;
    match source {
        None => Err(Failure::usage(format!(
            "the store {alias} has {KEY} in its prefix, and no key of messages is set: add --key, such as --key group (a service has no keys)"
        ))),
        Some(KeySource::ObjectPrefix(segments)) if *segments > NonZeroU32::MIN => {
            Err(Failure::usage(format!(
                "the store {alias} has {KEY} in its prefix, and a key of several segments cannot name one: use --key object-prefix:1"
            )))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_a_whole_segment_of_a_prefix() {
        for (url, base, below) in [
            ("s3://photos/{key}", "s3://photos/", ""),
            ("s3://photos/{key}/", "s3://photos/", ""),
            ("s3://photos/in/{key}/new/", "s3://photos/in/", "new/"),
            ("s3://photos/{key}/a/b?region=eu-west-1", "s3://photos/?region=eu-west-1", "a/b/"),
            (
                "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/in/{key}",
                "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/in/",
                "",
            ),
            ("dir:/srv/{key}/in", "dir:/srv/", "in/"),
            ("dir:in/{key}", "dir:in/", ""),
        ] {
            let scope = Scope::EachKey { below: below.into() };
            assert_eq!(without_key(url), Ok((base.to_owned(), scope)), "{url}");
        }
        for url in ["s3://photos/in", "dir:in/key", "dir:in/{Key}?"] {
            assert_eq!(without_key(url), Ok((url.to_owned(), Scope::All)), "{url}");
        }
    }

    #[test]
    fn where_the_key_cannot_be_is_said() {
        for (url, said) in [
            ("s3://{key}", "cannot stand for a bucket"),
            ("s3://{key}/in", "cannot stand for a bucket"),
            ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/{key}", "cannot stand for a bucket"),
            ("s3://photos-{key}/in", "a whole segment"),
            ("s3://photos/x{key}", "a whole segment"),
            ("s3://photos/{key}x/in", "a whole segment"),
            ("s3://photos/{key}/{key}", "only once"),
            ("s3://photos/{key}/../in", "`..`"),
            ("s3://photos/{key}//in", "an empty segment"),
            ("s3://photos/in?region={key}", "not in its settings"),
            ("dir:{key}", "a whole segment"),
            ("dir:{key}/in", "a whole segment"),
            ("dir:in/{key}/.", "`.`"),
        ] {
            let error = without_key(url).expect_err(url);
            assert!(error.contains(said), "{url}: {error}");
        }
    }
}
