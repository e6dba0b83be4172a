//! What tasks may touch: stores, queues to send to, and the roles that are assumed for them.

use super::named::named;
use crate::failure::Failure;
use std::collections::BTreeMap;
use wasmrun_aws::is_role;
use wasmrun_runtime::grant::Mode;

/// A grant of a store, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreSetting {
    pub(crate) alias: String,
    pub(crate) url: String,
    pub(crate) mode: Mode,
}

/// Merges the grants of stores: by alias, flags win over variables, and these over the file.
pub(crate) fn stores(flags: &[String], file: BTreeMap<String, String>) -> Result<Vec<StoreSetting>, Failure> {
    named("--store", "ALIAS=URL:MODE", flags, "WASMRUN_STORE_", file)?
        .into_iter()
        .map(|(alias, value)| {
            let (url, mode) = value.rsplit_once(':').filter(|(_, mode)| !mode.starts_with("//")).ok_or_else(|| {
                Failure::usage(format!(
                    "the store {alias}={value} has no mode: write ALIAS=URL:MODE with the mode ro, wo or rw"
                ))
            })?;
            let mode = mode
                .parse()
                .map_err(|error| Failure::usage(format!("the store {alias}={value} has an {error}")))?;
            Ok(StoreSetting { alias, url: url.to_owned(), mode })
        })
        .collect()
}

/// Merges the queues to send to: alias and URL.
pub(crate) fn sends(
    flags: &[String],
    file: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    named("--send", "ALIAS=URL", flags, "WASMRUN_SEND_", file)
}

/// Merges the roles that are assumed for grants: the ARN of each, by the grant's alias.
pub(crate) fn roles(
    flags: &[String],
    file: BTreeMap<String, String>,
    is_granted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, Failure> {
    let roles = named("--assume-role", "ALIAS=ARN", flags, "WASMRUN_ASSUME_ROLE_", file)?;
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
        if !is_role(role) {
            return Err(Failure::usage(format!(
                "{role:?} is no role: write its ARN, such as arn:aws:iam::123456789012:role/thumbs"
            )));
        }
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_an_alias_a_url_and_a_mode() {
        let stores = stores(&["in=dir:a=b:c:ro".into()], BTreeMap::new()).expect("valid");
        let expected = StoreSetting { alias: "in".into(), url: "dir:a=b:c".into(), mode: Mode::ReadOnly };
        assert_eq!(stores, [expected]);
    }

    #[test]
    fn what_is_wrong_with_a_grant_is_said() {
        let error = |flag: &str| stores(&[flag.into()], BTreeMap::new()).expect_err("invalid").to_string();
        assert!(error("in").contains("ALIAS=URL:MODE"));
        assert!(error("in=dir").contains("no mode"));
        assert!(error("in=dir:x").contains("unknown mode \"x\""));
        assert!(error("In=dir:x:ro").contains("alias"));
        let twice = ["a=dir:x:ro".to_owned(), "a=dir:y:ro".to_owned()];
        let error = stores(&twice, BTreeMap::new()).expect_err("invalid");
        assert!(error.to_string().contains("twice"));
    }
}
