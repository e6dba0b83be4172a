//! The queue commands, order within a group, and messages that are sent on.

use crate::harness::{Depth, Output, World, field, guest, wait_until, wasmrun};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

#[test]
fn a_queue_is_created_shown_and_emptied() {
    let world = World::new();
    let create = ["queue", "create", "sqlite:jobs.db", "--visibility-timeout", "90s", "--max-receives", "7"];
    let created = world.wasmrun(create).succeeds();
    assert!(created.stdout[0].starts_with("created sqlite:/"), "{created}");
    let again = world.wasmrun(create).succeeds();
    assert!(again.stdout[0].starts_with("already there: sqlite:/"), "{again}");

    world.send_with(&["--attribute", "colour=blue", "--delay", "10m"], ["one", "two\nlines"]);
    world.send(["three"]);
    let stats = world.wasmrun(["queue", "stats", "sqlite:jobs.db", "--json"]).succeeds().json();
    let url = field(&stats, "queue").to_owned();
    let expected = json!({"queue": url, "visible": 1, "in_flight": 0, "delayed": 2, "visibility_timeout_seconds": 90.0,
                          "dead_letter": format!("{url}#dead"), "max_receives": 7, "fifo": false});
    assert_eq!(stats, expected);
    let text = world.wasmrun(["queue", "stats", "sqlite:jobs.db"]).succeeds();
    assert!(text.stdout.iter().any(|line| line.starts_with("delayed") && line.ends_with('2')), "{text}");

    let messages = world.peek("sqlite:jobs.db");
    assert_eq!(messages.len(), 1, "those that wait are not shown");
    assert_eq!((&messages[0]["body"], &messages[0]["receive_count"]), (&json!("three"), &json!(0)));
    assert_eq!(world.depth().visible, 1, "looking changes nothing");

    let purged = world.wasmrun(["queue", "purge", "sqlite:jobs.db"]).succeeds();
    assert_eq!(purged.stdout, ["deleted 3"]);
    assert_eq!(world.depth(), Depth::EMPTY);
}

#[test]
fn messages_keep_their_text_and_attributes_and_stay_one_line_when_shown() {
    let world = World::with_queue(&[]);
    let body = "two\nlines, \"quotes\", größe 😀, {json: no}\t";
    world.send_with(&["--attribute", "colour=a=b"], [body]);
    let messages = world.peek("sqlite:jobs.db");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["body"], body);
    assert_eq!(messages[0]["attributes"], json!({"colour": "a=b"}));
}

#[test]
fn dead_letters_are_moved_back_without_what_was_said_of_them_and_work_again() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["get not-yet-there"]);
    let run = || world.run("misbehave").arg("--until-empty").succeeds();
    run();
    assert_eq!(world.dead(), Depth::visible(1));
    let dead = world.dead_letters();
    assert!(field(&dead[0]["attributes"], "wasmrun").contains("not-found"), "{dead:?}");

    world.write("in/not-yet-there", "now");
    let moved = world.wasmrun(["queue", "redrive", "sqlite:jobs.db#dead"]).succeeds();
    assert_eq!(moved.stdout, ["moved 1 back"]);
    assert_eq!(world.dead(), Depth::EMPTY);
    let back = world.peek("sqlite:jobs.db");
    assert_eq!((&back[0]["body"], &back[0]["attributes"]), (&json!("get not-yet-there"), &json!({})));
    run().has_outcomes(&json!({"completed": 1}));
    assert_eq!(world.depth(), Depth::EMPTY);
}

#[test]
fn dead_letters_of_unknown_origin_stay_until_a_queue_is_named() {
    let world = World::with_queue(&[]);
    for queue in ["sqlite:two.db", "sqlite:jobs.db#two"] {
        world.create_queue(queue, &["--max-receives", "1"]);
    }
    // One message sent by hand, and one from a queue whose dead-letter queue differs from the one that its worker used.
    world.send_to("sqlite:jobs.db#dead", &[], ["by hand"]);
    world.send_to("sqlite:two.db", &[], ["get not-there"]);
    world
        .wasmrun(["run", "--queue", "sqlite:two.db", "--dead-letter", "sqlite:jobs.db#dead", "--until-empty"])
        .args(World::grants())
        .arg(guest("misbehave"))
        .succeeds();
    let redrive = ["queue", "redrive", "sqlite:jobs.db#dead"];
    let left = world.wasmrun(redrive).fails_with(2, "nothing was moved from the queue sqlite:jobs.db#dead: ");
    assert!(left.error().ends_with("main, two; name a queue with --to URL"), "{left}");
    assert_eq!(world.dead(), Depth::visible(2));

    world.wasmrun(redrive).args(["--to", "sqlite:jobs.db#dead"]).fails_with(3, "name another one");
    world.wasmrun(redrive).args(["--to", "sqlite:jobs.db#missing"]).fails_with(3, "missing");
    let moved = world.wasmrun(redrive).args(["--to", "sqlite:two.db"]).succeeds();
    assert_eq!(moved.stdout.len(), 1, "{moved}");
    assert!(moved.stdout[0].starts_with("moved 2 to sqlite:/"), "{moved}");
    assert_eq!((world.dead(), world.depth_of("sqlite:two.db")), (Depth::EMPTY, Depth::visible(2)));
    assert_eq!(world.peek("sqlite:two.db")[1]["attributes"], json!({}));
}

#[test]
fn every_object_is_announced_once_and_again_when_it_changes() {
    let world = World::with_queue(&[]);
    world.write("in/a b+ü%.txt", "1");
    world.write("in/sub/c.txt", "1");
    world.write("in/other", "1");
    let watch = world
        .wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "input=dir:in"])
        .args(["--watch", "--every", "20ms"])
        .start();
    watch.until_printed(1, "announced 3 objects");
    world.replace("in/sub/new", "1");
    watch.until_printed(1, "announced 1 object");
    world.replace("in/sub/new", "changed");
    watch.until_printed(2, "announced 1 object");
    fs::remove_file(world.path("in/other")).expect("removed");
    world.replace("in/last", "1");
    watch.until_printed(3, "announced 1 object");
    watch.signal(Signal::INT);
    watch.finish().succeeded();

    assert_eq!(world.depth(), Depth::visible(6));
    fs::write(world.path("in/other"), "1").expect("written");
    let output = world.run("misbehave").arg("--until-empty").succeeds();
    output.has_outcomes(&json!({"completed": 6}));
    assert_eq!(world.keys("out"), ["a b+ü%.txt", "last", "other", "sub"]);
    assert_eq!(world.keys("out/sub"), ["c.txt", "new"]);
}

#[test]
fn a_watch_that_is_started_again_announces_what_is_new_if_it_may_remember_and_says_so_if_not() {
    let world = World::with_queue(&[]);
    world.write("in/a", "1");
    world.write("in/b", "1");
    let watch = |options: &[&str], announces: &str| {
        let watch = world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "input=dir:in"]);
        let watch = watch.args(["--watch", "--every", "20ms"]).args(options).start();
        watch.until_printed(1, announces);
        watch.stop()
    };
    let forgets = |output: &Output| output.to_string().contains("a restart announces all objects again");
    assert!(!forgets(&watch(&["--seen", "seen"], "announced 2 objects to")));
    world.write("in/c", "1");
    world.replace("in/b", "changed");
    assert!(!forgets(&watch(&["--seen", "seen"], "announced 2 objects to")));
    watch(&["--seen", "seen"], "announced 0 objects to");
    assert_eq!(world.depth(), Depth::visible(4));
    assert!(forgets(&watch(&[], "announced 3 objects to")));
    let in_store = world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "input=dir:in"]);
    in_store.args(["--seen", "in/seen"]).fails_with(2, "lies in the store");
    for file in ["new", "./new", "missing/../new", "missing/new"] {
        let here = world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "input=dir:."]);
        here.args(["--seen", file]).fails_with(2, "of --seen lies in the store");
    }
    for queue in ["sqlite:jobs.db", "sqlite:new.db#new"] {
        let queue_in_store = world.wasmrun(["enqueue", "--queue", queue, "--store", "input=dir:."]);
        queue_in_store.fails_with(2, "lies in the store");
    }
    assert!(!world.path("new.db").exists());
    let apart = world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db#apart", "--store", "input=dir:."]);
    apart.args(["--prefix", "in/", "--seen", "apart"]).succeeds();
    let other = world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db#other", "--store", "input=dir:in"]);
    other.args(["--seen", "seen"]).fails_with(2, "name another file");
}

/// If the file grew or was truncated by a crash, its valid part is read and the rest is ignored.
#[test]
fn what_enqueue_remembers_is_found_again_in_a_file_that_grew_and_is_damaged() {
    const SKIPPED: &str = "skipped damaged lines of --seen";
    let world = World::with_queue(&[]);
    world.write("in/a", "1");
    let announces = |count: &str| {
        let enqueue = world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "input=dir:in"]);
        let output = enqueue.args(["--seen", "seen"]).succeeds();
        assert!(output.stdout.iter().any(|line| line.starts_with(&format!("announced {count}"))), "{output}");
        output.to_string().contains(SKIPPED)
    };
    let bytes = || fs::metadata(world.path("seen")).expect("a file").len();
    assert!(!announces("1 object"));
    let small = bytes();
    let append = |text: &str| {
        use std::io::Write;
        let file = fs::File::options().append(true).open(world.path("seen"));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
    };
    // Objects that appeared and disappeared.
    append(&(0..50_000).map(|key| format!("[\"{key}\",\"1\"]\n[\"{key}\"]\n")).collect::<String>());
    assert!(!announces("0 objects"));
    assert_eq!(bytes(), small);
    append("[\"b\",\"");
    world.write("in/b", "1");
    assert!(announces("1 object"));
    assert!(!announces("0 objects"));
    // A file system may leave a file with a length but without content after a crash.
    let file = fs::File::options().write(true).open(world.path("seen")).expect("a file");
    file.set_len((1 << 30) + 1).expect("a length");
    assert!(announces("0 objects"));
    assert!(bytes() < 2 * small, "{} bytes", bytes());
    world.write("seen", "{\"queue\":\"sqlite:/so");
    let enqueue = world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "input=dir:in"]);
    let output = enqueue.args(["--seen", "seen"]).succeeds();
    assert!(output.to_string().contains("skipped the damaged first line of --seen"), "{output}");
    assert!(!announces("0 objects"));
}

#[test]
fn a_watched_store_that_vanishes_and_comes_back_is_not_announced_anew() {
    let world = World::with_queue(&[]);
    world.write("in/a", "1");
    let watch = world
        .wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "input=dir:in"])
        .args(["--watch", "--every", "20ms"])
        .start();
    watch.until_printed(1, "announced 1 object to");
    world.while_away("in", || watch.until_logged("cannot use the store"));
    world.replace("in/b", "1");
    watch.until_printed(2, "announced 1 object");
    watch.signal(Signal::INT);
    watch.finish().succeeded();
    assert_eq!(world.depth(), Depth::visible(2));
}

#[test]
fn a_prefix_selects_objects_and_a_queue_that_is_not_there_is_created() {
    let world = World::new();
    world.write("in/2026/a", "1");
    world.write("in/2025/b", "1");
    let output = world
        .wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "input=dir:in", "--prefix", "2026/"])
        .succeeds();
    assert!(output.stdout[0].starts_with("created the queue sqlite:/"), "{output}");
    assert!(output.stdout[1].starts_with("announced 1 object to sqlite:/"), "{output}");
    let event: Value = serde_json::from_str(&world.messages()[0].1).expect("JSON");
    let record = &event["Records"][0];
    assert_eq!(record["s3"]["object"]["key"], "2026/a");
    assert_eq!(record["eventSource"], "aws:s3");
    let store = world.path("in").canonicalize().expect("a path");
    assert_eq!(record["s3"]["bucket"]["name"], format!("dir:{}", store.display()));
}

/// The order holds even if the second message could be done long before the first.
#[test]
fn a_fifo_queue_keeps_the_order_of_each_group_whatever_the_instances() {
    const GROUPS: [&str; 3] = ["a", "b", "c"];
    let world = World::with_queue(&["--fifo"]);
    for round in 0..6 {
        for group in GROUPS {
            let message = if round % 2 == 0 { "sleep 60" } else { "sleep 1" };
            world.send_with(&["--group", group], [message]);
        }
    }
    let database = world.database();
    let mut query =
        database.prepare("SELECT id, message_group FROM messages ORDER BY sequence").expect("the view");
    let sent: Vec<(String, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).expect("rows");
    let group_of: HashMap<String, String> = sent.iter().cloned().collect();

    let output = world.run("misbehave").args(["--until-empty", "--instances", "6"]).succeeds();
    let completed: Vec<(String, String)> = output
        .logs_of("task completed")
        .iter()
        .map(|log| field(log, "message_id").to_owned())
        .map(|id| (id.clone(), group_of[&id].clone()))
        .collect();
    assert_eq!(completed.len(), sent.len());
    for group in GROUPS {
        let of_group = |messages: &[(String, String)]| -> Vec<String> {
            let of_group = messages.iter().filter(|message| message.1 == group);
            of_group.map(|message| message.0.clone()).collect()
        };
        assert_eq!(of_group(&completed), of_group(&sent), "{group}");
    }
    let groups = |messages: &[(String, String)]| -> Vec<String> {
        messages.iter().map(|message| message.1.clone()).collect()
    };
    let mut one_by_one = groups(&completed);
    one_by_one.dedup();
    assert!(one_by_one.len() > GROUPS.len(), "the groups waited for each other");
}

#[test]
fn a_message_that_fails_holds_up_its_own_group_only_and_until_it_is_dead_lettered() {
    let world = World::with_queue(&["--fifo", "--max-receives", "2"]);
    for (group, message) in [("a", "retry 1 later"), ("a", "log 1 after"), ("b", "log 1 beside")] {
        world.send_with(&["--group", group], [message]);
    }
    let output = world.run("misbehave").args(["--until-empty", "--instances", "3"]).succeeds();
    let events: Vec<String> = output
        .logs()
        .iter()
        .filter_map(|log| match log["message"].as_str()? {
            "Guest" => Some(field(log, "text").to_owned()),
            "task did not complete" => Some(format!("try {}", log["receive_count"])),
            _ => None,
        })
        .collect();
    let place = |event: &str| events.iter().position(|other| other == event);
    assert!(place("beside") < place("try 2"), "{events:?}");
    assert!(place("try 1") < place("try 2") && place("try 2") < place("after"), "{events:?}");
    assert_eq!(world.dead(), Depth::visible(1));
}

#[test]
fn forward_sends_bodies_attributes_and_groups_on() {
    let world = World::with_queue(&["--fifo"]);
    world.create_queue("sqlite:fifo.db", &["--fifo"]);
    world.send_with(&["--group", "g", "--attribute", "colour=blue"], ["first", "second"]);
    let output = world
        .wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty"])
        .arg(guest("forward"))
        .args(["--send", "next=sqlite:fifo.db"])
        .succeeds();
    output.has_outcomes(&json!({"completed": 2}));
    assert_eq!(world.depth(), Depth::EMPTY);
    // For a group, this shows the message that the next receive would return.
    let messages = world.peek("sqlite:fifo.db");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["body"], "first");
    assert_eq!(messages[0]["group"], "g");
    assert_eq!(messages[0]["attributes"], json!({"colour": "blue"}));
}

#[test]
fn forward_makes_a_message_of_each_announced_object() {
    let world = World::with_queue(&[]);
    world.write("in/photos/cat.jpg", "meow");
    world.announce();
    world
        .wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty", "--store", "input=dir:in:ro"])
        .arg(guest("forward"))
        .args(["--send", "next=sqlite:next.db"])
        .succeeds();
    let messages = world.peek("sqlite:next.db");
    assert_eq!(messages.len(), 1);
    let object: Value = serde_json::from_str(field(&messages[0], "body")).expect("JSON");
    assert_eq!((&object["store"], &object["key"]), (&json!("input"), &json!("photos/cat.jpg")));
    assert_eq!((&object["size"], &object["change"]), (&json!(4), &json!("created")));
}

#[test]
fn a_guest_may_send_a_thousand_messages_and_none_that_the_queue_would_refuse() {
    let world = World::new();
    assert_eq!(world.outcome("send 1000").0, "completed");
    assert_eq!(world.depth_of("sqlite:next.db"), Depth::visible(1000));
    let (outcome, reason) = world.outcome("send-bytes 1048577");
    assert_eq!(outcome, "rejected");
    assert!(reason.starts_with("invalid-message"), "{reason}");
    assert_eq!(world.depth_of("sqlite:next.db"), Depth::visible(1000));
}

#[test]
fn an_output_that_nobody_reads_harms_nobody() {
    let world = World::with_queue(&[]);
    world.send(["ok"]);
    for command in ["queue peek sqlite:jobs.db", "completions bash", "--help", "queue stats sqlite:jobs.db"] {
        let script = format!("\"$0\" {command} >&-; exec \"$0\" {command} | true");
        world.program(Path::new("sh")).args(["-c", &script]).arg(wasmrun()).succeeds();
    }
    wait_until("nothing changed", || world.depth() == Depth::visible(1));
}

#[test]
fn tasks_start_no_faster_than_their_rate() {
    const TASKS: usize = 20;
    let world = World::with_queue(&[]);
    world.send(["ok"; TASKS]);
    let began = std::time::Instant::now();
    let output =
        world.run("misbehave").args(["--until-empty", "--instances", "8", "--rate", "10/s"]).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], TASKS, "{output}");
    // The first task starts at once. There is no upper bound, because a slow machine may take longer.
    let least = std::time::Duration::from_millis(100 * (TASKS as u64 - 2));
    assert!(began.elapsed() >= least, "{TASKS} tasks in {:?}", began.elapsed());
    world.wasmrun(["run", "--rate", "fast"]).ends().exited_with(2);
}
