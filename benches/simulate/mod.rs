//! The simulator against a real worker on one trace: throughput, latency and concurrency of both.
//!
//!     cargo xtask bench simulate                           # 40 minutes; writes docs/src/benchmarks/simulate.md
//!     cargo xtask bench simulate -- --minutes 1            # each case for a minute
//!     cargo xtask bench simulate -- --only sqs-thumbnails
//!     cargo xtask bench simulate -- --recorded             # simulates again what an earlier run recorded
//!     cargo xtask bench simulate -- --quick                # seconds, to see that it works
//!
//! Each case is a process with a worker of `--instances 0..64`, and another connection to its queue that sends two waves
//! and two bursts. Each task is recorded as with `run --usage`, in a folder below the target folder. Then `wasmrun simulate`
//! is given the record.

mod trace;
pub(crate) mod worker;

use self::worker::Work;
use crate::shared::{Packages, Server, guests, sqlite, wasmrun};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use wasmrun_benches::{Arguments, Report, Size, child, cores, number, output};

/// What tasks do, on which queue.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    title: &'static str,
    /// The kind of the queue, as `wasmrun simulate` names it.
    queue: &'static str,
    work: Work,
}

const fn case(name: &'static str, title: &'static str, queue: &'static str, work: Work) -> Case {
    Case { name, title, queue, work }
}

const CASES: [Case; 4] = [
    case("sqlite-waiting", "`sqlite:`, tasks that wait", "sqlite", Work::Waiting),
    case("sqlite-thumbnails", "`sqlite:`, thumbnails", "sqlite", Work::Thumbnails),
    case("sqs-waiting", "SQS, tasks that wait", "sqs", Work::Waiting),
    case("sqs-thumbnails", "SQS, thumbnails", "sqs", Work::Thumbnails),
];
/// The figures that are compared, by the names of their fields.
const FIGURES: [(&str, &str); 5] = [
    ("messages_per_second", "messages a second"),
    ("p50_ms", "p50, ms"),
    ("p95_ms", "p95, ms"),
    ("max_ms", "longest, ms"),
    ("concurrency_seconds", "concurrency-seconds"),
];
/// Length of the whole trace.
const MINUTES: f64 = 10.0;

pub(crate) fn measure(arguments: &Arguments) {
    let minutes = arguments.option("--minutes").map(|minutes| minutes.parse().expect("a number of minutes"));
    let minutes = arguments.size.pick(0.05, minutes.unwrap_or(MINUTES));
    let server = Packages::find("simulate").map(|packages| Server::start(&packages));
    let cases = CASES.into_iter().filter(|case| case.queue != "sqs" || server.is_some());
    let cases = cases.filter(|case| arguments.wants(case.name));
    let recorded = arguments.given("--recorded");
    let rows: Vec<Value> = cases.flat_map(|case| compare(case, server.as_ref(), minutes, recorded)).collect();
    let mut report = Report::new("simulate", arguments, "");
    let columns = "= what | = figure | worker = worker:1 | simulator = simulator:1 \
        | difference = ratio:percent";
    let is_whole = rows.len() == CASES.len() * (FIGURES.len() + 1) && minutes == MINUTES;
    report.table("figures", columns, rows);
    if arguments.size == Size::Quick || is_whole {
        report.write();
    }
}

/// The figures of the worker and of the simulator: a row each, and one with the time of a call, which the simulator is told.
fn compare(case: Case, server: Option<&Server>, minutes: f64, recorded: bool) -> Vec<Value> {
    let folder = guests::target().join("simulate").join(format!("{}-{minutes}", case.name));
    if !recorded {
        eprintln!("{}: {minutes} minutes …", case.name);
        let figures = record(case, server, minutes, &folder);
        std::fs::write(folder.join("worker.json"), figures).expect("a file");
    }
    let real = std::fs::read(folder.join("worker.json")).expect("a recorded run");
    let real: Value = serde_json::from_slice(&real).expect("JSON");
    let call_ms = number(&real, "call_ms");
    let simulated = simulated(case, &folder.join(worker::USAGE), call_ms);
    let row = |(field, figure): (&str, &str)| {
        let [worker, simulator] = [&real, &simulated].map(|found| number(found, field));
        let ratio = simulator / worker;
        json!({"what": case.title, "figure": figure, "worker": worker, "simulator": simulator, "ratio": ratio})
    };
    let call = json!({"what": case.title, "figure": "time of a call, ms", "worker": call_ms});
    FIGURES.into_iter().map(row).chain([call]).collect()
}

/// Runs the worker, which writes the usage file into a new folder. Returns its figures.
fn record(case: Case, server: Option<&Server>, minutes: f64, folder: &Path) -> String {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("a directory");
    let mut command = child(worker::WORKER);
    let url = match (case.queue, server) {
        ("sqs", Some(server)) => {
            server.in_environment(&mut command);
            server.queue(case.name)
        }
        _ => sqlite(&folder.join("queue.db")),
    };
    command.args([&url, case.work.name(), &minutes.to_string()]).arg(folder).stderr(Stdio::inherit());
    output(&mut command).expect("a worker")
}

/// What `wasmrun simulate` says about the same trace and tasks.
fn simulated(case: Case, usage: &Path, call_ms: f64) -> Value {
    // A worker of Fargate has as many threads as vCPUs, and there are sizes of powers of two.
    let vcpu = 1usize << cores().ilog2().min(4);
    let mut command = wasmrun();
    command
        .args(["simulate", "--json", "--queue", case.queue, "--instances", worker::INSTANCES])
        .args(["--queue-latency", &format!("{:.0}us", call_ms * 1e3)])
        .args(["--size", &format!("{vcpu},{}", 2 * vcpu), "--usage"])
        .arg(usage);
    let found = output(&mut command).expect("a simulation");
    let found: Value = serde_json::from_str(&found).expect("JSON");
    json!({
        "messages_per_second": number(&found, "completed") / number(&found, "simulated_seconds"),
        "p50_ms": number(&found, "latency/p50") * 1e3,
        "p95_ms": number(&found, "latency/p95") * 1e3,
        "max_ms": number(&found, "latency/max") * 1e3,
        "concurrency_seconds": number(&found, "task_seconds"),
    })
}
