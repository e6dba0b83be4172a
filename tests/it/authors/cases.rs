//! `wasmrun test`: what it finds, prints and writes.

use super::{fails, only, project, test};
use crate::harness::{World, field, guest};
use std::fs;

#[test]
fn an_empty_expectation_tests_that_the_task_completes() {
    let world = project(&[("good", "message = 'ok'"), ("bad", "message = 'reject no picture'")]);
    let output = fails(&world, &["FAILED  bad", "completed expected, rejected seen", "reason: no picture"]);
    assert!(output.stdout.iter().any(|line| line.starts_with("ok      good")), "{output}");
    assert_eq!(output.stdout.last().map(String::as_str), Some("1 passed, 1 failed"), "{output}");
    test(&world).args(["--case", "good"]).succeeds();
}

#[test]
fn an_outcome_and_a_reason_are_compared_exactly_or_by_a_pattern() {
    let world = project(&[
        ("exact", "message = 'reject no picture'\n[expect]\noutcome = 'rejected'\nreason = 'no picture'"),
        (
            "pattern",
            "message = 'panic at 17'\n[expect]\noutcome = 'trapped'\nreason = { matches = 'at [0-9]+' }",
        ),
        (
            "limit",
            "message = 'loop'\n[limits]\nfuel = 1000000\n[expect]\noutcome = 'limit-exceeded'\nreason = 'fuel'",
        ),
        ("retry", "message = 'retry later'\n[expect]\noutcome = 'retry'"),
    ]);
    test(&world).succeeds();
    world.write(
        "cases/exact/case.toml",
        "message = 'reject no picture'\n[expect]\noutcome = 'rejected'\nreason = 'no'",
    );
    fails(&world, &["reason: \"no\" expected, \"no picture\" seen", "3 passed, 1 failed"]);
}

#[test]
fn a_wrong_byte_a_missing_and_an_additional_object_are_found() {
    let world = project(&[("put", "message = 'put a/note.txt done'")]);
    world.write("cases/put/expected/output/a/note.txt", "done");
    test(&world).succeeds();
    world.write("cases/put/expected/output/a/note.txt", "dome");
    fails(&world, &["object output/a/note.txt: its content differs", "- dome", "+ done"]);
    world.write("cases/put/expected/output/a/note.txt", "done\n");
    fails(&world, &["+ done (no line end)"]);
    world.write("cases/put/expected/output/a/note.txt", b"don\xff");
    fails(&world, &["4 bytes expected, 4 seen; from byte 3:", "- ff", "+ 65"]);
    world.write("cases/put/expected/output/a/note.txt", "done");
    world.write("cases/put/expected/output/b.txt", "x");
    fails(&world, &["object output/b.txt: it is missing"]);
    world.write("cases/put/case.toml", "message = 'ok'\n[expect]\nobjects = {}");
    fs::remove_dir_all(world.path("cases/put/expected")).expect("removed");
    test(&world).succeeds();
    world.write("cases/put/case.toml", "message = 'put a.txt done'\n[expect]\nobjects = {}");
    fails(&world, &["object output/a.txt: it was not expected, and has 4 B"]);
}

#[test]
fn the_files_of_a_program_are_objects_of_its_case() {
    let world = project(&[("copy", "message = 'file copy-and-complete /in/a.txt /out/b.txt'")]);
    let directories = "[dir]\n'/in' = 'input'\n'/out' = 'output:files/:wo'\n";
    world.write("guest.toml", format!("component = {:?}\n{directories}", guest("program")));
    world.write("cases/copy/given/input/a.txt", "content");
    world.write("cases/copy/expected/output/files/b.txt", "content");
    test(&world).succeeds();
    world.write("cases/copy/expected/output/files/b.txt", "other");
    fails(&world, &["object output/files/b.txt: its content differs"]);
}

#[test]
fn objects_are_compared_by_pattern_and_headers_and_may_be_absent() {
    let world = project(&[("put", "")]);
    let case = |message: &str, objects: &str| {
        world.write("cases/put/case.toml", format!("message = '{message}'\n[expect.objects]\n{objects}\n"));
    };
    case(
        "put a.txt done at 17",
        "'output/a.txt' = { content = { matches = 'at [0-9]+$' }, content-type = 'text/plain' }",
    );
    test(&world).succeeds();
    case("put a.txt done", "'output/a.txt' = { content = { matches = 'at [0-9]+$' } }");
    fails(&world, &["object output/a.txt: a match of \"at [0-9]+$\" expected", "+ done"]);
    case("put a.txt done", "'output/a.txt' = { content-type = 'image/png' }");
    fails(&world, &["content type image/png expected, text/plain seen"]);
    case("put a.txt done", "'output/a.txt' = { cache-control = 'max-age=60' }");
    fails(&world, &["cache control max-age=60 expected, none seen"]);
    case(
        "write-cached 3 a.txt public, max-age=60",
        "'output/a.txt' = { cache-control = 'public, max-age=60' }",
    );
    test(&world).succeeds();
    // A given object stays unless the case says otherwise.
    world.write("cases/put/given/output/old.txt", "old");
    case("ok", "");
    test(&world).succeeds();
    case("delete old.txt", "");
    fails(&world, &["object output/old.txt: it is missing"]);
    case("delete old.txt", "'output/old.txt' = { absent = true }");
    test(&world).succeeds();
}

#[test]
fn the_only_given_object_is_announced() {
    let world = project(&[("digest", "")]);
    world.write("cases/digest/given/input/in/song.txt", "la la la");
    world.write("cases/digest/expected/output/in/song.txt", "wrong\n");
    fails(&world, &["object output/in/song.txt: its content differs", "- wrong", " 8"]);
    world.write("cases/digest/given/input/other.txt", "x");
    fails(&world, &["several objects are given: set announce = \"ALIAS/KEY\""]);
    world.write("cases/digest/case.toml", "announce = 'input/other.txt'");
    fails(
        &world,
        &["object output/in/song.txt: it is missing", "object output/other.txt: it was not expected"],
    );
    // An event as S3 sends it, for a store with a bucket's URL.
    let event = r#"{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"other.txt"}}}]}"#;
    world.write("cases/digest/event.json", event);
    let case = "message-file = 'event.json'\n[store]\ninput = 's3://photos:ro'\n[expect.objects]\n'output/other.txt' = { content = { matches = ' 1$' } }";
    world.write("cases/digest/case.toml", case);
    fs::remove_dir_all(world.path("cases/digest/expected")).expect("removed");
    fails(&world, &["+ "]);
    world.write("cases/digest/case.toml", case.replace(" 1$", " 1\\n$"));
    test(&world).succeeds();
}

#[test]
fn a_missing_and_an_additional_message_are_found() {
    let world = project(&[("send", "")]);
    let case = |message: &str, sent: &str| {
        world.write("cases/send/case.toml", format!("message = '{message}'\n[expect]\n{sent}\n"));
    };
    let two = "[[expect.sent.next]]\nbody = '0'\n[[expect.sent.next]]\nbody = { matches = '^[0-9]$' }";
    case("send 2", two);
    test(&world).succeeds();
    case("send 1", two);
    fails(&world, &["message 2 to next: it was not sent"]);
    case("send 3", two);
    fails(&world, &["message 3 to next: it was not expected", "+ 2"]);
    case("send 1", "sent = {}");
    fails(&world, &["message 1 to next: it was not expected", "+ 0"]);
    case("send 1", "[[expect.sent.next]]\nbody = '1'");
    fails(&world, &["message 1 to next: its body differs", "- 1", "+ 0"]);
    case("send 1", "[[expect.sent.next]]\nbody = '0'\nattributes = { kind = 'a' }");
    fails(&world, &["message 1 to next: its attributes differ", "- kind = \"a\""]);
    case("send 1", "");
    test(&world).succeeds();
}

#[test]
fn log_lines_appear_in_their_order() {
    let world = project(&[("log", "")]);
    let case = |log: &str| {
        world.write(
            "cases/log/case.toml",
            format!("message = 'print one\\ntwo\\nthree'\n[expect]\nlog = {log}\n"),
        );
    };
    case("['one', { matches = '^th' }]");
    test(&world).succeeds();
    case("['two', 'one']");
    fails(&world, &["log: no line is \"one\", after \"two\"", "INFO three"]);
}

/// A regression by 5 % fails, and a change within the tolerance doesn't.
#[test]
fn a_regression_of_fuel_or_memory_fails() {
    let world = project(&[("work", "message = 'work a 2000'")]);
    let usage = only(&world)["usage"].clone();
    let (fuel, memory) =
        (usage["fuel"].as_u64().expect("fuel"), usage["peak_memory_bytes"].as_u64().expect("bytes"));
    assert_eq!(only(&world)["usage"]["fuel"], fuel, "the same in each run");
    let budget = |expect: &str| {
        world.write("cases/work/case.toml", format!("message = 'work a 2000'\n[expect]\n{expect}\n"));
    };
    budget(&format!("max-fuel = {fuel}\nmax-memory = {memory}"));
    test(&world).succeeds();
    budget(&format!("max-fuel = {}", fuel * 99 / 100));
    test(&world).succeeds();
    budget(&format!("max-fuel = {}", fuel * 100 / 105));
    fails(&world, &["fuel: at most", "+5.0 %, with a tolerance of 2 %"]);
    budget(&format!("max-fuel = {}\ntolerance = 10", fuel * 100 / 105));
    test(&world).succeeds();
    budget(&format!("max-fuel = {}\ntolerance = 0", fuel - 1));
    fails(&world, &["fuel: at most"]);
    budget(&format!("max-memory = {}", memory / 2));
    fails(&world, &["memory: at most", "+100.0 %"]);
}

#[test]
fn the_results_depend_on_the_case_alone() {
    let world = World::new();
    world.write("guest.toml", format!("component = {:?}", guest("dice")));
    world.write("cases/roll/case.toml", "message = 'x'\n");
    test(&world).arg("--update").succeeds();
    let written = world.text("cases/roll/case.toml");
    assert!(written.contains("reason = \"random ") && written.contains(" at 1767225600000 ms"), "{written}");
    for _ in 0..3 {
        test(&world).succeeds();
    }
    // Random numbers depend on the message's id, and on nothing with `deterministic = false`.
    world.write("cases/roll/case.toml", format!("id = 'b'\n{written}"));
    fails(&world, &["reason: "]);
    world.write("cases/roll/case.toml", format!("deterministic = false\n{written}"));
    fails(&world, &["reason: "]);
}

#[test]
fn what_was_seen_is_written_and_then_passes() {
    let world = project(&[
        ("put", "# Writes a note.\nmessage = 'put a/note.txt done'\n"),
        ("send", "message = 'send 2'\n"),
        ("reject", "message = 'reject no \"picture\"'\n"),
        ("delete", "message = 'delete old.txt'\n"),
        (
            "pattern",
            "message = 'reject at 17'\n[expect]\noutcome = 'rejected'\nreason = { matches = 'at [0-9]+' } # kept\nmax-fuel = 100000000\n",
        ),
    ]);
    world.write("cases/delete/given/output/old.txt", "old");
    let updated = test(&world).arg("--update").succeeds();
    assert!(updated.to_string().contains("1 passed, 0 failed, 4 updated"), "{updated}");
    let text = |name: &str| world.text(&format!("cases/{name}/case.toml"));
    assert!(
        text("put").starts_with("# Writes a note.\nmessage = 'put a/note.txt done'\n\n[expect]\nmax-fuel = "),
        "{}",
        text("put")
    );
    assert!(text("put").contains("log = [\"put a/note.txt of 4 bytes\"]"), "{}", text("put"));
    assert_eq!(world.read("cases/put/expected/output/a/note.txt"), b"done");
    assert!(
        text("send").contains("[[expect.sent.next]]\nbody = \"0\"\n\n[[expect.sent.next]]\nbody = \"1\"\n"),
        "{}",
        text("send")
    );
    assert!(
        text("reject").contains("outcome = \"rejected\"\nreason = \"no \\\"picture\\\"\"\n"),
        "{}",
        text("reject")
    );
    assert!(text("delete").contains("\"output/old.txt\" = { absent = true }"), "{}", text("delete"));
    assert!(text("pattern").contains("# kept"), "what passes stays as it is");
    let before: Vec<String> = ["put", "send", "reject", "delete"].map(text).to_vec();
    test(&world).succeeds();
    test(&world).arg("--update").succeeds();
    assert_eq!(["put", "send", "reject", "delete"].map(text).to_vec(), before);

    // What changes is written anew, and what the task doesn't write any more is removed.
    world.write("cases/put/case.toml", text("put").replace("put a/note.txt done", "put b.txt changed"));
    fails(&world, &["object output/a/note.txt: it is missing", "object output/b.txt: it was not expected"]);
    test(&world).arg("--update").succeeds();
    assert_eq!(world.keys("cases/put/expected/output"), ["b.txt"]);
    test(&world).succeeds();
}

#[test]
fn an_update_that_would_lose_something_writes_nothing() {
    let case = "message = 'put a.txt done'\n[expect]\nmax-fuel = 1\n[limits]\nfuel = 1000000000\n";
    let world = project(&[("put", case)]);
    let output = test(&world).arg("--update").ends().exited_with(1);
    assert!(output.to_string().contains("move the table [expect] to its end"), "{output}");
    assert_eq!(world.read("cases/put/case.toml"), case.as_bytes());
    assert!(!world.path("cases/put/expected").exists());
}

#[test]
fn results_are_printed_as_json_and_as_junit() {
    let world =
        project(&[("bad", "message = 'reject <no> & \"more\"'"), ("good", "message = 'ok'"), ("none", "")]);
    let output = test(&world).args(["--json", "--junit", "results.xml"]).ends().exited_with(1);
    let results = output.json();
    assert_eq!((&results["passed"], &results["failed"]), (&1.into(), &2.into()));
    let case = |name: &str| {
        let cases = results["cases"].as_array().expect("cases");
        cases.iter().find(|case| case["name"] == name).expect("a case").clone()
    };
    assert_eq!(
        (field(&case("bad"), "outcome"), field(&case("bad"), "reason")),
        ("rejected", "<no> & \"more\"")
    );
    assert_eq!(case("bad")["findings"].as_array().map(Vec::len), Some(1));
    assert!(case("good")["usage"]["fuel"].as_u64() > Some(0));
    assert!(field(&case("none"), "error").contains("it has no message"));
    let xml = world.text("results.xml");
    assert!(xml.contains("tests=\"3\" failures=\"1\" errors=\"1\""), "{xml}");
    assert!(xml.contains("<testcase classname=\"cases\" name=\"good\" time=\""), "{xml}");
    assert!(xml.contains("reason: &lt;no&gt; &amp; &quot;more&quot;"), "{xml}");
}

#[test]
fn a_task_sees_what_its_case_grants() {
    let world = project(&[
        (
            "env",
            "message = 'env COLOUR'\n[env]\nCOLOUR = 'red'\n[expect]\noutcome = 'rejected'\nreason = { matches = 'red' }",
        ),
        ("other", "message = 'get @secret x'\n[expect]\noutcome = 'rejected'\nreason = 'access-denied'"),
        ("queue", "message = 'send @more 1'\nsend = ['more']\n[[expect.sent.more]]\nbody = '0'"),
        ("mode", "message = 'put @input x y'\n[expect]\noutcome = 'rejected'\nreason = 'access-denied'"),
    ]);
    test(&world).succeeds();
    world.write("cases/other/case.toml", "message = 'get @secret x'");
    fails(&world, &["WARN refused a host call", "secret"]);
}

#[test]
fn a_project_that_cannot_be_tested_is_refused_with_one_sentence() {
    let world = World::new();
    test(&world).fails_with(2, "there is no case in ./cases: a case is a directory with a case.toml");
    world.write("cases/a/case.toml", "message = 'ok'");
    test(&world).fails_with(2, "no component: set `component` in ./guest.toml");
    world.write("guest.toml", "component = 'built.wasm'\nbuild = 'make guest'");
    test(&world).fails_with(2, "`make guest` builds it");
    world.write("guest.toml", "componnet = 'built.wasm'");
    test(&world).fails_with(2, "unknown key componnet: did you mean component?");
    world.write("guest.toml", format!("component = {:?}", guest("misbehave")));
    test(&world).args(["--case", "zzz"]).fails_with(2, "there is no case named \"zzz\"");
    test(&world).arg("nowhere").fails_with(2, "there is no case in nowhere/cases");
    world.write("not.wasm", "not a component");
    test(&world).args(["--component", "not.wasm"]).fails_with(2, "cannot use the component not.wasm");
}
