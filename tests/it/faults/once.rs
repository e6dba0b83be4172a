//! `--once` under kills: each key is committed by one run, and a crash leaves neither a part of its outputs nor a trace in
//! the staging area.

use super::killing::{assert_outputs_of_one_run, killed_at_random_moments, seeded};
use crate::harness::{Depth, Output, Process, World, field, keys, wait_until};
use std::collections::BTreeMap;
use std::time::Duration;

const ORDERS: usize = 300;
const KILLS: usize = 25;
/// Log lines of messages that are settled.
pub(super) const SETTLED: [&str; 2] = ["\"task completed\"", "\"repeated\""];

fn start(world: &World, options: &[&str]) -> Process {
    let worker =
        world.run("misbehave").args(["--instances", "4", "--backoff", "10ms..50ms", "--timeout", "5s"]);
    let worker = worker.args(["--once", "sqlite:ledger.db", "--once-by", "attribute:order"]).args(options);
    worker.within(Duration::from_secs(300)).start()
}

/// Sends each order three times.
fn send(world: &World) {
    for order in 0..ORDERS {
        let (attribute, body) =
            (format!("order={order}"), format!("put-nonce {order}/first {order}/second/deep"));
        world.send_with(&["--attribute", &attribute], [&body; 3]);
    }
}

#[test]
fn kills_at_random_moments_leave_each_key_the_outputs_of_one_committed_run() {
    let mut random = seeded();
    let world = World::with_queue(&["--visibility-timeout", "1s", "--max-receives", "1000"]);
    send(&world);
    let lines = (&SETTLED[..], ORDERS * 27 / 10);
    let until_empty = || start(&world, &["--until-empty"]);
    let (mut ended, workers) = killed_at_random_moments(&mut random, KILLS, lines, until_empty);
    ended.extend(workers.into_iter().map(|worker| worker.finish().succeeded()));
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::EMPTY));
    let text = |key: String| world.text(&format!("out/{key}"));
    let outputs = |order: usize| ["first", "second/deep"].map(|name| text(format!("{order}/{name}")));
    assert_outputs_of_one_run((0..ORDERS).map(outputs), &keys(&world.path("out/nonces")));
    check_runs(&ended);

    // A sweep leaves nothing of the runs that were killed.
    let sweeper = start(&world, &[]);
    sweeper.until_logged("\"ready\"");
    wait_until("the staging area is empty", || keys(&world.path("out/.wasmrun/staged")).is_empty());
    sweeper.stop();
    assert_eq!(keys(&world.path("out/.wasmrun/tmp")), Vec::<String>::new());
    let ledger = world.open("ledger.db");
    let states: (i64, i64) = ledger
        .query_row("SELECT count(*), sum(state = 2) FROM entry", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("counts");
    assert_eq!(
        states,
        (ORDERS as i64, ORDERS as i64),
        "each key is completed, and nothing else is in the ledger"
    );
}

/// No message's task completed twice. A killed worker may not have logged the end of one that has committed.
fn check_runs(ended: &[Output]) {
    let mut completed: BTreeMap<String, usize> = BTreeMap::new();
    let (mut repeated, mut redelivered) = (0, 0);
    for log in ended.iter().flat_map(Output::whole_logs) {
        if log["message"] == "task completed" {
            *completed.entry(field(&log, "message_id").to_owned()).or_default() += 1;
        }
        let was_settled = log["message"] == "task completed" || log["outcome"] == "repeated";
        repeated += usize::from(log["outcome"] == "repeated");
        redelivered += usize::from(was_settled && log["receive_count"].as_u64() > Some(1));
    }
    assert!(completed.values().all(|&times| times == 1), "{completed:?}");
    assert!(completed.len() <= ORDERS && completed.len() + KILLS * 8 > ORDERS);
    println!(
        "{KILLS} kills: {} completed, {repeated} repeated, {redelivered} delivered before",
        completed.len()
    );
    assert!(redelivered > 0, "the kills interrupted nothing");
}
