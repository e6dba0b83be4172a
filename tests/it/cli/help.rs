//! The output of `--help` for a new user.

use crate::harness::World;

/// Width of the help when the output isn't a terminal.
const COLUMNS: usize = 100;

#[test]
fn the_first_screen_shows_how_to_call_it_and_the_commands_that_people_need_first() {
    let world = World::new();
    let help = world.wasmrun(["--help"]).succeeds();
    let at = |text: &str| {
        let found = help.stdout.iter().position(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("{text:?} isn't in {help}"))
    };
    at("Usage: wasmrun <COMMAND> [OPTIONS]");
    let (start, write, queues) = (at("Start here:"), at("Write a guest:"), at("Queues and workers:"));
    let first: Vec<&str> =
        help.stdout[start + 1..write - 1].iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(first, ["enqueue", "run", "invoke", "serve"], "{help}");
    assert!(
        (write..queues).contains(&at("  test         ")) && (write..queues).contains(&at("  dev          "))
    );
    let others = "queue replay report simulate top health pause resume cancel inspect compile push policy manifest \
                  completions";
    for command in others.split(' ') {
        assert!(at(&format!("  {command:<12} ")) > queues);
    }
    assert!(help.stdout.len() <= 42, "it is one screen: {help}");
    // Without arguments, the program prints the same and fails.
    assert!(world.wasmrun([]).ends().exited_with(2).stderr.concat().contains("Start here:"));
}

#[test]
fn run_shows_the_common_flags_first_and_all_of_them_in_groups() {
    let world = World::new();
    let short = world.wasmrun(["run", "-h"]).succeeds();
    let long = world.wasmrun(["run", "--help"]).succeeds();
    let has = |lines: &[String], flag: &str| lines.iter().any(|line| line.trim_start().starts_with(flag));
    for flag in ["--queue", "--store", "--until-empty", "--memory", "--timeout", "--instances", "--config"] {
        assert!(has(&short.stdout, flag) && has(&long.stdout, flag), "{flag}: {short}");
    }
    for flag in ["--table-elements", "--compile-memory", "--on-lease-expired", "--endpoint-url", "--emf"] {
        assert!(!has(&short.stdout, flag) && has(&long.stdout, flag), "{flag}: {short}");
    }
    assert!(short.to_string().contains("All flags and examples: wasmrun run --help"), "{short}");
    let headings: Vec<&str> = long
        .stdout
        .iter()
        .filter(|line| !line.starts_with(' ') && line.ends_with(':'))
        .map(|line| line.trim_end_matches(':'))
        .collect();
    let expected = [
        "Arguments",
        "Options",
        "Queue",
        "Grants",
        "Commands (programs with main)",
        "Limits of a task",
        "Concurrency",
        "Monitoring",
        "Configuration",
        "Engine",
        "AWS",
        "Registry",
        "Examples",
    ];
    assert_eq!(headings, expected, "{long}");
    let queue = long.stdout.iter().position(|line| line == "Queue:").expect("a group");
    assert!(long.stdout[queue + 1].trim_start().starts_with("--queue "), "{long}");
}

/// The commands with examples, each with the words that name it.
const WITH_EXAMPLES: [&[&str]; 19] = [
    &["run"],
    &["serve"],
    &["invoke"],
    &["enqueue"],
    &["new"],
    &["test"],
    &["dev"],
    &["queue"],
    &["inspect"],
    &["compile"],
    &["push"],
    &["policy"],
    &["report"],
    &["simulate"],
    &["health"],
    &["top"],
    &["manifest"],
    &["manifest", "kubernetes"],
    &["manifest", "ecs"],
];

#[test]
fn no_line_of_an_example_is_wrapped_and_every_other_line_is_filled() {
    let world = World::new();
    for columns in [80, COLUMNS] {
        for command in WITH_EXAMPLES {
            let help = world.wasmrun(command.iter().copied()).arg("--help");
            let help = help.env("COLUMNS", columns.to_string()).succeeds();
            let from = help.stdout.iter().position(|line| line.starts_with("Example")).expect("examples");
            let examples = help.stdout[from + 1..].iter().take_while(|line| !line.is_empty());
            let mut continues = false;
            for line in examples {
                assert!(line.len() <= columns, "{line}");
                // Only a line that continues a command has this indentation, so no line is wrapped by the help itself.
                let is_whole = continues == line.starts_with("      ") && line.starts_with("  ");
                assert!(is_whole, "{command:?}: {line}");
                continues = line.ends_with('\\');
            }
            // A paragraph that was broken by hand has short lines where the terminal is narrower.
            for lines in help.stdout.windows(2) {
                let is_text = |line: &str| !line.is_empty() && !line.starts_with(' ') && !line.ends_with(':');
                let [line, next] = [&lines[0], &lines[1]];
                if is_text(line) && is_text(next) {
                    let word = next.split(' ').next().unwrap_or_default();
                    assert!(line.len() + 1 + word.len() > columns, "{command:?}: {line}\n{next}");
                }
            }
        }
    }
}
