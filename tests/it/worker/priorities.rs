//! One worker on several queues: strict queues, weights, and what stays apart by queue.

use crate::harness::{
    Amazon, Call, Command, Depth, ScriptedSqs, World, field, get, refusal, signed, status, wait_until, why,
};
use serde_json::{Value, json};

const URGENT: &str = "sqlite:urgent.db";
const JOBS: &str = "sqlite:jobs.db";
const SLOW: &str = "sqlite:slow.db";

/// A world with three queues, created with these options.
fn world(options: &[&str]) -> World {
    let world = World::with_queue(options);
    for queue in [URGENT, SLOW] {
        world.create_queue(queue, options);
    }
    world
}

/// A worker on these queues, with all grants.
fn run(world: &World, queues: &[&str]) -> Command {
    let run = world.wasmrun(["run"]).misbehaving("dir:in:ro", "dir:out:rw").logging_tasks();
    queues.iter().fold(run, |command, queue| command.args(["--queue", queue]))
}

/// The name of each task's queue, in the order in which the tasks ended.
fn queues_in_order(world: &World) -> Vec<String> {
    let queue_of = |record: &Value| field(record, "queue").rsplit('/').next().unwrap_or_default().to_owned();
    world.usage().iter().map(queue_of).collect()
}

#[test]
fn strict_queues_come_first_and_the_others_share_by_weight() {
    let world = world(&[]);
    world.send_to(SLOW, &[], ["ok"; 120]);
    world.send_to(JOBS, &[], ["ok"; 120]);
    world.send_to(URGENT, &[], ["ok"; 20]);
    let queues = ["sqlite:jobs.db;weight=3", "sqlite:slow.db", "sqlite:urgent.db;strict"];
    let worker = run(&world, &queues).args(["--instances", "1", "--until-empty", "--usage", "usage.jsonl"]);
    let output = worker.succeeds();
    output.has_outcomes(&json!({"completed": 260}));
    let order = queues_in_order(&world);
    assert!(order[..20].iter().all(|queue| queue == "urgent.db"), "{order:?}");
    let of_jobs = order[20..140].iter().filter(|queue| *queue == "jobs.db").count();
    assert!((81..=99).contains(&of_jobs), "{of_jobs} of 120: {order:?}");
}

#[test]
fn a_rejected_message_goes_to_the_dead_letter_queue_of_its_own_queue() {
    let world = world(&["--max-receives", "2"]);
    world.create_queue("sqlite:once.db", &["--max-receives", "1"]);
    world.create_queue("sqlite:told.db", &[]);
    let bodies = |name: &str| [format!("reject from {name}"), format!("retry 0 {name}")];
    let all = [URGENT, JOBS, SLOW, "sqlite:once.db"];
    for queue in all {
        world.send_to(queue, &[], bodies(queue));
    }
    let queues = ["sqlite:urgent.db;strict", JOBS, SLOW, "sqlite:once.db"];
    let worker =
        run(&world, &queues).args(["--until-empty", "--backoff", "1ms..1ms", "--notify", "sqlite:told.db"]);
    // No task completes, which would slow the worker down.
    let output = worker.args(["--max-consecutive-failures", "off"]).succeeds();
    assert_eq!(output.summary()["dead_lettered"], 8, "{output}");
    for queue in all {
        let dead = world.peek(&format!("{queue}#dead"));
        let texts: Vec<&str> = dead.iter().map(|message| field(message, "body")).collect();
        assert!(bodies(queue).iter().all(|body| texts.contains(&body.as_str())), "{queue}: {texts:?}");
        for letter in &dead {
            let (why, name) = (why(letter), queue.trim_start_matches("sqlite:"));
            assert!(field(&why, "queue").ends_with(&format!("/{name}")), "{why}");
            // Each queue's own number of receives counts.
            let is_retried = field(letter, "body").starts_with("retry");
            let receives = if is_retried && name != "once.db" { 2 } else { 1 };
            assert_eq!(why["receive_count"], receives, "{why}");
        }
    }
    let told = world.peek_bodies("sqlite:told.db");
    let of_slow = told.iter().filter(|told| field(told, "queue").ends_with("/slow.db")).count();
    assert_eq!((told.len(), of_slow), (8, 2));
}

#[test]
fn a_named_dead_letter_queue_is_that_of_all_queues() {
    let world = world(&[]);
    for queue in [URGENT, JOBS] {
        world.send_to(queue, &[], ["reject no"]);
    }
    let worker = run(&world, &[URGENT, JOBS]).args(["--until-empty", "--dead-letter", "sqlite:next.db"]);
    worker.succeeds();
    assert_eq!(world.depth_of("sqlite:next.db"), Depth::visible(2));
}

#[test]
fn an_idle_worker_starts_what_arrives_in_any_queue() {
    let world = world(&[]);
    let queues = ["sqlite:urgent.db;strict", JOBS, "sqlite:slow.db;weight=1000"];
    let worker = run(&world, &queues).start_ready();
    for (round, queue) in [SLOW, URGENT, JOBS, SLOW].into_iter().enumerate() {
        world.send_to(queue, &[], ["ok"]);
        worker.until_completed(round + 1);
    }
    worker.stop();
}

#[test]
fn a_worker_that_stops_leaves_all_other_messages_visible_and_uncounted() {
    let world = world(&[]);
    let queues = ["sqlite:urgent.db;strict", JOBS, SLOW];
    let worker =
        run(&world, &queues).args(["--instances", "1", "--timeout", "10m", "--stop-timeout", "100ms"]);
    let worker = worker.start_ready();
    let in_flight = || [URGENT, JOBS, SLOW].map(|queue| world.depth_of(queue).in_flight).iter().sum::<u64>();
    world.send_to(JOBS, &[], ["sleep-forever"]);
    wait_until("its task runs", || world.depth_of(JOBS).in_flight == 1);
    // The watches of the other queues bring these, and no permit is free.
    world.send_to(URGENT, &[], ["ok"; 2]);
    world.send_to(SLOW, &[], ["ok"; 2]);
    wait_until("a message of each is held", || in_flight() == 3);
    let output = worker.stop();
    output.has_outcomes(&json!({"cancelled": 1}));
    for (queue, messages) in [(URGENT, 2), (JOBS, 1), (SLOW, 2)] {
        assert_eq!(world.depth_of(queue), Depth::visible(messages), "{queue}");
        assert!(world.peek(queue).iter().all(|message| message["receive_count"] == 0), "{queue}");
    }
}

#[test]
fn a_worker_that_is_killed_loses_no_message_of_any_queue() {
    let world = world(&["--visibility-timeout", "1s", "--max-receives", "9"]);
    let queues = ["sqlite:urgent.db;strict", JOBS, SLOW];
    for queue in [URGENT, JOBS, SLOW] {
        let name = queue.trim_start_matches("sqlite:").trim_end_matches(".db");
        world.send_to(queue, &[], (0..20).map(|index| format!("put {name}-{index:02} x")));
    }
    for _ in 0..3 {
        let worker = run(&world, &queues).args(["--instances", "4", "--rate", "40/s"]).start();
        worker.until_completed(1);
        worker.kill();
    }
    run(&world, &queues).arg("--until-empty").succeeds();
    let keys = world.keys("out");
    for name in ["urgent", "jobs", "slow"] {
        assert_eq!(keys.iter().filter(|key| key.starts_with(name)).count(), 20, "{keys:?}");
    }
    for queue in [URGENT, JOBS, SLOW] {
        assert_eq!(
            (world.depth_of(queue), world.depth_of(&format!("{queue}#dead"))),
            (Depth::EMPTY, Depth::EMPTY)
        );
    }
}

#[test]
fn a_queue_that_fails_does_not_stop_the_others() {
    let world = world(&[]);
    world.send_to(URGENT, &[], ["ok"]);
    let lock = world.lock("urgent.db");
    let worker = run(&world, &["sqlite:urgent.db;strict", JOBS]).args(["--status", "0"]).start();
    let address = worker.listens_on();
    worker.until_logged("paused receiving from a queue");
    let queues = || status(address)["queues"].as_array().expect("queues").clone();
    assert!(!queues()[0]["failing"].is_null() && queues()[1]["failing"].is_null());
    assert_eq!(queues()[0]["priority"], "strict");
    assert_eq!(status(address)["ready"]["is"], true, "it receives from the other");
    assert!(get(address, "/metrics").body.contains("\nwasmrun_queue_failing{queue=\"urgent.db\"} 1\n"));
    world.send(["ok"; 3]);
    worker.until_completed(3);
    drop(lock);
    worker.until_completed(4);
    assert_eq!(worker.logged("paused receiving from a queue"), 1, "it is said once");
    assert_eq!(worker.logged("resumed receiving from a queue"), 1);
    assert_eq!(worker.logged("paused receiving: a store or a queue fails"), 0);
    worker.stop();
}

#[test]
fn a_queue_that_does_not_exist_at_the_start_is_an_error_or_created() {
    let world = World::new();
    run(&world, &["sqlite:a.db", "sqlite:missing/b.db"]).fails_with(3, "missing/b.db");
    assert!(!world.path("a.db").exists(), "a failed start leaves no queue behind");
    let check = run(&world, &["sqlite:a.db", "sqlite:b.db;strict"]).arg("--check").succeeds();
    assert!(check.stdout[0].starts_with("ok: sqlite:a.db, sqlite:b.db and the component"), "{check}");
    assert_eq!(check.stdout.iter().filter(|line| line.contains("does not exist yet")).count(), 2, "{check}");
    assert!(!world.path("a.db").exists());
    run(&world, &["sqlite:a.db", "sqlite:b.db;strict"]).arg("--until-empty").succeeds();
    assert_eq!((world.depth_of("sqlite:a.db"), world.depth_of("sqlite:b.db")), (Depth::EMPTY, Depth::EMPTY));
}

#[test]
fn queues_and_priorities_that_do_not_fit_are_refused() {
    let world = world(&[]);
    for (option, says) in [
        (";weight=0", "from 1 to 1000"),
        (";weight=99999", "from 1 to 1000"),
        (";weight=4294967297", "from 1 to 1000"),
        (";fast", ";strict or ;weight=N"),
        (";strict;weight=2", ";strict or ;weight=N"),
        (";", ";strict or ;weight=N"),
    ] {
        let refused = run(&world, &[&format!("{JOBS}{option}"), SLOW]).ends().exited_with(2);
        assert!(refused.to_string().contains(says), "{option}: {refused}");
    }
    let nine: Vec<String> = (0..9).map(|index| format!("sqlite:{index}.db")).collect();
    run(&world, &nine.iter().map(String::as_str).collect::<Vec<_>>()).fails_with(2, "at most 8");
    run(&world, &[JOBS, "sqlite:jobs.db;strict"]).fails_with(2, "named twice");
    // The same file by other names.
    std::os::unix::fs::symlink(world.path("jobs.db"), world.path("link.db")).expect("a link");
    for same in ["sqlite:link.db", "sqlite:./jobs.db", "sqlite:out/../jobs.db", "sqlite:jobs.db#main"] {
        run(&world, &[JOBS, same]).fails_with(2, "named twice");
    }
    run(&world, &[JOBS, "sqlite:jobs.db#dead"]).fails_with(2, "is the dead-letter queue of");
    for own in [JOBS, SLOW, "sqlite:slow.db#dead"] {
        run(&world, &[JOBS, SLOW]).args(["--notify", own]).fails_with(2, "cannot take notifications");
    }
    run(&world, &[JOBS, SLOW])
        .args(["--dead-letter", SLOW])
        .fails_with(2, SLOW.trim_start_matches("sqlite:"));
    world.write("wasmrun.toml", "queue = ['sqlite:jobs.db;strict', 'sqlite:slow.db;heavy']");
    run(&world, &[]).args(["--config", "wasmrun.toml"]).fails_with(2, "heavy");
    world.write("wasmrun.toml", "queue = []");
    run(&world, &[]).args(["--config", "wasmrun.toml"]).fails_with(2, "no queue");
}

#[test]
fn the_file_lists_queues_and_flags_replace_the_list() {
    let world = world(&[]);
    world.write("wasmrun.toml", "queue = ['sqlite:urgent.db;strict', 'sqlite:jobs.db;weight=3']");
    for queue in [URGENT, JOBS, SLOW] {
        world.send_to(queue, &[], ["ok"]);
    }
    run(&world, &[SLOW]).args(["--config", "wasmrun.toml", "--until-empty"]).succeeds();
    assert_eq!((world.depth_of(SLOW), world.depth()), (Depth::EMPTY, Depth::visible(1)));
    run(&world, &[]).args(["--config", "wasmrun.toml", "--until-empty"]).succeeds();
    assert_eq!((world.depth_of(URGENT), world.depth()), (Depth::EMPTY, Depth::EMPTY));
}

#[test]
fn fair_shares_and_the_ledger_know_the_queue_of_a_message() {
    let world = world(&[]);
    for queue in [JOBS, SLOW] {
        world.send_to(queue, &["--group", "a"], ["ok"; 10]);
        world.send_to(queue, &["--group", "b"], ["ok"]);
    }
    let worker = run(&world, &[JOBS, "sqlite:slow.db;strict"]).args(["--key", "group", "--until-empty"]);
    worker.succeeds().has_outcomes(&json!({"completed": 22}));
    for queue in [JOBS, SLOW, JOBS] {
        world.send_to(queue, &["--group", "order-1"], ["ok"]);
    }
    let once = ["--once", "sqlite:ledger.db", "--once-by", "group", "--instances", "1", "--until-empty"];
    let output = run(&world, &[JOBS, SLOW]).args(once).succeeds();
    // An entry is that of one queue.
    output.has_outcomes(&json!({"completed": 2, "repeated": 1}));
}

/// A queue of SQS with an address of its own.
fn scripted(messages: &[&str], script: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static) -> ScriptedSqs {
    let messages = messages.iter().map(|body| json!(body));
    ScriptedSqs::holding(30, messages, move |call| {
        script(call).then(|| refusal(403, "AccessDeniedException"))
    })
}

#[test]
fn an_idle_worker_on_sqs_has_one_call_under_way_for_each_queue() {
    let world = World::new();
    let queues = [scripted(&["ok"], |_| false), scripted(&["ok", "ok"], |_| false)];
    let urls = [format!("{};strict", queues[0].url()), queues[1].url()];
    let worker = signed(run(&world, &urls.each_ref().map(String::as_str))).args(["--instances", "1"]).start();
    worker.until_completed(3);
    wait_until("it waits", || queues.iter().all(|queue| queue.asked("ReceiveMessage").len() > 10));
    worker.stop();
    for queue in &queues {
        let calls = queue.asked("ReceiveMessage");
        let (waiting, short): (Vec<_>, Vec<_>) =
            calls.iter().partition(|call| call["WaitTimeSeconds"].as_u64() > Some(0));
        assert!(waiting.iter().all(|call| call["MaxNumberOfMessages"] == 1), "{waiting:?}");
        assert!(short.len() <= 6, "short polls are for queues that have messages: {}", short.len());
        assert_eq!(queue.depth(), [0, 0]);
    }
}

#[test]
fn an_sqs_queue_that_denies_access_later_does_not_stop_the_others() {
    let world = World::new();
    let denied = scripted(&["ok"], |call| call.operation == "ReceiveMessage");
    let works = scripted(&["ok"; 30], |_| false);
    let urls = [format!("{};strict", denied.url()), works.url()];
    let worker = signed(run(&world, &urls.each_ref().map(String::as_str))).start();
    worker.until_completed(30);
    assert_eq!(worker.logged("paused receiving from a queue"), 1);
    wait_until("all are deleted", || works.depth() == [0, 0]);
    worker.stop();
    assert!(denied.asked("ReceiveMessage").len() < 20, "it is tried after pauses");
}

#[test]
fn a_queue_whose_messages_cannot_end_is_paused_although_they_can_be_released() {
    let dead_letters = scripted(&[], |call| call.operation == "SendMessageBatch");
    let rejected = scripted(&["reject it"; 30], |_| false);
    let undeleted = scripted(&["ok", "retry 1 it"].repeat(15), |call| call.operation == "DeleteMessageBatch");
    for failing in [rejected, undeleted] {
        let (world, works) = (World::new(), scripted(&["ok"; 200], |_| false));
        let worker = signed(run(&world, &[&failing.url(), &works.url()])).args(["--instances", "2"]);
        let worker = worker.args(["--dead-letter", &dead_letters.url()]).start();
        wait_until("the other queue is empty", || works.depth() == [0, 0]);
        assert_eq!(worker.logged("paused receiving from a queue"), 1);
        assert_eq!(worker.logged("resumed receiving from a queue"), 0);
        assert!(failing.received() < 15, "{} messages", failing.received());
        worker.stop();
    }
}

#[test]
fn a_strict_queue_on_sqs_is_emptied_first_and_each_keeps_its_redrive_policy() {
    let Some(amazon) = Amazon::start() else { return };
    let (urgent, jobs) = (amazon.create_queue("urgent", 30, 1), amazon.create_queue("jobs", 30, 3));
    amazon.send_all(&jobs, (0..30).map(|_| "ok".to_owned()));
    amazon.send_all(&urgent, (0..10).map(|_| "ok".to_owned()));
    amazon.send(&urgent, "retry 0 urgent");
    amazon.send(&jobs, "retry 0 jobs");
    let world = World::new();
    let worker = run(&world, &["jobs;weight=3", "urgent;strict"]).args(["--backoff", "1ms..1ms"]);
    let worker = worker.args(["--instances", "1", "--until-empty", "--usage", "usage.jsonl"]);
    let output = amazon.environment(worker).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 40, "{output}");
    let order = queues_in_order(&world);
    let last = order.iter().rposition(|queue| queue == "urgent").expect("a message");
    assert!(last < 15, "the last urgent one ended after {last} others: {order:?}");
    let mut dead: Vec<_> = amazon
        .dead_letters()
        .into_iter()
        .map(|(body, attributes)| {
            let why: Value = serde_json::from_str(&attributes["wasmrun"]).expect("JSON");
            (body, why["receive_count"].clone())
        })
        .collect();
    dead.sort_by_key(|(body, _)| body.clone());
    assert_eq!(dead, [("retry 0 jobs".to_owned(), json!(3)), ("retry 0 urgent".to_owned(), json!(1))]);
}

#[test]
fn policies_and_manifests_have_all_queues() {
    let world = World::new();
    let url = |name: &str| format!("https://sqs.eu-west-1.amazonaws.com/123456789012/{name}");
    let queues = [format!("{};strict", url("urgent")), format!("{};weight=3", url("jobs"))];
    let named =
        |command: Command| queues.iter().fold(command, |command, queue| command.args(["--queue", queue]));
    let policy = named(world.wasmrun(["policy"])).succeeds().stdout.join("\n");
    assert!(policy.contains(":urgent\"") && policy.contains(":jobs\"") && !policy.contains(';'), "{policy}");
    let component = "s3://components/x.wasm";
    let kubernetes = named(world.wasmrun(["manifest", "kubernetes", component])).succeeds().stdout.join("\n");
    assert_eq!(kubernetes.matches("type: aws-sqs-queue").count(), 2, "{kubernetes}");
    for queue in &queues {
        assert!(kubernetes.contains(queue.as_str()), "the pods have the priorities: {kubernetes}");
    }
    let values = named(world.wasmrun(["manifest", "kubernetes", component, "--helm-values"])).succeeds();
    assert!(values.stdout.contains(&"moreQueues:".to_owned()), "{values}");
    let ecs = named(world.wasmrun(["manifest", "ecs", component])).succeeds().stdout.join("\n");
    assert!(queues.iter().all(|queue| ecs.contains(queue.as_str())), "{ecs}");
}
