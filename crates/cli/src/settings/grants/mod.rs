//! Grants of tasks: stores, directories, queues to send to, key-value buckets, HTTP requests, the roles that are assumed
//! for them, environment and configuration values.
//!
//! The grants of flags and variables are merged with those of the file before they are validated, so that those of a route,
//! which only the file has, are validated in the same way.
//!
//! | module | owns |
//! |---|---|
//! | `table` | the keys of grants in the file |
//! | `args` | the flags, and how these and variables are merged with the file |

mod args;
pub(super) mod table;

pub(crate) use self::args::GrantArgs;
pub(crate) use self::table::GrantTable;

use super::by_key::{refuse_key, without_key};
use super::config_values::check_config_values;
use super::environment::environment;
use crate::output::failure::Failure;
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmrun_aws::is_role;
use wasmrun_runtime::task::by_key::Scope;
use wasmrun_runtime::task::directory::Directory;
use wasmrun_runtime::task::grant::Mode;
use wasmrun_runtime::task::http::{AddressRule, HttpRule};

/// The grants of a component's tasks, validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GrantPlan {
    pub(crate) stores: Vec<StoreSetting>,
    pub(crate) directories: Vec<Arc<Directory>>,
    /// URL of each queue to send to, by its alias.
    pub(crate) sends: BTreeMap<String, String>,
    /// Key-value buckets.
    pub(crate) buckets: Vec<StoreSetting>,
    /// ARN of each assumed role, by the alias of its grant.
    pub(crate) roles: BTreeMap<String, String>,
    pub(crate) http: HttpSetting,
    pub(crate) env: Vec<(String, String)>,
    /// Values of `wasi:config`.
    pub(crate) config_values: BTreeMap<String, String>,
}

/// Grant of a store or of a key-value bucket, as written in a flag, a variable or the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreSetting {
    pub(crate) alias: String,
    /// Without `{key}`: the URL of what holds the parts of all keys.
    pub(crate) url: String,
    pub(crate) mode: Mode,
    pub(crate) scope: Scope,
}

/// Grant of HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HttpSetting {
    pub(crate) rules: Vec<HttpRule>,
    pub(crate) addresses: Vec<AddressRule>,
}

impl GrantTable {
    /// Returns only the grants that may need rights on AWS.
    pub(crate) fn on_aws(self) -> Self {
        let Self { store, send, assume_role, .. } = self;
        Self { store, send, assume_role, ..Self::default() }
    }

    /// Validates the grants.
    ///
    /// # Errors
    ///
    /// Names the first wrong one.
    pub(crate) fn plan(self) -> Result<GrantPlan, Failure> {
        self.send.values().try_for_each(|url| refuse_key("the queue", url))?;
        self.check_roles()?;
        check_config_values(&self.config_value)?;
        Ok(GrantPlan {
            stores: parsed(&self.store, store)?,
            directories: directories(&self.dir)?,
            sends: self.send,
            buckets: parsed(&self.keyvalue, bucket)?,
            roles: self.assume_role,
            http: http(self.allow_http, self.allow_http_address)?,
            env: environment(self.env)?,
            config_values: self.config_value,
        })
    }

    /// Checks the roles. Refuses one for an alias that neither a store nor a queue has.
    fn check_roles(&self) -> Result<(), Failure> {
        for (alias, role) in &self.assume_role {
            if role.is_empty() {
                return Err(Failure::usage(format!(
                    "--assume-role {alias}= is incomplete: write --assume-role ALIAS=ARN"
                )));
            }
            if !self.store.contains_key(alias) && !self.send.contains_key(alias) {
                return Err(Failure::usage(format!(
                    "the role {role} is for {alias}, and neither a --store nor a --send has that alias"
                )));
            }
            check_role(role).map_err(Failure::usage)?;
        }
        Ok(())
    }
}

/// Parses grants by their aliases.
fn parsed(
    grants: &BTreeMap<String, String>,
    parse: fn(&str, &str) -> Result<StoreSetting, String>,
) -> Result<Vec<StoreSetting>, Failure> {
    grants.iter().map(|(alias, value)| parse(alias, value).map_err(Failure::usage)).collect()
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

/// Parses directories by their paths.
pub(crate) fn directories(grants: &BTreeMap<String, String>) -> Result<Vec<Arc<Directory>>, Failure> {
    let parsed = grants.iter().map(|(path, granted)| {
        let directory = Directory::parse(path, granted).map(Arc::new);
        directory.map_err(|wrong| Failure::usage(format!("--dir {path}={granted}: {wrong}")))
    });
    parsed.collect()
}

fn check_role(arn: &str) -> Result<(), String> {
    if is_role(arn) {
        return Ok(());
    }
    Err(format!("{arn:?} is no role: write its ARN, such as arn:aws:iam::123456789012:role/thumbs"))
}

fn http(rules: Vec<HttpRule>, addresses: Vec<AddressRule>) -> Result<HttpSetting, Failure> {
    match addresses.first() {
        Some(address) if rules.is_empty() => Err(Failure::usage(format!(
            "--allow-http-address {address} allows nothing without a host: add --allow-http HOST"
        ))),
        _ => Ok(HttpSetting { rules, addresses }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges and validates grants of flags and of the file.
    fn plan(args: &GrantArgs, file: GrantTable) -> Result<GrantPlan, String> {
        args.over(file).and_then(GrantTable::plan).map_err(|failure| failure.to_string())
    }

    fn of_stores(flags: &[&str]) -> Result<Vec<StoreSetting>, String> {
        let store = flags.iter().map(|&flag| flag.to_owned()).collect();
        plan(&GrantArgs { store, ..GrantArgs::default() }, GrantTable::default()).map(|plan| plan.stores)
    }

    #[test]
    fn a_store_is_an_alias_a_url_and_a_mode() {
        let stores = of_stores(&["in=dir:a=b:c:ro"]).expect("valid");
        let (url, mode, scope) = ("dir:a=b:c".into(), Mode::ReadOnly, Scope::All);
        let expected = StoreSetting { alias: "in".into(), url, mode, scope };
        assert_eq!(stores, [expected]);
    }

    #[test]
    fn a_flag_wins_over_the_file_for_the_same_path() {
        let merged = |flags: &[&str], file: &[(&str, &str)]| {
            let dir = flags.iter().map(|&flag| flag.to_owned()).collect();
            let file = file.iter().map(|&(path, granted)| (path.to_owned(), granted.to_owned())).collect();
            let args = GrantArgs { dir, ..GrantArgs::default() };
            plan(&args, GrantTable { dir: file, ..GrantTable::default() }).map(|plan| plan.directories)
        };
        let directories =
            merged(&["/in=other:a/"], &[("/in", "input:ro"), ("/out", "output:wo")]).expect("valid");
        let expected = [("/in", "other:a/"), ("/out", "output:wo")];
        let expected = expected.map(|(path, granted)| Directory::parse(path, granted).map(Arc::new));
        assert_eq!(directories, expected.map(|directory| directory.expect("valid")));
        for flags in [&["/in"][..], &["in=x"], &["/in=x", "/in=y"]] {
            assert!(merged(flags, &[]).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_grant_is_said() {
        let error = |flag: &str| of_stores(&[flag]).expect_err("invalid");
        assert!(error("in").contains("ALIAS=URL:MODE"));
        assert!(error("in=dir").contains("no mode"));
        assert!(error("in=dir:x").contains("has no mode") && error("in=dir:x").contains("in=dir:x:ro"));
        assert!(error("in=s3://bucket").contains("has no mode"));
        assert!(error("in=dir:x:y").contains("unknown mode \"y\""));
        assert!(error("In=dir:x:ro").contains("alias"));
        let error = of_stores(&["a=dir:x:ro", "a=dir:y:ro"]).expect_err("invalid");
        assert!(error.contains("twice"));
    }
}
