//! Workers that are killed without warning.

use super::killing::{killed_at_random_moments, pause, seeded};
use crate::harness::{COMPLETED, Depth, Output, Process, World, field, keys};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::Duration;

const MESSAGES: usize = 2000;
const KILLS: usize = 30;

#[test]
fn thirty_kills_at_random_moments_lose_no_message_and_spoil_no_output() {
    let mut random = seeded();
    let world = World::with_queue(&["--visibility-timeout", "2s", "--max-receives", "1000"]);
    let digests = fill(&world, &mut random);
    world.announce();

    let lines = (&[COMPLETED][..], MESSAGES * 9 / 10);
    let (mut ended, workers) = killed_at_random_moments(&mut random, KILLS, lines, || start(&world));
    ended.extend(workers.into_iter().map(|worker| worker.finish().succeeded()));

    assert_eq!(world.keys("out").len(), MESSAGES);
    for (key, digest) in &digests {
        let output = world.text(&format!("out/{key}"));
        assert_eq!(&output, digest, "{key}");
    }
    assert_eq!(world.depth(), Depth::EMPTY);
    assert_eq!(world.dead(), Depth::EMPTY);
    let left_behind = keys(&world.path("out/.wasmrun/tmp"));
    assert!(left_behind.is_empty(), "{left_behind:?}");
    report(&ended);
}

fn start(world: &World) -> Process {
    world
        .run("misbehave")
        .args(["--instances", "4", "--until-empty"])
        .within(Duration::from_secs(300))
        .start()
}

/// Writes objects of random sizes. Returns what `misbehave` must write for each.
fn fill(world: &World, random: &mut fastrand::Rng) -> HashMap<String, String> {
    (0..MESSAGES)
        .map(|index| {
            let mut content = vec![0; random.usize(..20_000)];
            random.fill(&mut content);
            let key = format!("{index:04}");
            world.write(&format!("in/{key}"), &content);
            let digest = format!("{:x} {}\n", Sha256::digest(&content), content.len());
            (key, digest)
        })
        .collect()
}

/// Prints how often work was repeated, and asserts that the kills hit something, because otherwise the test shows
/// nothing.
fn report(ended: &[Output]) {
    let mut completions: HashMap<String, usize> = HashMap::new();
    let mut redelivered = 0;
    for log in ended.iter().flat_map(Output::whole_logs) {
        if log["message"] == "task completed" {
            *completions.entry(field(&log, "message_id").to_owned()).or_default() += 1;
            redelivered += usize::from(log["receive_count"] != 1);
        }
    }
    let twice = completions.values().filter(|count| **count > 1).count();
    println!(
        "{KILLS} kills among {MESSAGES} messages: {redelivered} tasks of messages that had been delivered before, \
         {twice} messages whose task completed more than once"
    );
    assert!(redelivered > 0, "the kills interrupted nothing");
}

/// Starts one worker after the other with these options. Each is killed once it has logged a number of lines of this
/// kind, and the last one finishes the work. Calls `check` after each.
fn killed_again_and_again(
    world: &World,
    random: &mut fastrand::Rng,
    (kills, line): (usize, &str),
    options: &[&str],
    mut check: impl FnMut(),
) -> Vec<Output> {
    let start = || {
        let worker = world.run("misbehave").args(["--instances", "4", "--until-empty"]).args(options);
        // Each message may become a dead letter.
        worker.args(["--max-consecutive-failures", "off"]).within(Duration::from_secs(120)).start()
    };
    let mut ended = Vec::new();
    for _ in 0..kills {
        let worker = start();
        worker.until_logged_times(random.usize(1..8), line);
        pause(random, 5);
        ended.push(worker.kill());
        check();
    }
    ended.push(start().finish().succeeded());
    check();
    ended
}

#[test]
fn kills_between_sending_a_dead_letter_and_deleting_the_message_lose_no_letter() {
    // Leaves some for the last kill, even if each kill comes late.
    const LETTERS: usize = 600;
    let mut random = seeded();
    let world = World::with_queue(&["--visibility-timeout", "1s", "--max-receives", "1000"]);
    let mut bodies: Vec<String> = (0..LETTERS).map(|index| format!("reject {index:03}")).collect();
    world.send(&bodies);
    killed_again_and_again(&world, &mut random, (8, "\"dead-lettered the message\""), &[], || {});
    assert_eq!(world.depth(), Depth::EMPTY);
    let dead = world.dead_letters();
    let mut letters: Vec<String> = dead.iter().map(|letter| field(letter, "body").to_owned()).collect();
    letters.sort();
    letters.dedup();
    bodies.sort();
    assert_eq!(letters, bodies);
    println!("8 kills among {LETTERS} dead letters: {} of them twice", dead.len() - LETTERS);
}

#[test]
fn kills_do_not_change_the_order_of_a_group() {
    const GROUPS: [&str; 3] = ["a", "b", "c"];
    const OF_EACH: usize = 100;
    let mut random = seeded();
    let world = World::with_queue(&["--fifo", "--visibility-timeout", "1s", "--max-receives", "1000"]);
    for group in GROUPS {
        world.send_with(&["--group", group], ["sleep 10"; OF_EACH]);
    }
    let sent = world.messages();
    let group_of = |id: &str| sent.iter().position(|(sent, _)| sent == id).map(|place| place / OF_EACH);

    let ended = killed_again_and_again(&world, &mut random, (5, COMPLETED), &[], || {});
    let mut seen = Vec::new();
    for log in ended.iter().flat_map(Output::whole_logs) {
        let id = log["message_id"].as_str().unwrap_or_default();
        // Only the message that its group was last working on may be processed once more.
        let last = seen.iter().rev().find(|other: &&String| group_of(other) == group_of(id));
        if log["message"] == "task completed" && last.is_none_or(|last| last != id) {
            seen.push(id.to_owned());
        }
    }
    for (group, messages) in sent.chunks(OF_EACH).enumerate() {
        let of_group: Vec<&String> = seen.iter().filter(|id| group_of(id) == Some(group)).collect();
        let expected: Vec<&String> = messages.iter().map(|(id, _)| id).collect();
        assert_eq!(of_group, expected, "the group {group}");
    }
    assert_eq!(world.depth(), Depth::EMPTY);
}

#[test]
fn kills_around_notifications_leave_no_settled_message_without_one_and_name_no_output_that_is_missing() {
    const GROUPS: usize = 50;
    const OF_EACH: usize = 10;
    const DONE: &str = "sqlite:done.db";
    let mut random = seeded();
    let world = World::with_queue(&["--visibility-timeout", "1s", "--max-receives", "1000"]);
    world.create_queue(DONE, &[]);
    for group in 0..GROUPS {
        let bodies = (0..OF_EACH / 2).flat_map(|index| {
            let name = format!("{group:02}-{index}");
            [format!("put {name} x"), format!("reject {name}")]
        });
        let (name, count) = (format!("batch=g{group}"), format!("batch.count={OF_EACH}"));
        world.send_with(&["--attribute", &name, "--attribute", &count], bodies);
    }
    let sent = world.messages();
    let options = ["--notify", DONE, "--complete-group", "batch", "--group-store", "sqlite:groups.db"];
    let mut told = Vec::new();
    killed_again_and_again(&world, &mut random, (8, COMPLETED), &options, || {
        told = check_notifications(&world, DONE, &sent);
    });
    assert_eq!(world.depth(), Depth::EMPTY);
    let of_groups: Vec<_> = told.iter().filter(|told| told["complete_group"].is_string()).collect();
    for group in (0..GROUPS).map(|group| format!("g{group}")) {
        let of_group =
            of_groups.iter().find(|told| told["complete_group"] == *group).expect("a notification");
        let half = OF_EACH / 2;
        assert_eq!(
            of_group["ends"],
            serde_json::json!({"completed": half, "dead-lettered": half}),
            "{group}"
        );
    }
    let twice = [(told.len() - of_groups.len(), sent.len()), (of_groups.len(), GROUPS)];
    let [messages, groups] = twice.map(|(told, once)| told - once);
    println!(
        "8 kills among {} messages: {messages} notifications of messages twice, {groups} of groups",
        sent.len()
    );
}

/// Asserts that each message that isn't in the queue any more has a notification, and that each output that a
/// notification names exists. Returns the notifications.
fn check_notifications(world: &World, done: &str, sent: &[(String, String)]) -> Vec<serde_json::Value> {
    let left = world.messages();
    let told = world.peek_bodies(done);
    for settled in sent.iter().filter(|message| !left.contains(message)) {
        assert!(told.iter().any(|told| told["message_id"] == *settled.0), "{settled:?} has no notification");
    }
    for output in told.iter().filter_map(|told| told["outputs"].as_array()).flatten() {
        world.read(&format!("out/{}", field(output, "key")));
    }
    told
}
