//! What `--help` shows: commands and flags in groups, those that most people need first.

use crate::settings::flags::Cli;
use crate::settings::limit_flags::LimitSettings;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write as _;

/// The commands by what they are for. Those in the first group are what people need at first.
const COMMANDS: [(&str, &[&str]); 4] = [
    ("Start here", &["enqueue", "run", "invoke"]),
    ("Queues and results", &["queue", "report"]),
    ("Workers", &["top", "health"]),
    ("Components and rights", &["inspect", "compile", "policy", "completions"]),
];

/// A group of the flags of `run` and of what shares them, by their long names (of which a field has underscores).
struct Group {
    heading: &'static str,
    /// Shown by `-h` as well.
    common: &'static [&'static str],
    /// Shown by `--help` alone. Those that are common as well are shown by `-h`.
    others: &'static [&'static str],
}

const FLAGS: [Group; 9] = [
    Group {
        heading: "Queue",
        common: &["queue", "until-empty", "dead-letter", "on"],
        others: &[
            "backoff",
            "max-visibility",
            "on-lease-expired",
            "body-store",
            "raw-body",
            "max-consecutive-failures",
        ],
    },
    Group { heading: "Message", common: &["message", "attribute"], others: &["message-id", "sent-at"] },
    Group { heading: "Grants", common: &["store", "send", "env"], others: &["assume-role"] },
    Group {
        heading: "Limits of a task",
        common: &["memory", "timeout", "fuel"],
        others: LimitSettings::FLAGS,
    },
    Group {
        heading: "Concurrency",
        common: &["instances"],
        others: &[
            "rate",
            "target-latency",
            "backlog-per-instance",
            "scale-in-delay",
            "stop-timeout",
            "scale-in-protection",
        ],
    },
    Group {
        heading: "Monitoring",
        common: &["listen", "usage", "log", "json"],
        others: &["log-format", "usage-size", "emf", "service"],
    },
    Group { heading: "Configuration", common: &["config", "check"], others: &[] },
    Group {
        heading: "Engine",
        common: &[],
        others: &[
            "cache",
            "threads",
            "allocator",
            "deterministic",
            "precompiled",
            "compile-memory",
            "compile-time",
        ],
    },
    Group { heading: "AWS", common: &[], others: &["endpoint-url"] },
];

/// The command line as it is parsed and explained.
pub(crate) fn command() -> Command {
    let mut command = Cli::command().mut_subcommands(|command| match command.get_name() {
        "run" => grouped(command, "run"),
        "invoke" => grouped(command, "invoke"),
        _ => command,
    });
    command = negative_numbers_are_values(command);
    let screen = first_screen(&command);
    command.override_usage("wasmrun <COMMAND> [OPTIONS]").help_template(screen)
}

/// A number below zero is a wrong value of its flag, and not a flag that nobody knows.
fn negative_numbers_are_values(command: Command) -> Command {
    command
        .mut_args(|arg| {
            if arg.get_action().takes_values() && !arg.is_positional() {
                arg.allow_negative_numbers(true)
            } else {
                arg
            }
        })
        .mut_subcommands(negative_numbers_are_values)
}

fn first_screen(command: &Command) -> String {
    let mut screen = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in COMMANDS {
        let _ = writeln!(screen, "\n{title}:");
        for found in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let about = found.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(screen, "  {:<12} {about}", found.get_name());
        }
    }
    screen
        + "\nOptions:\n{options}\n\n`wasmrun <COMMAND> -h` shows a command's common flags, `--help` all of them, with examples.\n"
}

/// The same command with its flags in groups.
fn grouped(command: Command, name: &'static str) -> Command {
    let place = |arg: &Arg| {
        let name = arg.get_long()?;
        FLAGS.iter().enumerate().find_map(|(index, group)| {
            let at =
                group.common.iter().chain(group.others).position(|flag| flag.replace('_', "-") == name)?;
            Some((index, at))
        })
    };
    // Headings come in the order of the flags that they are the headings of.
    let mut flags: Vec<Arg> = command.get_arguments().cloned().collect();
    flags.sort_by_key(place);
    let flags = flags.into_iter().map(|flag| match place(&flag) {
        None => flag,
        Some((index, at)) => {
            let group = &FLAGS[index];
            let is_common = at < group.common.len();
            flag.help_heading(group.heading).display_order(at).hide_short_help(!is_common)
        }
    });
    let more = format!("All flags and examples: wasmrun {name} --help");
    let examples = command.get_after_help().cloned().unwrap_or_default();
    let about = command.get_about().cloned().unwrap_or_default();
    Command::new(name).about(about).after_help(more).after_long_help(examples).args(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_and_each_flag_is_in_a_group() {
        let command = command();
        let grouped: Vec<&str> = COMMANDS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for subcommand in command.get_subcommands() {
            assert!(grouped.contains(&subcommand.get_name()), "{}", subcommand.get_name());
        }
        for name in ["run", "invoke"] {
            let subcommand = command.find_subcommand(name).expect("a command");
            for flag in subcommand.get_arguments().filter(|arg| !arg.is_positional()) {
                assert!(flag.get_help_heading().is_some(), "{name} {flag}");
            }
        }
    }
}
