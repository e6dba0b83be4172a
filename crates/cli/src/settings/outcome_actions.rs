//! Merges the action for each outcome.

use super::named::ON;
use super::text::{Written, named_texts};
use crate::output::failure::Failure;
use serde::Deserializer;
use std::collections::BTreeMap;
use wasmrun_runtime::model::outcome::{Action, Policy};

/// The action for each outcome.
#[derive(Debug)]
pub(crate) struct OutcomeActions {
    pub(crate) policy: Policy,
    /// The outcomes that the user sends to the dead-letter queue, which must then exist.
    pub(crate) dead_lettered: Vec<String>,
}

/// Merges the actions of flags, variables and the file into the default policy.
pub(crate) fn outcome_actions(
    flags: &[String],
    file: BTreeMap<String, String>,
) -> Result<OutcomeActions, Failure> {
    let (mut policy, mut dead_lettered) = (Policy::default(), Vec::new());
    for (outcome, action) in ON.merged(flags, file)? {
        let action = set(&mut policy, &outcome, &action)
            .map_err(|wrong| Failure::usage(format!("--on {outcome}={action}: {wrong}")))?;
        if action == Action::DeadLetter {
            dead_lettered.push(outcome);
        }
    }
    Ok(OutcomeActions { policy, dead_lettered })
}

/// Sets the action for an outcome, and returns it.
fn set(policy: &mut Policy, outcome: &str, action: &str) -> Result<Action, String> {
    let place = match outcome {
        "retry" => &mut policy.retry,
        "rejected" => &mut policy.rejected,
        "limit-exceeded" => &mut policy.limit_exceeded,
        "timed-out" => &mut policy.timed_out,
        "trapped" => &mut policy.trapped,
        "expired" if action == "retry" => {
            return Err("a message that is too old stays too old: dead-letter or drop".into());
        }
        "expired" => &mut policy.expired,
        _ => {
            return Err(format!(
                "unknown outcome {outcome:?}: one of retry, rejected, limit-exceeded, timed-out, trapped, expired"
            ));
        }
    };
    *place = Action::read(action)
        .map_err(|_| format!("unknown action {action:?} for {outcome}: one of retry, dead-letter, drop"))?;
    Ok(*place)
}

/// Reads the actions of the configuration file.
pub(super) fn actions_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |outcome, action| set(&mut Policy::default(), outcome, action).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_outcomes_and_actions() {
        let set = outcome_actions(
            &["rejected=drop".into()],
            BTreeMap::from([("trapped".into(), "dead-letter".into())]),
        );
        let OutcomeActions { policy: set, dead_lettered } = set.expect("valid");
        assert_eq!(dead_lettered, ["trapped"]);
        assert_eq!((set.rejected, set.trapped, set.retry), (Action::Drop, Action::DeadLetter, Action::Retry));
        let error = outcome_actions(&["timed_out=drop".into()], BTreeMap::new()).expect_err("refused");
        assert!(error.to_string().contains("one of retry, rejected, limit-exceeded, timed-out"), "{error}");
        assert!(outcome_actions(&["completed=drop".into()], BTreeMap::new()).is_err());
        assert!(outcome_actions(&["rejected=delete".into()], BTreeMap::new()).is_err());
        assert!(outcome_actions(&["expired=drop".into()], BTreeMap::new()).is_ok());
        assert!(outcome_actions(&["expired=retry".into()], BTreeMap::new()).is_err());
    }
}
