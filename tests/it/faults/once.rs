//! `--once` under kills: each key is committed by one run, and a crash leaves neither a part of its outputs nor a trace in
//! the staging area.

use super::crashes::seeded;
use crate::harness::{Depth, Output, Process, World, field, keys, wait_until};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const ORDERS: usize = 300;
const KILLS: usize = 25;
const SETTLED: [&str; 2] = ["\"task completed\"", "\"repeated\""];

fn start(world: &World, options: &[&str]) -> Process {
    let worker =
        world.run("misbehave").args(["--instances", "4", "--backoff", "10ms..50ms", "--timeout", "5s"]);
    let worker = worker.args(["--once", "sqlite:ledger.db", "--once-by", "attribute:order"]).args(options);
    worker.within(Duration::from_secs(300)).start()
}

fn settled(worker: &Process) -> usize {
    SETTLED.iter().map(|line| worker.logged(line)).sum()
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
    let mut moments: Vec<usize> = (0..KILLS).map(|_| random.usize(..ORDERS * 27 / 10)).collect();
    moments.sort_unstable();
    let mut ended: Vec<Output> = Vec::new();
    let mut done = 0;
    let mut workers = vec![start(&world, &["--until-empty"]), start(&world, &["--until-empty"])];
    for moment in moments {
        wait_until("enough messages are settled", || {
            done + workers.iter().map(settled).sum::<usize>() >= moment
        });
        std::thread::sleep(Duration::from_micros(random.u64(..20_000)));
        let victim = random.usize(..workers.len());
        done += settled(&workers[victim]);
        ended.push(workers.swap_remove(victim).kill());
        workers.push(start(&world, &["--until-empty"]));
    }
    ended.extend(workers.into_iter().map(|worker| worker.finish().succeeded()));
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::EMPTY));
    check_outputs(&world);
    check_runs(&ended);

    // A sweep leaves nothing of the runs that were killed.
    let sweeper = start(&world, &[]);
    sweeper.until_logged("\"ready\"");
    wait_until("the staging area is empty", || keys(&world.path("out/.wasmrun/staged")).is_empty());
    sweeper.stop();
    assert_eq!(keys(&world.path("out/.wasmrun/tmp")), Vec::<String>::new());
    let ledger = rusqlite::Connection::open(world.path("ledger.db")).expect("a ledger");
    let states: (i64, i64) = ledger
        .query_row("SELECT count(*), sum(state = 2) FROM entry", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("counts");
    assert_eq!(
        states,
        (ORDERS as i64, ORDERS as i64),
        "each key is completed, and nothing else is in the ledger"
    );
}

/// Each order has both outputs with the nonce of one run, and no output of another run appeared.
fn check_outputs(world: &World) {
    let text = |key: String| String::from_utf8(world.read(&format!("out/{key}"))).expect("text");
    let mut nonces = BTreeSet::new();
    for order in 0..ORDERS {
        let (first, second) = (text(format!("{order}/first")), text(format!("{order}/second/deep")));
        assert_eq!(first, second, "order {order} has outputs of two runs");
        nonces.insert(first);
    }
    let written: BTreeSet<String> = keys(&world.path("out/nonces")).into_iter().collect();
    assert_eq!(written.len(), ORDERS, "another run has written its own object");
    assert_eq!(written, nonces);
}

/// No message's task completed twice. A killed worker may not have logged the end of one that has committed.
fn check_runs(ended: &[Output]) {
    let mut completed: BTreeMap<String, usize> = BTreeMap::new();
    let (mut repeated, mut redelivered) = (0, 0);
    for line in ended.iter().flat_map(|output| &output.stderr) {
        // The last line of a killed worker may be truncated.
        let Ok(log) = serde_json::from_str::<serde_json::Value>(line) else { continue };
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
