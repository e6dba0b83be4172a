//! Finds `WASMRUN_*` variables: those of flags, those that end in a name, and unknown ones.

use super::flags::Cli;
use super::named::{NAMED, Named};
use super::text::nearest;
use crate::output::failure::Failure;
use clap::CommandFactory;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::LazyLock;

/// Variables of all flags.
static OF_FLAGS: LazyLock<BTreeSet<OsString>> = LazyLock::new(|| variables_of(&Cli::command()));

/// Returns the variables of a family, such as `STORE_`: what follows it in each name, and the value. Skips variables of
/// flags: `WASMRUN_ON_LEASE_EXPIRED` starts like `WASMRUN_ON_RETRY`, and belongs to a flag.
///
/// # Errors
///
/// A value isn't UTF-8.
pub(super) fn variables_with(family: &str) -> Result<Vec<(String, String)>, Failure> {
    let found = std::env::vars_os().filter_map(|(variable, value)| {
        let name = variable.to_str()?.strip_prefix(PREFIX)?.strip_prefix(family)?.to_owned();
        let is_name = !name.is_empty() && !OF_FLAGS.contains(&variable);
        let not_utf8 = |_| Failure::usage(format!("the variable {PREFIX}{family}{name} is not UTF-8 text"));
        is_name.then(|| value.into_string().map_err(not_utf8).map(|value| (name.clone(), value)))
    });
    found.collect()
}

/// Prefix of all variables.
const PREFIX: &str = "WASMRUN_";
/// Beginnings of the variables that end in a name, without [`PREFIX`].
static FAMILIES: LazyLock<Vec<String>> = LazyLock::new(|| NAMED.iter().filter_map(Named::family).collect());
/// Beginnings of the variables that Kubernetes sets in every container for a service named `wasmrun`, without
/// [`PREFIX`].
const OF_SERVICES: [&str; 3] = ["SERVICE_HOST", "SERVICE_PORT", "PORT"];

/// Warns of variables that look like settings but aren't.
pub(crate) fn warn_of_unknown_variables() {
    for (variable, _) in std::env::vars_os() {
        let Some(name) = variable.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let is_name =
            FAMILIES.iter().any(|family| name.len() > family.len() && name.starts_with(family.as_str()));
        let is_service = OF_SERVICES.iter().any(|service| name.starts_with(service));
        if is_name || is_service || OF_FLAGS.contains(&variable) {
            continue;
        }
        let variable = format!("{PREFIX}{name}");
        match nearest_variable(name) {
            Some(near) => {
                let near = format!("{PREFIX}{near}");
                tracing::warn!(variable, did_you_mean = near, "ignored an unknown variable");
            }
            None => tracing::warn!(variable, "ignored an unknown variable"),
        }
    }
}

/// Returns the variable that the user probably meant. All names are without the prefix, which would make any two
/// similar.
fn nearest_variable(name: &str) -> Option<String> {
    let of_flags = OF_FLAGS.iter().filter_map(|known| known.to_str()?.strip_prefix(PREFIX));
    if let Some(near) = nearest(name, of_flags) {
        return Some(near.to_owned());
    }
    // A variable of a family may end in any name, so only its beginning is compared.
    FAMILIES.iter().find_map(|family| {
        let (beginning, end) = name.split_at_checked(family.len())?;
        nearest(beginning, [family.as_str()]).map(|near| format!("{near}{end}"))
    })
}

/// Describes the argument or the variable that isn't UTF-8.
pub(crate) fn not_utf8() -> String {
    let mut before = String::new();
    for argument in std::env::args_os().skip(1) {
        let shown = argument.to_string_lossy().into_owned();
        if argument.to_str().is_none() {
            return match shown.split_once('=') {
                Some((flag, _)) if flag.starts_with("--") => format!("the value of {flag}"),
                _ if before.starts_with('-') => format!("the value of {before}"),
                _ => format!("the argument {shown}"),
            };
        }
        before = shown;
    }
    let variable = std::env::vars_os()
        .find(|(variable, value)| value.to_str().is_none() && OF_FLAGS.contains(variable))
        .map(|(variable, _)| variable.to_string_lossy().into_owned());
    variable.map_or_else(|| "an argument".into(), |name| format!("the variable {name}"))
}

/// Returns the variables of all flags of a command and its subcommands.
fn variables_of(command: &clap::Command) -> BTreeSet<OsString> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env().map(OsString::from));
    own.chain(command.get_subcommands().flat_map(variables_of)).collect()
}
