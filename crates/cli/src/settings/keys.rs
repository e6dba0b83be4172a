//! Merges the settings of keys: where they are found, the cap, and the weight of each.

use super::named::{Named, WEIGHT};
use super::needs::{KEYS, no_effect};
use super::text::Written;
use super::worker::WorkerSettings;
use crate::output::failure::Failure;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use wasmrun_runtime::model::key::{Key, MOST_BYTES};
use wasmrun_runtime::worker::KeyOptions;
use wasmrun_runtime::worker::shares::{MOST_WEIGHT, ShareOptions};

/// The key that stands for all keys without a setting of their own.
pub(super) const OTHERS: &str = "*";

/// Returns how messages are told apart by their keys; `None` without `--key`.
pub(crate) fn key_options(
    worker: &WorkerSettings,
    flags: &[String],
    file: BTreeMap<String, u32>,
) -> Result<Option<KeyOptions>, Failure> {
    let shares = ShareOptions { max_per_key: worker.keys.max_per_key, ..weights(flags, file)? };
    let Some(source) = worker.keys.key.clone() else {
        shares_without_keys(&shares)?;
        return Ok(None);
    };
    Ok(Some(KeyOptions { source, shares }))
}

/// Refuses a cap and weights where there are no keys.
pub(super) fn shares_without_keys(shares: &ShareOptions) -> Result<(), Failure> {
    let has_weights = !shares.weights.is_empty() || shares.others.is_some();
    let unused = [("max-per-key", shares.max_per_key.is_some()), ("weight", has_weights)];
    match unused.into_iter().find(|(_, is_set)| *is_set) {
        Some((flag, _)) => Err(no_effect(flag, KEYS)),
        None => Ok(()),
    }
}

/// Merges the weights. Flags win over variables, and variables over the file.
fn weights(flags: &[String], file: BTreeMap<String, u32>) -> Result<ShareOptions, Failure> {
    let file = file.into_iter().map(|(key, weight)| (key, weight.to_string())).collect();
    shares(WEIGHT.merged(flags, file)?)
}

/// Returns the weights of flags alone.
pub(super) fn weights_of_flags(flags: &[String]) -> Result<ShareOptions, Failure> {
    shares(WEIGHT.pairs(flags)?)
}

/// Checks the weights.
fn shares(weights: BTreeMap<String, String>) -> Result<ShareOptions, Failure> {
    let mut shares = ShareOptions::default();
    for (key, text) in by_key(&WEIGHT, weights)? {
        let weight = NonZeroU32::read(&text).ok().filter(|weight| weight.get() <= MOST_WEIGHT);
        let Some(weight) = weight else {
            return Err(Failure::usage(format!(
                "--weight {key}={text}: expected a whole number from 1 to {MOST_WEIGHT}"
            )));
        };
        if key.as_str() == OTHERS {
            shares.others = Some(weight);
        } else {
            shares.weights.insert(key, weight);
        }
    }
    Ok(shares)
}

/// Checks the names of settings that are named by a key.
pub(super) fn by_key(
    named: &Named,
    merged: BTreeMap<String, String>,
) -> Result<BTreeMap<Key, String>, Failure> {
    let keyed = |(key, text): (String, String)| {
        if key.is_empty() || Key::new(&key).as_str() != key {
            return Err(Failure::usage(format!(
                "--{} {key}={text}: a key has between 1 and {MOST_BYTES} bytes",
                named.flag
            )));
        }
        Ok((Key::new(&key), text))
    };
    merged.into_iter().map(keyed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::worker::KeySettings;

    fn options(worker: WorkerSettings, flags: &[&str], file: &str) -> Result<Option<KeyOptions>, String> {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        key_options(&worker, &flags, toml::from_str(file).expect("a table"))
            .map_err(|error| error.to_string())
    }

    fn of_keys(keys: KeySettings) -> WorkerSettings {
        WorkerSettings { keys, ..WorkerSettings::default() }
    }

    fn by_group() -> WorkerSettings {
        of_keys(KeySettings { key: Some("group".parse().expect("a source")), ..KeySettings::default() })
    }

    #[test]
    fn weights_of_flags_win_over_the_file_by_key() {
        let (flags, file) = (["acme=5", "a=b=7", "*=4"], "acme = 2\n\"a b\" = 3\n'*' = 2");
        let set = options(by_group(), &flags, file).expect("valid").expect("keys");
        let weights: Vec<_> =
            set.shares.weights.iter().map(|(key, weight)| (key.as_str(), weight.get())).collect();
        assert_eq!(weights, [("a b", 3), ("a=b", 7), ("acme", 5)]);
        assert_eq!(set.shares.others.map(NonZeroU32::get), Some(4));
        assert_eq!(options(WorkerSettings::default(), &[], ""), Ok(None));
    }

    #[test]
    fn what_has_no_effect_or_is_out_of_range_is_refused() {
        for weight in ["a=0", "a=1001", "a=x", "a=", "*=0"] {
            let error = options(by_group(), &[weight], "").expect_err("refused");
            assert!(error.contains("from 1 to 1000"), "{error}");
        }
        let error = options(by_group(), &["a=1", "b=2", "a=1"], "").expect_err("refused");
        assert_eq!(error, "--weight names a twice");
        let capped = of_keys(KeySettings { max_per_key: NonZeroU32::new(1), ..KeySettings::default() });
        for (worker, weights, flag) in
            [(capped, &[][..], "--max-per-key"), (WorkerSettings::default(), &["a=1"], "--weight")]
        {
            let error = options(worker, weights, "").expect_err("refused");
            assert!(error.starts_with(flag) && error.contains("--key"), "{error}");
        }
        let error = options(WorkerSettings::default(), &["*=1"], "").expect_err("refused");
        assert!(error.starts_with("--weight has no effect"), "{error}");
    }
}
