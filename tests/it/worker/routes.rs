//! Routes: several components on one queue, each with limits and grants of its own.

use crate::harness::{Amazon, Command, Depth, World, arn, field, get, guest, status, wait_for_tasks, why};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

pub(super) const QUEUE: &str = "sqlite:jobs.db";
const DEAD: &str = "sqlite:jobs.db#dead";

/// Three routes, whose components are copies of the same guest, and a default component.
pub(super) const ROUTES: &str = r#"
    queue = "sqlite:jobs.db"
    component = "default.wasm"
    usage = "usage.jsonl"
    store.input = "dir:in:ro"
    store.output = "dir:out:rw"

    [[route]]
    name = "invoices"
    match.attribute = { kind = "invoice" }
    component = "invoices.wasm"
    store.output = "dir:of-invoices:rw"

    [[route]]
    name = "texts"
    match.object-suffix = [".md", ".txt"]
    component = "texts.wasm"
    store.input = "dir:in:ro"
    store.output = "dir:of-texts:rw"

    [[route]]
    name = "acme"
    match.object-prefix = "acme/"
    component = "acme.wasm"
    store.input = "dir:in:ro"
    store.output = "dir:of-acme:rw"
"#;

/// A world with this configuration, a directory for the output of each route, and copies of the guest.
pub(super) fn world(file: &str) -> World {
    let world = World::with_queue(&["--max-receives", "1"]);
    for name in ["default", "invoices", "texts", "acme"] {
        fs::copy(guest("misbehave"), world.path(&format!("{name}.wasm"))).expect("a component");
    }
    for directory in ["of-invoices", "of-texts", "of-acme"] {
        world.create_dir(directory);
    }
    world.write("wasmrun.toml", file);
    world
}

pub(super) fn run(world: &World) -> Command {
    world.wasmrun(["run", "--config", "wasmrun.toml"]).logging_tasks()
}

/// Number of records with this route and component.
pub(super) fn count(records: &[Value], route: Option<&str>, component: &str) -> usize {
    let is_of = |record: &&Value| record.get("route").and_then(Value::as_str) == route;
    records.iter().filter(is_of).filter(|record| record["component"] == component).count()
}

#[test]
fn each_message_is_handled_by_the_component_of_the_first_route_that_matches() {
    let world = world(ROUTES);
    for file in ["a.txt", "acme/b.md", "acme/c.bin", "d.bin"] {
        world.write(&format!("in/{file}"), file);
    }
    world.announce();
    world.send_with(&["--attribute", "kind=invoice"], ["put invoice.txt x"]);
    world.send_with(&["--attribute", "kind=invoices"], ["put other.txt x"]);
    world.send(["put plain.txt x"]);
    let output = run(&world).arg("--until-empty").succeeds();

    output.has_outcomes(&json!({"completed": 7}));
    let written = |store: &str| {
        let mut all = world.keys(store);
        if all.contains(&"acme".to_owned()) {
            all.retain(|key| key != "acme");
            all.extend(world.keys(&format!("{store}/acme")).into_iter().map(|key| format!("acme/{key}")));
        }
        all
    };
    assert_eq!(written("of-invoices"), ["invoice.txt"]);
    // The route `acme` matches as well, and comes later.
    assert_eq!(written("of-texts"), ["a.txt", "acme/b.md"]);
    assert_eq!(written("of-acme"), ["acme/c.bin"]);
    assert_eq!(written("out"), ["d.bin", "other.txt", "plain.txt"]);

    let records = world.usage();
    assert_eq!(count(&records, Some("invoices"), "invoices.wasm"), 1);
    assert_eq!(count(&records, Some("texts"), "texts.wasm"), 2);
    assert_eq!(count(&records, Some("acme"), "acme.wasm"), 1);
    assert_eq!(count(&records, None, "default.wasm"), 3);
    let report = world.wasmrun("report usage.jsonl --by route --json".split(' ')).succeeds().json();
    let rows = report["by_route"]["routes"].as_array().expect("routes");
    let tasks: BTreeMap<_, _> = rows.iter().map(|row| (field(row, "route"), &row["tasks"])).collect();
    assert_eq!(json!(tasks), json!({"-": 3, "acme": 1, "invoices": 1, "texts": 2}));
    let ended = output.logs_of("task completed");
    let texts: Vec<_> = ended.iter().filter(|line| line["route"] == "texts").collect();
    assert_eq!((texts.len(), &texts[0]["component"]), (2, &json!("texts.wasm")), "{output}");
    assert!(ended.iter().filter(|line| line.get("route").is_none()).count() == 3, "{output}");
}

#[test]
fn a_message_that_no_route_matches_is_rejected_where_the_operator_wants_that() {
    let world = world(
        r#"
        queue = "sqlite:jobs.db"
        unmatched = "reject"
        usage = "usage.jsonl"
        [[route]]
        name = "invoices"
        match.attribute = { kind = "invoice" }
        component = "invoices.wasm"
        "#,
    );
    world.send_with(&["--attribute", "kind=invoice"], ["ok"]);
    world.send_with(&["--attribute", "kind=invoice"], ["reject no amount"]);
    world.send(["ok"]);
    // S3 sends it when notifications are configured, and it needs no work.
    world.send([r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}"#]);
    let output = run(&world).arg("--until-empty").succeeds();
    output.has_outcomes(&json!({"completed": 2, "rejected": 2}));
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::visible(2)));
    let letters = world.dead_letters();
    let of = |body: &str| why(letters.iter().find(|letter| letter["body"] == body).expect("a dead letter"));
    let (unmatched, invoice) = (of("ok"), of("reject no amount"));
    assert_eq!(
        (&unmatched["reason"], &unmatched["component"]),
        (&json!("no route matches the message"), &json!("-"))
    );
    assert!(unmatched.get("route").is_none(), "{unmatched}");
    assert_eq!((&invoice["route"], &invoice["component"]), (&json!("invoices"), &json!("invoices.wasm")));
    assert_eq!(count(&world.usage(), None, "-"), 2);
}

#[test]
fn a_dead_letter_takes_the_same_route_again() {
    let world = world(ROUTES);
    world.send_with(&["--attribute", "kind=invoice"], ["reject no amount"]);
    run(&world).arg("--until-empty").succeeds();
    let letter = &world.dead_letters()[0];
    assert_eq!(why(letter)["route"], "invoices");
    let replay = world
        .wasmrun(["replay", DEAD, field(letter, "id"), "--json", "--config", "wasmrun.toml"])
        .ends()
        .exited_with(1);
    assert_eq!(
        (&replay.json()["route"], &replay.json()["component"]),
        (&json!("invoices"), &json!("invoices.wasm")),
        "{replay}"
    );
    assert!(!replay.to_string().contains("recorded route"), "{replay}");
    world.write("other.toml", ROUTES.replace("name = \"invoices\"", "name = \"bills\""));
    let replay =
        world.wasmrun(["replay", DEAD, field(letter, "id"), "--config", "other.toml"]).ends().exited_with(1);
    assert!(replay.to_string().contains("recorded route: invoices"), "{replay}");

    world.wasmrun(["queue", "redrive", DEAD]).succeeds();
    run(&world).arg("--until-empty").succeeds();
    assert_eq!(count(&world.usage(), Some("invoices"), "invoices.wasm"), 2);
}

#[test]
fn a_notification_names_the_route_and_the_component_that_ran() {
    let file = r#"
        queue = "sqlite:jobs.db"
        component = "default.wasm"
        [worker]
        notify = "sqlite:done.db"
        [[route]]
        name = "one"
        match.group = "one"
        component = "one/task.wasm"
        [[route]]
        name = "two"
        match.group = "two"
        component = "two/task.wasm"
    "#;
    let world = world(file);
    world.create_queue("sqlite:done.db", &[]);
    let component = fs::read(guest("misbehave")).expect("a component");
    world.write("one/task.wasm", &component);
    // A custom section without content: the same component with another digest.
    world.write("two/task.wasm", [&component[..], &[0, 2, 1, b'x']].concat());
    for group in ["one", "two", "three"] {
        world.send_with(&["--group", group], ["ok"]);
    }
    run(&world).arg("--until-empty").succeeds();
    let rejecting = file.replace("queue =", "unmatched = \"reject\"\n        queue =");
    world.write("wasmrun.toml", rejecting.replace("component = \"default.wasm\"", ""));
    world.send_with(&["--group", "four"], ["ok"]);
    run(&world).arg("--until-empty").succeeds();

    let told = world.peek_bodies("sqlite:done.db");
    let of = |group: &str| {
        let of_group = |told: &&Value| told["group"] == group;
        let found = told.iter().find(of_group).unwrap_or_else(|| panic!("none of {group} in {told:?}"));
        (found.get("route").and_then(Value::as_str), field(found, "component"))
    };
    let digest = |group: &str, name: &str| {
        let digest = of(group).1.strip_prefix(name).and_then(|rest| rest.strip_prefix("@sha256:"));
        digest.unwrap_or_else(|| panic!("another name: {told:?}"))
    };
    assert_eq!((of("one").0, of("two").0, of("three").0), (Some("one"), Some("two"), None));
    // The default component is a copy of that of the route `one`.
    assert_eq!(digest("three", "default.wasm"), digest("one", "one/task.wasm"));
    assert_ne!(digest("two", "two/task.wasm"), digest("one", "one/task.wasm"));
    assert_eq!(of("four"), (None, "-"));
}

#[test]
fn status_and_metrics_name_the_routes() {
    let world = world(ROUTES);
    let worker = run(&world).args(["--status", "0"]).start();
    let address = worker.listens_on();
    world.send_with(&["--attribute", "kind=invoice"], ["ok"]);
    world.send(["get @input no-such"]);
    wait_for_tasks(address, 2);
    let of_routes = &status(address)["routes"];
    assert_eq!(of_routes[0], json!({"name": "invoices", "component": "invoices.wasm"}));
    assert_eq!(
        (of_routes.as_array().map(Vec::len), &status(address)["component"]),
        (Some(3), &json!("default.wasm"))
    );
    let metrics = get(address, "/metrics").body;
    for sample in [
        "wasmrun_route_tasks_total{outcome=\"completed\",route=\"invoices\"} 1\n",
        "wasmrun_route_tasks_total{outcome=\"completed\",route=\"acme\"} 0\n",
        "wasmrun_route_tasks_total{outcome=\"rejected\",route=\"-\"} 1\n",
        "wasmrun_component_tasks_total{component=\"invoices.wasm\",result=\"completed\"} 1\n",
    ] {
        assert!(metrics.contains(sample), "no {sample} in {metrics}");
    }
    // The stores of several routes have the same alias, and are one sample.
    let calls = "wasmrun_store_calls_total{store=\"input\",call=\"get\",result=\"not-found\"}";
    assert_eq!(metrics.matches(calls).count(), 1, "{metrics}");
    worker.stop();
}

#[test]
fn messages_of_sqs_take_their_routes() {
    for server in [Amazon::start, Amazon::moto] {
        if let Some(amazon) = server() {
            take_their_routes(&amazon);
        }
    }
}

fn take_their_routes(amazon: &Amazon) {
    let world = world(
        r#"
        component = "default.wasm"
        usage = "usage.jsonl"
        store.input = "s3://bucket-in:ro"
        store.output = "s3://bucket-out/default:rw"
        [[route]]
        name = "invoices"
        match.attribute = { kind = "invoice" }
        component = "invoices.wasm"
        store.output = "s3://bucket-out/invoices:rw"
        [[route]]
        name = "texts"
        match.object-prefix = "acme/"
        match.object-suffix = ".txt"
        component = "texts.wasm"
        store.input = "s3://bucket-in:ro"
        store.output = "s3://bucket-out/texts:rw"
        "#,
    );
    let queue = amazon.create_jobs(30, 3);
    amazon.notify("bucket-in", "jobs");
    amazon.put("bucket-in", "acme/a.txt", "a");
    amazon.put("bucket-in", "b.bin", "b");
    amazon.send_all_with(&queue, "kind", [("put paid x".to_owned(), "invoice".to_owned())].into_iter());
    amazon.wait_for_messages(&queue, 3);
    let run = world.wasmrun(["run", "--config", "wasmrun.toml", "--queue", &queue, "--until-empty"]);
    let output = amazon.environment(run).succeeds();
    assert_eq!(amazon.keys("bucket-out"), ["default/b.bin", "invoices/paid", "texts/acme/a.txt"], "{output}");
    assert_eq!(amazon.depth(&queue), [0; 3]);
    let records = world.usage();
    assert_eq!(count(&records, Some("texts"), "texts.wasm"), 1, "{records:?}");
    assert_eq!(count(&records, Some("invoices"), "invoices.wasm"), 1, "{records:?}");
    let policy = world.wasmrun(["policy", "--config", "wasmrun.toml", "--queue", &arn("jobs")]).succeeds();
    for store in ["bucket-out/default/*", "bucket-out/invoices/*", "bucket-out/texts/*"] {
        assert!(policy.to_string().contains(store), "{policy}");
    }
}

#[test]
fn a_manifest_for_kubernetes_has_the_routes_and_each_must_fit_a_container() {
    const FILE: &str = r#"
        component = "s3://components/default.wasm"
        queue = "arn:aws:sqs:eu-west-1:123456789012:jobs"
        [[route]]
        name = "orders"
        match.attribute = { kind = "order" }
        component = "s3://components/orders.wasm"
        store.orders = "s3://orders:wo"
        allow-http = ["api.example.com:8443"]
    "#;
    let world = World::new();
    let manifest = |platform: &str, file: &str| {
        world.write("wasmrun.toml", file);
        world.wasmrun(["manifest", platform, "--config", "wasmrun.toml", "--name", "jobs"])
    };
    let printed = manifest("kubernetes", FILE).succeeds();
    for text in ["kind: ConfigMap", "[[route]]", "port: 8443"] {
        assert!(printed.to_string().contains(text), "no {text} in {printed}");
    }
    manifest("ecs", FILE).fails_with(2, "routes are only in a file");
    for (right, wrong) in [
        ("s3://orders:wo", "dir:orders:wo"),
        ("s3://components/orders.wasm", "orders.wasm"),
        ("allow-http = [\"api.example.com:8443\"]", "keyvalue.k = \"sqlite:k.db:rw\""),
    ] {
        manifest("kubernetes", &FILE.replace(right, wrong)).fails_with(2, "in the route orders: ");
    }
    manifest("kubernetes", &FILE.replace("match.attribute", "env.HOME = true\n        match.attribute"))
        .fails_with(2, "the environment key HOME of a route has the worker's own value");
}

#[test]
fn a_policy_has_the_rights_of_all_routes_by_key_and_by_role() {
    const ROLE: &str = "arn:aws:iam::123456789012:role/thumbs";
    let world = World::new();
    world.write(
        "wasmrun.toml",
        r#"
        component = "s3://components/default.wasm"
        queue = "arn:aws:sqs:eu-west-1:123456789012:jobs"
        [worker]
        key = "object-prefix:1"
        notify = "arn:aws:sqs:eu-west-1:123456789012:done"
        complete-group = "batch"
        group-store = "s3://groups/jobs"
        budget-store = "s3://budgets/jobs"
        [budget]
        acme = "cost:2/30d"
        [[route]]
        name = "photos"
        match.object-suffix = ".jpg"
        store.input = "s3://photos/{key}/in:ro"
        store.output = "s3://photos/{key}/out:wo"
        assume-role.output = "arn:aws:iam::123456789012:role/thumbs"
        [[route]]
        name = "orders"
        match.attribute = { kind = "order" }
        component = "s3://components/orders.wasm"
        store.orders = "s3://orders:wo"
        assume-role.orders = "arn:aws:iam::123456789012:role/thumbs"
        "#,
    );
    let policy = |arguments: &[&str]| {
        world.wasmrun(["policy", "--config", "wasmrun.toml"]).args(arguments).succeeds().to_string()
    };
    let of_worker = policy(&[]);
    for text in [
        "s3:::photos/*/in/*",
        "sts:TagSession",
        ":done",
        "s3:::groups/jobs/*",
        "s3:::budgets/jobs/*",
        "orders.wasm",
    ] {
        assert!(of_worker.contains(text), "no {text} in {of_worker}");
    }
    assert!(!of_worker.contains("/out/") && !of_worker.contains("s3:::orders/"), "{of_worker}");
    assert_eq!(of_worker.matches("sts:TagSession").count(), 1, "{of_worker}");
    let of_role = policy(&["--role", ROLE]);
    for text in ["photos/${aws:PrincipalTag/wasmrun-key}/out/*", "s3:::orders/*"] {
        assert!(of_role.contains(text), "no {text} in {of_role}");
    }
    assert!(!of_role.contains("/in/") && !of_role.contains("sqs:"), "{of_role}");
}
