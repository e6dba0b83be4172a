//! `wasi:config`: values by `--config-value`.

use super::invoke;
use crate::harness::{Command, World, guest};

/// What the task found, which is the reason of its rejection.
#[track_caller]
fn found(world: &World, message: &str, flags: &[&str]) -> String {
    invoke(world, message).args(flags).reason("rejected")
}

#[test]
fn a_value_is_found_only_if_it_is_granted() {
    let world = World::new();
    assert_eq!(found(&world, "config-get greeting", &[]), "None");
    assert_eq!(found(&world, "config-all", &[]), "[]");
    let flags = ["--config-value", "greeting=a=b ü", "--config-value", "empty=", "--env", "other=x"];
    assert_eq!(found(&world, "config-get greeting", &flags), "Some(\"a=b ü\")");
    assert_eq!(found(&world, "config-get empty", &flags), "Some(\"\")");
    assert_eq!(found(&world, "config-get other", &flags), "None");
    assert_eq!(found(&world, "config-get PATH", &flags), "None");
    assert_eq!(found(&world, "config-all", &flags), "[(\"empty\", \"\"), (\"greeting\", \"a=b ü\")]");
}

#[test]
fn flags_win_over_variables_and_these_over_the_file() {
    let world = World::new();
    world.write("wasmrun.toml", "[config-value]\na = 'file'\nb = 'file'\nc = 'file'\n'd.e' = 'file'\n");
    let output = invoke(&world, "config-all")
        .args(["--config", "wasmrun.toml", "--config-value", "a=flag"])
        .env("WASMRUN_CONFIG_VALUE_a", "variable")
        .env("WASMRUN_CONFIG_VALUE_b", "variable")
        .ends();
    let all = "[(\"a\", \"flag\"), (\"b\", \"variable\"), (\"c\", \"file\"), (\"d.e\", \"file\")]";
    assert_eq!(output.outcome(), ("rejected".into(), all.into()), "{output}");
    assert!(!output.to_string().contains("unknown variable"), "{output}");
}

#[test]
fn wrong_and_large_values_are_refused_at_the_start() {
    let world = World::new();
    let large = format!("a={}", "x".repeat(70_000));
    let other = large.replace("a=", "b=");
    for (flags, says) in [
        (vec!["--config-value", "x"], "--config-value KEY=VALUE"),
        (vec!["--config-value", "=x"], "no key"),
        (vec!["--config-value", "a=1", "--config-value", "a=2"], "twice"),
        (vec!["--config-value", &large, "--config-value", &other], "more than 131072"),
    ] {
        invoke(&world, "config-all").args(flags).fails_with(2, says);
    }
}

#[test]
fn an_import_without_a_value_is_noted_and_inspected() {
    let world = World::with_queue(&[]);
    let check = || world.wasmrun(["run", "--check", "--queue", "sqlite:jobs.db"]).arg(guest("interfaces"));
    let notes = |command: Command| {
        command.succeeds().logs_of("an imported interface has no grant, and its calls find no value").len()
    };
    assert_eq!(notes(check()), 1);
    assert_eq!(notes(check().args(["--config-value", "a=b"])), 0);
    let text = world.wasmrun(["inspect"]).arg(guest("interfaces")).succeeds();
    let grants = text.stdout.iter().find(|line| line.starts_with("grants")).expect("grants");
    assert!(grants.contains("--config-value KEY=VALUE"), "{text}");
    let json = world.wasmrun(["inspect", "--json"]).arg(guest("interfaces")).succeeds().json();
    assert_eq!(json["needs"]["config-value"], true);
}

/// Values may be secrets of the operator's.
#[test]
fn values_do_not_appear_in_the_log() {
    let world = World::with_queue(&[]);
    world.send(["config-get token"]);
    let output = world
        .wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty", "--log", "debug"])
        .arg(guest("interfaces"))
        .args(["--config-value", "other=T0PSECRET"])
        .succeeds();
    assert!(
        output.stderr.len() > 1 && !output.stderr.iter().any(|line| line.contains("T0PSECRET")),
        "{output}"
    );
}
