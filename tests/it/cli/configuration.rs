//! Precedence of flags over environment variables and of these over the file, and the options that only print
//! something.

use crate::harness::{Depth, Output, World, guest, keys};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn everything_can_be_said_in_the_file() {
    let world = World::with_queue(&[]);
    let component = guest("misbehave");
    world.write(
        "wasmrun.toml",
        format!(
            r#"
            component = {component:?}
            queue = "sqlite:jobs.db"

            [store]
            input = "dir:in:ro"
            output = "dir:out:rw"

            [send]
            next = "sqlite:next.db"

            [env]
            GIVEN = "text"
            INHERITED = true

            [on]
            trapped = "drop"
            rejected = "drop"

            [limits]
            memory = "16MiB"
            timeout = "5s"
            fuel = 100000000

            [worker]
            instances = 2
            until-empty = true
            backoff = "1ms..1ms"

            [engine]
            allocator = "on-demand"

            [log]
            level = "debug"
            format = "json"
            "#
        ),
    );
    world.send(["env", "panic", "ok"]);
    let output =
        world.wasmrun(["run", "--config", "wasmrun.toml"]).env("INHERITED", "from the worker").succeeds();
    let ready = &output.logs_of("ready")[0];
    assert_eq!(ready["instances"], 2);
    assert_eq!(ready["allocator"], "on-demand");
    output.has_outcomes(&json!({"completed": 1, "trapped": 1, "rejected": 1}));
    assert!(output.to_string().contains("GIVEN=text INHERITED=from the worker"), "{output}");
    assert_eq!(world.depth(), Depth::EMPTY);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let world = World::new();
    world.write("wasmrun.toml", "[env]\nA = 'file'\nB = 'file'\nC = 'file'\n[limits]\nfuel = 1\n");
    let report = world
        .invoke("misbehave", "env")
        .args(["--config", "wasmrun.toml", "--env", "A=flag"])
        .env("WASMRUN_ENV_A", "variable")
        .env("WASMRUN_ENV_B", "variable")
        .env("WASMRUN_FUEL", "100000000")
        .ends()
        .json();
    assert_eq!(report["reason"], "A=flag B=variable C=file");

    // The flag overrides the variable with too little fuel for anything.
    let report = world
        .invoke("misbehave", "loop")
        .args(["--fuel", "100000"])
        .env("WASMRUN_FUEL", "100000000")
        .ends()
        .json();
    assert_eq!((&report["outcome"], &report["usage"]["fuel"]), (&json!("limit-exceeded"), &json!(100_000)));
}

/// Its value may be any text, as it has no effect. So it is for variables of flags and for those that end in a name.
#[test]
fn a_variable_is_not_read_if_a_flag_wins_over_it() {
    let world = World::with_queue(&[]);
    let budget = ["--key", "group", "--budget", "a=fuel:1/1h", "--budget-store", "sqlite:budgets.db"];
    let run = || {
        let run = world.run("misbehave").args(budget).args(["--weight", "a=2", "--on", "trapped=drop"]);
        run.args(["--fuel", "1000000", "--check"])
    };
    let variables = ["FUEL", "STORE_INPUT", "SEND_NEXT", "ON_TRAPPED", "WEIGHT_a", "BUDGET_a"];
    let overridden = variables.iter().fold(run(), |run, name| run.env(&format!("WASMRUN_{name}"), "bogus"));
    overridden.succeeds();
    for name in ["MEMORY", "STORE_MORE", "ON_REJECTED", "WEIGHT_b", "BUDGET_b"] {
        let output = run().env(&format!("WASMRUN_{name}"), "bogus").ends().exited_with(2);
        assert!(output.stderr.iter().any(|line| line.contains("bogus")), "{output}");
    }
}

#[test]
fn a_value_of_a_named_setting_that_is_not_utf8_is_refused() {
    let world = World::with_queue(&[]);
    for name in ["STORE_MORE", "ENV_A", "CONFIG_VALUE_a", "ON_TRAPPED", "WEIGHT_a", "BUDGET_a"] {
        let variable = format!("WASMRUN_{name}");
        let run = world.run("misbehave").arg("--check").env(&variable, OsStr::from_bytes(b"\xff"));
        run.fails_with(2, &format!("the variable {variable} is not UTF-8"));
    }
}

#[test]
fn a_worker_can_be_set_up_with_variables_alone() {
    let world = World::with_queue(&[]);
    world.send(["ok"]);
    let output = world
        .wasmrun(["run"])
        .env("WASMRUN_COMPONENT", guest("misbehave"))
        .env("WASMRUN_QUEUE", "sqlite:jobs.db")
        .env("WASMRUN_STORE_INPUT", "dir:in:ro")
        .env("WASMRUN_STORE_OUTPUT", "dir:out:rw")
        .env("WASMRUN_SEND_NEXT", "sqlite:next.db")
        .env("WASMRUN_UNTIL_EMPTY", "true")
        .succeeds();
    output.has_outcomes(&json!({"completed": 1}));
}

#[test]
fn check_validates_everything_and_works_on_nothing() {
    let world = World::with_queue(&[]);
    world.send(["put key text"]);
    let output = world.run("misbehave").arg("--check").succeeds();
    assert_eq!(output.stdout, ["ok: sqlite:jobs.db and the component are ready"]);
    assert_eq!(world.depth(), Depth::visible(1));
    assert!(world.keys("out").is_empty());

    let check = || world.wasmrun(["run", "--check", "--queue", "sqlite:jobs.db"]);
    check().arg("missing.wasm").fails_with(2, "missing.wasm");
    let grants =
        ["--store", "input=dir:in:ro", "--store", "output=dir:missing:rw", "--send", "next=sqlite:next.db"];
    check().arg(guest("misbehave")).args(grants).fails_with(3, "missing");
}

/// Toolchains of Python and JavaScript import all of a world, used or not.
#[test]
fn an_import_without_a_grant_is_noted_and_only_its_calls_are_refused() {
    let world = World::with_queue(&[]);
    let notes = |output: &Output| -> Vec<String> {
        let notes = output.logs_of("an imported interface has no grant, and its calls are refused");
        notes.iter().map(|note| note["interfaces"].as_str().expect("a name").to_owned()).collect()
    };
    let check = || world.wasmrun(["run", "--check", "--queue", "sqlite:jobs.db"]).arg(guest("misbehave"));
    assert_eq!(notes(&check().succeeds()), ["wasmrun:task/object-store@0.1.0", "wasmrun:task/queue@0.1.0"]);
    let granted = check().args(["--store", "input=dir:in:ro"]).succeeds();
    assert_eq!(notes(&granted), ["wasmrun:task/queue@0.1.0"]);
    let invoke = |message| {
        world.wasmrun(["invoke", "--json", "--message", message]).arg(guest("misbehave")).ends().json()
    };
    assert_eq!(invoke("ok")["outcome"], "completed");
    assert_eq!(invoke("get key")["usage"]["refusals"], 1);
    let text = world.wasmrun(["inspect"]).arg(guest("misbehave")).succeeds();
    let grants = text.stdout.iter().find(|line| line.starts_with("grants")).expect("grants");
    assert!(grants.contains("--store") && grants.contains("--send") && grants.contains("refused"), "{text}");
}

#[test]
fn inspect_says_what_a_component_needs() {
    let world = World::new();
    let needs = |name: &str| {
        let json = world.wasmrun(["inspect", "--json"]).arg(guest(name)).succeeds().json();
        assert_eq!(json["world"], "wasmrun:task/task@0.1.0");
        let needs = json["needs"].as_object().expect("an object").clone();
        needs
            .into_iter()
            .filter(|(_, is_needed)| *is_needed == true)
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(needs("thumbnail"), ["store"]);
    assert_eq!(needs("forward"), ["send"]);
    assert_eq!(needs("empty"), [""; 0]);
    let text = world.wasmrun(["inspect"]).arg(guest("thumbnail")).succeeds();
    assert!(text.stdout.iter().any(|line| line.starts_with("grants") && line.contains("--store")), "{text}");
}

#[test]
fn a_component_that_needs_nothing_runs_without_grants() {
    let world = World::with_queue(&[]);
    world.send(["one", "two"]);
    let output =
        world.wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty"]).arg(guest("empty")).succeeds();
    output.has_outcomes(&json!({"completed": 2}));
}

#[test]
fn a_component_is_compiled_once_and_then_taken_from_the_cache() {
    let world = World::new();
    let cache = world.path("cache");
    let invoke = || world.invoke("empty", "x").env("WASMRUN_CACHE", &cache).succeeds();
    assert_eq!(invoke().logs_of("compiled the component").len(), 1);
    assert_eq!(invoke().logs_of("compiled the component").len(), 0);
    // Damaged cache files are treated as missing.
    let files = keys(&cache);
    assert_eq!(files.len(), 1);
    let path = cache.join(&files[0]);
    let mut content = std::fs::read(&path).expect("the code");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&path, content).expect("written");
    assert_eq!(invoke().logs_of("compiled the component").len(), 1);
    assert_eq!(invoke().logs_of("compiled the component").len(), 0);
    let off = world.invoke("empty", "x").args(["--cache", "off"]).succeeds();
    assert_eq!(off.logs_of("compiled the component").len(), 1);
}

#[test]
fn help_and_version_are_there_for_every_command() {
    let world = World::new();
    let version = world.wasmrun(["--version"]).succeeds();
    assert_eq!(version.stdout, [format!("wasmrun {}", env!("CARGO_PKG_VERSION"))]);
    for command in ["run", "invoke", "enqueue", "queue", "inspect", "completions"] {
        let help = world.wasmrun([command, "--help"]).succeeds();
        assert!(help.stdout.iter().any(|line| line.starts_with("Example")), "{help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.wasmrun(["completions", shell]).succeeds().stdout.len() > 10);
    }
}

/// Simulates a container with a read-only file system.
#[test]
fn without_a_place_for_a_cache_it_works_and_says_so() {
    let world = World::new();
    let invoke = || world.invoke("empty", "x").without_env("WASMRUN_CACHE");
    let told = "cannot use the cache: the component is compiled at each start; name a directory with --cache";
    let output = invoke().env("HOME", "/proc/nowhere").succeeds();
    assert_eq!(output.logs_of(told).len(), 1, "{output}");
    let output = invoke().without_env("HOME").succeeds();
    assert!(output.to_string().contains("no home directory"), "{output}");
    // By default it is in the home directory.
    invoke().succeeds();
    assert_eq!(keys(&world.path(".cache/wasmrun")).len(), 1);
}

#[test]
fn a_variable_of_a_flag_is_not_taken_for_a_name_that_begins_like_it() {
    let world = World::with_queue(&[]);
    world.send(["ok"]);
    let output = world
        .run("misbehave")
        .env("WASMRUN_ON_LEASE_EXPIRED", "finish")
        .env("WASMRUN_STORE_CALLS", "5")
        .env("WASMRUN_ON_TIMED_OUT", "drop")
        .args(["--until-empty"])
        .succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 1, "{output}");
}
