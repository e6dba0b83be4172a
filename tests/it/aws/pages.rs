//! Answers of another server in place of the service: a proxy, a load balancer, or a web server at a mistyped address.
//! The worker never takes them for the service's answers.

use crate::harness::{Answer, Command, Depth, Request, ScriptedSqs, Stub, World, guest, keys, signed};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const STOPPED: &str = "paused receiving: a store or a queue fails";
const HTML: &str = "<html><head><title>Not here</title></head><body><p>Not here.</body></html>";

/// Pages that such servers send, by name.
fn pages() -> Vec<(&'static str, Answer)> {
    let html = |status| Answer::new(status, HTML).with("content-type", "text/html; charset=utf-8");
    vec![
        ("404 text", Answer::new(404, "404 page not found\n").with("content-type", "text/plain")),
        ("404 HTML", html(404)),
        (
            "404 JSON",
            Answer::new(404, r#"{"code": 404, "message": "no route"}"#)
                .with("content-type", "application/json"),
        ),
        ("404 empty", Answer::new(404, "")),
        ("404 XML", Answer::new(404, "<Fault><Code>NoSuchKey</Code></Fault>")),
        ("403 HTML", html(403)),
        ("405 empty", Answer::new(405, "")),
        ("302", html(302).with("location", "https://login.example.com/")),
        ("400 HTML", html(400)),
        ("200 HTML", html(200)),
        ("200 JSON", Answer::new(200, r#"{"status": "ok"}"#).with("content-type", "application/json")),
        ("200 empty", Answer::new(200, "")),
    ]
}

fn at(endpoint: &str, command: Command) -> Command {
    signed(command).env("AWS_ENDPOINT_URL_S3", endpoint)
}

/// A worker on a local queue, with stores in S3.
fn worker(world: &World, s3: &Stub) -> Command {
    granted(world.wasmrun(["run", "--queue", "sqlite:jobs.db"]).logging_tasks(), s3)
}

/// A task for this message, with the same stores.
fn invoke(world: &World, s3: &Stub, message: &str) -> Command {
    granted(world.wasmrun(["invoke", "--json", "--message", message]), s3)
}

fn granted(command: Command, s3: &Stub) -> Command {
    at(&s3.endpoint(), command.misbehaving("s3://photos:ro", "s3://thumbs:rw"))
}

/// An S3 server that holds the object `x` and accepts all uploads. While `away` is set, it answers with the page.
fn s3_behind(page: Answer, away: Arc<AtomicBool>) -> Stub {
    Stub::answering(move |request| if away.load(Ordering::SeqCst) { page.clone() } else { s3(request) })
}

fn s3(request: &Request) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    match (&*request.method, path) {
        ("GET", "/photos/x") if request.header("range").is_empty() => {
            Answer::new(200, "hello").with("etag", "\"x\"")
        }
        ("GET", "/photos/x") => {
            Answer::new(206, "h").with("etag", "\"x\"").with("content-range", "bytes 0-0/5")
        }
        ("HEAD", "/photos/x") => Answer::new(200, "").with("content-length", 5).with("etag", "\"x\""),
        ("GET", _) if query.contains("list-type=2") => {
            Answer::new(200, "<ListBucketResult><Contents><Key>x</Key></Contents></ListBucketResult>")
        }
        ("PUT", _) if !request.header("x-amz-copy-source").is_empty() => {
            Answer::new(200, "<CopyObjectResult><ETag>\"x\"</ETag></CopyObjectResult>")
        }
        ("PUT", _) => Answer::new(200, "").with("etag", "\"x\""),
        ("DELETE", _) => Answer::new(204, ""),
        ("HEAD", _) => Answer::new(404, ""),
        _ => Answer::no_such_key(),
    }
}

#[test]
fn an_endpoint_that_is_not_s3_is_refused_at_the_start_by_name() {
    let world = World::with_queue(&["--max-receives", "1"]);
    // A web server's own page has an etag.
    let with_etag = ("200 with an etag", Answer::new(200, HTML).with("etag", "\"5f2-61\""));
    for (name, page) in pages().into_iter().chain([with_etag]) {
        let stub = s3_behind(page, Arc::new(AtomicBool::new(true)));
        let output = worker(&world, &stub).arg("--check").ends().exited_with(3);
        for said in ["the store s3://photos", &stub.endpoint(), "does not answer as S3 does"] {
            assert!(output.error().contains(said), "{name}: {output}");
        }
    }
    let stub = s3_behind(Answer::Never, Arc::default());
    worker(&world, &stub).arg("--check").succeeds();
}

#[test]
fn a_bucket_that_is_gone_or_elsewhere_is_no_missing_object() {
    let world = World::with_queue(&["--max-receives", "1"]);
    for (status, code, said) in [
        (404, "NoSuchBucket", "there is no such bucket"),
        (301, "PermanentRedirect", "another region"),
        (307, "TemporaryRedirect", "TemporaryRedirect"),
        (405, "MethodNotAllowed", "MethodNotAllowed"),
        (404, "NoSuchWebsiteConfiguration", "NoSuchWebsiteConfiguration"),
    ] {
        let page = Answer::s3_error(status, code);
        let stub = s3_behind(page, Arc::new(AtomicBool::new(true)));
        let output = worker(&world, &stub).arg("--check").ends().exited_with(3);
        assert!(output.error().contains(said), "{code}: {output}");
    }
}

/// Each operation gets each page. The queue allows one receive, so a failure that counted would dead-letter the
/// message.
#[test]
fn a_store_that_turns_into_a_page_costs_time_only() {
    const ROUNDS: usize = 5;
    let messages = ["get x", "head x", "range 0 1 x", "copy x copied", "list ", "put a text", "delete a"];
    for (name, page) in pages() {
        let world = World::with_queue(&["--max-receives", "1"]);
        world.send(messages.repeat(ROUNDS));
        let away = Arc::new(AtomicBool::new(false));
        let stub = s3_behind(page, away.clone());
        // Slow enough that not all work is done before something fails.
        let options = ["--until-empty", "--backoff", "50ms..200ms", "--rate", "20/s"];
        let worker = worker(&world, &stub).args(options).start();
        worker.until_completed(1);
        away.store(true, Ordering::SeqCst);
        worker.until_logged(STOPPED);
        away.store(false, Ordering::SeqCst);
        let output = worker.finish().succeeded();
        assert_eq!(output.summary()["outcomes"]["completed"], messages.len() * ROUNDS, "{name}: {output}");
        assert_eq!(world.dead(), Depth::EMPTY, "{name}: {output}");
        assert!(output.to_string().contains("does not answer as S3 does"), "{name}: {output}");
    }
}

/// An S3 server that adds a request ID to each answer, like AWS.
fn s3_with_names(request: &Request) -> Answer {
    s3(request).with("x-amz-request-id", "4442587FB7D0A2F9")
}

/// A web server's own pages have etags, and its cache answers without content.
#[test]
fn a_page_with_marks_of_an_object_is_none_where_the_server_names_its_requests() {
    let html = |status| Answer::new(status, HTML).with("content-type", "text/html").with("etag", "\"5f2\"");
    for page in [html(200), html(206).with("content-range", "bytes 0-0/5"), Answer::new(204, "")] {
        for (message, is_read) in [
            ("get x", true),
            ("head x", true),
            ("copy x a", true),
            ("put a text", false),
            ("delete a", false),
        ] {
            let (world, shown) = (World::new(), page.clone());
            // From the first object on, because only the start has shown how the server answers.
            let stub = Stub::answering(move |request| {
                let is_object = request.target.starts_with(if is_read { "/photos/x" } else { "/thumbs/a" });
                if is_object { shown.clone() } else { s3_with_names(request) }
            });
            let output = invoke(&world, &stub, message).ends().exited_with(1);
            assert_eq!(output.json()["outcome"], "host-failed", "{page:?}: {message}: {output}");
            assert!(
                output.to_string().contains("does not answer as S3 does"),
                "{page:?}: {message}: {output}"
            );
        }
    }
}

#[test]
fn a_server_that_names_none_or_some_of_its_requests_is_served() {
    let messages = ["get x", "head x", "copy x copied", "list ", "put a text", "delete a"];
    // Which answers have a request ID: depends on the answers at the start, and on the method.
    let servers: [fn(&Request) -> bool; 3] = [
        |_| false,
        |request| request.method == "GET" && !request.is_probe(),
        |request| !request.is_probe() && request.target.contains("/missing"),
    ];
    for has_name in servers {
        let world = World::with_queue(&[]);
        world.send(["get missing"].into_iter().chain(messages));
        let stub = Stub::answering(move |request| match has_name(request) {
            true => s3_with_names(request),
            false => s3(request),
        });
        let options = ["--until-empty", "--instances", "1", "--on", "rejected=drop"];
        let output = worker(&world, &stub).args(options).succeeds();
        assert_eq!(output.summary()["outcomes"]["completed"], messages.len(), "{output}");
        assert_eq!(output.summary()["outcomes"]["rejected"], 1, "{output}");
    }
}

/// Covers all calls for an object that is written in parts, and all calls for a copy.
#[test]
fn a_page_is_never_taken_for_something_written() {
    for (name, page) in pages() {
        for message in ["put a text", "write-bytes 9000000 a", "copy x a", "delete a"] {
            let world = World::new();
            let page = page.clone();
            let stub = Stub::answering(move |request| {
                let writes = ["PUT", "POST", "DELETE"].contains(&&*request.method);
                if writes { page.clone() } else { s3(request) }
            });
            let output = invoke(&world, &stub, message).ends().exited_with(1);
            assert_eq!(output.json()["outcome"], "host-failed", "{name}: {message}: {output}");
        }
    }
}

#[test]
fn what_a_head_does_not_find_is_absent_only_if_a_get_says_so() {
    let world = World::new();
    for (get, deleted, outcome) in [
        (Answer::new(404, "<Error><Code>NoSuchKey</Code></Error>"), false, "rejected"),
        (Answer::new(404, "<Error xmlns=\"x\"><Code>NoSuchVersion</Code></Error>"), false, "rejected"),
        (Answer::new(404, HTML), true, "rejected"),
        (Answer::new(404, HTML), false, "host-failed"),
        (Answer::new(404, "<Error><Code>NoSuchBucket</Code></Error>"), false, "host-failed"),
        (
            Answer::new(206, "x").with("etag", "\"x\"").with("content-range", "bytes 0-0/1"),
            false,
            "host-failed",
        ),
    ] {
        for status in [404, 405] {
            let get = get.clone();
            let stub = Stub::answering(move |request| match &*request.method {
                "HEAD" if deleted => Answer::new(status, "").with("x-amz-delete-marker", "true"),
                "HEAD" => Answer::new(status, ""),
                _ if request.is_probe() => s3(request),
                _ => get.clone(),
            });
            let invoke = world
                .wasmrun(["invoke", "--json", "--message", "head y"])
                .misbehaving("s3://photos:ro", "dir:out:rw");
            let output = at(&stub.endpoint(), invoke).ends().exited_with(1);
            assert_eq!(output.json()["outcome"], outcome, "{output}");
            if outcome == "rejected" {
                assert_eq!(output.json()["reason"], "not-found", "{output}");
            }
        }
    }
}

/// A worker on an SQS queue, with local stores.
fn sqs_worker(world: &World, queue: &ScriptedSqs) -> Command {
    let url = queue.url();
    let run = world
        .wasmrun(["run", "--queue", &url, "--log", "info,wasmrun_runtime=debug"])
        .arg(guest("misbehave"))
        .args(["--store", "input=dir:in:ro", "--store", "output=dir:out:rw"])
        .args(["--send", &format!("next={}", url.replace("jobs", "next"))])
        .args(["--dead-letter", &url.replace("jobs", "dead")]);
    at("http://127.0.0.1:1", run)
}

#[test]
fn an_endpoint_that_is_not_sqs_is_refused_at_the_start_by_name() {
    let world = World::new();
    for (name, page) in pages() {
        let queue = ScriptedSqs::holding(30, [], move |_| Some(page.clone()));
        let output = sqs_worker(&world, &queue).arg("--check").ends().exited_with(3);
        for said in [&*queue.url(), "does not answer as SQS does"] {
            assert!(output.error().contains(said), "{name}: {output}");
        }
    }
}

#[test]
fn a_queue_that_turns_into_a_page_costs_time_only() {
    for (name, page) in
        pages().into_iter().filter(|(name, _)| ["404 HTML", "200 HTML", "200 JSON"].contains(name))
    {
        let world = World::new();
        let messages = ["ok", "put a text", "reject never"].map(|body| json!(body));
        let queue = ScriptedSqs::holding(30, messages, move |call| {
            let is_looked_at =
                ["ReceiveMessage", "DeleteMessageBatch", "SendMessageBatch"].contains(&call.operation);
            (is_looked_at && call.before == 0).then(|| page.clone())
        });
        let output = sqs_worker(&world, &queue)
            .args(["--until-empty", "--backoff", "0s..0s"])
            .within(Duration::from_secs(120))
            .succeeds();
        let summary = output.summary();
        assert_eq!(summary["outcomes"]["completed"], 2, "{name}: {output}");
        assert_eq!(summary["dead_lettered"], 1, "{name}: {output}");
        assert_eq!(queue.depth(), [0, 0], "{name}: {output}");
        assert_eq!(keys(&world.path("out")), ["a"]);
        // A page isn't an empty queue.
        let failed = output.logs_of("cannot receive from the queue");
        assert!(
            failed.iter().any(|log| log.to_string().contains("does not answer as SQS does")),
            "{name}: {output}"
        );
    }
}

#[test]
fn a_page_is_no_queue_that_was_purged() {
    let world = World::new();
    for (name, page) in pages() {
        let queue = ScriptedSqs::holding(30, [json!("ok")], move |call| {
            (call.operation == "PurgeQueue").then(|| page.clone())
        });
        let purge = world.wasmrun(["queue", "purge", &queue.url()]);
        let output = at("http://127.0.0.1:1", purge).ends().exited_with(3);
        assert!(output.error().contains("does not answer as SQS does"), "{name}: {output}");
    }
}

#[test]
fn an_answer_that_does_not_end_is_no_answer() {
    // A client might read for as long as the server sends. This is S3's own error followed by far too much data.
    let error = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>";
    let much = format!("{error}{}", " ".repeat(20 << 20));
    let s3 = Stub::answering(move |_| Answer::new(404, much.clone()).with("content-type", "application/xml"));
    let world = World::with_queue(&[]);
    let output = worker(&world, &s3).arg("--check").ends().exited_with(3);
    assert!(output.error().contains("s3://photos"), "{output}");
}

#[test]
fn an_answer_to_a_write_that_does_not_end_is_no_answer() {
    let world = World::new();
    for message in ["put a text", "write-bytes 9000000 a", "delete a"] {
        let much = " ".repeat(20 << 20);
        let stub = Stub::answering(move |request| match &*request.method {
            "PUT" | "DELETE" => Answer::new(200, much.clone()).with("etag", "\"x\""),
            "POST" => Answer::new(
                200,
                "<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>",
            ),
            _ => s3(request),
        });
        let output = invoke(&world, &stub, message).ends().exited_with(1);
        assert_eq!(output.json()["outcome"], "host-failed", "{message}: {output}");
    }
}
