//! Workers for many tenants that are killed: several queues with priorities, keys with caps, weights and budgets, routes,
//! `--once`, notifications and completion groups, all at the same time.
//!
//! A worker is killed when it has done something: begun or completed tasks, sent notifications, or recorded what tasks
//! have used. What must hold is checked at the end, and after each kill.

mod cloud;
mod local;

use super::killing::{assert_outputs_of_one_run, seeded};
use crate::harness::{COMPLETED, Command, Output, Process, field, guest, wait_within};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

/// Names of the queues, with their priorities.
const QUEUES: [(&str, &str); 3] = [("urgent", ";strict"), ("jobs", ";weight=2"), ("slow", "")];
/// Keys whose budgets are never used up. Messages of the last one take a route with a store of its own.
const KEYS: [&str; 3] = ["a", "b", "c"];
/// A key that has used up its budget after its first task in each period.
const POOR: &str = "poor";
/// Number of messages of a completion group. Each round sends one group to each queue.
const OF_EACH: usize = 8;
const INSTANCES: usize = 4;
const MAX_PER_KEY: usize = 2;

const BEGAN: &str = "\"text\":\"began\"";
const OVER_BUDGET: &str = "a key is over its budget: its messages wait until the period ends";

/// What a message is about.
#[derive(Debug)]
struct Sent {
    key: String,
    /// Name of the message, and of the folder of its outputs.
    name: String,
}

/// Where the queues, the stores and everything else of the workers are.
trait Place {
    /// Sends messages of a key with these bodies. With `group`, they are the messages of a completion group. Returns
    /// their IDs in the same order.
    fn send(&self, queue: &str, key: &str, group: Option<&str>, bodies: &[String]) -> Vec<String>;

    /// A worker on the queues, with the places of all that it keeps.
    fn worker(&self) -> Command;

    /// Sum of what the store of budgets says that [`KEYS`] have used.
    fn charged(&self) -> u64;

    /// Number of notifications that were sent.
    fn count_notified(&self) -> usize;

    /// All notifications that were sent. Called once.
    fn notifications(&self) -> Vec<Value>;

    /// The text of an object in the store `output` of the messages of a key.
    fn read(&self, key: &str, object: &str) -> String;

    /// The names of the objects in the folder `nonces` of both stores.
    fn nonces(&self) -> Vec<String>;

    /// Asserts that nothing is left in the queues and in their dead-letter queues.
    fn assert_empty(&self);

    /// The states of the entries of the ledger.
    fn entries(&self) -> Vec<String>;
}

/// The moment at which a worker is killed: an action of the worker.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Began,
    Completed,
    Notified,
    Recorded,
}

const MOMENTS: [Moment; 4] = [Moment::Began, Moment::Completed, Moment::Notified, Moment::Recorded];

/// Kills `kills` workers, lets one finish, and checks what must hold.
fn survives(place: &dyn Place, kills: usize) {
    let mut random = seeded();
    let mut sent = HashMap::new();
    let mut ended = Vec::new();
    for round in 0..kills {
        send(place, round, &mut sent);
        if round == 0 {
            send_poor(place, round, 1, &mut sent);
        }
        let (moment, times) = (MOMENTS[round % MOMENTS.len()], random.usize(1..OF_EACH));
        let (charged, notified) = (place.charged(), place.count_notified());
        let worker = start(place, &[]);
        match moment {
            Moment::Began => worker.until_logged_times(times, BEGAN),
            Moment::Completed => worker.until_completed(times),
            Moment::Notified => {
                soon("notifications are sent", || place.count_notified() >= notified + times);
            }
            Moment::Recorded => {
                worker.until_completed(times);
                let used = used(&worker.logs_with(COMPLETED));
                soon("their use is in the budget store", || place.charged() >= charged + used);
            }
        }
        ended.push(worker.kill());
    }
    send(place, kills, &mut sent);
    // More than may run before the first has used up the budget.
    send_poor(place, kills, MAX_PER_KEY + 1, &mut sent);
    let charged = charged_at_rest(place);
    let last = start(place, &["--until-empty"]).finish().succeeded();
    // A worker that isn't killed records everything.
    assert_eq!(place.charged() - charged, used(&last.logs()), "{last}");
    assert!(last.stderr.iter().any(|line| line.contains(OVER_BUDGET)), "{last}");
    ended.push(last);

    place.assert_empty();
    let outputs = |Sent { key, name }: &Sent| {
        ["first", "second"].map(|object| place.read(key, &format!("{name}/{object}")))
    };
    assert_outputs_of_one_run(sent.values().map(outputs), &place.nonces());
    check_notifications(&place.notifications(), &sent, kills + 1);
    check_runs(&ended, &sent);
    check_budgets(place, &ended, kills);
    let entries = place.entries();
    assert!(entries.len() == sent.len() && entries.iter().all(|state| state == "completed"), "{entries:?}");
}

#[track_caller]
fn soon(what: &str, holds: impl FnMut() -> bool) {
    wait_within(Duration::from_secs(60), what, holds);
}

/// Returns the sum in the store of budgets once it no longer changes. A killed worker may have sent a write that arrives
/// later.
fn charged_at_rest(place: &dyn Place) -> u64 {
    let mut last = None;
    soon("the budget store no longer changes", || {
        let charged = place.charged();
        last.replace(charged) == Some(charged)
    });
    last.expect("a reading")
}

/// Sends the messages of a round: to each queue a completion group of one key.
fn send(place: &dyn Place, round: usize, sent: &mut HashMap<String, Sent>) {
    for (index, (queue, _)) in QUEUES.into_iter().enumerate() {
        let key = KEYS[(round + index) % KEYS.len()];
        send_some(place, (queue, key, Some(&group(queue, round))), round, OF_EACH, sent);
    }
}

/// Sends messages of the key that has little to spend.
fn send_poor(place: &dyn Place, round: usize, count: usize, sent: &mut HashMap<String, Sent>) {
    send_some(place, ("jobs", POOR, None), round, count, sent);
}

fn send_some(
    place: &dyn Place,
    (queue, key, group): (&str, &str, Option<&str>),
    round: usize,
    count: usize,
    sent: &mut HashMap<String, Sent>,
) {
    let names: Vec<_> = (0..count).map(|number| format!("{queue}-{key}-{round}-{number}")).collect();
    let body = |name: &String| format!("all print began;put-nonce {name}/first {name}/second;sleep 20");
    let ids = place.send(queue, key, group, &names.iter().map(body).collect::<Vec<_>>());
    assert_eq!(ids.len(), count);
    sent.extend(ids.into_iter().zip(names).map(|(id, name)| (id, Sent { key: key.to_owned(), name })));
}

fn group(queue: &str, round: usize) -> String {
    format!("{queue}-{round}")
}

/// Starts a worker with everything that tenants can have.
fn start(place: &dyn Place, options: &[&str]) -> Process {
    let worker = place.worker().arg(guest("misbehave")).args(["--config", "routes.toml"]);
    let worker = worker.args(["--instances", &INSTANCES.to_string(), "--timeout", "5s"]);
    let worker = worker.args(["--max-per-key", &MAX_PER_KEY.to_string(), "--weight", "a=2"]);
    let worker = worker.args(["--budget", "*=fuel:1000T/31d", "--budget", &format!("{POOR}=fuel:1/10s")]);
    let worker = worker.args(["--complete-group", "batch", "--backoff", "10ms..50ms"]).args(options);
    worker.logging_tasks().within(Duration::from_secs(300)).start()
}

/// The fuel that these tasks of [`KEYS`] have used.
fn used(logs: &[Value]) -> u64 {
    // The summary of a worker has no key.
    let is_counted = |log: &&Value| KEYS.iter().any(|key| log["key"] == *key);
    logs.iter().filter(is_counted).filter_map(|log| log["fuel"].as_u64()).sum()
}

/// Each message and each completion group has a notification, and all of them say that messages completed.
fn check_notifications(notifications: &[Value], sent: &HashMap<String, Sent>, rounds: usize) {
    let (of_groups, of_messages): (Vec<_>, Vec<_>) =
        notifications.iter().partition(|notification| notification["complete_group"].is_string());
    for notification in &of_messages {
        let Sent { key, .. } = &sent[field(notification, "message_id")];
        assert_eq!((field(notification, "key"), field(notification, "end")), (&**key, "completed"));
        // Repeated: a run had committed before the worker was killed.
        assert!(["completed", "repeated"].contains(&field(notification, "outcome")), "{notification}");
    }
    let ids: HashSet<_> = of_messages.iter().map(|notification| field(notification, "message_id")).collect();
    assert_eq!(ids.len(), sent.len(), "each message has a notification");
    let ends: BTreeMap<_, _> = of_groups
        .iter()
        .map(|notification| (field(notification, "complete_group").to_owned(), notification["ends"].clone()))
        .collect();
    let expected = (0..rounds).flat_map(|round| QUEUES.map(|(queue, _)| group(queue, round)));
    let expected: BTreeMap<_, _> = expected.map(|name| (name, json!({"completed": OF_EACH}))).collect();
    assert_eq!(ends, expected);
    let (of_messages, of_groups) = (of_messages.len() - sent.len(), of_groups.len() - expected.len());
    println!("{} messages: {of_messages} notifications twice, {of_groups} of groups", sent.len());
}

/// No message completed twice, no key ran above its cap, and the kills interrupted something.
fn check_runs(ended: &[Output], sent: &HashMap<String, Sent>) {
    let mut completed = HashSet::new();
    let (mut most, mut repeated, mut redelivered) = (0, 0, 0);
    for output in ended {
        let mut running: HashMap<&str, HashSet<String>> = HashMap::new();
        for log in output.whole_logs() {
            let Some(id) = log["message_id"].as_str() else { continue };
            let key = &*sent[id].key;
            match field(&log, "message") {
                "Guest" => {
                    let of_key = running.entry(key).or_default();
                    of_key.insert(id.to_owned());
                    most = most.max(of_key.len());
                }
                "task completed" => {
                    running.entry(key).or_default().remove(id);
                    redelivered += usize::from(log["receive_count"].as_u64() > Some(1));
                    assert!(completed.insert(id.to_owned()), "{:?} completed twice", sent[id]);
                }
                "task did not complete" => {
                    running.entry(key).or_default().remove(id);
                }
                // Also of a task that another run of its message overtook.
                "no task ran" => {
                    running.entry(key).or_default().remove(id);
                    repeated += usize::from(log["outcome"] == "repeated");
                }
                _ => {}
            }
        }
    }
    println!("{} completed, {repeated} repeated, {redelivered} delivered before", completed.len());
    assert_eq!(most, MAX_PER_KEY, "tasks of a key at once");
    assert!(redelivered > 0, "the kills interrupted nothing");
}

/// The store of budgets has at most what tasks have used. Of each killed worker, the tasks that ran may have ended without
/// a line in the log.
fn check_budgets(place: &dyn Place, ended: &[Output], kills: usize) {
    let all: Vec<_> = ended.iter().flat_map(Output::whole_logs).collect();
    let of_tasks = all.iter().filter(|log| log["message"] == "task completed");
    let most = of_tasks.filter_map(|log| log["fuel"].as_u64()).max().expect("a task");
    let (charged, used) = (place.charged(), used(&all));
    println!("{charged} of {used} fuel is in the store");
    assert!(charged > 0 && charged <= used + most * (kills * INSTANCES) as u64);
}
