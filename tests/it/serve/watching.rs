//! What an operator sees of requests: usage, metrics, status and traces.

use super::{Service, serve};
use crate::harness::{Collector, World, attribute, field, get, status, wait_for_tasks};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn each_request_has_a_line_of_usage_with_its_status_and_bytes() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    client.post("/echo", &[("content-type", "text/plain")], vec![b'x'; 10_000]);
    client.get("/status/404");
    client.get("/none");
    let (output, usage) = service.stop();
    assert_eq!(usage.len(), 3);
    let [echo, missing, none] = [0, 1, 2].map(|at| &usage[at]["http"]);
    let bytes = |http: &serde_json::Value, name: &str| http[name].as_u64().expect("a number");
    // The heads count as well.
    for name in ["bytes_received", "bytes_sent"] {
        assert!((10_020..10_400).contains(&bytes(echo, name)), "{name}: {echo}");
    }
    assert_eq!((echo["status"].as_u64(), missing["status"].as_u64()), (Some(200), Some(404)));
    assert!(none["status"].is_null(), "it gave no response: {none}");
    assert_eq!(usage[2]["outcome"], "rejected");
    assert_ne!(usage[0]["message_id"], usage[1]["message_id"]);
    for task in &usage {
        assert!(task["fuel"].as_u64() > Some(0) && task["peak_memory_bytes"].as_u64() > Some(0), "{task}");
        assert_eq!(task["receive_count"], 1);
    }
    let summary = output.summary();
    assert_eq!((summary["tasks"].as_u64(), summary["dead_lettered"].as_u64()), (Some(3), Some(0)));
}

#[test]
fn metrics_and_status_are_served_at_an_address_of_their_own() {
    let world = World::new();
    let process = serve(&world).args(["--status", "0", "--instances", "3"]).start();
    let (watched, address) = (process.listens_on(), process.serves_at());
    let service = Service { world, process, address };
    service.is_well();
    assert_eq!(service.connect().get("/panic").status(), 500);
    wait_for_tasks(watched, 2);
    let metrics = get(watched, "/metrics").body;
    for line in [
        "wasmrun_tasks_total{outcome=\"completed\"} 1",
        "wasmrun_tasks_total{outcome=\"trapped\"} 1",
        "wasmrun_task_duration_seconds_count 2",
        "wasmrun_responses_total{status=\"2xx\"} 1",
        "wasmrun_error_responses_total{status=\"500\"} 1",
    ] {
        assert!(metrics.lines().any(|seen| seen == line), "{line} in {metrics}");
    }
    assert_eq!((get(watched, "/healthz").status, get(watched, "/readyz").status), (200, 200));
    assert!(get(watched, "/").body.contains("<html"));
    let status = status(watched);
    assert_eq!(status["outcomes"]["trapped"], 1, "{status}");
    // The paths of the status are the guest's on the other address.
    assert_eq!(service.connect().get("/healthz").text(), "no such command\n");
}

#[test]
fn a_response_that_never_left_is_counted_as_the_servers_own() {
    let world = World::new();
    let process = serve(&world).args(["--status", "0", "--http-sent-size", "1KiB"]).start();
    let (watched, address) = (process.listens_on(), process.serves_at());
    let service = Service { world, process, address };
    assert_eq!(service.connect().get("/large/100000").status(), 500);
    wait_for_tasks(watched, 1);
    let metrics = get(watched, "/metrics").body;
    let counted =
        |name: &str| metrics.lines().filter(|line| line.starts_with(name) && !line.ends_with(" 0")).count();
    assert_eq!(
        (counted("wasmrun_responses_total"), counted("wasmrun_error_responses_total")),
        (0, 1),
        "{metrics}"
    );
    let (_, usage) = service.stop();
    assert!(usage[0]["http"]["status"].is_null(), "{}", usage[0]);
}

#[test]
fn a_trace_goes_on_from_the_request_to_what_its_task_sends() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let response =
        client.post("/save/traced", &[("traceparent", &*parent), ("tracestate", "vendor=1")], "content");
    assert_eq!(response.status(), 201, "{response:?}");
    let sent = &service.world.peek("sqlite:next.db")[0];
    assert_eq!(sent["body"], "traced");
    let traced = field(&sent["attributes"], "traceparent");
    assert_eq!(traced.split('-').nth(1), Some(TRACE), "{sent}");
    assert_eq!(service.world.read("out/traced"), b"content");
    // What is no trace is no error.
    for parent in ["", "nonsense", &"x".repeat(5000)] {
        assert_eq!(client.post("/save/other", &[("traceparent", parent)], "content").status(), 201);
    }
    // The handler sees the header as it was sent.
    client.send_head("GET", "/headers", &[("traceparent", &*parent)]);
    assert!(client.response().text().contains(&format!("traceparent: {parent}")));
}

#[test]
fn a_request_is_a_span_of_a_server_without_its_query() {
    let collector = Collector::start();
    let world = World::new();
    let process = serve(&world).args(["--otlp", &collector.endpoint()]).start();
    let address = process.serves_at();
    let service = Service { world, process, address };
    let mut client = service.connect();
    client.send_head("GET", "/hello?token=secret", &[]);
    assert_eq!(client.response().status(), 200);
    client.send_head("BREW", "/status/503", &[]);
    assert_eq!(client.response().status(), 503);
    service.stop();
    let spans = collector.spans();
    let named = |name: &str| {
        let found = spans.iter().map(|(_, span)| span).find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no span {name}: {spans:#?}"))
    };
    let (get, brew) = (named("GET"), named("HTTP"));
    for (span, method, path, status) in [(get, "GET", "/hello", 200), (brew, "_OTHER", "/status/503", 503)] {
        assert_eq!(span.kind(), SpanKind::Server);
        let text = |name: &str| attribute(&span.attributes, name);
        assert_eq!((&*text("http.request.method"), &*text("url.path")), (method, path), "{span:#?}");
        assert_eq!(text("http.response.status_code"), status.to_string());
    }
    assert_eq!(attribute(&brew.attributes, "http.request.method_original"), "BREW");
    assert_eq!(attribute(&brew.attributes, "error.type"), "503");
    assert!(!format!("{spans:?}").contains("secret"));
}

#[test]
fn the_log_names_requests_by_the_id_of_their_task() {
    let service = Service::start(&[]);
    service.is_well();
    let (output, usage) = service.stop();
    let completed = output.logs_of("task completed");
    assert_eq!(completed[0]["message_id"], usage[0]["message_id"]);
}
