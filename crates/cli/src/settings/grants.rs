//! Grants of tasks: stores, queues to send to, key-value buckets, HTTP requests, and the roles that are assumed for them.

use super::by_key::{refuse_key, without_key};
use super::named::{ASSUME_ROLE, DIR, KEYVALUE, SEND, STORE, well_formed_alias};
use super::text::named_texts;
use crate::output::failure::Failure;
use serde::Deserializer;
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use wasmrun_aws::is_role;
use wasmrun_runtime::task::by_key::Scope;
use wasmrun_runtime::task::directory::Directory;
use wasmrun_runtime::task::grant::Mode;
use wasmrun_runtime::task::http::{AddressRule, HttpRule};

/// Grant of a store or of a key-value bucket, as written in a flag, a variable or the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreSetting {
    pub(crate) alias: String,
    /// Without `{key}`: the URL of what holds the parts of all keys.
    pub(crate) url: String,
    pub(crate) mode: Mode,
    pub(crate) scope: Scope,
}

/// Merges the grants of stores: by alias, flags win over variables, and these over the file.
pub(crate) fn stores(flags: &[String], file: BTreeMap<String, String>) -> Result<Vec<StoreSetting>, Failure> {
    stores_of(STORE.merged_by_alias(flags, file)?)
}

/// Parses the grants of stores, which are of one place.
pub(super) fn stores_of(grants: BTreeMap<String, String>) -> Result<Vec<StoreSetting>, Failure> {
    grants.into_iter().map(|(alias, value)| store(&alias, &value).map_err(Failure::usage)).collect()
}

/// Merges the grants of key-value buckets: by alias, flags win over variables, and these over the file.
pub(crate) fn buckets(
    flags: &[String],
    file: BTreeMap<String, String>,
) -> Result<Vec<StoreSetting>, Failure> {
    buckets_of(KEYVALUE.merged_by_alias(flags, file)?)
}

/// Parses the grants of key-value buckets, which are of one place.
pub(super) fn buckets_of(grants: BTreeMap<String, String>) -> Result<Vec<StoreSetting>, Failure> {
    grants.into_iter().map(|(alias, value)| bucket(&alias, &value).map_err(Failure::usage)).collect()
}

/// Parses `sqlite:FILE:MODE`, the grant of a bucket.
fn bucket(alias: &str, value: &str) -> Result<StoreSetting, String> {
    let setting = with_mode("key-value bucket", "ALIAS=sqlite:FILE:MODE", alias, value)?;
    match without_key(&setting.url) {
        Ok((_, Scope::All)) => Ok(setting),
        _ => Err(format!(
            "the key-value bucket {alias}={value} has {{key}}, which only the prefix of a --store can have: begin the bucket's keys with it"
        )),
    }
}

/// Parses `URL:MODE`, the grant of a store.
fn store(alias: &str, value: &str) -> Result<StoreSetting, String> {
    let setting = with_mode("store", "ALIAS=URL:MODE", alias, value)?;
    let (url, scope) =
        without_key(&setting.url).map_err(|error| format!("the store {alias}={value} is wrong: {error}"))?;
    Ok(StoreSetting { url, scope, ..setting })
}

fn with_mode(what: &str, form: &str, alias: &str, value: &str) -> Result<StoreSetting, String> {
    // In `dir:in` and `s3://bucket` the last colon belongs to the scheme, so there is no mode.
    let is_mode = |mode: &str| mode.parse::<Mode>().is_ok();
    let parts = value
        .rsplit_once(':')
        .filter(|(url, mode)| is_mode(mode) || (url.contains(':') && !mode.starts_with("//")));
    let Some((url, mode)) = parts else {
        return Err(format!(
            "the {what} {alias}={value} has no mode: write {form} with the mode ro, wo or rw, such as {alias}={value}:ro"
        ));
    };
    let mode = mode.parse().map_err(|error| format!("the {what} {alias}={value} has an {error}"))?;
    Ok(StoreSetting { alias: alias.to_owned(), url: url.to_owned(), mode, scope: Scope::All })
}

/// Reads the stores of the configuration file.
pub(super) fn stores_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |alias, value| well_formed_alias(alias).and(store(alias, value).map(drop)))
}

/// Reads the key-value buckets of the configuration file.
pub(super) fn buckets_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |alias, value| well_formed_alias(alias).and(bucket(alias, value).map(drop)))
}

/// Reads the configuration file's queues to send to.
pub(super) fn sends_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |alias, _| well_formed_alias(alias))
}

/// Merges the granted directories: by path, flags win over the file.
pub(crate) fn directories(
    flags: &[String],
    file: BTreeMap<String, String>,
) -> Result<Vec<Arc<Directory>>, Failure> {
    let merged = DIR.merged(flags, file)?;
    let parsed = merged.iter().map(|(path, granted)| {
        let directory = Directory::parse(path, granted).map(Arc::new);
        directory.map_err(|wrong| Failure::usage(format!("--dir {path}={granted}: {wrong}")))
    });
    parsed.collect()
}

/// Reads the directories of the configuration file.
pub(super) fn directories_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |path, granted| Directory::parse(path, granted).map(drop))
}

/// Reads the roles of the configuration file.
pub(super) fn roles_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |alias, arn| well_formed_alias(alias).and(role(arn)))
}

fn role(arn: &str) -> Result<(), String> {
    if is_role(arn) {
        return Ok(());
    }
    Err(format!("{arn:?} is no role: write its ARN, such as arn:aws:iam::123456789012:role/thumbs"))
}

/// Merges the queues to send to. Returns the URL of each by its alias.
pub(crate) fn sends(
    flags: &[String],
    file: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    checked_sends(SEND.merged_by_alias(flags, file)?)
}

/// Checks the queues to send to, which are of one place.
pub(super) fn checked_sends(sends: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
    sends.values().try_for_each(|url| refuse_key("the queue", url))?;
    Ok(sends)
}

/// Grants that need rights on AWS.
pub(crate) struct AwsGrants {
    pub(crate) stores: Vec<StoreSetting>,
    /// URL of each queue by its alias.
    pub(crate) sends: BTreeMap<String, String>,
    /// ARN of each assumed role by the alias of its grant.
    pub(crate) roles: BTreeMap<String, String>,
}

/// Grant of HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HttpSetting {
    pub(crate) rules: Vec<HttpRule>,
    pub(crate) addresses: Vec<AddressRule>,
}

/// Merges the grant of HTTP. A list of flags or of a variable replaces that of the file.
pub(crate) fn http(
    rules: &[String],
    addresses: &[String],
    file: HttpSetting,
) -> Result<HttpSetting, Failure> {
    let setting = HttpSetting {
        rules: listed("--allow-http", rules, file.rules)?,
        addresses: listed("--allow-http-address", addresses, file.addresses)?,
    };
    match setting.addresses.first() {
        Some(address) if setting.rules.is_empty() => Err(Failure::usage(format!(
            "--allow-http-address {address} allows nothing without a host: add --allow-http HOST"
        ))),
        _ => Ok(setting),
    }
}

fn listed<T: FromStr<Err = String>>(flag: &str, flags: &[String], file: Vec<T>) -> Result<Vec<T>, Failure> {
    if flags.is_empty() {
        return Ok(file);
    }
    let parse = |text: &String| text.parse().map_err(|error| Failure::usage(format!("{flag}: {error}")));
    flags.iter().map(parse).collect()
}

/// Merges the roles that are assumed for grants. Returns the ARN of each by the alias of its grant. Refuses a role for
/// an alias that `is_granted` doesn't know.
pub(crate) fn roles(
    flags: &[String],
    file: BTreeMap<String, String>,
    is_granted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, Failure> {
    checked_roles(ASSUME_ROLE.merged_by_alias(flags, file)?, is_granted)
}

/// Checks roles, which are of one place, as [`roles`] does.
pub(super) fn checked_roles(
    roles: BTreeMap<String, String>,
    is_granted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, Failure> {
    for (alias, role) in &roles {
        if role.is_empty() {
            return Err(Failure::usage(format!(
                "--assume-role {alias}= is incomplete: write --assume-role ALIAS=ARN"
            )));
        }
        if !is_granted(alias) {
            return Err(Failure::usage(format!(
                "the role {role} is for {alias}, and neither a --store nor a --send has that alias"
            )));
        }
        self::role(role).map_err(Failure::usage)?;
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_an_alias_a_url_and_a_mode() {
        let stores = stores(&["in=dir:a=b:c:ro".into()], BTreeMap::new()).expect("valid");
        let (url, mode, scope) = ("dir:a=b:c".into(), Mode::ReadOnly, Scope::All);
        let expected = StoreSetting { alias: "in".into(), url, mode, scope };
        assert_eq!(stores, [expected]);
    }

    #[test]
    fn a_flag_wins_over_the_file_for_the_same_path() {
        let file = [("/in", "input:ro"), ("/out", "output:wo")];
        let file = file.map(|(path, granted)| (path.to_owned(), granted.to_owned()));
        let merged = directories(&["/in=other:a/".into()], file.into()).expect("valid");
        let expected = [("/in", "other:a/"), ("/out", "output:wo")];
        let expected = expected.map(|(path, granted)| Directory::parse(path, granted).map(Arc::new));
        assert_eq!(merged, expected.map(|directory| directory.expect("valid")));
        for flags in [&["/in"][..], &["in=x"], &["/in=x", "/in=y"]] {
            let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
            assert!(directories(&flags, BTreeMap::new()).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_grant_is_said() {
        let error = |flag: &str| stores(&[flag.into()], BTreeMap::new()).expect_err("invalid").to_string();
        assert!(error("in").contains("ALIAS=URL:MODE"));
        assert!(error("in=dir").contains("no mode"));
        assert!(error("in=dir:x").contains("has no mode") && error("in=dir:x").contains("in=dir:x:ro"));
        assert!(error("in=s3://bucket").contains("has no mode"));
        assert!(error("in=dir:x:y").contains("unknown mode \"y\""));
        assert!(error("In=dir:x:ro").contains("alias"));
        let twice = ["a=dir:x:ro".to_owned(), "a=dir:y:ro".to_owned()];
        let error = stores(&twice, BTreeMap::new()).expect_err("invalid");
        assert!(error.to_string().contains("twice"));
    }
}
