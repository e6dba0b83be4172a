//! Settings with a name, such as the grant of an alias: of flags, of variables whose names end in the name, and of the
//! file.

use super::variables::variables_with;
use crate::output::failure::Failure;
use std::collections::BTreeMap;

/// A setting whose values have names.
pub(crate) struct Named {
    /// The flag, without dashes. The table of the file has the same name.
    pub(super) flag: &'static str,
    /// Form of the flag's value.
    form: &'static str,
    /// Whether variables set it: `WASMRUN_`, the flag and the name in capitals.
    has_variables: bool,
    /// Whether the names in variables are taken as they are. Otherwise capitals and `_` stand for small letters and `-`.
    keeps_case: bool,
    /// Whether a name may have a `=` itself, so that only the last one ends it.
    splits_last: bool,
}

pub(super) const ASSUME_ROLE: Named = Named::new("assume-role", "ALIAS=ARN");
pub(super) const BUDGET: Named = Named::new("budget", "KEY=UNIT:AMOUNT/PERIOD, or off").of_keys();
pub(super) const CONFIG_VALUE: Named = Named { keeps_case: true, ..Named::new("config-value", "KEY=VALUE") };
/// A path can't be in the name of a variable.
pub(super) const DIR: Named =
    Named { has_variables: false, ..Named::new("dir", "PATH=STORE[:PREFIX][:MODE]") };
pub(super) const ENV: Named = Named { keeps_case: true, ..Named::new("env", "KEY[=VALUE]") };
pub(super) const EXIT_CODE: Named = Named::new("exit-code", "CODE=OUTCOME");
pub(super) const KEYVALUE: Named = Named::new("keyvalue", "ALIAS=sqlite:FILE:MODE");
pub(super) const ON: Named = Named::new("on", "OUTCOME=ACTION");
pub(super) const SEND: Named = Named::new("send", "ALIAS=URL");
pub(super) const STORE: Named = Named::new("store", "ALIAS=URL:MODE");
pub(super) const WEIGHT: Named = Named::new("weight", "KEY=N").of_keys();

/// All settings with a name.
pub(super) static NAMED: [Named; 11] =
    [ASSUME_ROLE, BUDGET, CONFIG_VALUE, DIR, ENV, EXIT_CODE, KEYVALUE, ON, SEND, STORE, WEIGHT];

impl Named {
    const fn new(flag: &'static str, form: &'static str) -> Self {
        Self { flag, form, has_variables: true, keeps_case: false, splits_last: false }
    }

    /// A setting whose names are keys of messages, which may have any characters.
    const fn of_keys(self) -> Self {
        Self { keeps_case: true, splits_last: true, ..self }
    }

    /// Returns the setting of a flag, if its values have names.
    pub(super) fn of_flag(flag: &str) -> Option<&'static Self> {
        NAMED.iter().find(|named| named.flag == flag)
    }

    /// Returns how its variables begin after `WASMRUN_`, if it has variables.
    pub(super) fn family(&self) -> Option<String> {
        self.has_variables.then(|| format!("{}_", self.flag.to_ascii_uppercase().replace('-', "_")))
    }

    /// Splits a value of the flag into the name and what the name gets, which is `None` if there is no `=`.
    pub(super) fn split<'a>(&self, text: &'a str) -> (&'a str, Option<&'a str>) {
        let split = if self.splits_last { text.rsplit_once('=') } else { text.split_once('=') };
        split.map_or((text, None), |(name, value)| (name, Some(value)))
    }

    /// Returns the names and values of variables.
    pub(super) fn variables(&self) -> Result<Vec<(String, String)>, Failure> {
        let found = self.family().map_or(Ok(Vec::new()), |family| variables_with(&family))?;
        if self.keeps_case {
            return Ok(found);
        }
        let written = |name: String| name.to_ascii_lowercase().replace('_', "-");
        Ok(found.into_iter().map(|(name, value)| (written(name), value)).collect())
    }

    /// Splits the values of the flag. Refuses a name that is given twice.
    pub(super) fn typed<'a>(
        &self,
        flags: &'a [String],
    ) -> Result<BTreeMap<&'a str, Option<&'a str>>, Failure> {
        let mut typed = BTreeMap::new();
        for text in flags {
            let (name, value) = self.split(text);
            if typed.insert(name, value).is_some() {
                return Err(Failure::usage(format!("--{} names {name} twice", self.flag)));
            }
        }
        Ok(typed)
    }

    /// Splits the values of the flag as [`Named::typed`] does. Refuses a name without a value.
    pub(super) fn pairs(&self, flags: &[String]) -> Result<BTreeMap<String, String>, Failure> {
        let pair = |(name, value): (&str, Option<&str>)| match value {
            Some(value) => Ok((name.to_owned(), value.to_owned())),
            None => Err(incomplete(self.flag, self.form, name)),
        };
        self.typed(flags)?.into_iter().map(pair).collect()
    }

    /// Merges the settings name by name. Flags win over variables, and variables over the file.
    pub(super) fn merged(
        &self,
        flags: &[String],
        file: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let mut merged = file;
        merged.extend(self.variables()?);
        merged.extend(self.pairs(flags)?);
        Ok(merged)
    }

    /// Merges settings that are named by an alias, as [`Named::merged`] does.
    pub(super) fn merged_by_alias(
        &self,
        flags: &[String],
        file: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let merged = self.merged(flags, file)?;
        merged.keys().try_for_each(|alias| check_alias(alias))?;
        Ok(merged)
    }
}

/// Refuses variables of settings that only the messages of a queue have.
pub(crate) fn no_variables_of_messages() -> Result<(), Failure> {
    for named in [ON, WEIGHT, BUDGET] {
        let family = named.family().unwrap_or_default();
        if let Some((name, _)) = variables_with(&family)?.first() {
            return Err(Failure::usage(format!(
                "the variable WASMRUN_{family}{name} has no meaning for a service, which has no queue: unset it"
            )));
        }
    }
    Ok(())
}

/// Splits the value of a flag, which is given without dashes, at its first `=`.
pub(crate) fn name_and_value<'a>(
    flag: &str,
    form: &str,
    text: &'a str,
) -> Result<(&'a str, &'a str), Failure> {
    text.split_once('=').ok_or_else(|| incomplete(flag, form, text))
}

fn incomplete(flag: &str, form: &str, text: &str) -> Failure {
    Failure::usage(format!("--{flag} {text} is incomplete: write --{flag} {form}"))
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
