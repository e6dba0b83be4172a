//! What a command sees of its message, and what its exit code means.

use super::{ended, program, said};
use crate::harness::{World, guest};
use serde_json::{Value, json};

#[test]
fn the_body_is_on_standard_input_and_the_message_in_variables() {
    let world = World::new();
    assert_eq!(said(program(&world, "count", "twelve bytes")), "12");
    assert_eq!(said(program(&world, "read-all-at-once", "twelve bytes")), "Ok(12)");
    assert_eq!(said(program(&world, "read-without-waiting", "twelve bytes")), "12");
    let of = |name: &str| {
        let command = program(&world, &format!("say {name}"), "body");
        said(command.args([
            "--message-id",
            "seven",
            "--sent-at",
            "2026-11-28T00:00:00Z",
            "--attribute",
            "tenant=a=b",
        ]))
    };
    for (name, value) in [
        ("WASMRUN_MESSAGE_ID", "seven"),
        ("WASMRUN_RECEIVE_COUNT", "1"),
        ("WASMRUN_SENT_AT", "1795824000000"),
        ("WASMRUN_ATTRIBUTE_tenant", "a=b"),
        ("WASMRUN_GROUP", "not set"),
        ("WASMRUN_OBJECT_KEY", "not set"),
    ] {
        assert_eq!(of(name), value, "{name}");
    }
    let message: Value = serde_json::from_str(&of("WASMRUN_MESSAGE")).expect("JSON");
    let expected = json!({"id": "seven", "receive_count": 1, "sent_at": 1_795_824_000_000_u64, "group": null,
                          "attributes": {"tenant": "a=b"}, "objects": []});
    assert_eq!(message, expected);
}

#[test]
fn a_command_sees_nothing_else_of_its_host() {
    let world = World::new();
    let own = "WASMRUN_MESSAGE WASMRUN_MESSAGE_ID WASMRUN_RECEIVE_COUNT WASMRUN_SENT_AT";
    let names =
        program(&world, "names", "x").env("AWS_SECRET_ACCESS_KEY", "SECRET").args(["--env", "GIVEN=1"]);
    assert_eq!(said(names), format!("GIVEN {own}"));
    assert_eq!(said(program(&world, "file list /", "x")), "message.json");
    assert_eq!(said(program(&world, "args -n --flag=x", "x")), r#"["args", "-n", "--flag=x"]"#);
    // A grant can't stand for what the message says.
    assert_eq!(said(program(&world, "say WASMRUN_MESSAGE_ID", "x")), "invoke");
    let forged = program(&world, "say WASMRUN_MESSAGE_ID", "x").args(["--env", "WASMRUN_MESSAGE_ID=forged"]);
    forged.fails_with(2, "WASMRUN_MESSAGE_ID");
}

#[test]
fn an_exit_code_is_an_outcome_and_standard_error_its_reason() {
    let world = World::new();
    for (arguments, outcome, reason) in [
        ("exit 0", "completed", ""),
        ("std-exit 0", "completed", ""),
        ("exit 75 later", "retry", "later"),
        ("exit 75", "retry", "exited with status 75"),
        ("exit 65 no picture", "rejected", "no picture"),
        ("exit 3 no idea", "trapped", "exited with status 3: no idea"),
        ("exit 255", "trapped", "exited with status 255"),
        ("fail", "trapped", r#"exited with status 1: Error: Custom { kind: Other, error: "main failed" }"#),
        // The standard library of Rust 1.95 tells WASI only whether the code is 0.
        ("std-exit 75", "trapped", "exited with status 1"),
        ("std-exit 256", "trapped", "exited with status 1"),
        ("std-exit -1", "trapped", "exited with status 1"),
    ] {
        assert_eq!(ended(program(&world, arguments, "x")), (outcome.into(), reason.into()), "{arguments}");
    }
    let (outcome, reason) = ended(program(&world, "panic", "x"));
    assert!(outcome == "trapped" && reason.contains("at once"), "{reason}");
}

#[test]
fn the_user_says_what_other_exit_codes_mean() {
    let world = World::new();
    let with = |arguments: &str| {
        let command =
            program(&world, arguments, "x").args(["--exit-code", "1=rejected", "--exit-code", "3=retry"]);
        ended(command.args(["--exit-code", "75=trapped", "--exit-code", "4=completed"])).0
    };
    for (arguments, outcome) in [
        ("fail", "rejected"),
        ("std-exit 9", "rejected"),
        ("exit 3", "retry"),
        ("exit 4", "completed"),
        ("exit 75", "trapped"),
        ("exit 65", "rejected"),
        // No exit code: a trap stays a trap.
        ("panic", "trapped"),
    ] {
        assert_eq!(with(arguments), outcome, "{arguments}");
    }
    world.write("wasmrun.toml", "[command]\narg = ['exit', '3']\nexit-code = { 3 = 'rejected' }\n");
    let file = || world.invoke("program", "x").args(["--config", "wasmrun.toml"]);
    assert_eq!(ended(file()).0, "rejected");
    assert_eq!(ended(file().env("WASMRUN_EXIT_CODE_3", "retry")).0, "retry");
    assert_eq!(ended(file().args(["--arg", "exit", "--arg", "0"])).0, "completed");
    program(&world, "ok", "x").args(["--exit-code", "256=retry"]).fails_with(2, "a number from 0 to 255");
}

#[test]
fn limits_end_a_command_like_any_task() {
    let world = World::new();
    let limits = ["--memory", "16MiB", "--fuel", "200000000", "--timeout", "1s", "--handles", "32"];
    for (arguments, outcome, reason) in [
        ("spin", "limit-exceeded", "fuel"),
        ("alloc", "limit-exceeded", "memory"),
        ("handles", "limit-exceeded", "handles"),
        ("sleep", "timed-out", ""),
        // The log drops what is too much.
        ("write 1000000", "completed", ""),
    ] {
        let ended = ended(program(&world, arguments, "x").args(limits));
        assert_eq!(ended, (outcome.into(), reason.into()), "{arguments}");
    }
}

#[test]
fn standard_output_and_error_are_the_log_of_the_task() {
    let world = World::new();
    let output = program(&world, "print a line", "x").succeeds();
    let lines = output.logs_of("Guest");
    assert_eq!(lines.len(), 1, "{output}");
    assert_eq!((&lines[0]["stream"], &lines[0]["text"]), (&json!("stdout"), &json!("a line")));
}

#[test]
fn a_message_of_a_megabyte_of_attributes_leaves_the_command_its_other_variables() {
    let world = World::new();
    let large = format!("large={}", "x".repeat(100 << 10));
    let command = |name: &str| {
        let command = program(&world, &format!("say {name}"), "x").args(["--memory", "16MiB"]);
        ["a", "b", "c"]
            .iter()
            .fold(command, |command, letter| command.args(["--attribute", &format!("{letter}{large}")]))
    };
    let output = command("WASMRUN_MESSAGE_ID").ends();
    assert_eq!(output.json()["reason"], "invoke");
    let told = output.logs_of("left out variables of the message that are too large");
    assert_eq!(
        told[0]["names"], "WASMRUN_MESSAGE WASMRUN_ATTRIBUTE_blarge WASMRUN_ATTRIBUTE_clarge",
        "{output}"
    );
    program(&world, "ok", "x").args(["--arg", &"x".repeat(70_000)]).fails_with(2, "more than 65536");
}

#[test]
fn what_is_only_for_commands_is_refused_for_others_and_grants_are_checked_at_the_start() {
    let world = World::new();
    for flag in [["--arg", "x"], ["--exit-code", "3=retry"], ["--output-object", "output:{id}"]] {
        world.invoke("empty", "x").args(flag).fails_with(2, "are for commands");
    }
    for (flag, object, said) in [
        ("--output-object", "nowhere:{id}", "which is not granted as wo or rw: add --store nowhere=URL:wo"),
        ("--output-object", "input:{id}", "which is not granted as wo or rw"),
        ("--input-object", "nowhere:{id}", "which is not granted as ro or rw"),
        ("--input-object", "input:{nothing}", "unknown placeholder {nothing}"),
        ("--output-object", "output", "expected STORE:KEY"),
    ] {
        world.invoke("program", "x").args([flag, object]).fails_with(2, said);
    }
}

#[test]
fn a_worker_settles_the_messages_of_a_command_by_its_exit_codes() {
    let world = World::with_queue(&["--max-receives", "2"]);
    world.send(["ok", "exit 65 no picture", "exit 75 later", "exit 1 broken", "print x"]);
    let output = world.run("program").args(["--until-empty", "--backoff", "1ms..1ms"]).succeeds();
    output.has_outcomes(&json!({"completed": 2, "rejected": 1, "retry": 2, "trapped": 2}));
    assert_eq!(world.dead_reasons(), ["exited with status 1: broken", "later", "no picture"]);
}

#[test]
fn a_command_is_tested_by_cases_like_any_guest() {
    let world = World::new();
    let component = guest("filter");
    let command = "[command]\narg = ['red']\noutput-object = 'output:{stem}-red.txt'\n";
    world.write("guest.toml", format!("component = {component:?}\n{command}"));
    world.write("cases/fruit/case.toml", "");
    world.write("cases/fruit/given/input/fruit.list", "red apple\ngreen pear\n");
    world.write("cases/fruit/expected/output/fruit-red.txt", "red apple\n");
    world.wasmrun(["test"]).succeeds();
    world.write("cases/fruit/expected/output/fruit-red.txt", "green pear\n");
    world.wasmrun(["test"]).ends().exited_with(1);
}
