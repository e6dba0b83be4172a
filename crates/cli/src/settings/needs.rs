//! Refuses settings that have no effect, as the setting that they belong to is not set.

use super::worker::WorkerSettings;
use crate::output::failure::Failure;

/// What `--key` gives to the settings that need it.
pub(super) const KEYS: &str = "keys: add --key, such as --key group";

/// Returns the error for a flag that has no effect. `without`: what is missing, and what to add.
pub(super) fn no_effect(flag: &str, without: &str) -> Failure {
    Failure::usage(format!("--{flag} has no effect without {without}"))
}

/// Refuses settings of a worker that have no effect. Those of keys and of budgets are checked where these are merged.
/// `has_usage` and `has_usage_size`: whether a usage file and its size are set.
pub(crate) fn check_needs(
    worker: &WorkerSettings,
    has_usage: bool,
    has_usage_size: bool,
) -> Result<(), Failure> {
    let WorkerSettings { component_refresh, rollout, notify, once, .. } = worker;
    let (has_groups, has_ledger) = (notify.complete_group.is_some(), once.once.is_some());
    let refresh = "new versions: add --component-refresh, such as --component-refresh 1m";
    let ledger = "a ledger: add --once, such as --once sqlite:ledger.db";
    let needs = [
        ("usage-size", has_usage_size, has_usage, "a usage file: add --usage, such as --usage usage.jsonl"),
        ("rollout", rollout.is_some(), component_refresh.is_some(), refresh),
        ("complete-group", has_groups, notify.notify.is_some(), "a recipient: add --notify QUEUE"),
        ("group-store", notify.group_store.is_some(), has_groups, "groups: add --complete-group ATTRIBUTE"),
        ("once-by", once.once_by.is_some(), has_ledger, ledger),
        ("once-window", once.once_window.is_some(), has_ledger, ledger),
    ];
    match needs.into_iter().find(|(_, is_set, has_needed, _)| *is_set && !has_needed) {
        Some((flag, _, _, without)) => Err(no_effect(flag, without)),
        None if has_groups && notify.group_store.is_none() => Err(Failure::usage(
            "--complete-group needs a place to count messages: add --group-store sqlite:FILE or s3://BUCKET/PREFIX",
        )),
        None => Ok(()),
    }
}
