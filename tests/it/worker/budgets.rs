//! Budgets by key: a key that has used up its budget waits until the period ends, and others go on.

use crate::harness::{Amazon, Depth, Process, World, get, guest, repository, status, wait_until};
use serde_json::json;

const QUEUE: &str = "sqlite:jobs.db";
const STORE: [&str; 2] = ["--budget-store", "sqlite:budgets.db"];
/// Any task uses more.
const LEAST: &str = "fuel:1/31d";
const PARKED: &str = "a key is over its budget: its messages wait until the period ends";

#[track_caller]
fn send(world: &World, key: &str, count: usize) {
    world.send_with(&["--group", key], vec!["ok"; count]);
}

/// Starts a worker with one permit, which has the budget of all keys.
fn worker(world: &World, budget: &str, options: &[&str]) -> Process {
    let worker = world.run("misbehave").args(["--key", "group", "--instances", "1", "--status", "0"]);
    worker.args(["--budget", &format!("*={budget}")]).args(options).start()
}

fn keys_over_budget(worker: &Process) -> u64 {
    status(worker.listens_on())["over_budget"]["keys"].as_u64().expect("a number")
}

/// The receive counts of the messages that are left.
fn receive_counts(world: &World) -> Vec<u32> {
    let database = world.database();
    let mut query = database.prepare("SELECT receive_count FROM message").expect("a table");
    query.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("rows")
}

/// A key uses up its budget in one worker. Another worker then runs none of its tasks, and those of another key.
fn is_shared(budget: &str) {
    let world = World::with_queue(&[]);
    send(&world, "acme", 1);
    let first = worker(&world, budget, &STORE);
    first.until_logged(PARKED);
    first.stop().has_outcomes(&json!({"completed": 1}));

    send(&world, "acme", 30);
    send(&world, "other", 1);
    let second = worker(&world, budget, &STORE);
    second.until_completed(1);
    wait_until("both keys are over their budgets", || keys_over_budget(&second) == 2);
    let address = second.listens_on();
    assert_eq!(status(address)["over_budget"]["named"], json!(["acme", "other"]));
    assert!(get(address, "/metrics").body.contains("\nwasmrun_keys_over_budget 2\n"));
    assert_eq!(status(address)["held"], 0);
    // A worker that has parked a key doesn't receive its messages. The third key shows that the worker goes on.
    send(&world, "acme", 20);
    send(&world, "third", 1);
    second.until_completed(2);
    second.until_logged_times(3, PARKED);
    let parked = status(address)["counts"]["parked_messages"].as_u64().expect("a number");
    assert!((1..=40).contains(&parked), "{parked} of 50");
    let summary = second.stop().summary();
    assert_eq!(summary["outcomes"], json!({"completed": 2}), "{budget}: {summary}");
    assert_eq!(receive_counts(&world), [0; 50]);
}

#[test]
fn workers_share_a_budget_of_fuel_cpu_time_or_cost_and_other_keys_go_on() {
    is_shared(LEAST);
    is_shared("cpu:1us/31d");
    is_shared("cost:0.000000000001/31d");
}

#[test]
fn a_budget_of_cost_uses_the_prices_of_the_user() {
    let world = World::with_queue(&[]);
    let prices =
        std::fs::read_to_string(repository().join("crates/cli/src/prices.toml")).expect("the prices");
    let cheap =
        prices.replace("price = 0.04048", "price = 1e-12").replace("price = 0.004445", "price = 1e-12");
    world.write("cheap.toml", cheap);
    // With the built-in prices, the first task uses it up.
    let options = ["--key", "group", "--budget", "*=cost:0.000000000001/31d", "--instances", "1"];
    let run = |prices: &str| world.run("misbehave").args(options).args(STORE).args(["--prices", prices]);
    send(&world, "acme", 20);
    let output = run("cheap.toml").arg("--until-empty").succeeds();
    output.has_outcomes(&json!({"completed": 20}));
    assert_eq!(output.summary()["parked_messages"], 0, "{output}");
    world.write("wrong.toml", prices.replace("price = 0.04048", "price = -1"));
    run("wrong.toml").fails_with(2, "fargate.vcpu-hour is -1");
    let free = prices.replace("price = 0.04048", "price = 0").replace("price = 0.004445", "price = 0");
    world.write("wrong.toml", free);
    run("wrong.toml").fails_with(2, "are both 0");
    run("missing.toml").fails_with(2, "missing.toml");
    world.write("out/prices.toml", prices);
    run("out/prices.toml").fails_with(2, "holds the price table");
}

#[test]
fn workers_that_run_at_the_same_time_learn_what_the_other_has_used() {
    let world = World::with_queue(&[]);
    let workers = [(); 2].map(|()| worker(&world, LEAST, &STORE));
    send(&world, "acme", 40);
    // The one that has parked the key receives no more of it, so that the other does.
    wait_until("both workers have parked the key", || {
        send(&world, "acme", 1);
        workers.iter().all(|worker| keys_over_budget(worker) == 1)
    });
    let completed: u64 = workers
        .map(|worker| worker.stop().summary()["outcomes"]["completed"].as_u64().unwrap_or(0))
        .iter()
        .sum();
    let left = receive_counts(&world);
    assert!(completed >= 1 && left.len() >= 20, "{completed} of {}", left.len());
    assert!(left.iter().all(|count| *count == 0));
}

#[test]
fn a_budget_holds_for_the_messages_of_all_queues_of_a_worker() {
    const OTHER: &str = "sqlite:other.db";
    let world = World::with_queue(&["--max-receives", "1"]);
    world.create_queue(OTHER, &["--max-receives", "1"]);
    let send = |queue: &str, key: &str, count: usize| {
        world.send_to(queue, &["--group", key], vec!["ok"; count]);
    };
    let run = world.run("misbehave").args(["--queue", OTHER, "--key", "group", "--instances", "1"]);
    let worker = run.args(["--status", "0", "--budget", "acme=fuel:1/31d"]).args(STORE).start();
    send(QUEUE, "acme", 1);
    worker.until_logged(PARKED);
    // Both queues have messages of the parked key, and those of others go on.
    for (key, count) in [("acme", 30), ("free", 5)] {
        send(QUEUE, key, count);
        send(OTHER, key, count);
    }
    worker.until_completed(11);
    assert_eq!(keys_over_budget(&worker), 1);
    worker.stop().has_outcomes(&json!({"completed": 11}));
    assert_eq!(receive_counts(&world), [0; 30]);
    let left = world.depth_of(OTHER);
    assert_eq!((left.visible + left.delayed, left.in_flight), (30, 0));
    assert_eq!((world.dead(), world.depth_of("sqlite:other.db#dead")), (Depth::EMPTY, Depth::EMPTY));
}

#[test]
fn in_the_next_period_a_parked_key_goes_on_and_no_message_is_lost() {
    let world = World::with_queue(&["--max-receives", "1"]);
    send(&world, "acme", 3);
    let budget = ["--key", "group", "--budget", "acme=fuel:1/10s", "--until-empty", "--instances", "1"];
    let output = world.run("misbehave").args(budget).args(STORE).succeeds();
    output.has_outcomes(&json!({"completed": 3}));
    assert!(output.summary()["parked_messages"].as_u64() >= Some(1), "{output}");
    assert!(output.logs_of(PARKED).len() >= 2, "once in each period: {output}");
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::EMPTY));
}

#[test]
fn with_trickle_a_key_over_its_budget_runs_one_task_at_a_time() {
    let world = World::with_queue(&[]);
    send(&world, "acme", 20);
    let budget = ["--key", "group", "--budget", "*=fuel:1/31d", "--over-budget", "trickle", "--until-empty"];
    let output = world.run("misbehave").args(budget).args(STORE).succeeds();
    output.has_outcomes(&json!({"completed": 20}));
    assert_eq!(output.summary()["parked_messages"], 0);
    let told = "a key is over its budget: it runs one task at a time until the period ends";
    assert_eq!(output.logs_of(told).len(), 1, "{output}");
}

#[test]
fn any_text_is_a_key_with_a_budget_of_its_own() {
    let long = "x".repeat(256);
    let hostile = [
        "\r\nforged \u{202e}\u{9b}2J",
        "'); DROP TABLE account; --",
        "*",
        "\u{85}\u{2028}\"\\",
        &long,
        // Only the first 256 bytes count.
        &format!("{long}y"),
    ];
    let world = World::with_queue(&[]);
    let sends = || {
        for key in hostile {
            world.send_of("--attribute", key, ["ok"]);
        }
    };
    sends();
    let options =
        ["--key", "attribute:tenant", "--budget", "*=fuel:1/31d", "--status", "0", "--instances", "1"];
    let run = || world.run("misbehave").args(options).args(STORE).start();
    let first = run();
    first.until_logged_times(5, PARKED);
    assert_eq!(first.stop().summary()["outcomes"], json!({"completed": 5}), "two of them are one key");
    sends();
    let second = run();
    second.until_logged_times(5, PARKED);
    let tame = |text: &str| !text.contains(['\r', '\u{202e}', '\u{9b}', '\u{85}', '\u{2028}']);
    let logged = second.logs_with(PARKED);
    assert!(logged.iter().all(|line| tame(line["key"].as_str().expect("a key"))), "{logged:?}");
    let shown = get(second.listens_on(), "/status").body;
    assert!(shown.contains("forged") && tame(&shown), "{shown}");
    assert!(second.stop().summary()["outcomes"].as_object().expect("an object").is_empty());
    let accounts = world.open("budgets.db");
    let count: u32 =
        accounts.query_row("SELECT count(*) FROM account", [], |row| row.get(0)).expect("a number");
    assert_eq!((count, receive_counts(&world).len()), (5, 7));
}

#[test]
fn while_the_store_fails_each_worker_counts_by_itself_and_no_message_is_blamed() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.create_dir("budgets");
    let worker = worker(&world, LEAST, &["--budget-store", "sqlite:budgets/budgets.db"]);
    send(&world, "acme", 1);
    worker.until_logged(PARKED);
    // Written, before the file is gone.
    let sum = || {
        let file = world.open("budgets/budgets.db");
        file.query_row("SELECT count(*) FROM account", [], |row| row.get::<_, u32>(0)).unwrap_or(0)
    };
    wait_until("the use is in the store", || sum() == 1);
    world.while_away("budgets", || {
        // A key that the worker hasn't seen runs, until it has used up its budget in this worker.
        send(&world, "other", 5);
        worker.until_logged("the budget store fails");
        worker.until_logged_times(2, PARKED);
    });
    worker.until_logged("the budget store answers again");
    wait_until("the use of the other key is in the store, too", || sum() == 2);
    let counts = status(worker.listens_on())["counts"].clone();
    assert!(counts["failed_budget_calls"].as_u64() >= Some(1), "{counts}");
    worker.stop().has_outcomes(&json!({"completed": 2}));
    assert_eq!(receive_counts(&world), [0; 4]);
    assert_eq!(world.dead(), Depth::EMPTY);
}

fn on_sqs(world: &World, amazon: &Amazon, jobs: &str, options: &[&str]) -> Process {
    let run = world.wasmrun(["run", "--queue", jobs, "--instances", "1", "--key", "attribute:tenant"]);
    let run = run.arg(guest("misbehave")).logging_tasks().args(["--budget", "acme=fuel:1/31d"]);
    amazon.environment(run.args(["--budget-store", "s3://budgets/of-jobs"]).args(options)).start()
}

#[test]
fn workers_on_sqs_share_budgets_in_a_bucket() {
    let Some((world, amazon, jobs)) = Amazon::with_jobs(30, 5) else { return };
    amazon.create_bucket("budgets");
    let sends = |key: &str, count: usize| {
        let messages = (0..count).map(|_| ("ok".to_owned(), key.to_owned()));
        amazon.send_all_with(&jobs, "tenant", messages);
    };
    sends("acme", 1);
    let first = on_sqs(&world, &amazon, &jobs, &[]);
    first.until_logged(PARKED);
    first.stop().has_outcomes(&json!({"completed": 1}));
    let objects = amazon.keys("budgets");
    assert_eq!(objects.len(), 1, "{objects:?}");

    sends("acme", 20);
    sends("other", 5);
    let second = on_sqs(&world, &amazon, &jobs, &["--status", "0"]);
    second.until_logged_times(5, "task completed");
    second.until_logged(PARKED);
    let parked = || status(second.listens_on())["counts"]["parked_messages"].as_u64();
    wait_until("all messages of the key are parked", || parked() >= Some(20));
    second.stop().has_outcomes(&json!({"completed": 5}));
    assert_eq!(amazon.depth(&jobs).iter().sum::<u64>(), 20);
}

#[test]
fn a_budget_store_that_tasks_or_messages_could_reach_is_refused() {
    let Some((world, amazon, jobs)) = Amazon::with_jobs(30, 5) else { return };
    amazon.create_bucket("budgets");
    for (option, store, named) in [
        ("--body-store", "s3://budgets", "body store (s3://budgets/)"),
        ("--store", "in=s3://budgets:ro", "store in (s3://budgets/)"),
        ("--store", "in=s3://budgets/of-jobs/more:rw", "store in (s3://budgets/of-jobs/more/)"),
    ] {
        let run = world.wasmrun(["run", "--queue", &jobs, "--key", "group", option, store]);
        let run = run.arg(guest("misbehave")).args(["--budget", "acme=fuel:1/1h"]);
        let run = amazon.environment(run.args(["--budget-store", "s3://budgets/of-jobs"]));
        let said = "overlap: give the budget store a prefix of its own";
        run.fails_with(2, &format!("the budget store s3://budgets/of-jobs/ and the {named} {said}"));
    }
}

#[test]
fn a_message_on_sqs_whose_receives_belong_to_errors_runs_and_is_not_dead_lettered() {
    let Some((world, amazon, jobs)) = Amazon::with_jobs(30, 1) else { return };
    amazon.create_bucket("budgets");
    let messages = (0..10).map(|_| ("ok".to_owned(), "acme".to_owned()));
    amazon.send_all_with(&jobs, "tenant", messages);
    let output = on_sqs(&world, &amazon, &jobs, &["--until-empty"]).finish().succeeded();
    output.has_outcomes(&json!({"completed": 10}));
    assert_eq!(output.summary()["parked_messages"], 0, "{output}");
}

#[test]
fn budgets_that_cannot_work_are_refused_at_the_start_and_a_check_changes_nothing() {
    let world = World::with_queue(&[]);
    let run = |options: &[&str]| world.run("misbehave").args(options);
    let key = ["--key", "group"];
    run(&["--budget", "a=fuel:1/1h"]).fails_with(2, "add --key");
    run(&key).args(["--budget", "a=fuel:1/1h"]).fails_with(2, "add --budget-store");
    run(&key).args(STORE).fails_with(2, "add --budget");
    run(&key).args(STORE).args(["--budget", "a=1/1h"]).fails_with(2, "--budget a=1/1h: expected fuel:AMOUNT");
    let with = |url: &str| run(&key).args(["--budget", "a=cost:2/1d", "--budget-store", url]);
    with("dir:out").fails_with(2, "unknown budget store");
    with("sqlite:jobs.db").fails_with(3, "another application");
    with("sqlite:out/budgets.db").fails_with(2, "holds the budget store");
    with("s3://bucket/{key}/x").fails_with(2, "{key}");
    world.write(
        "wasmrun.toml",
        "[worker]\nkey = 'group'\nbudget-store = 'sqlite:budgets.db'\nover-budget = 'trickle'\n[budget]\nacme = 'cpu:10m/1d'\n'*' = 'cost:2.50/30d'\n",
    );
    run(&["--config", "wasmrun.toml", "--check"]).env("WASMRUN_BUDGET_zoo", "off").succeeds();
    assert!(!world.path("budgets.db").exists());
    run(&["--config", "wasmrun.toml", "--check"]).env("WASMRUN_BUDGET_zoo", "5").fails_with(2, "zoo=5");
    world.write("wrong.toml", "[budget]\nacme = 'cpu:10m/1d'\n'*' = 'cost:2.50'\n");
    run(&["--config", "wrong.toml", "--check"]).fails_with(2, "line 3");
    world.write("service.toml", "[budget]\nacme = 'cpu:10m/1d'\n");
    world.wasmrun(["serve", "--config", "service.toml"]).arg(guest("misbehave")).fails_with(2, "`budget`");
}
