//! What bounds the tasks of routes: their grants and limits, mistakes at the start, and faults of another route.

use super::routes::{QUEUE, ROUTES, count, run, world};
use crate::harness::{Depth, event, why};
use serde_json::{Value, json};
use std::fs;

#[test]
fn a_guest_reaches_the_grants_of_its_own_route_alone() {
    let world = world(
        r#"
        queue = "sqlite:jobs.db"
        component = "default.wasm"
        store.input = "dir:in:ro"
        store.ofdefault = "dir:in:ro"
        env.OWN = "default"
        config-value.own = "default"
        [[route]]
        name = "a"
        match.group = "a"
        store.input = "dir:of-texts:ro"
        env.OWN = "a"
        [[route]]
        name = "b"
        match.group = "b"
        store.ofb = "dir:of-acme:ro"
        "#,
    );
    world.write("in/x", "default");
    world.write("of-texts/x", "a");
    world.write("of-acme/x", "b");
    // Variables are settings of the default component, too.
    let invoke = |group: &str, message: &str| {
        world
            .wasmrun(["invoke", "--json", "--config", "wasmrun.toml", "--group", group, "--message", message])
            .env("WASMRUN_STORE_TYPED", "dir:in:ro")
            .env("WASMRUN_ENV_TYPED", "1")
            .args(["--store", "flag=dir:in:ro"])
            .ends()
    };
    for (group, alias) in
        [("a", "input"), ("b", "ofb"), ("c", "input"), ("c", "ofdefault"), ("c", "typed"), ("c", "flag")]
    {
        let output = invoke(group, &format!("get @{alias} x"));
        assert_eq!(output.outcome().0, "completed", "{group} {alias}: {output}");
    }
    for (group, alias) in
        [("a", "ofb"), ("a", "ofdefault"), ("a", "typed"), ("a", "flag"), ("b", "input"), ("c", "ofb")]
    {
        let output = invoke(group, &format!("get @{alias} x"));
        assert_eq!(
            output.outcome(),
            ("rejected".into(), "access-denied".into()),
            "{group} {alias}: {output}"
        );
        let names_route = output.to_string().contains(&format!("the route {group} has only the grants"));
        assert_eq!(names_route, group != "c", "{output}");
    }
    for (group, seen) in [("a", "OWN=a"), ("b", ""), ("c", "OWN=default TYPED=1")] {
        assert_eq!(invoke(group, "env").outcome().1, seen, "{group}");
    }
}

#[test]
fn objects_of_one_message_take_a_route_only_together() {
    let world = world(ROUTES);
    let two =
        |a: &str, b: &str| event(&world.bucket("in"), &[json!({"key": a}), json!({"key": b})]).to_string();
    for file in ["a.txt", "b.txt", "c.bin"] {
        world.write(&format!("in/{file}"), file);
    }
    world.write("secret.txt", "s");
    let invoke = |message: &str| {
        world.wasmrun(["invoke", "--json", "--config", "wasmrun.toml", "--message", message]).ends()
    };
    assert_eq!(invoke(&two("a.txt", "b.txt")).json()["route"], "texts");
    let mixed = invoke(&two("a.txt", "c.bin"));
    assert_eq!((&mixed.json()["outcome"], mixed.json().get("route")), (&json!("completed"), None), "{mixed}");
    // A key that leads out of the store is in none.
    for key in ["../secret.txt", "x/../../secret.txt"] {
        let output = invoke(&two("a.txt", key));
        assert_eq!(output.json()["outcome"], "rejected", "{output}");
    }
    assert_eq!(
        (world.keys("of-texts"), world.keys("out")),
        (vec!["a.txt".into(), "b.txt".into()], vec!["a.txt".into(), "c.bin".into()])
    );
}

/// Two routes whose tasks reach their keys' parts of the same directory.
const BY_KEY: &str = r#"
    queue = "sqlite:jobs.db"
    component = "default.wasm"
    unmatched = "reject"
    usage = "usage.jsonl"
    [worker]
    key = "object-prefix:1"
    [[route]]
    name = "texts"
    match.object-suffix = ".txt"
    store.input = "dir:t/{key}/in:ro"
    store.output = "dir:t/{key}/out:rw"
    [[route]]
    name = "raw"
    match.object-suffix = [".txt", ".bin"]
    store.input = "dir:t/{key}/raw:ro"
    store.output = "dir:t/{key}/out:rw"
"#;

#[test]
fn a_task_of_a_route_reaches_only_the_parts_of_its_messages_key() {
    let world = world(BY_KEY);
    for (object, key) in [("acme/in/a.txt", "acme"), ("acme/raw/b.txt", "acme"), ("beta/in/a.txt", "beta")] {
        world.write(&format!("t/{object}"), key);
    }
    // In the part of no route, and with a key that can't name a part.
    world.write("t/acme/other/c.txt", "acme");
    world.write("t/evil_/in/d.txt", "evil");
    for key in ["acme", "beta", "evil_"] {
        world.create_dir(&format!("t/{key}/out"));
    }
    world.wasmrun(["enqueue", "--queue", QUEUE, "--store", "input=dir:t"]).succeeds();
    let output = run(&world).arg("--until-empty").succeeds();
    output.has_outcomes(&json!({"completed": 3, "rejected": 2}));
    assert_eq!(
        (world.keys("t/acme/out"), world.keys("t/beta/out"), world.keys("t/evil_/out")),
        (vec!["a.txt".into(), "b.txt".into()], vec!["a.txt".into()], vec![])
    );
    // The guest writes the digest of what it has read.
    assert_ne!(world.read("t/acme/out/a.txt"), world.read("t/beta/out/a.txt"));
    let mut taken: Vec<_> = world
        .usage()
        .into_iter()
        .map(|record| json!([record["outcome"], record.get("route"), record["key"]]).to_string())
        .collect();
    taken.sort();
    let expected = [
        json!(["completed", "raw", "acme"]),
        json!(["completed", "texts", "acme"]),
        json!(["completed", "texts", "beta"]),
        json!(["rejected", "texts", "evil_"]),
        json!(["rejected", null, "-"]),
    ];
    assert_eq!(taken, expected.map(|record| record.to_string()), "{output}");
    let reasons: Vec<_> = world.dead_letters().iter().map(|letter| why(letter)["reason"].clone()).collect();
    assert!(reasons.iter().any(|reason| reason.to_string().contains("unusable key")), "{reasons:?}");

    // A single task has the key and the route of its message, too.
    fs::remove_file(world.path("t/beta/out/a.txt")).expect("removed");
    let message = event(&world.bucket("t"), &[json!({"key": "beta/in/a.txt"})]).to_string();
    let invoke = ["invoke", "--json", "--config", "wasmrun.toml", "--message", &message];
    let output = world.wasmrun(invoke).succeeds();
    assert_eq!((&output.json()["route"], world.keys("t/beta/out")), (&json!("texts"), vec!["a.txt".into()]));
}

#[test]
fn parts_of_keys_are_kept_apart_from_the_stores_of_other_routes() {
    let world = world(BY_KEY);
    fs::create_dir_all(world.path("t/acme")).expect("directories");
    let with = |right: &str, wrong: &str| {
        world.write("wasmrun.toml", BY_KEY.replace(right, wrong));
        run(&world).arg("--check")
    };
    with("", "").succeeds();
    with("[worker]\n    key = \"object-prefix:1\"", "")
        .fails_with(2, "in the route texts: the store input has {key} in its prefix, and no key");
    with("object-prefix:1", "object-prefix:2").fails_with(2, "in the route texts: the store input has {key}");
    // A key could be named after one, and the other would hold all keys' objects.
    for other in ["dir:t/acme:ro", "dir:t:ro"] {
        let route =
            format!("[[route]]\nname = 'all'\nmatch.group = 'all'\nstore.input = '{other}'\n[[route]]");
        world.write("wasmrun.toml", BY_KEY.replacen("[[route]]", &route, 1));
        run(&world).arg("--check").fails_with(2, "the store all/input (");
    }
}

#[test]
fn the_limits_of_a_route_end_its_tasks_and_no_others() {
    let world = world(
        r#"
        queue = "sqlite:jobs.db"
        component = "default.wasm"
        limits.log-size = "1KiB"
        [[route]]
        name = "small"
        match.attribute = { size = "small" }
        limits.memory = "8MiB"
        limits.fuel = 5_000_000
        "#,
    );
    for size in ["small", "large"] {
        for body in ["grow", "busy 50"] {
            world.send_with(&["--attribute", &format!("size={size}")], [body]);
        }
    }
    let output = run(&world).args(["--until-empty", "--usage", "usage.jsonl"]).succeeds();
    let outcome = |route: Option<&str>, what: &str| -> Vec<Value> {
        let of =
            world.usage().into_iter().filter(|record| record.get("route").and_then(Value::as_str) == route);
        of.map(|record| record[what].clone()).collect()
    };
    assert!(outcome(Some("small"), "limit").contains(&json!("fuel")), "{output}");
    assert!(!outcome(None, "limit").contains(&json!("fuel")), "{output}");
    let peak = |route| outcome(route, "peak_memory_bytes").iter().filter_map(Value::as_u64).max();
    assert!(peak(Some("small")) <= Some(8 << 20) && peak(None) > Some(8 << 20), "{output}");
}

/// Two routes and a default component, none of which has what its messages need but `working`.
const OUTAGE: &str = r#"
    queue = "sqlite:jobs.db"
    component = "default.wasm"
    usage = "usage.jsonl"
    [[route]]
    name = "failing"
    match.group = "failing"
    store.input = "dir:of-texts:ro"
    [[route]]
    name = "ungranted"
    match.group = "ungranted"
"#;

#[test]
fn a_grant_that_a_route_lacks_is_counted_against_no_message_though_others_complete() {
    let world = world(OUTAGE);
    world.send(["ok"]);
    let worker = run(&world).start();
    worker.until_completed(1);
    for _ in 0..4 {
        world.send_with(&["--group", "ungranted"], ["get @input x"]);
    }
    worker.until_logged("\"paused receiving: a grant is missing; add it and restart\"");
    let output = worker.stop();
    assert_eq!((world.depth().total(), world.dead()), (4, Depth::EMPTY), "{output}");
}

#[test]
fn a_store_of_one_route_that_fails_does_not_stop_the_tasks_of_others() {
    let world = world(OUTAGE);
    let worker = run(&world).start_ready();
    fs::remove_dir(world.path("of-texts")).expect("removed");
    for _ in 0..3 {
        world.send_with(&["--group", "failing"], ["get @input x"]);
    }
    worker.until_logged("\"paused receiving: a store or a queue fails\"");
    world.send(["ok"; 2]);
    worker.until_completed(2);
    let output = worker.stop();
    assert_eq!((world.depth().total(), world.dead()), (3, Depth::EMPTY), "{output}");
    assert_eq!(count(&world.usage(), None, "default.wasm"), 2);
}

#[test]
fn what_is_wrong_with_a_route_stops_the_start_with_its_name() {
    let world = world(ROUTES);
    world.send(["ok"]);
    let with = |file: String| {
        world.write("wasmrun.toml", file);
        run(&world).arg("--until-empty")
    };
    world.write("broken.wasm", "no component");
    with(ROUTES.replace("texts.wasm", "broken.wasm"))
        .fails_with(2, "in the route texts: cannot use the component broken.wasm");
    with(ROUTES.replace("acme.wasm", "missing.wasm"))
        .fails_with(2, "in the route acme: cannot read the component missing.wasm");
    let import = r#"(component (import "evil:world/x@1.0.0" (instance (export "f" (func))))
        (instance $handler) (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#;
    world.write("evil.wasm", wat::parse_str(import).expect("a component"));
    let refused = with(ROUTES.replace("invoices.wasm", "evil.wasm")).fails_with(2, "in the route invoices: ");
    assert!(refused.error().contains("evil:world/x"), "{refused}");
    with(ROUTES.replace("dir:of-acme:rw", "dir:no-such:rw")).fails_with(3, "in the route acme: ");
    let tiny = "component = \"acme.wasm\"\n    limits.memory = \"64KiB\"";
    with(ROUTES.replace("component = \"acme.wasm\"", tiny)).fails_with(2, "in the route acme: ");
    // No guest may write to what another route's tasks or the worker use.
    let bucket = "store.output = \"dir:of-acme:rw\"\n    keyvalue.k = \"sqlite:of-texts/k.db:rw\"";
    with(ROUTES.replace("store.output = \"dir:of-acme:rw\"", bucket))
        .fails_with(2, "in the route texts: the store output is writable and holds a key-value bucket");
    fs::copy(world.path("acme.wasm"), world.path("of-texts/acme.wasm")).expect("copied");
    with(ROUTES.replace("acme.wasm", "of-texts/acme.wasm"))
        .fails_with(2, "in the route texts: the store output is writable and holds the component");
    // Nor to what tells others how messages end, and no ledger tells the stores of routes apart.
    world.create_queue("sqlite:done.db", &[]);
    let told =
        |file: String, arguments: &[&str]| with(file).args(["--notify", "sqlite:done.db"]).args(arguments);
    told(ROUTES.replace("store.output = \"dir:of-acme:rw\"", "send.next = \"sqlite:done.db\""), &[])
        .fails_with(2, "cannot take notifications");
    told(ROUTES.into(), &["--complete-group", "batch", "--group-store", "sqlite:of-acme/groups.db"])
        .fails_with(2, "in the route acme: the store output is writable and holds the group store");
    told(ROUTES.into(), &["--once", "sqlite:of-acme/ledger.db"])
        .fails_with(2, "in the route acme: the store output is writable and holds the ledger of --once");
    let nested = ROUTES.replace("dir:of-acme", "dir:of-texts/acme");
    world.write("of-texts/acme/x", "");
    with(nested)
        .args(["--once", "sqlite:ledger.db"])
        .fails_with(2, "--once cannot tell apart the objects of the store acme/output");
    assert!(!world.path("ledger.db").exists());
    // Nothing was received.
    assert_eq!(world.peek(QUEUE)[0]["receive_count"], 0);
    world.write("service.toml", "component = 'default.wasm'\n[[route]]\nname = 'a'\nmatch.group = 'a'");
    world.wasmrun(["serve", "--config", "service.toml", "--check"]).fails_with(2, "a service has no routes");
}
