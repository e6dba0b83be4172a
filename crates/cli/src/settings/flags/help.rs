//! Arranges the help: commands and flags in groups, with the most used ones first.

use crate::settings::SettingsGroup;
use crate::settings::engine::CompileSettings;
use crate::settings::flags::Cli;
use crate::settings::limit_flags::LimitSettings;
use crate::settings::worker::{
    BudgetSettings, DeliverySettings, KeySettings, NotifySettings, OnceSettings, WorkerSettings,
};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory};
use std::fmt::Write as _;

/// Groups of commands by purpose. New users need the first group.
const COMMANDS: [(&str, &[&str]); 4] = [
    ("Start here", &["enqueue", "run", "invoke", "serve"]),
    ("Write a guest", &["new", "test", "dev"]),
    (
        "Queues and workers",
        &["queue", "replay", "report", "simulate", "top", "health", "pause", "resume", "cancel"],
    ),
    ("Components and rights", &["inspect", "compile", "push", "policy", "manifest", "completions"]),
];

/// A group of flags of `run`, `serve`, `invoke`, `replay`, `inspect` and `dev`, by their long names, with hyphens or underscores.
struct Group {
    heading: &'static str,
    /// Flags that `-h` and `--help` show.
    common: &'static [&'static str],
    /// Flags that only `--help` shows, in lists. A flag that is also in `common` is shown by both.
    others: &'static [&'static [&'static str]],
}

impl Group {
    fn flags(&self) -> impl Iterator<Item = &'static str> {
        self.common.iter().chain(self.others.iter().copied().flatten()).copied()
    }
}

/// Heading of the flags of commands, which a service is not.
const PROGRAMS: &str = "Commands (programs with main)";

const FLAGS: [Group; 14] = [
    Group {
        heading: "Service",
        common: &["listen", "queue-time"],
        others: &[&["queue-length", "connections"]],
    },
    Group { heading: "Dead letter", common: &[], others: &[&["max-messages", "max-time", "allow-receives"]] },
    Group { heading: "Project", common: &["component", "case"], others: &[] },
    Group {
        heading: "Queue",
        common: &["queue", "until-empty", "dead-letter", "on"],
        others: &[
            DeliverySettings::FLAGS,
            &["raw-body"],
            KeySettings::FLAGS,
            &["weight", "budget"],
            BudgetSettings::FLAGS,
            NotifySettings::FLAGS,
            OnceSettings::FLAGS,
        ],
    },
    Group {
        heading: "Message",
        common: &["message", "attribute", "http", "header"],
        others: &[&["group", "message-id", "sent-at"]],
    },
    Group {
        heading: "Grants",
        common: &["store", "send", "env"],
        others: &[&["keyvalue", "allow-http", "allow-http-address", "config-value", "dir", "assume-role"]],
    },
    Group { heading: PROGRAMS, common: &["arg", "input-object", "output-object"], others: &[&["exit-code"]] },
    Group {
        heading: "Limits of a task",
        common: &["memory", "timeout", "fuel"],
        others: &[LimitSettings::FLAGS],
    },
    Group {
        heading: "Concurrency",
        common: &["instances"],
        others: &[&[
            "rate",
            "target-latency",
            "backlog-per-instance",
            "scale-in-delay",
            "stop-timeout",
            "scale-in-protection",
            "component-refresh",
            "rollout",
        ]],
    },
    Group {
        heading: "Monitoring",
        common: &["status", "usage", "log", "json"],
        others: &[&["log-format", "usage-size", "emf", "otlp", "trace-sampling", "service", "control"]],
    },
    Group { heading: "Configuration", common: &["config", "check"], others: &[] },
    Group {
        heading: "Engine",
        common: &[],
        others: &[&["cache", "threads", "allocator", "deterministic"], CompileSettings::FLAGS],
    },
    Group { heading: "AWS", common: &[], others: &[&["endpoint-url"]] },
    Group { heading: "Registry", common: &[], others: &[&["registry-plain-http", "verify-key"]] },
];

/// Builds the command line, with its help in groups.
pub(crate) fn command() -> Command {
    let mut command = Cli::command().mut_subcommands(|command| match command.get_name() {
        "run" => grouped(command, "run"),
        "serve" => grouped(command.mut_args(hidden_of_queues), "serve"),
        "invoke" => grouped(command, "invoke"),
        "replay" => grouped(command, "replay"),
        "inspect" => grouped(command, "inspect"),
        "dev" => grouped(command, "dev"),
        _ => command,
    });
    command = negative_numbers_are_values(command);
    let screen = first_screen(&command);
    command.override_usage("wasmrun <COMMAND> [OPTIONS]").help_template(screen)
}

/// Hides flags that a service refuses.
fn hidden_of_queues(arg: Arg) -> Arg {
    let of_programs = FLAGS.iter().filter(|group| group.heading == PROGRAMS).flat_map(Group::flags);
    let of_messages = WorkerSettings::OF_MESSAGES.into_iter().flatten().copied();
    let mut hidden = of_programs.chain(of_messages).chain(["raw-body"]);
    let is_hidden = arg.get_long().is_some_and(|long| hidden.any(|flag| flag.replace('_', "-") == long));
    if is_hidden { arg.hide(true) } else { arg }
}

/// Makes clap read a negative number as a wrong value of its flag, not as an unknown flag.
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
    // clap gives each option two lines and a blank one.
    screen
        + "\nOptions:\n  -V, --version  Print the version; with --verbose also what the program was built from and with\n"
        + "  -h, --help     Print this help\n\n`wasmrun <COMMAND> -h` shows a command's common flags, `--help` all of them, with examples.\n"
}

/// Refuses flags of `dev` that only a worker has, if there is no queue: they would have no effect.
pub(crate) fn check(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some(("dev", typed)) = matches.subcommand() else { return Ok(()) };
    if typed.contains_id("queue") {
        return Ok(());
    }
    let mut command = command();
    let of_cases: Vec<String> = command.find_subcommand("test").map(longs).unwrap_or_default();
    let Some(dev) = command.find_subcommand_mut("dev") else { return Ok(()) };
    let is_typed = |id: &str| typed.value_source(id) == Some(ValueSource::CommandLine);
    let wrong = dev.get_arguments().filter(|arg| is_typed(arg.get_id().as_str()));
    let wrong = wrong.filter_map(Arg::get_long).find(|long| !of_cases.iter().any(|of| of == long));
    match wrong.map(str::to_owned) {
        Some(long) => Err(dev.error(
            ErrorKind::MissingRequiredArgument,
            format!("--{long} needs --queue URL: cases have their grants and limits in guest.toml"),
        )),
        None => Ok(()),
    }
}

/// Says what `--listen` is where the command doesn't have it. clap would suggest a flag with a similar spelling, and show how
/// it is used.
pub(crate) fn with_tip(mut error: clap::Error) -> clap::Error {
    let listen = ContextValue::String("--listen".to_owned());
    if error.kind() == ErrorKind::UnknownArgument && error.get(ContextKind::InvalidArg) == Some(&listen) {
        let tip = "only `wasmrun serve` has --listen, the address of its requests; the address of a worker's status is --status of `wasmrun run`";
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::Usage);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn longs(command: &Command) -> Vec<String> {
    command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect()
}

/// Arranges the flags of a command in groups.
fn grouped(command: Command, name: &'static str) -> Command {
    let place = |arg: &Arg| {
        let long = arg.get_long()?;
        FLAGS.iter().enumerate().find_map(|(index, group)| {
            let at = group.flags().position(|flag| flag.replace('_', "-") == long)?;
            Some((index, at))
        })
    };
    // clap shows headings in the order of their first flags.
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
        for name in ["run", "serve", "invoke", "replay", "inspect", "dev"] {
            let subcommand = command.find_subcommand(name).expect("a command");
            for flag in subcommand.get_arguments().filter(|arg| !arg.is_positional()) {
                assert!(flag.get_help_heading().is_some(), "{name} {flag}");
            }
        }
    }

    #[test]
    fn listen_on_a_worker_suggests_status() {
        for words in [["wasmrun", "run", "--listen", "9464"], ["wasmrun", "run", "x.wasm", "--listen=9464"]] {
            let error =
                with_tip(command().try_get_matches_from(words).expect_err("no such flag")).to_string();
            assert!(error.contains("a worker's status is --status"), "{error}");
            assert!(!error.contains("similar") && !error.contains("--instances"), "{error}");
        }
    }

    #[test]
    fn the_help_of_serve_hides_what_it_refuses() {
        let command = command();
        let serve = command.find_subcommand("serve").expect("a command");
        let of_groups = WorkerSettings::OF_MESSAGES.concat();
        for flag in of_groups.into_iter().chain(["raw-body"]).map(|flag| flag.replace('_', "-")) {
            let arg = serve.get_arguments().find(|arg| arg.get_long() == Some(flag.as_str())).expect(&flag);
            assert!(arg.is_hide_set(), "{flag}");
        }
    }
}
