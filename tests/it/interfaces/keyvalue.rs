//! `wasi:keyvalue`: buckets by `--keyvalue`.

use super::invoke;
use crate::harness::{Command, Output, World, get, guest, wait_for_tasks};
use serde_json::{Value, json};

const GRANT: [&str; 2] = ["--keyvalue", "cache=sqlite:cache.db:rw"];

/// What a task with the bucket `cache` observed, which is the reason of its rejection, or "" if it completed.
#[track_caller]
fn seen(world: &World, message: &str) -> String {
    let output = invoke(world, message).args(GRANT).ends();
    match output.outcome() {
        (outcome, _) if outcome == "completed" => String::new(),
        (outcome, reason) => {
            assert_eq!(outcome, "rejected", "{output}");
            reason
        }
    }
}

#[test]
fn values_outlive_the_task_and_the_worker() {
    let world = World::new();
    assert_eq!(seen(&world, "kv-get cache name"), "None");
    assert_eq!(seen(&world, "kv-set cache name söme value"), "");
    assert_eq!(seen(&world, "kv-get cache name"), "Some(\"söme value\")");
    assert_eq!(
        seen(&world, "kv-old-get cache name").len(),
        "Some([115, 195, 182, 109, 101, 32, 118, 97, 108, 117, 101])".len()
    );
    assert_eq!(seen(&world, "kv-exists cache name"), "true");
    assert_eq!(seen(&world, "kv-exists cache nam"), "false");
    assert_eq!(seen(&world, "kv-delete cache name"), "");
    assert_eq!(seen(&world, "kv-delete cache name"), "");
    assert_eq!(seen(&world, "kv-exists cache name"), "false");
    let many = "([Some((\"b\", [50])), None, Some((\"a\", [49]))], [])";
    assert_eq!(seen(&world, "kv-many cache"), many);
}

#[test]
fn without_a_grant_or_with_another_mode_a_call_is_denied_and_counted() {
    let world = World::new();
    let denied = |flags: &[&str], message: &str| {
        let output = invoke(&world, message).args(flags).ends();
        let json = output.json();
        assert_eq!(json["reason"], "failed: Error::AccessDenied", "{output}");
        assert_eq!(json["usage"]["refusals"], 1, "{output}");
    };
    denied(&[], "kv-get cache name");
    denied(&GRANT, "kv-get other name");
    denied(&GRANT, "kv-old-get CACHE name");
    assert_eq!(seen(&world, "kv-set cache name x"), "");
    let with = |mode: &str| ["--keyvalue".to_owned(), format!("cache=sqlite:cache.db:{mode}")];
    for (mode, message) in [
        ("ro", "kv-set cache name y"),
        ("ro", "kv-delete cache name"),
        ("ro", "kv-increment cache number 1"),
        ("ro", "kv-count-cas cache number 1"),
        ("wo", "kv-get cache name"),
        ("wo", "kv-exists cache name"),
        ("wo", "kv-list cache"),
        ("wo", "kv-increment cache number 1"),
        ("wo", "kv-count-cas cache number 1"),
    ] {
        denied(&with(mode).each_ref().map(String::as_str), message);
    }
    let reads = invoke(&world, "kv-get cache name").args(with("ro")).ends();
    assert_eq!(reads.outcome().1, "Some(\"x\")");
    invoke(&world, "kv-set cache name z").args(with("wo")).succeeds();
    assert_eq!(seen(&world, "kv-get cache name"), "Some(\"z\")");
}

#[test]
fn numbers_are_decimal_text_and_never_wrap() {
    let world = World::new();
    assert_eq!(seen(&world, "kv-increment cache n 5"), "5");
    assert_eq!(seen(&world, "kv-increment cache n -7"), "-2");
    assert_eq!(seen(&world, "kv-get cache n"), "Some(\"-2\")");
    assert_eq!(seen(&world, "kv-old-increment cache n 44"), "42");
    assert!(seen(&world, "kv-old-increment cache n 18446744073709551615").contains("63 bits"));
    assert_eq!(seen(&world, "kv-set cache n 9223372036854775807"), "");
    assert!(seen(&world, "kv-increment cache n 1").contains("64 bits"));
    for text in ["x", "1.5", "", "99999999999999999999999"] {
        assert_eq!(seen(&world, &format!("kv-set cache n {text}")), "");
        assert!(seen(&world, "kv-increment cache n 1").contains("not an integer"), "{text}");
        assert_eq!(seen(&world, "kv-get cache n"), format!("Some({text:?})"));
    }
}

#[test]
fn a_swap_after_another_write_fails_and_can_be_tried_again() {
    let world = World::new();
    assert_eq!(seen(&world, "kv-swap-late cache key"), "[true, true]");
    assert_eq!(seen(&world, "kv-get cache key"), "Some(\"then\")");
}

/// Runs a worker with four tasks at once until the queue is empty.
fn worker(world: &World) -> Command {
    world
        .wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty", "--instances", "4"])
        .arg(guest("interfaces"))
        .args(GRANT)
}

#[test]
fn tasks_and_processes_that_count_at_once_come_to_the_right_sum() {
    for command in ["count", "count-cas"] {
        let world = World::with_queue(&[]);
        world.send((0..8).map(|_| format!("kv-{command} cache total 25")));
        let other = worker(&world).start();
        worker(&world).succeeds();
        other.finish().succeeded();
        assert_eq!(seen(&world, "kv-get cache total"), "Some(\"200\")", "{command}");
    }
}

#[test]
fn pages_of_a_listing_are_bounded_and_together_complete() {
    let world = World::new();
    assert_eq!(seen(&world, "kv-list cache"), "(0, 1)");
    assert_eq!(seen(&world, "kv-fill cache 1000"), "");
    assert_eq!(seen(&world, "kv-list cache"), "(1000, 1)");
    assert_eq!(seen(&world, "kv-fill cache 2500"), "");
    assert_eq!(seen(&world, "kv-list cache"), "(2500, 3)");
    assert_eq!(seen(&world, "kv-old-list cache"), "(2500, 3)");
    assert!(seen(&world, "kv-list-at cache x").contains("cursor"));
    assert!(seen(&world, "kv-list-at cache -1").contains("cursor"));
    assert_eq!(seen(&world, "kv-list-at cache 18446744073709551615"), "[]");
}

#[test]
fn sizes_are_bounded_and_named() {
    let world = World::new();
    for (message, says) in [
        ("kv-key-bytes cache 1024", ""),
        ("kv-key-bytes cache 1025", "1 to 1024 bytes"),
        ("kv-key-bytes cache 0", "1 to 1024 bytes"),
        ("kv-value-bytes cache 1048576", ""),
        ("kv-value-bytes cache 1048577", "at most 1048576 bytes"),
        ("kv-get-many cache 32", "larger than a call may return"),
        ("kv-get-many cache 31", "31"),
        ("kv-get-many cache 1001", "at most 1000 keys"),
        ("kv-get-many cache 0", "0"),
    ] {
        let reason = seen(&world, message);
        assert!(reason.contains(says) && (reason.is_empty() == says.is_empty()), "{message}: {reason}");
    }
    // Another program may have written a larger value.
    let database = world.open("cache.db");
    database.execute("UPDATE entry SET value = zeroblob(3000000) WHERE key = 'large'", []).expect("written");
    assert!(seen(&world, "kv-get cache large").contains("larger than a call may return"));
    assert!(seen(&world, "kv-increment cache large 1").contains("not an integer"));
}

#[test]
fn calls_bytes_and_results_are_in_usage_and_metrics() {
    let world = World::with_queue(&[]);
    let usage =
        |message: &str| -> Value { invoke(&world, message).args(GRANT).ends().json()["usage"].clone() };
    let set = usage("kv-set cache key 12345");
    assert_eq!(set["buckets"]["cache"], json!({"calls": 1, "bytes_read": 0, "bytes_written": 8}));
    assert_eq!((&set["bytes_written"], &set["calls"]), (&json!(8), &json!(1)));
    let got = usage("kv-get cache key");
    assert_eq!(got["buckets"]["cache"], json!({"calls": 1, "bytes_read": 5, "bytes_written": 0}));
    // Each key of a batch counts.
    assert_eq!(usage("kv-fill cache 700")["buckets"]["cache"]["calls"], 700);
    let messages = ["kv-set cache a 123", "kv-get cache a", "kv-swap-late cache key", "kv-get invented a"];
    world.send(messages);
    let process = world
        .wasmrun(["run", "--queue", "sqlite:jobs.db", "--instances", "1", "--status", "0"])
        .arg(guest("interfaces"))
        .args(GRANT)
        .args(["--usage", "usage.jsonl"])
        .start();
    let address = process.listens_on();
    wait_for_tasks(address, messages.len() as u64);
    let metrics = get(address, "/metrics").body;
    for sample in [
        "wasmrun_bucket_calls_total{bucket=\"cache\",call=\"get\",result=\"ok\"} 4",
        "wasmrun_bucket_calls_total{bucket=\"cache\",call=\"swap\",result=\"ok\"} 2",
        "wasmrun_bucket_calls_total{bucket=\"cache\",call=\"swap\",result=\"precondition-failed\"} 2",
        "wasmrun_bucket_calls_total{bucket=\"cache\",call=\"increment\",result=\"ok\"} 0",
        "wasmrun_bucket_read_bytes_total{bucket=\"cache\"} 28",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "{sample} is not in {metrics}");
    }
    assert!(!metrics.contains("invented"), "what a guest invents is no label: {metrics}");
    process.stop();
    let report = world.wasmrun(["report", "usage.jsonl"]).succeeds();
    assert!(
        report.stdout.iter().any(|line| line.trim_start().starts_with("buckets") && line.contains("cache: ")),
        "{report}"
    );
}

#[test]
fn a_limit_that_a_task_exceeds_is_named() {
    let world = World::new();
    for (message, limit, flags) in [
        ("kv-get-loop cache", "store-calls", ["--store-calls", "50"]),
        ("kv-batch-loop cache", "store-calls", ["--store-calls", "5000"]),
        ("kv-set-loop cache", "write-size", ["--write-size", "5MiB"]),
        ("kv-get-many cache 31", "read-size", ["--read-size", "5MiB"]),
        ("kv-handles cache 1000", "handles", ["--handles", "32"]),
        ("kv-cas-handles cache 1000", "handles", ["--handles", "32"]),
    ] {
        let output = invoke(&world, message).args(GRANT).args(flags).ends();
        assert_eq!(output.outcome(), ("limit-exceeded".into(), limit.into()), "{message}: {output}");
    }
}

#[test]
fn a_wrong_grant_is_refused_at_the_start_and_a_check_creates_nothing() {
    let world = World::with_queue(&[]);
    world.write("text", "this is no database");
    for (grant, code, says) in [
        ("cache", 2, "--keyvalue ALIAS=sqlite:FILE:MODE"),
        ("cache=sqlite:cache.db", 2, "has no mode"),
        ("cache=sqlite:cache.db:rx", 2, "mode"),
        ("cache=dir:out:rw", 2, "use sqlite:FILE"),
        ("Cache=sqlite:cache.db:rw", 2, "alias"),
        ("cache=sqlite:missing/cache.db:rw", 3, "create the directory first"),
        ("cache=sqlite:cache.db:ro", 3, "creates it"),
        ("cache=sqlite:cache.db#other:rw", 3, "holds one bucket"),
        ("cache=sqlite:jobs.db:rw", 3, "the database of another application"),
        ("cache=sqlite:text:rw", 3, "not a SQLite database"),
        ("cache=sqlite:out:rw", 3, "not a file"),
    ] {
        invoke(&world, "kv-get cache x").args(["--keyvalue", grant]).fails_with(code, says);
    }
    let check = || world.wasmrun(["run", "--check", "--queue", "sqlite:jobs.db"]).arg(guest("interfaces"));
    let notes = |output: &Output| {
        let notes = output.logs_of("an imported interface has no grant, and its calls are refused");
        notes.iter().any(|note| note["flag"] == "--keyvalue ALIAS=sqlite:FILE:MODE")
    };
    assert!(notes(&check().succeeds()));
    assert!(!notes(&check().args(GRANT).succeeds()));
    assert!(!world.path("cache.db").exists());
    // A queue can't be taken for a bucket's file either.
    seen(&world, "kv-set cache a b");
    world.wasmrun(["queue", "stats", "sqlite:cache.db"]).fails_with(3, "the database of another application");
    // A guest may not write the file behind the bucket's back.
    let store = ["--keyvalue", "cache=sqlite:out/cache.db:rw", "--store", "output=dir:out:rw"];
    invoke(&world, "kv-get cache x").args(store).fails_with(2, "key-value bucket");
}

/// The message isn't blamed: it is released, and completes once the file can be used.
#[test]
fn a_file_that_another_program_locks_is_an_error_of_the_host() {
    let world = World::with_queue(&["--max-receives", "1"]);
    seen(&world, "kv-set cache n 1");
    let lock = world.lock("cache.db");
    world.send(["kv-count cache n 1"]);
    let process = worker(&world).args(["--backoff", "1ms..1ms"]).start();
    process.until_logged("a host call failed");
    drop(lock);
    let output = process.finish().succeeded();
    let failed = &output.logs_of("a host call failed")[0];
    assert!(
        failed["text"].as_str().is_some_and(|text| text.contains("locked by another process")),
        "{output}"
    );
    assert_eq!((world.depth().visible, world.dead().visible), (0, 0), "{output}");
    assert_eq!(seen(&world, "kv-get cache n"), "Some(\"2\")");
}

#[test]
fn a_case_has_buckets_in_memory() {
    let world = World::new();
    let component = guest("interfaces");
    world.write("guest.toml", format!("component = {component:?}\nkeyvalue = ['cache']\n"));
    let case = "message = 'kv-many cache'\n[expect]\noutcome = 'rejected'\nreason = { matches = 'None' }";
    world.write("cases/many/case.toml", case);
    let swap = "message = 'kv-swap-late cache k'\n[expect]\noutcome = 'rejected'\nreason = '[true, true]'";
    world.write("cases/swap/case.toml", swap);
    let list =
        "message = 'kv-list other'\nkeyvalue = ['other']\n[expect]\noutcome = 'rejected'\nreason = '(0, 1)'";
    world.write("cases/list/case.toml", list);
    world.wasmrun(["test"]).succeeds();
}
