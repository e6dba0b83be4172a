//! `--once`: a message whose ID or key has completed is settled without a task, and outputs appear together or not at all.

use crate::harness::{Depth, Output, World, wait_until, why};
use serde_json::json;
use sha2::{Digest, Sha256};

const QUEUE: &str = "sqlite:jobs.db";
const ONCE: [&str; 2] = ["--once", "sqlite:ledger.db"];
const BY_ORDER: [&str; 2] = ["--once-by", "attribute:order"];

/// Sends a message with an order.
#[track_caller]
fn send(world: &World, order: &str, body: &str) {
    world.send_with(&["--attribute", &format!("order={order}")], [body]);
}

/// Runs a worker until the queue is empty.
fn work(world: &World, options: &[&str]) -> Output {
    let worker = world.run("misbehave").args(["--instances", "1", "--until-empty", "--backoff", "1ms..1ms"]);
    worker.args(ONCE).args(options).succeeds()
}

fn staged(world: &World) -> usize {
    std::fs::read_dir(world.path("out/.wasmrun/staged")).map_or(0, Iterator::count)
}

/// Returns the number of entries of the ledger in each state.
fn entries(world: &World) -> Vec<(i64, i64)> {
    let ledger = world.open("ledger.db");
    let mut query =
        ledger.prepare("SELECT state, count(*) FROM entry GROUP BY 1 ORDER BY 1").expect("a query");
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

const COMPLETED: i64 = 2;

#[test]
fn a_key_that_has_completed_is_settled_without_a_task_and_usage_says_so() {
    let world = World::with_queue(&[]);
    for text in ["first", "second", "third"] {
        send(&world, "7", &format!("put a {text}"));
    }
    send(&world, "8", "put b other");
    let output = work(&world, &[&BY_ORDER[..], &["--usage", "usage.jsonl"]].concat());
    output.has_outcomes(&json!({"completed": 2, "repeated": 2}));
    assert_eq!((world.read("out/a"), world.depth()), (b"first".to_vec(), Depth::EMPTY));
    let mut repeated = world.usage();
    repeated.retain(|record| record["outcome"] == "repeated");
    assert_eq!((repeated.len(), &repeated[0]["fuel"]), (2, &json!(0)));
    // Another worker, another time, the same ledger.
    send(&world, "7", "put a fourth");
    let output = work(&world, &BY_ORDER);
    output.has_outcomes(&json!({"repeated": 1}));
    assert_eq!((world.read("out/a"), entries(&world)), (b"first".to_vec(), vec![(COMPLETED, 2)]));
}

#[test]
fn messages_without_the_key_or_with_hostile_keys_are_never_taken_for_each_other() {
    let world = World::with_queue(&[]);
    world.send(["put a 1", "put b 2"]);
    let long = "x".repeat(2_000);
    let keys =
        ["'; DROP TABLE entry; --", "../../ledger.db", "a b\t", "A", "a", "ä", &long, &format!("{long}y")];
    for (number, key) in keys.iter().enumerate() {
        send(&world, key, &format!("put key{number} x"));
        send(&world, key, &format!("put key{number} y"));
    }
    let output = work(&world, &BY_ORDER);
    output.has_outcomes(&json!({"completed": 2 + keys.len(), "repeated": keys.len()}));
    assert_eq!(world.keys("out").len(), 2 + keys.len());
}

#[test]
fn a_task_that_does_not_complete_leaves_no_output_and_no_claim() {
    let world = World::with_queue(&["--max-receives", "2"]);
    for (order, end) in ["reject no", "panic", "retry", "sleep-forever"].iter().enumerate() {
        send(&world, &order.to_string(), &format!("all put a{order} x; put b x; delete kept; {end}"));
    }
    world.write("out/kept", "kept");
    let output = work(&world, &[&BY_ORDER[..], &["--timeout", "300ms"]].concat());
    output.has_outcomes(&json!({"rejected": 1, "trapped": 2, "retry": 2, "timed-out": 2}));
    assert_eq!((world.keys("out"), world.dead()), (vec!["kept".to_owned()], Depth::visible(4)));
    assert_eq!((staged(&world), entries(&world)), (0, vec![]));
    // The key isn't used up.
    send(&world, "0", "put a done");
    work(&world, &BY_ORDER).has_outcomes(&json!({"completed": 1}));
}

#[test]
fn a_task_does_not_see_its_own_outputs_and_the_last_of_each_key_counts() {
    let world = World::with_queue(&[]);
    world.write("out/old", "old");
    let script = "all put a 1; put a 2; delete old; put old new; put gone x; delete gone; get @output old; list @output ";
    send(&world, "1", script);
    let output = work(&world, &BY_ORDER);
    output.has_outcomes(&json!({"completed": 1}));
    assert!(output.stderr.iter().any(|line| line.contains("got 3 bytes: old")), "{output}");
    assert_eq!(
        (world.keys("out"), world.read("out/a"), world.read("out/old")),
        (vec!["a".to_owned(), "old".to_owned()], b"2".to_vec(), b"new".to_vec())
    );
    assert_eq!(staged(&world), 0);
}

#[test]
fn conditional_writes_and_keys_that_exclude_each_other_are_refused() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["put-new a x", "all put a x; put a/b x", "put .wasmrun/staged/x y", "put ../x y"]);
    let output = work(&world, &[]);
    output.has_outcomes(&json!({"rejected": 4}));
    assert_eq!((world.keys("out"), staged(&world)), (Vec::<String>::new(), 0));
    let reasons: Vec<_> = world.dead_letters().iter().map(|letter| letter.to_string()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("on a condition")), "{reasons:?}");
}

#[test]
fn a_deletion_of_a_key_that_a_directory_cannot_hold_is_refused_and_keeps_no_commit_from_its_end() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["delete a//b", "all put b x; delete x/", "put c x"]);
    let output = work(&world, &[]);
    output.has_outcomes(&json!({"completed": 1, "rejected": 2}));
    assert_eq!((world.keys("out"), entries(&world)), (vec!["c".to_owned()], vec![(COMPLETED, 1)]));
}

#[test]
fn a_key_whose_task_runs_keeps_another_message_waiting_without_counting_its_receives() {
    let world = World::with_queue(&["--max-receives", "2"]);
    send(&world, "1", "all put-nonce a; sleep 1500");
    let worker = world.run("misbehave").args(["--instances", "2", "--backoff", "10ms..20ms"]).args(ONCE);
    let worker = worker.args(BY_ORDER).args(["--timeout", "2s"]).start();
    wait_until("the task runs", || world.depth().in_flight == 1);
    send(&world, "1", "put-nonce b");
    world.wait_until_empty();
    let output = worker.stop();
    let outcomes = &output.summary()["outcomes"];
    assert_eq!((&outcomes["completed"], &outcomes["repeated"]), (&json!(1), &json!(1)), "{output}");
    assert!(outcomes["cancelled"].as_u64() >= Some(1), "it waited: {output}");
    assert_eq!(world.dead(), Depth::EMPTY);
}

#[test]
fn a_ledger_that_cannot_be_used_is_the_hosts_fault_and_counts_against_no_message() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["put a x", "put b x"]);
    let worker =
        world.run("misbehave").args(["--instances", "2", "--backoff", "10ms..20ms"]).args(ONCE).start();
    world.wait_until_empty();
    world.while_away("ledger.db", || {
        world.send(["put c x"]);
        worker.until_logged("paused receiving");
        assert_eq!((world.keys("out").len(), world.dead()), (2, Depth::EMPTY));
    });
    wait_until("it goes on", || world.keys("out").len() == 3);
    world.wait_until_empty();
    let output = worker.stop();
    assert!(output.summary()["outcomes"]["host-failed"].as_u64() > Some(2), "{output}");
    assert_eq!(world.dead(), Depth::EMPTY);
}

#[test]
fn what_cannot_be_combined_is_refused_at_the_start() {
    let world = World::with_queue(&[]);
    let run = |options: &[&str], code: i32, said: &str| {
        world.run("misbehave").args(options).fails_with(code, said);
    };
    run(&["--once-by", "id"], 2, "--once-by has no effect without a ledger");
    run(&["--once-window", "1h"], 2, "--once-window has no effect without a ledger");
    run(&["--once", "redis://ledger"], 2, "unknown ledger");
    for wrong in [["--once-by", "object-prefix:1"], ["--once-window", "1s"], ["--once-window", "91d"]] {
        let output = world.run("misbehave").args(["--once", "sqlite:ledger.db"]).args(wrong).ends();
        assert_eq!(output.status.code(), Some(2), "{output}");
    }
    std::fs::create_dir_all(world.path("out/below")).expect("a directory");
    let nested = ["--once", "sqlite:ledger.db", "--store", "below=dir:out/below:wo"];
    run(&nested, 2, "cannot tell apart the objects of the store below");
    run(&["--once", "sqlite:jobs.db"], 3, "another application");
    run(&["--once", "sqlite:out/ledger.db"], 2, "the ledger of --once");
    assert!(!world.path("ledger.db").exists());
    world.run("misbehave").args(["--check", "--once", "sqlite:ledger.db"]).succeeds();
    assert!(!world.path("ledger.db").exists(), "a check makes no ledger");
}

#[test]
fn aliases_of_one_store_and_stores_next_to_each_other_are_staged_apart() {
    let world = World::with_queue(&[]);
    std::fs::create_dir_all(world.path("out/below")).expect("a directory");
    std::fs::create_dir_all(world.path("outer")).expect("a directory");
    world.send(["put a x"]);
    let stores = ["again=dir:out:rw", "below=dir:out/below:ro", "outer=dir:outer:rw"];
    let stores: Vec<_> = stores.iter().flat_map(|store| ["--store", store]).collect();
    work(&world, &stores).has_outcomes(&json!({"completed": 1}));
    assert_eq!((world.read("out/a"), staged(&world)), (b"x".to_vec(), 0));
}

#[test]
fn the_key_of_one_tenant_does_not_keep_the_same_key_of_another_from_running() {
    let world = World::with_queue(&[]);
    for (tenant, script) in
        [("evil", "put e 1"), ("acme", "put a 1"), ("evil", "put e 2"), ("acme", "put a 2")]
    {
        world.send_with(&["--group", tenant, "--attribute", "order=42"], [script]);
    }
    let output = work(&world, &[&BY_ORDER[..], &["--key", "group"]].concat());
    output.has_outcomes(&json!({"completed": 2, "repeated": 2}));
    assert_eq!((world.read("out/a"), world.read("out/e")), (b"1".to_vec(), b"1".to_vec()));
}

#[test]
fn an_output_whose_place_another_object_took_delays_no_other_message_and_is_placed_when_that_is_gone() {
    let world = World::with_queue(&["--max-receives", "2"]);
    die_after_commit(&world, &url_of(&world, "out"));
    world.write("out/deep", "of another task, which wrote it at the same time");
    send(&world, "1", "put deep/late again");
    send(&world, "2", "put b x");
    holds_commit(&world);
    let output = work(&world, &BY_ORDER);
    output.has_outcomes(&json!({"host-failed": 2, "completed": 1}));
    assert!(!output.to_string().contains("paused receiving"), "{output}");
    assert_eq!((world.dead(), staged(&world)), (Depth::visible(1), 1));
    assert_eq!(why(&world.dead_letters()[0])["outcome"], "host-failed");
    // Nothing is lost: its commit is still there.
    std::fs::remove_file(world.path("out/deep")).expect("removed");
    world.wasmrun(["queue", "redrive", "sqlite:jobs.db#dead"]).succeeds();
    holds_commit(&world);
    work(&world, &BY_ORDER).has_outcomes(&json!({"repeated": 1}));
    assert_eq!((world.read("out/deep/late"), staged(&world)), (b"from before the crash".to_vec(), 0));
}

/// Makes all messages of the queue two hours old.
fn age(world: &World) {
    world.database().execute("UPDATE message SET sent_ms = sent_ms - 7200000", []).expect("changed");
}

#[test]
fn a_message_that_has_committed_is_repeated_however_old_it_is() {
    const MAX_AGE: [&str; 2] = ["--max-age", "1h"];
    let world = World::with_queue(&[]);
    die_after_commit(&world, &url_of(&world, "out"));
    for order in ["1", "1", "2"] {
        send(&world, order, "put a x");
    }
    age(&world);
    holds_commit(&world);
    let output = work(&world, &[&BY_ORDER[..], &MAX_AGE].concat());
    output.has_outcomes(&json!({"repeated": 2, "expired": 1}));
    assert_eq!(world.read("out/deep/late"), b"from before the crash");
    assert_eq!((world.path("out/a").exists(), world.dead()), (false, Depth::visible(1)));
    assert_eq!(entries(&world), [(COMPLETED, 1)], "the claim of the expired message is given up");
}

#[test]
fn a_cancelled_message_that_has_committed_is_repeated_and_one_that_has_not_leaves_no_claim() {
    const KEY: [&str; 2] = ["--key", "group"];
    let world = World::with_queue(&[]);
    send(&world, "7", "put a first");
    work(&world, &[BY_ORDER, KEY].concat()).has_outcomes(&json!({"completed": 1}));
    for (order, script) in [("8", "sleep 1500"), ("7", "put a second"), ("9", "put a third")] {
        send(&world, order, script);
    }
    let ids: Vec<_> = world.peek(QUEUE).iter().map(|message| message["id"].clone()).collect();
    let worker = world.run("misbehave").args(["--instances", "1", "--control", "control.sock"]);
    let worker = worker.args(ONCE).args(BY_ORDER).args(KEY).start();
    wait_until("all are held", || world.depth().in_flight == 3);
    for id in &ids[1..] {
        let id = id.as_str().expect("an ID");
        world.wasmrun(["cancel", id, "--control", "control.sock"]).succeeds();
    }
    world.wait_until_empty();
    let output = worker.stop();
    output.has_outcomes(&json!({"completed": 1, "repeated": 1, "cancelled": 1}));
    assert_eq!((world.read("out/a"), world.dead()), (b"first".to_vec(), Depth::visible(1)));
    assert_eq!(entries(&world), [(COMPLETED, 2)]);
}

/// Completes the order 1, and then makes its entry that of a worker which died after its commit and before it placed the
/// object `late` in the store with this URL.
fn die_after_commit(world: &World, store: &str) {
    send(world, "1", "ok");
    work(world, &BY_ORDER).has_outcomes(&json!({"completed": 1}));
    let ledger = world.open("ledger.db");
    let id: i64 = ledger.query_row("SELECT id FROM ledger", [], |row| row.get(0)).expect("an id");
    let mut run = [7; 24];
    run[..8].copy_from_slice(&id.to_be_bytes());
    let output = json!({"store": 0, "key": "deep/late", "staged": 3});
    let list = json!({"stores": [store], "outputs": [output]}).to_string();
    // Its time isn't over: neither a sweep nor another message may complete it.
    let committing = "state = 1, run = ?1, outputs = ?2, expires_ms = 1000 * unixepoch('now', '+1 hour')";
    change_commit(world, committing, (run, list.as_bytes()));
    let name = format!("{id:016x}-{}-00000003", "07".repeat(16));
    world.write(&format!("out/.wasmrun/staged/{name}"), "from before the crash");
}

fn change_commit(world: &World, changes: &str, values: impl rusqlite::Params) {
    let ledger = world.open("ledger.db");
    ledger.execute(&format!("UPDATE entry SET {changes}"), values).expect("an entry");
}

/// Makes the first message of the queue the one whose run has committed.
fn holds_commit(world: &World) {
    let id = world.messages().remove(0).0;
    change_commit(world, "message = ?1", [&Sha256::digest(&id)[..16]]);
}

fn url_of(world: &World, store: &str) -> String {
    format!("dir:{}/", world.path(store).canonicalize().expect("a path").display())
}

#[test]
fn whoever_finds_a_commit_that_a_crash_left_finishes_it_without_a_task() {
    let world = World::with_queue(&[]);
    die_after_commit(&world, &url_of(&world, "out"));
    send(&world, "1", "put deep/late again");
    holds_commit(&world);
    let output = work(&world, &BY_ORDER);
    output.has_outcomes(&json!({"repeated": 1}));
    assert_eq!(world.read("out/deep/late"), b"from before the crash");
    assert_eq!((staged(&world), entries(&world)), (0, vec![(COMPLETED, 1)]));
}

#[test]
fn a_sweep_finishes_a_commit_whose_message_never_comes_again() {
    let world = World::with_queue(&[]);
    die_after_commit(&world, &url_of(&world, "out"));
    change_commit(&world, "expires_ms = 0", []);
    let worker = world.run("misbehave").args(ONCE).start_ready();
    wait_until("the sweep has finished it", || entries(&world) == [(COMPLETED, 1)]);
    worker.stop();
    assert_eq!((world.read("out/deep/late"), staged(&world)), (b"from before the crash".to_vec(), 0));
}

#[test]
fn a_commit_with_outputs_in_a_store_that_is_not_granted_waits_for_the_grant_and_loses_nothing() {
    let world = World::with_queue(&["--max-receives", "1"]);
    die_after_commit(&world, &url_of(&world, "in"));
    send(&world, "1", "put deep/late again");
    holds_commit(&world);
    let worker = world.run("misbehave").args(["--backoff", "10ms..20ms"]).args(ONCE).args(BY_ORDER).start();
    worker.until_logged("has a commit with outputs in");
    worker.stop();
    assert_eq!((world.dead(), staged(&world)), (Depth::EMPTY, 1));
    assert!(world.keys("in").is_empty() && !world.path("out/deep").exists());
    let stores = ["--store", "late=dir:in:rw"];
    let name = std::fs::read_dir(world.path("out/.wasmrun/staged")).expect("files").next().expect("a file");
    let content = std::fs::read(name.as_ref().expect("a file").path()).expect("content");
    let name = name.expect("a file").file_name().into_string().expect("UTF-8");
    world.write(&format!("in/.wasmrun/staged/{name}"), content);
    let output = work(&world, &[&BY_ORDER[..], &stores].concat());
    output.has_outcomes(&json!({"repeated": 1}));
    assert_eq!(world.read("in/deep/late"), b"from before the crash");
}
