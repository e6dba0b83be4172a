//! The page of the metrics, from what a worker answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    help::Program,
    reference::{code, row},
};
use crate::{command::quiet, places::Places};

const HEAD: &str = "\
# Metrics

What a worker with `--status` answers to `/metrics`, in Prometheus' text format or in that of OpenMetrics. [Monitor
workers](../guides/monitoring.md) says how to ask it, and [Dashboard and alerts](../guides/alerts.md) use it. Labels are
words of wasmrun's own, names of your queue, component and routes, and the aliases of your grants, so that no guest can
make more of them. In OpenMetrics, the histograms of times have exemplars: the last message of each bucket whose sender records its
trace, with the label `trace_id`.

| metric | type | labels | meaning |
|---|---|---|---|
";

/// Labels whose values depend on the worker.
const OF_THE_WORKER: [&str; 6] = ["store", "queue", "component", "route", "version", "le"];
/// A worker starts in a second, and asks its queue within a few more.
const PATIENCE: Duration = Duration::from_secs(20);
/// What some metrics need until they appear, also on a busy machine: the queue is asked from time to time.
const WATCHED: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(100);

/// A metric as the worker describes it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    help: String,
    /// The values of each label.
    labels: BTreeMap<String, BTreeSet<String>>,
}

/// The page, once `finished` says so of it, or the worker was watched for long enough.
pub(super) fn page(
    places: &Places,
    program: &Program,
    finished: impl Fn(String) -> (bool, String),
) -> Result<String> {
    let component = places.guests().join("thumbnail.wasm");
    let component = component.to_str().context("the target folder's name is no text")?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    for folder in ["in", "out"] {
        fs::create_dir(program.folder().join(folder))?;
    }
    // Some metrics appear with the first message.
    for arguments in [
        ["queue", "create", "sqlite:next.db"].as_slice(),
        &["enqueue", "--queue", "sqlite:jobs.db", "--message", "this announces no object"],
    ] {
        quiet(&mut program.command(arguments))?;
    }
    // Others need a route.
    let route = "[[route]]\nname = 'example'\nmatch.group = 'example'\n";
    fs::write(program.folder().join("routes.toml"), route)?;
    let mut worker = program.command(&["run", component, "--queue", "sqlite:jobs.db", "--status", &port]);
    // And one several queues.
    worker.args(["--queue", "sqlite:slow.db"]);
    worker.args([
        "--store",
        "input=dir:in:ro",
        "--store",
        "output=dir:out:rw",
        "--send",
        "next=sqlite:next.db",
    ]);
    worker
        .args(["--cache", "cache", "--config", "routes.toml"])
        .stdout(Stdio::null())
        .stderr(fs::File::create(program.folder().join("log"))?);
    let worker = Worker(worker.spawn().context("cannot run the program")?);
    let page = watch(&port, finished);
    drop(worker);
    page
}

/// A worker that is ended with this.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watch(port: &str, finished: impl Fn(String) -> (bool, String)) -> Result<String> {
    let start = Instant::now();
    let mut answered = None;
    let mut metrics = BTreeMap::new();
    loop {
        if let Some(text) = ask(port) {
            answered.get_or_insert_with(Instant::now);
            read(&text, &mut metrics);
            let (is_finished, text) = finished(written(&metrics));
            if is_finished || answered.is_some_and(|since| since.elapsed() > WATCHED) {
                return Ok(text);
            }
        } else if start.elapsed() > PATIENCE {
            bail!("the worker does not answer on port {port}; its log is in target/docs/log");
        }
        thread::sleep(INTERVAL);
    }
}

/// What `/metrics` answers, if there is an answer yet.
fn ask(port: &str) -> Option<String> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// Reads Prometheus' text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
fn read(text: &str, metrics: &mut BTreeMap<String, Metric>) {
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            metrics.entry(name.into()).or_default().help = help.into();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            metrics.entry(name.into()).or_default().kind = kind.into();
        } else if let Some((name, rest)) = line.split_once('{') {
            // The samples of a histogram have names of their own, and no label but `le`.
            let Some(metric) = metrics.get_mut(name) else { continue };
            let labels = rest.rsplit_once('}').map(|(labels, _)| labels).unwrap_or_default();
            for (label, value) in labels.split("\",").filter_map(|label| label.split_once("=\"")) {
                let values = metric.labels.entry(label.into()).or_default();
                values.insert(value.trim_end_matches('"').into());
            }
        }
    }
}

fn written(metrics: &BTreeMap<String, Metric>) -> String {
    let mut page = HEAD.to_owned();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, metric) in metrics {
        let labels: Vec<String> = metric.labels.keys().map(|label| code(label)).collect();
        page += &row(&[code(name), metric.kind.clone(), labels.join(", "), metric.help.replace('|', "\\|")]);
        for (label, found) in &metric.labels {
            values.entry(label).or_default().extend(found.iter().map(String::as_str));
        }
    }
    page += "\n## Labels\n\n| label | values |\n|---|---|\n";
    for (label, values) in values.iter().filter(|(label, _)| !OF_THE_WORKER.contains(label)) {
        let values: Vec<String> = values.iter().map(|value| code(value)).collect();
        page += &row(&[code(label), values.join(", ")]);
    }
    page += "\n`store` and `queue` are aliases of grants. In `wasmrun_queue_info` and `wasmrun_queue_failing`, `queue` is the name of the queue:\nthe last part of its URL, such as `uploads` or `jobs.db`. Where a worker's queues have the same name, as much of the URL\ncomes before it as tells them apart, such as `a/jobs.db` and `b/jobs.db`. It is the same in the dimension of EMF.\n`component` is made of the places of the components in the same way.\n`route` is the name of a [route](../guides/routes.md), or `-`. Without routes, there are no metrics of them.\n";
    page
}

#[cfg(test)]
mod tests {
    use super::{read, written};
    use std::collections::BTreeMap;

    #[test]
    fn a_metric_is_read_with_the_values_of_its_labels() {
        let text = "# HELP tasks_total Tasks.\n# TYPE tasks_total counter\ntasks_total{outcome=\"completed\"} 1\n\
                    tasks_total{outcome=\"retry\"} 0\n# HELP ready Says so.\n# TYPE ready gauge\nready 1\n";
        let mut metrics = BTreeMap::new();
        read(text, &mut metrics);
        let page = written(&metrics);
        assert!(page.contains("| `tasks_total` | counter | `outcome` | Tasks. |\n"), "{page}");
        assert!(page.contains("| `ready` | gauge |  | Says so. |\n"), "{page}");
        assert!(page.contains("| `outcome` | `completed`, `retry` |\n"), "{page}");
    }
}
