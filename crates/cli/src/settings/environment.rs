//! The environment that a task sees.

use super::named::ENV;
use crate::output::failure::Failure;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// Value of an environment key in the file: a text, or `true` for the worker's own value.
#[derive(Clone, Debug)]
pub(crate) enum EnvValue {
    Text(String),
    Inherited(bool),
}

impl<'de> Deserialize<'de> for EnvValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = EnvValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes, or true for the worker's own value")
            }

            fn visit_str<E>(self, text: &str) -> Result<EnvValue, E> {
                Ok(EnvValue::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, is_inherited: bool) -> Result<EnvValue, E> {
                Ok(EnvValue::Inherited(is_inherited))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// Merges the environment of tasks from flags, variables and the file.
pub(super) fn merged(
    flags: &[String],
    file: BTreeMap<String, EnvValue>,
) -> Result<BTreeMap<String, EnvValue>, Failure> {
    let mut merged = file;
    merged.extend(ENV.variables()?.into_iter().map(|(key, value)| (key, EnvValue::Text(value))));
    for (key, value) in ENV.typed(flags)? {
        let value = value.map_or(EnvValue::Inherited(true), |value| EnvValue::Text(value.to_owned()));
        merged.insert(key.to_owned(), value);
    }
    Ok(merged)
}

/// Checks an environment, and finds the worker's own values.
pub(super) fn environment(values: BTreeMap<String, EnvValue>) -> Result<Vec<(String, String)>, Failure> {
    let mut environment = Vec::new();
    for (key, value) in values {
        let value = match value {
            EnvValue::Text(text) => Some(text),
            EnvValue::Inherited(true) => None,
            EnvValue::Inherited(false) => continue,
        };
        check_variable(&key, value.as_deref())?;
        let value = value.map_or_else(|| inherited(&key), Ok)?;
        environment.push((key, value));
    }
    Ok(environment)
}

/// Refuses an environment key or value that no program can have.
pub(crate) fn check_variable(key: &str, value: Option<&str>) -> Result<(), Failure> {
    if key.is_empty() || key.contains(['=', '\0']) {
        return Err(Failure::usage(format!("the environment key {key:?} is not allowed")));
    }
    if value.is_some_and(|value| value.contains('\0')) {
        return Err(Failure::usage(format!("the value of the environment key {key} holds a NUL")));
    }
    Ok(())
}

/// Returns the worker's own value of an environment key. Refuses keys that may hold the worker's credentials.
fn inherited(key: &str) -> Result<String, Failure> {
    if key.starts_with("AWS_") || key.starts_with("ECS_") {
        return Err(Failure::usage(format!(
            "the environment key {key} may hold the worker's credentials or lead to them: give it a value of its own (--env {key}=VALUE) or leave it out"
        )));
    }
    std::env::var(key).map_err(|_| {
        Failure::usage(format!("the environment key {key} is not set (or is not UTF-8): set it, or give a value with --env {key}=VALUE"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_flags_name_twice_is_refused() {
        for flags in [["A=1", "A=2"], ["A=1", "A"], ["A", "A=1"]] {
            let error = merged(&flags.map(str::to_owned), BTreeMap::new()).expect_err("refused");
            assert_eq!(error.to_string(), "--env names A twice");
        }
    }

    #[test]
    fn credentials_of_the_worker_are_not_passed_on_by_name() {
        let typed = |flag: &str| merged(&[flag.to_owned()], BTreeMap::new()).and_then(environment);
        let error = typed("AWS_SECRET_ACCESS_KEY").expect_err("refused").to_string();
        assert!(error.contains("credentials"), "{error}");
        let given = typed("AWS_REGION=x").expect("explicit");
        assert_eq!(given, [("AWS_REGION".to_owned(), "x".to_owned())]);
    }
}
