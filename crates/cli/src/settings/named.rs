//! Settings that are given to a name: by flags, by variables whose names end in it, and in the file.

use crate::args::Cli;
use crate::failure::Failure;
use clap::CommandFactory;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::LazyLock;

/// Merges settings that are named by an alias.
pub(super) fn named(
    flag: &str,
    form: &str,
    flags: &[String],
    variables: &str,
    file: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let mut merged = file;
    for (name, value) in variables_with(variables) {
        merged.insert(name.to_ascii_lowercase().replace('_', "-"), value);
    }
    let mut typed = BTreeMap::new();
    for text in flags {
        let (alias, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("{flag} {text} is incomplete: write {flag} {form}")))?;
        if typed.insert(alias.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::usage(format!("{flag} names {alias} twice")));
        }
    }
    merged.extend(typed);
    for alias in merged.keys() {
        check_alias(alias)?;
    }
    Ok(merged)
}

/// Aliases are words that fit everywhere: in WIT, in variables, in metrics.
pub(crate) fn check_alias(alias: &str) -> Result<(), Failure> {
    let well_formed = (1..=64).contains(&alias.len())
        && alias.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if well_formed {
        Ok(())
    } else {
        Err(Failure::usage(format!("the alias {alias:?} isn't allowed: 1 to 64 of a-z, 0-9 and '-'")))
    }
}

/// The variables whose names start so; what follows is the name. Those of other settings, such as `WASMRUN_ON_LAPSE`
/// beside `WASMRUN_ON_RETRY`, are none.
pub(super) fn variables_with(prefix: &str) -> impl Iterator<Item = (String, String)> {
    static OF_FLAGS: LazyLock<BTreeSet<OsString>> = LazyLock::new(|| variables_of(&Cli::command()));
    std::env::vars_os().filter_map(move |(variable, value)| {
        let name = variable.to_str()?.strip_prefix(prefix)?.to_owned();
        let is_name = !name.is_empty() && !OF_FLAGS.contains(&variable);
        is_name.then_some((name, value.to_str()?.to_owned()))
    })
}

/// The variables of all flags.
fn variables_of(command: &clap::Command) -> BTreeSet<OsString> {
    let own = command.get_arguments().filter_map(|argument| argument.get_env().map(OsString::from));
    own.chain(command.get_subcommands().flat_map(variables_of)).collect()
}
