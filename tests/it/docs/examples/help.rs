//! The examples of each command in the output of `--help`.

use crate::harness::{World, repository};
use std::collections::BTreeMap;
use std::fs;

/// The examples of each command that has any, by the command's words. The list of commands is the page of commands,
/// which `cargo xtask docs --check` compares with the program.
pub(super) fn all(world: &World, columns: u32) -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(repository().join("docs/src/reference/cli.md")).expect("a page");
    let commands = page.lines().filter_map(|line| line.strip_prefix("## wasmrun "));
    let all = commands.map(|command| (command.to_owned(), of(world, command, columns)));
    all.filter(|(_, examples)| !examples.is_empty()).collect()
}

/// The examples of one command.
pub(crate) fn of(world: &World, command: &str, columns: u32) -> Vec<String> {
    let words = command.split(' ').chain(["--help"]);
    examples(&world.wasmrun(words).env("COLUMNS", columns.to_string()).succeeds().stdout)
}

/// The commands below `Examples:`, each joined into one string if it has several lines.
fn examples(help: &[String]) -> Vec<String> {
    let mut examples: Vec<String> = Vec::new();
    let mut goes_on = false;
    let start = help.iter().skip_while(|line| !line.starts_with("Example")).skip(1);
    let lines = start.take_while(|line| line.starts_with("  ") || line.is_empty());
    for line in lines.filter(|line| !line.is_empty()) {
        match examples.last_mut() {
            Some(last) if goes_on => *last += &format!("\n{line}"),
            _ => examples.push(line.trim_start().to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    examples
}
