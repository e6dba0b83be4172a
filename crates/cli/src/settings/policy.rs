//! What follows from each outcome.

use super::named::named;
use crate::failure::Failure;
use std::collections::BTreeMap;
use wasmrun_runtime::outcome::{Action, Policy};

/// What follows from each outcome.
#[derive(Debug)]
pub(crate) struct PolicySetting {
    pub(crate) policy: Policy,
    /// The outcomes that the user sends to the dead-letter queue, which must then exist.
    pub(crate) dead_lettered: Vec<String>,
}

/// Merges what follows from each outcome.
pub(crate) fn policy(flags: &[String], file: BTreeMap<String, String>) -> Result<PolicySetting, Failure> {
    let (mut policy, mut dead_lettered) = (Policy::default(), Vec::new());
    for (outcome, action) in named("--on", "OUTCOME=ACTION", flags, "WASMRUN_ON_", file)? {
        let place = match outcome.as_str() {
            "retry" => &mut policy.retry,
            "rejected" => &mut policy.rejected,
            "limit-exceeded" => &mut policy.limit_exceeded,
            "timed-out" => &mut policy.timed_out,
            "trapped" => &mut policy.trapped,
            _ => {
                return Err(Failure::usage(format!(
                    "unknown outcome {outcome:?}: one of retry, rejected, limit-exceeded, timed-out, trapped"
                )));
            }
        };
        *place = match action.as_str() {
            "retry" => Action::Retry,
            "dead-letter" => {
                dead_lettered.push(outcome);
                Action::DeadLetter
            }
            "drop" => Action::Drop,
            _ => {
                return Err(Failure::usage(format!(
                    "unknown action {action:?} for {outcome}: one of retry, dead-letter, drop"
                )));
            }
        };
    }
    Ok(PolicySetting { policy, dead_lettered })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_outcomes_and_actions() {
        let set =
            policy(&["rejected=drop".into()], BTreeMap::from([("trapped".into(), "dead-letter".into())]));
        let PolicySetting { policy: set, dead_lettered } = set.expect("valid");
        assert_eq!(dead_lettered, ["trapped"]);
        assert_eq!((set.rejected, set.trapped, set.retry), (Action::Drop, Action::DeadLetter, Action::Retry));
        assert!(policy(&["completed=drop".into()], BTreeMap::new()).is_err());
        assert!(policy(&["rejected=delete".into()], BTreeMap::new()).is_err());
    }
}
