//! Merges settings with a name, such as an alias: from flags, variables whose names end in the name, and the file.

use super::variables::variables_with;
use crate::output::failure::Failure;
use std::collections::BTreeMap;

/// Merges settings that are named by an alias. Flags win over variables, and variables over the file.
pub(super) fn named(
    flag: &str,
    form: &str,
    flags: &[String],
    variables: &str,
    file: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut merged = file;
    for (name, value) in variables_with(variables)? {
        merged.insert(name.to_ascii_lowercase().replace('_', "-"), value);
    }
    merged.extend(pairs(flag, form, flags)?);
    for alias in merged.keys() {
        check_alias(alias)?;
    }
    Ok(merged)
}

/// Splits each value of a flag at its first `=`. Refuses a name that is given twice.
pub(super) fn pairs(flag: &str, form: &str, flags: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let mut pairs = BTreeMap::new();
    for text in flags {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{flag} {text} is incomplete: write {flag} {form}")))?;
        if pairs.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("{flag} names {name} twice")));
        }
    }
    Ok(pairs)
}

/// Checks an alias. Its characters are allowed everywhere: in WIT, in variables and in metrics.
pub(crate) fn check_alias(alias: &str) -> Result<(), Failure> {
    well_formed_alias(alias).map_err(Failure::usage)
}

pub(super) fn well_formed_alias(alias: &str) -> Result<(), String> {
    let well_formed = (1..=64).contains(&alias.len())
        && alias.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if well_formed {
        Ok(())
    } else {
        Err(format!("the alias {alias:?} is not allowed: 1 to 64 of a-z, 0-9 and '-'"))
    }
}
