//! What `deploy` has for Prometheus and Grafana: rules and a dashboard, whose metrics a real worker has, and which the
//! real Prometheus takes.

use crate::docs::examples::document::section;
use crate::harness::{
    Process, World, exchange, field, free_port, get, installed, installed_below, repository, wait_for_tasks,
    wait_until,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// Labels that Prometheus adds to each metric of a target.
const OF_TARGETS: [&str; 3] = ["namespace", "job", "instance"];

/// A tool that `cargo xtask test` installs, below its folder.
fn tool(path: &str) -> Option<PathBuf> {
    installed_below(path, "WASMRUN_MONITORING_TOOLS", path)
}

/// The folder with the packages of Node.
fn node_folder() -> Option<PathBuf> {
    let package = tool("node/node_modules/@prometheus-io/lezer-promql/package.json")?;
    package.ancestors().nth(4).map(Path::to_owned)
}

fn own(name: &str) -> PathBuf {
    repository().join("tests/it/deploy/monitoring").join(name)
}

fn deployed(name: &str) -> PathBuf {
    repository().join("deploy").join(name)
}

/// What the rules and the dashboard ask Prometheus.
fn expressions(world: &World) -> Option<Value> {
    let script = world.program(Path::new("node")).arg(own("expressions.mjs"));
    Some(script.arg(node_folder()?).arg(deployed("")).succeeds().json())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// A worker with two queues and a grant of each kind, that has run tasks, among them one whose message has a trace.
fn worker(world: &World) -> (Process, SocketAddr) {
    let worker = world
        .run("misbehave")
        .args(["--queue", "sqlite:urgent.db;strict", "--keyvalue", "seen=sqlite:seen.db:rw"])
        .args(["--allow-http", "127.0.0.1:9"])
        .args(["--status", "0", "--fuel", "100000000"])
        .start();
    let address = worker.listens_on();
    (worker, address)
}

/// Sends messages and waits for their tasks: `before` have ended before.
fn work(world: &World, address: SocketAddr, before: u64) -> u64 {
    world.write("in/there", "hello");
    let traceparent = format!("traceparent=00-{TRACE}-b7ad6b7169203331-01");
    world.send_with(&["--attribute", &traceparent], ["ok"]);
    world.send(["get there", "put key value", "send 2", "loop", "reject never"]);
    wait_for_tasks(address, before + 6);
    before + 6
}

/// The samples of a worker, read by a parser of OpenMetrics.
fn samples(world: &World, address: SocketAddr) -> Option<Vec<Value>> {
    let python = tool("python/bin/python")?;
    let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\naccept: application/openmetrics-text\r\n\r\n";
    let answer = String::from_utf8(exchange(address, request.as_bytes()).expect("an answer")).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    let parsed = world.program(&python).arg(own("samples.py")).input(body).succeeds().json();
    Some(parsed.as_array().expect("a list").clone())
}

#[test]
fn openmetrics_of_a_worker_has_the_same_samples_and_the_trace_of_a_message() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let (worker, address) = worker(&world);
    work(&world, address, 0);
    let Some(samples) = samples(&world, address) else { return };
    let exemplars: Vec<_> = samples.iter().filter(|sample| !sample["exemplar"].is_null()).collect();
    let names: BTreeSet<_> = exemplars.iter().map(|sample| field(sample, "name")).collect();
    assert!(names.contains("wasmrun_task_duration_seconds_bucket"), "{names:?}");
    assert!(names.contains("wasmrun_task_queued_seconds_bucket"), "{names:?}");
    for sample in exemplars {
        assert_eq!(sample["exemplar"]["labels"], json!({"trace_id": TRACE}), "{sample}");
    }
    // The older format, which a client gets that doesn't ask, has the same names and no exemplar.
    let older = get(address, "/metrics");
    assert!(older.content_type.starts_with("text/plain; version=0.0.4"), "{}", older.content_type);
    assert!(!older.body.contains(TRACE));
    let old = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    let old: BTreeSet<_> = older.body.lines().filter(|line| !line.starts_with('#')).map(old).collect();
    let new: BTreeSet<_> = samples.iter().map(|sample| field(sample, "name").to_owned()).collect();
    assert_eq!(new, old);
    worker.stop();
}

/// The labels of each metric of a worker, with their values.
type Known = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn known(samples: &[Value]) -> Known {
    let mut known = Known::new();
    for sample in samples {
        let labels = known.entry(field(sample, "name").into()).or_default();
        for (label, value) in sample["labels"].as_object().expect("labels") {
            labels.entry(label.clone()).or_default().insert(value.as_str().expect("text").into());
        }
    }
    known
}

/// What an expression uses and a worker hasn't.
fn unknown(asked: &Value, known: &Known) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut available: BTreeSet<&str> = OF_TARGETS.into();
    for selector in list(asked, "selectors") {
        let metric = field(selector, "metric");
        let Some(labels) = known.get(metric) else {
            wrong.push(format!("the metric {metric}"));
            continue;
        };
        available.extend(labels.keys().map(String::as_str));
        for matcher in list(selector, "matchers") {
            let (label, value) = (field(matcher, "label"), field(matcher, "value"));
            match labels.get(label) {
                // A pattern is a list of words.
                Some(values) => wrong.extend(
                    value
                        .split('|')
                        .filter(|word| *word != ".*" && !values.contains(*word))
                        .map(|word| format!("{metric}{{{label}=\"{word}\"}}")),
                ),
                None if OF_TARGETS.contains(&label) => {}
                None => wrong.push(format!("the label {label} of {metric}")),
            }
        }
    }
    let grouped = list(asked, "labels").iter().filter_map(Value::as_str);
    wrong
        .extend(grouped.filter(|label| !available.contains(label)).map(|label| format!("the label {label}")));
    wrong
}

#[test]
fn each_metric_and_label_that_rules_and_dashboard_name_is_one_of_a_worker() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let Some(asked) = expressions(&world) else { return };
    let (worker, address) = worker(&world);
    work(&world, address, 0);
    // The depth of the queue is asked for from time to time.
    wait_until("the depth is known", || get(address, "/metrics").body.contains("wasmrun_queue_messages{"));
    let Some(samples) = samples(&world, address) else { return };
    worker.stop();
    let mut known = known(&samples);
    let mut wrong = Vec::new();
    for rule in list(&asked, "rules") {
        wrong.extend(
            unknown(rule, &known).into_iter().map(|what| format!("{}: {what}", field(rule, "where"))),
        );
        if let Some(name) = rule["record"].as_str() {
            // A rule that is recorded has the labels by which it groups, and the values that these have.
            let of_rule =
                list(rule, "selectors").iter().filter_map(|selector| known.get(field(selector, "metric")));
            let labels: Vec<_> = of_rule.flat_map(|labels| labels.clone()).collect();
            let grouped = list(rule, "labels").iter().filter_map(Value::as_str);
            let labels = grouped.map(|label| {
                let values =
                    labels.iter().filter(|(name, _)| name == label).flat_map(|(_, values)| values.clone());
                (label.to_owned(), values.collect())
            });
            let labels = labels.collect();
            known.insert(name.into(), labels);
        }
    }
    for asked in list(&asked, "panels").iter().chain(list(&asked, "variables")) {
        wrong.extend(
            unknown(asked, &known).into_iter().map(|what| format!("{}: {what}", field(asked, "where"))),
        );
    }
    assert!(wrong.is_empty(), "no worker has:\n{}", wrong.join("\n"));
    // Wrong names are found.
    let invented = json!({
        "selectors": [
            {"metric": "wasmrun_tasks_total", "matchers": [{"label": "outcome", "value": "completed|lost"}]},
            {"metric": "wasmrun_ready", "matchers": [{"label": "colour", "value": "red"}]},
            {"metric": "wasmrun_nothing", "matchers": []},
        ],
        "labels": ["job", "outcome", "shape"],
    });
    assert_eq!(unknown(&invented, &known).len(), 4);
}

#[test]
fn each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not_and_a_section_of_the_book() {
    let world = World::new();
    if let Some(promtool) = installed("promtool", "WASMRUN_PROMTOOL") {
        let prometheus = deployed("prometheus");
        for (command, file) in [("check", "rules.yaml"), ("test", "rules_test.yaml")] {
            world.program(&promtool).args([command, "rules"]).arg(prometheus.join(file)).succeeds();
        }
        // A rule that never fires fails its case.
        let rules = fs::read_to_string(prometheus.join("rules.yaml")).expect("the rules");
        world.write("rules.yaml", rules.replace("> 900", "> 9000"));
        world.write("rules_test.yaml", fs::read(prometheus.join("rules_test.yaml")).expect("the cases"));
        let output =
            world.program(&promtool).args(["test", "rules", "rules_test.yaml"]).ends().exited_with(1);
        assert!(output.stderr.concat().contains("WasmrunBacklogOld"), "{output}");
    }
    let Some(asked) = expressions(&world) else { return };
    let book = fs::read_to_string(repository().join("docs/src/guides/alerts.md")).expect("the page");
    let alerts: Vec<_> = list(&asked, "rules").iter().filter(|rule| rule["alert"].is_string()).collect();
    assert_eq!(alerts.len(), book.matches("\n## Wasmrun").count());
    for rule in alerts {
        let name = field(rule, "alert");
        let cases = list(&asked, "cases").iter().filter(|case| case["alert"] == name);
        let fires: BTreeSet<_> = cases.map(|case| case["fires"] == true).collect();
        assert_eq!(fires, [false, true].into(), "{name}: cases in which it fires or doesn't");
        assert!(["warning", "critical"].contains(&field(rule, "severity")), "{rule}");
        assert!(rule["for"].is_string(), "{rule}");
        let annotations = &rule["annotations"];
        for text in ["summary", "description"] {
            let text = field(annotations, text);
            assert!(text.contains("$labels.queue") || text.contains("$labels.job"), "{name}: {text}");
        }
        let anchor = format!("docs/src/guides/alerts.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook"], anchor);
        assert!(book.contains(&format!("\n## {name}\n")), "no section of {name}");
    }
}

#[test]
fn the_dashboard_is_one_by_grafanas_own_types_and_names_no_data_source() {
    let world = World::new();
    let Some(node) = node_folder() else { return };
    let text = fs::read_to_string(deployed("grafana/wasmrun.json")).expect("the dashboard");
    let check = |folder: &str, text: &str| {
        let work = world.path(folder);
        fs::create_dir(&work).expect("a folder");
        world.program(Path::new("node")).arg(own("dashboard.mjs")).arg(&node).arg(work).input(text).ends()
    };
    let output = check("right", &text);
    assert!(output.status.success(), "{output}");
    let wrong = text.replacen("\"drawStyle\": \"line\"", "\"drawStyle\": \"lines\"", 1);
    let output = check("wrong", &wrong);
    assert!(!output.status.success() && output.stdout.concat().contains("lines"), "{output}");

    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    assert!(dashboard["uid"].is_null() && dashboard["id"].is_null());
    let sources = text.matches("\"uid\": ").count();
    assert!(sources > 60 && sources == text.matches("\"uid\": \"${datasource}\"").count());
    let names: Vec<_> =
        list(&dashboard["templating"], "list").iter().map(|variable| field(variable, "name")).collect();
    assert_eq!(names, ["datasource", "namespace", "job", "queue", "instance"]);
    let ids: BTreeSet<_> = list(&dashboard, "panels").iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), list(&dashboard, "panels").len());
}

/// A running Prometheus.
struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that asks this worker each second.
    fn start(world: &World, worker: SocketAddr) -> Option<Self> {
        let program = installed("prometheus", "WASMRUN_PROMETHEUS")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        // The configuration that the book shows.
        let section = section("docs/src/guides/alerts.md", "Set up");
        let rules = deployed("prometheus/rules.yaml").display().to_string();
        let shown = section.block("yaml");
        let config = shown.replace("127.0.0.1:9464", &worker.to_string());
        let config = config.replace("deploy/prometheus/rules.yaml", &rules);
        assert!(config.contains(&rules) && config.contains(&worker.to_string()), "{shown}");
        let interval = "global: {scrape_interval: 1s, evaluation_interval: 1s}";
        world.write("prometheus.yml", format!("{interval}\n{config}\n"));
        let process = world
            .program(&program)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--log.level=error"])
            .args(["--enable-feature=exemplar-storage", &format!("--web.listen-address={address}")])
            .start();
        Some(Self { process, address })
    }

    /// Asks its API. `None`: it doesn't answer yet.
    fn ask(&self, path: &str) -> Option<Value> {
        // With HTTP/1.0 it closes the connection after the answer.
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nhost: prometheus\r\n\r\n");
        let answer = String::from_utf8(exchange(self.address, request.as_bytes()).ok()?).expect("text");
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let answer: Value = serde_json::from_str(body).ok()?;
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        Some(answer["data"].clone())
    }

    /// Returns whether a query has a result.
    fn has(&self, expression: &str) -> bool {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let data = self.ask(&format!("query?query={query}"));
        data.is_some_and(|data| !list(&data, "result").is_empty())
    }
}

#[test]
fn prometheus_takes_a_worker_and_the_rules_and_each_panel_shows_something() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let Some(asked) = expressions(&world) else { return };
    let (worker, address) = worker(&world);
    let Some(prometheus) = Prometheus::start(&world, address) else { return };
    // Rates need a value from before.
    wait_until("the worker was scraped", || prometheus.has("wasmrun_queue_messages"));
    work(&world, address, 0);
    let recorded = list(&asked, "rules").iter().filter(|rule| rule["record"].is_string());
    let recorded = recorded.map(|rule| field(rule, "record"));
    // The guest sends no HTTP request and uses no key-value bucket.
    let shown = list(&asked, "panels").iter().map(|panel| field(panel, "expression"));
    let shown = shown.filter(|query| !query.contains("wasmrun_http") && !query.contains("wasmrun_bucket"));
    for query in
        recorded.chain(shown).chain(list(&asked, "variables").iter().map(|one| field(one, "expression")))
    {
        wait_until(query, || prometheus.has(query));
    }
    let dead_letters =
        r#"ALERTS{alertname="WasmrunDeadLetters", queue="jobs.db, urgent.db", severity="warning"}"#;
    wait_until("the dead letters are alerted", || prometheus.has(dead_letters));
    let rules = prometheus.ask("rules").expect("the rules");
    for rule in list(&rules, "groups").iter().flat_map(|group| list(group, "rules")) {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    let targets = prometheus.ask("targets").expect("the targets");
    assert_eq!(targets["activeTargets"][0]["lastError"], "", "{targets}");
    let exemplars = "query_exemplars?query=wasmrun_task_duration_seconds_bucket&start=0&end=99999999999";
    let exemplars = prometheus.ask(exemplars).expect("the exemplars").to_string();
    assert!(exemplars.contains(TRACE), "{exemplars}");
    prometheus.process.kill();
    worker.stop();
}
