//! The pages that come from the program: commands, configuration, limits and metrics.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{
    help::{self, Flag, Program},
    metrics,
};
use crate::places::Places;

const NOTE: &str = "<!-- Written by `cargo xtask docs` from the program: do not edit it. -->";
/// Keys of the file that are no flags.
const FILE_ALONE: [&str; 2] = ["route", "unmatched"];
/// The group of `run --help` with the limits.
const LIMITS: &str = "Limits of a task";

/// File name and text of each page. `committed`: the folder with the pages as they are, where they are only compared.
pub(super) fn pages(places: &Places, committed: Option<&Path>) -> Result<[(&'static str, String); 4]> {
    let program = Program::built(places)?;
    let help = program.help(&["run"])?.context("there is no command `run`")?;
    let mut flags = help::flags(&help)?;
    flags.extend(of_services(&program)?);
    let expected = committed.map(|folder| fs::read_to_string(folder.join("metrics.md")).unwrap_or_default());
    let metrics = metrics::page(places, &program, |text| {
        let text = format!("{NOTE}\n\n{text}");
        (expected.as_ref() == Some(&text), text)
    })?;
    Ok([
        ("cli.md", format!("{NOTE}\n\n{}", commands(&program)?)),
        ("configuration.md", format!("{NOTE}\n\n{}", configuration(&program, &flags)?)),
        ("limits.md", format!("{NOTE}\n\n{}", limits(&flags))),
        ("metrics.md", metrics),
    ])
}

/// The flags that only `serve` has.
fn of_services(program: &Program) -> Result<impl Iterator<Item = Flag>> {
    let help = program.help(&["serve"])?.context("there is no command `serve`")?;
    Ok(help::flags(&help)?.into_iter().filter(|flag| flag.group == "Service"))
}

fn commands(program: &Program) -> Result<String> {
    let mut page = "\
# Commands

What `--help` prints. `wasmrun COMMAND -h` prints a command's common flags only.
"
    .to_owned();
    for words in [vec![vec![]], program.commands()?].concat() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let help =
            program.help(&words)?.with_context(|| format!("there is no command `{}`", words.join(" ")))?;
        let heading = [&["wasmrun"], &words[..]].concat().join(" ");
        page += &format!("\n## {heading}\n\n```text\n{help}\n```\n");
    }
    Ok(page)
}

fn limits(flags: &[Flag]) -> String {
    let mut page = "\
# Limits

The flags that bound a task. In the configuration file they are keys of `[limits]`, without the
dashes. [Limits](../concepts/limits.md) says what each of them means and what happens beyond it.

| flag | default | variable | bounds |
|---|---|---|---|
"
    .to_owned();
    for flag in flags.iter().filter(|flag| flag.group == LIMITS) {
        let default = flag.default.as_deref().unwrap_or("–");
        let variable = flag.variable.as_deref().unwrap_or("–");
        page += &row(&[code(&flag.shown), default.into(), code(variable), flag.text.clone()]);
    }
    page
}

fn configuration(program: &Program, flags: &[Flag]) -> Result<String> {
    let mut page = "\
# Configuration

The settings of `wasmrun run`, and of `wasmrun serve` where that has others: flags, environment variables, and keys of the file that `--config`
names. [Configure a worker](../guides/configuration.md) has an example of the file, and says which of
the three takes precedence. [Commands](cli.md#wasmrun-run) says what each flag does. The limits of a
task have [a page of their own](limits.md).
"
    .to_owned();
    let keys = keys(program, flags)?;
    let mut group = "";
    for flag in flags.iter().filter(|flag| flag.name != "help" && flag.group != LIMITS) {
        if flag.group != group {
            group = &flag.group;
            page +=
                &format!("\n## {group}\n\n| flag | variable | in the file | default |\n|---|---|---|---|\n");
        }
        let key = keys.iter().find(|key| key.flag == flag.name);
        let is_table = key.is_some_and(|key| key.section.is_none()) && flag.variable.is_none();
        // What has a name carries it in the variable. Paths of directories can't be in one; exit codes can.
        let is_named = (is_table && flag.name != "dir") || flag.name == "exit-code";
        let capitals = flag.name.to_uppercase().replace('-', "_");
        let variable = match &flag.variable {
            Some(variable) => code(variable),
            None if is_named => code(&format!("WASMRUN_{capitals}_NAME")),
            None => "–".into(),
        };
        let key = match key {
            Some(key) if is_table => format!("`[{}]`", key.name),
            Some(Key { section: Some(section), name, .. }) => format!("`[{section}]` `{name}`"),
            Some(key) => code(&key.name),
            None => "–".into(),
        };
        let default = flag.default.as_deref().unwrap_or("–");
        page += &row(&[code(&flag.shown), variable, key, default.into()]);
    }
    page += &routes(program)?;
    Ok(page)
}

/// The keys that only the file has.
fn routes(program: &Program) -> Result<String> {
    let of = |header| -> Result<String> {
        let keys = program.keys(header)?.context("the program does not name the keys of a route")?;
        Ok(keys.iter().map(|key| code(key)).collect::<Vec<_>>().join(", "))
    };
    let (route, conditions) = (of("[[route]]")?, of("[[route]]\n[route.match]")?);
    Ok(format!(
        "
## Routes

Only the file has `unmatched` and the tables `[[route]]`, which [Routes](../guides/routes.md) explains.

| table | keys |
|---|---|
| the file | `unmatched`: `\"default\"` or `\"reject\"` |
| `[[route]]` | {route} |
| `match` of a route | {conditions} |
"
    ))
}

/// A key of the configuration file.
struct Key {
    section: Option<String>,
    name: String,
    /// Whose setting it is.
    flag: String,
}

/// The keys of the file that have a flag: all but [`FILE_ALONE`].
fn keys(program: &Program, flags: &[Flag]) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    for top in program.keys("")?.context("the program does not name the keys of its file")? {
        if FILE_ALONE.contains(&top.as_str()) {
            continue;
        }
        match program.keys(&format!("[{top}]"))? {
            // `[log] level` is `--log`, `[log] format` is `--log-format`.
            Some(names) => {
                for name in names {
                    let flag = [format!("{top}-{name}"), name.clone(), top.clone()];
                    keys.push((Some(top.clone()), name, flag.to_vec()));
                }
            }
            None => keys.push((None, top.clone(), vec![top.clone(), top.to_uppercase()])),
        }
    }
    let key = |(section, name, candidates): (Option<String>, String, Vec<String>)| {
        let flag = candidates.into_iter().find(|candidate| flags.iter().any(|flag| flag.name == *candidate));
        let flag = flag.with_context(|| format!("the key `{name}` of the configuration file has no flag"))?;
        Ok(Key { section, name, flag })
    };
    keys.into_iter().map(key).collect()
}

pub(super) fn code(text: &str) -> String {
    if text == "–" { text.into() } else { format!("`{}`", text.replace('|', "\\|")) }
}

/// A row of a table.
pub(super) fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}
