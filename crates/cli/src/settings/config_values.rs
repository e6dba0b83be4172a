//! The values that a task reads through `wasi:config`.

use super::text::named_texts;
use crate::output::failure::Failure;
use serde::Deserializer;
use std::collections::BTreeMap;

/// Maximum number of bytes of all keys and values together. A task may ask for all of them at once.
const MAX_BYTES: usize = 128 << 10;

/// Refuses values that are too large together, and an empty key.
pub(crate) fn check_config_values(values: &BTreeMap<String, String>) -> Result<(), Failure> {
    values.keys().try_for_each(|key| well_formed(key, "")).map_err(Failure::usage)?;
    let bytes: usize = values.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_BYTES {
        return Err(Failure::usage(format!(
            "the configuration values of tasks (--config-value) have {bytes} bytes with their keys, more than {MAX_BYTES}: keep large ones in a store"
        )));
    }
    Ok(())
}

/// Reads the values of the configuration file.
pub(super) fn config_values_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, well_formed)
}

fn well_formed(key: &str, _: &str) -> Result<(), String> {
    if key.is_empty() { Err("a configuration value has no key: write KEY=VALUE".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::grants::{GrantArgs, GrantTable};

    #[test]
    fn values_are_bounded_together_and_a_key_is_given_once() {
        let values = |flags: &[String]| {
            let args = GrantArgs { config_value: flags.to_vec(), ..GrantArgs::default() };
            args.over(GrantTable::default())?.plan().map(|plan| plan.config_values)
        };
        let read = values(&["greeting=a=b".into(), "empty=".into()]).expect("valid");
        assert_eq!((read["greeting"].as_str(), read["empty"].as_str()), ("a=b", ""));
        for (flags, says) in [
            (vec!["=x".to_owned()], "no key"),
            (vec!["x".to_owned()], "--config-value KEY=VALUE"),
            (vec!["a=1".to_owned(), "a=2".to_owned()], "twice"),
            (vec![format!("a={}", "x".repeat(MAX_BYTES))], "more than 131072"),
        ] {
            let error = values(&flags).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        assert!(values(&[format!("a={}", "x".repeat(MAX_BYTES - 1))]).is_ok());
    }
}
