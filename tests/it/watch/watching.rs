//! The HTTP endpoints and the metrics of a worker.

use super::page::watched;
use crate::harness::{
    Amazon, Answer, Proxy, Seen, Stub, World, exchange, field, get, guest, installed, program, repository,
    request, status, wait_for_tasks, wait_until,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// The samples of Prometheus' text format, by name and labels.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        (name.to_owned(), value.parse().expect("a number"))
    };
    lines.map(parse).collect()
}

/// What the metrics count of the tasks below.
const SAMPLES: [(&str, f64); 25] = [
    ("wasmrun_tasks_total{outcome=\"completed\"}", 4.0),
    ("wasmrun_tasks_total{outcome=\"limit-exceeded\"}", 2.0),
    ("wasmrun_tasks_total{outcome=\"timed-out\"}", 1.0),
    ("wasmrun_tasks_total{outcome=\"trapped\"}", 1.0),
    ("wasmrun_tasks_total{outcome=\"retry\"}", 1.0),
    ("wasmrun_tasks_total{outcome=\"rejected\"}", 3.0),
    ("wasmrun_tasks_total{outcome=\"host-failed\"}", 0.0),
    ("wasmrun_tasks_limited_total{limit=\"fuel\"}", 1.0),
    ("wasmrun_tasks_limited_total{limit=\"memory\"}", 1.0),
    ("wasmrun_task_duration_seconds_count", 12.0),
    ("wasmrun_task_receives_bucket{le=\"1\"}", 12.0),
    ("wasmrun_messages_received_total", 12.0),
    ("wasmrun_messages_dead_lettered_total", 8.0),
    ("wasmrun_leases_expired_total", 0.0),
    ("wasmrun_refused_calls_total", 1.0),
    ("wasmrun_store_calls_total{store=\"input\",call=\"get\",result=\"ok\"}", 1.0),
    ("wasmrun_store_calls_total{store=\"input\",call=\"head\",result=\"not-found\"}", 1.0),
    ("wasmrun_store_calls_total{store=\"output\",call=\"put\",result=\"ok\"}", 1.0),
    ("wasmrun_store_read_bytes_total{store=\"input\"}", 5.0),
    ("wasmrun_store_written_bytes_total{store=\"output\"}", 5.0),
    ("wasmrun_sent_messages_total{queue=\"next\",result=\"ok\"}", 2.0),
    ("wasmrun_instances_running", 0.0),
    ("wasmrun_instances_max", 4.0),
    ("wasmrun_ready", 1.0),
    ("wasmrun_queue_messages{state=\"visible\"}", 0.0),
];

#[test]
fn metrics_count_what_happened_and_are_what_prometheus_reads() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.write("in/there", "hello");
    let bodies = [
        "ok",
        "get there",
        "head nowhere",
        "put key value",
        "get @nobody key",
        "send 2",
        "loop",
        "alloc",
        "sleep-forever",
        "panic at once",
        "retry when it is there",
        "reject it is no picture",
    ];
    world.send(bodies);
    let limits = ["--fuel", "100000000", "--memory", "16MiB", "--timeout", "1s", "--instances", "4"];
    let (worker, address) = watched(&world, &limits);
    wait_for_tasks(address, bodies.len() as u64);
    world.wait_until_empty();
    let Seen { status, content_type, body } = get(address, "/metrics");
    assert_eq!(status, 200);
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    let samples = samples(&body);
    for (name, count) in SAMPLES {
        let told = samples.get(name);
        // The queue's depth is of a moment in between.
        let is_near = name.contains("queue_messages");
        assert!(told == Some(&count) || is_near && told.is_some(), "{name}: {told:?}\n{body}");
    }
    assert!(samples.keys().all(|name| !name.contains("nobody")), "what a guest invents is no label: {body}");
    worker.stop();

    let Some(promtool) = installed("promtool", "WASMRUN_PROMTOOL") else { return };
    let checked = world.program(&promtool).args(["check", "metrics"]).input(body).succeeds();
    assert!(checked.stdout.is_empty() && checked.stderr.is_empty(), "{checked}");
}

#[test]
fn whatever_a_guest_says_is_a_string_in_the_status() {
    let forged = "\"}],\"ready\":{\"is\":false},\"x\":[{\"y\":\"\n{\"forged\":true}\r\u{9b}2J\u{202e}";
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send([format!("reject {forged}"), "sleep 60000".into()]);
    let (worker, address) = watched(&world, &["--instances", "2", "--stop-timeout", "0s"]);
    wait_until("one has failed, and its message is where it belongs", || {
        let status = status(address);
        status["tasks"] == 1 && status["instances"]["running"] == 1
    });
    let Seen { body, .. } = get(address, "/status");
    assert_eq!(body.matches('\n').count(), 1);
    assert!(body.trim_end().chars().all(|c| c.is_ascii() && !c.is_control()), "{body:?}");
    let status: Value = serde_json::from_str(&body).expect("JSON");
    let failure = &status["failures"][0];
    assert_eq!((&failure["outcome"], &failure["reason"]), (&json!("rejected"), &json!(forged.trim_end())));
    assert_eq!(status["ready"], json!({"is": true}));
    assert_eq!(status["running"].as_array().map(Vec::len), Some(1));
    assert!(status["running"][0]["age_seconds"].is_number(), "{status}");
    assert_eq!(status["instances"]["max"], 2);
    assert_eq!(status["component"], "misbehave.wasm");
    assert!(field(&status, "queue").ends_with("jobs.db"), "{status}");
    // A terminal doesn't obey it either.
    let picture = world.wasmrun(["top", "--once=1s", &address.to_string()]).succeeds().stdout;
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(picture.concat().contains("rejected"), "{picture:?}");
    assert!(!picture.concat().contains(obeyed), "{picture:?}");
    worker.stop();
}

/// Requests `/readyz` until it has this status code, and asserts that the worker is alive each time.
fn until_ready_is(address: SocketAddr, code: u16) -> String {
    let mut why = String::new();
    wait_until("its readiness has changed", || {
        let alive = get(address, "/healthz");
        assert_eq!((alive.status, alive.body.as_str()), (200, "alive\n"));
        let ready = get(address, "/readyz");
        why = ready.body;
        ready.status == code
    });
    why
}

#[test]
fn a_worker_whose_queue_vanishes_is_not_ready_and_alive_and_ready_when_it_is_back() {
    let world = World::new();
    world.create_dir("queue");
    world.create_queue("sqlite:queue/jobs.db", &[]);
    let worker = world
        .wasmrun(["run", "--queue", "sqlite:queue/jobs.db", "--status", "0"])
        .arg(guest("misbehave"))
        .args(World::grants())
        .start();
    let address = worker.listens_on();
    until_ready_is(address, 200);
    let open = || samples(&get(address, "/metrics").body)["wasmrun_circuit_open{cause=\"backend\"}"];
    world.while_away("queue", || {
        let why = until_ready_is(address, 503);
        assert!(why.contains("queue"), "{why}");
        wait_until("the circuit is open", || open() == 1.0);
    });
    // The queue holds no message for a probe.
    assert_eq!(until_ready_is(address, 200), "ready\n");
    assert_eq!(open(), 0.0);
    worker.stop();
}

#[test]
fn a_worker_that_cannot_reach_sqs_is_not_ready_and_alive_and_ready_when_it_can() {
    let Some(amazon) = Amazon::start() else { return };
    let world = World::new();
    amazon.create_queue("jobs", 30, 3);
    let proxy = Proxy::to(amazon.address());
    let run = world
        .wasmrun(["run", "--queue", "jobs", "--status", "0"])
        .arg(guest("misbehave"))
        .args(World::grants());
    let worker = amazon.environment(run).env("AWS_ENDPOINT_URL", proxy.endpoint()).start();
    let address = worker.listens_on();
    until_ready_is(address, 200);
    proxy.cut();
    let why = until_ready_is(address, 503);
    assert!(why.contains("queue"), "{why}");
    // The worker may notice the failure when it reads the queue's depth first.
    wait_until("a receive has failed", || {
        samples(&get(address, "/metrics").body)["wasmrun_failed_receives_total"] > 0.0
    });
    proxy.mend();
    assert_eq!(until_ready_is(address, 200), "ready\n");
    // A normal stop would wait for the worker's long poll.
    worker.kill();
}

#[test]
fn a_worker_answers_until_its_last_task_has_ended() {
    let world = World::with_queue(&[]);
    world.send(["sleep 5000"]);
    let (worker, address) = watched(&world, &["--instances", "1"]);
    wait_until("it runs", || status(address)["instances"]["running"] == 1);
    worker.signal(Signal::TERM);
    let why = until_ready_is(address, 503);
    assert_eq!(why, "the worker was told to stop\n");
    assert_eq!(status(address)["instances"]["running"], 1);
    let output = worker.finish().succeeded();
    assert_eq!(output.logs_of("task completed").len(), 1, "{output}");
}

#[test]
fn an_address_that_is_taken_is_named_and_a_check_takes_none() {
    let world = World::with_queue(&[]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its port").port().to_string();
    let run = || world.run("misbehave").args(["--status", &port]);
    run().fails_with(3, &format!("cannot listen on 127.0.0.1:{port}: "));
    run().arg("--check").succeeds();
    world.run("misbehave").args(["--status", "everywhere"]).ends().exited_with(2);
    // An address for documentation (RFC 5737), which no host has.
    world
        .run("misbehave")
        .args(["--status", "192.0.2.1:9464"])
        .fails_with(3, "cannot listen on 192.0.2.1:9464");
}

#[test]
fn who_listens_for_others_is_told_that_anybody_may_ask() {
    let world = World::with_queue(&[]);
    for (address, warnings) in [("0.0.0.0:0", 1), ("127.0.0.1:0", 0), ("0", 0)] {
        let output = world.run("misbehave").args(["--status", address, "--until-empty"]).succeeds();
        let warned =
            output.logs().iter().filter(|log| log.to_string().contains("without authentication")).count();
        assert_eq!(warned, warnings, "{output}");
    }
}

#[test]
fn health_tells_by_its_exit_code_whether_a_worker_is_alive() {
    let world = World::with_queue(&[]);
    let (worker, address) = watched(&world, &[]);
    let port = address.port().to_string();
    let health = |address: &str| world.wasmrun(["health", address]).ends();
    assert_eq!(health(&port).exited_with(0).stdout, ["alive"]);
    assert_eq!(health(&address.to_string()).exited_with(0).stdout, ["alive"]);
    let everywhere = format!("0.0.0.0:{port}");
    world.wasmrun(["health"]).env("WASMRUN_STATUS", everywhere).ends().exited_with(0);

    // A worker that hangs.
    worker.signal(Signal::STOP);
    let hangs = health(&port).exited_with(1);
    assert!(hangs.stdout[0].contains("no answer within 2 s"), "{hangs}");
    worker.signal(Signal::CONT);
    assert_eq!(health(&port).exited_with(0).stdout, ["alive"]);
    worker.stop();

    // A port that nobody else can take, and on which nothing listens.
    let unheard = tokio::net::TcpSocket::new_v4().expect("a socket");
    unheard.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let nobody = health(&unheard.local_addr().expect("an address").to_string()).exited_with(1);
    assert!(nobody.stdout.len() == 1 && nobody.stdout[0].contains("gives no answer"), "{nobody}");
    health("somewhere").exited_with(2);
    for (code, body, said) in
        [(503, "it hangs\u{1b}[2J\n", "it hangs\\u{1b}[2J"), (404, "", "is not a worker")]
    {
        let stub = Stub::answering(move |_| Answer::new(code, body));
        let output = health(stub.endpoint().trim_start_matches("http://")).exited_with(1);
        assert!(output.stdout.len() == 1 && output.stdout[0].contains(said), "{output}");
    }
}

#[test]
fn slow_clients_and_many_of_them_do_not_disturb_tasks() {
    const TASKS: u64 = 200;
    let world = World::with_queue(&[]);
    let (worker, address) = watched(&world, &["--instances", "4"]);
    let begin = |_| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(b"GET /status HTTP/1.1\r\nhost: x\r\nx: ").expect("written");
        stream
    };
    let slow: Vec<TcpStream> = (0..120).map(begin).collect();
    world.send((0..TASKS).map(|_| "ok"));
    worker.until_completed(TASKS as usize);
    assert!(worker.vitals().files < 200, "{:?}", worker.vitals());
    // A proper request is still answered.
    assert_eq!(get(address, "/healthz").status, 200);
    drop(slow);
    wait_for_tasks(address, TASKS);
    assert_eq!(get(address, "/healthz").status, 200);
    worker.stop();
}

#[test]
fn what_is_no_request_is_refused_and_changes_nothing() {
    let world = World::with_queue(&[]);
    let (worker, address) = watched(&world, &[]);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let garbage: [&[u8]; 7] = [
        b"\0\0\0\0\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /status HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in garbage {
        // A request that isn't read to its end may be answered with a connection reset.
        let answer = exchange(address, bytes).unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{bytes:?}: {answer}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "QUERY"] {
        for path in ["/", "/events", "/status"] {
            assert_eq!(request(address, method, path).status, 405, "{method} {path}");
        }
    }
    let body = b"POST /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000000\r\n\r\nabc";
    let refused = exchange(address, body).unwrap_or_default();
    assert!(refused.starts_with(b"HTTP/1.1 405"), "{}", String::from_utf8_lossy(&refused));
    for path in ["/index.html", "/events/", "/metrics/", "//status", "/../status", "/status%2f", "*"] {
        assert_eq!(get(address, path).status, 404, "{path}");
    }
    let head = request(address, "HEAD", "/metrics");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(get(address, "/healthz?x=y").status, 200);
    worker.stop();
}

#[test]
fn the_last_line_for_cloudwatch_is_of_the_published_form() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["ok", "ok", "reject x"]);
    let output = world
        .run("misbehave")
        .args(["--until-empty", "--emf", "Thumbnails", "--service", "thumbs"])
        .succeeds();
    let line = output.json();
    assert_eq!((field(&line, "service"), field(&line, "queue")), ("thumbs", "jobs.db"));
    for (name, count) in [
        ("Workers", 1),
        ("Tasks", 3),
        ("TasksCompleted", 2),
        ("TasksRejected", 1),
        ("MessagesDeadLettered", 1),
    ] {
        assert_eq!(line[name], count, "{name}: {line}");
    }
    assert_eq!(line["Latency"].as_array().map(Vec::len), Some(3), "{line}");

    let default = world.run("misbehave").args(["--until-empty", "--emf", "Thumbnails"]).succeeds().json();
    assert_eq!((field(&default, "service"), &default["Tasks"]), ("misbehave", &json!(0)));
    world.run("misbehave").args(["--emf", "AWS/SQS"]).ends().exited_with(2);

    let Some(python) = program("python3") else { return };
    let check = "import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
jsonschema.Draft7Validator(schema).validate(json.loads(sys.argv[2]))";
    let schema = repository().join("tests/it/watch/emf-schema.json");
    let validate =
        |line: &Value| world.program(&python).args(["-c", check]).arg(&schema).arg(line.to_string()).ends();
    for line in [&line, &default] {
        validate(line).succeeded();
    }
    // The validator does detect an invalid line.
    let mut wrong = line;
    wrong["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"] = "Apples".into();
    assert!(!validate(&wrong).status.success());
}
