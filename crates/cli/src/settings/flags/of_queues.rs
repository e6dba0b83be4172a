//! Flags of a worker that have no meaning for a service, as it has no queue and no messages.

use super::TaskArgs;
use crate::settings::worker::WorkerSettings;

/// Whether a flag is set, as the settings of flags, variables and file are merged.
type IsSet = fn(&WorkerSettings, &TaskArgs) -> bool;

/// The flags, which the help of `serve` hides and `serve` refuses.
pub(super) const OF_QUEUES: [(&str, IsSet); 20] = [
    ("until-empty", |worker, _| worker.until_empty.is_some()),
    ("dead-letter", |worker, _| worker.dead_letter.is_some()),
    ("backoff", |worker, _| worker.backoff.is_some()),
    ("max-visibility", |worker, _| worker.max_visibility.is_some()),
    ("max-age", |worker, _| worker.max_age.is_some()),
    ("on-lease-expired", |worker, _| worker.on_lease_expired.is_some()),
    ("body-store", |worker, _| worker.body_store.is_some()),
    ("raw-body", |_, task| task.raw_body == Some(true)),
    ("max-consecutive-failures", |worker, _| worker.max_consecutive_failures.is_some()),
    ("key", |worker, _| worker.key.is_some()),
    ("max-per-key", |worker, _| worker.max_per_key.is_some()),
    ("budget-store", |worker, _| worker.budget_store.is_some()),
    ("over-budget", |worker, _| worker.over_budget.is_some()),
    ("prices", |worker, _| worker.prices.is_some()),
    ("notify", |worker, _| worker.notify.is_some()),
    ("complete-group", |worker, _| worker.complete_group.is_some()),
    ("group-store", |worker, _| worker.group_store.is_some()),
    ("once", |worker, _| worker.once.is_some()),
    ("once-by", |worker, _| worker.once_by.is_some()),
    ("once-window", |worker, _| worker.once_window.is_some()),
];

/// Returns the first of the flags that is set.
pub(crate) fn refused_by_service(worker: &WorkerSettings, task: &TaskArgs) -> Option<&'static str> {
    OF_QUEUES.iter().find(|(_, is_set)| is_set(worker, task)).map(|(flag, _)| *flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::flags::help;

    #[test]
    fn each_is_a_flag_of_serve_that_its_help_hides() {
        let command = help::command();
        let serve = command.find_subcommand("serve").expect("a command");
        for (flag, _) in OF_QUEUES {
            let arg = serve.get_arguments().find(|arg| arg.get_long() == Some(flag)).expect(flag);
            assert!(arg.is_hide_set(), "{flag}");
        }
    }
}
