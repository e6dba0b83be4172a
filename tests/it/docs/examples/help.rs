//! What `--help` shows: the examples of each command.

use crate::harness::World;
use std::collections::BTreeMap;

/// The examples of each command that has some, by the command's words.
pub(super) fn all(world: &World, columns: u32) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    visit(world, columns, &[], &mut found);
    found
}

fn visit(world: &World, columns: u32, words: &[&str], found: &mut BTreeMap<String, Vec<String>>) {
    let Some(help) = help(world, columns, words) else { return };
    let examples = examples(&help);
    if !examples.is_empty() {
        found.insert(words.join(" "), examples);
    }
    // The program has commands of commands, and nothing below.
    if words.len() < 2 {
        for command in candidates(&help) {
            visit(world, columns, &[words, &[command]].concat(), found);
        }
    }
}

/// What a command says of itself. `None`: there is no such command.
fn help(world: &World, columns: u32, words: &[&str]) -> Option<Vec<String>> {
    let command = world.wasmrun(words.iter().copied()).arg("--help").env("COLUMNS", columns.to_string());
    let output = command.ends();
    let usage = format!("Usage: {}", [&["wasmrun"], words].concat().join(" "));
    let is_of_it = output.status.success() && output.stdout.iter().any(|line| line.starts_with(&usage));
    is_of_it.then_some(output.stdout)
}

/// Words at the beginning of indented lines, which may be commands.
fn candidates(help: &[String]) -> Vec<&str> {
    let words = help.iter().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    words.filter(|word| *word != "help" && word.chars().all(|c| c.is_ascii_lowercase())).collect()
}

/// The commands below `Examples:`, each in one piece, however many lines it has.
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
