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

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod trace;
mod worker;

use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use tokio::runtime::Runtime;
use wasmrun_benches::fauxqs::{Server, Sqs};
use wasmrun_benches::guests;
use wasmrun_benches::packages::Packages;
use wasmrun_benches::program::wasmrun;
use wasmrun_benches::report::Report;
use wasmrun_benches::run::{self, Only, Size};
use wasmrun_benches::system::{cores, output};

/// What tasks do, on which queue.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    title: &'static str,
    /// The kind of the queue, as `wasmrun simulate` names it.
    queue: &'static str,
    work: worker::Work,
}

const CASES: [Case; 4] = [
    Case {
        name: "sqlite-waiting",
        title: "`sqlite:`, tasks that wait",
        queue: "sqlite",
        work: worker::Work::Waiting,
    },
    Case {
        name: "sqlite-thumbnails",
        title: "`sqlite:`, thumbnails",
        queue: "sqlite",
        work: worker::Work::Thumbnails,
    },
    Case { name: "sqs-waiting", title: "SQS, tasks that wait", queue: "sqs", work: worker::Work::Waiting },
    Case { name: "sqs-thumbnails", title: "SQS, thumbnails", queue: "sqs", work: worker::Work::Thumbnails },
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

fn main() {
    if let Some(arguments) = run::child_arguments(worker::WORKER) {
        return Runtime::new().expect("threads").block_on(worker::work(&arguments));
    }
    let Some(size) = run::size("simulate") else { return };
    let only = Only::given();
    let minutes = run::option("--minutes").map(|minutes| minutes.parse().expect("a number of minutes"));
    let minutes = size.pick(0.05, minutes.unwrap_or(MINUTES));
    let server = Packages::find().map(|packages| Server::start(&packages));
    let mut report = Report::new("simulate", size, "");
    let mut rows = Vec::new();
    for case in CASES.into_iter().filter(|case| only.wants(case.name)) {
        match &server {
            None if case.queue == "sqs" => {
                println!("Skipped: fauxqs isn't installed (cargo xtask bench simulate installs it).");
            }
            server => rows.extend(compare(case, server.as_ref(), minutes)),
        }
    }
    let headings = "| | | worker | simulator | difference |";
    let fields = "what figure worker:1 simulator:1 ratio:percent";
    let is_whole = rows.len() == CASES.len() * (FIGURES.len() + 1) && minutes == MINUTES;
    report.table("figures", headings, fields, rows);
    if size == Size::Quick || is_whole {
        report.write();
    }
}

/// The figures of the worker and of the simulator: a row each, and one with the time of a call, which the simulator is told.
fn compare(case: Case, server: Option<&Server>, minutes: f64) -> Vec<Value> {
    let folder = guests::target().join("simulate").join(format!("{}-{minutes}", case.name));
    if !std::env::args().any(|argument| argument == "--recorded") {
        eprintln!("{}: {minutes} minutes …", case.name);
        let figures = record(case, server, minutes, &folder);
        std::fs::write(folder.join("worker.json"), figures).expect("a file");
    }
    let real = std::fs::read(folder.join("worker.json")).expect("a recorded run");
    let real: Value = serde_json::from_slice(&real).expect("JSON");
    let number = |found: &Value, field: &str| found[field].as_f64().expect("a number");
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
    let mut command = run::child(worker::WORKER);
    let url = match (case.queue, server) {
        ("sqs", Some(server)) => {
            server.in_environment(&mut command);
            let runtime = Runtime::new().expect("threads");
            runtime.block_on(Sqs::at(&server.endpoint).filled(case.name, "", 0))
        }
        _ => format!("sqlite:{}", folder.join("queue.db").display()),
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
    let number = |pointer: &str| found.pointer(pointer).and_then(Value::as_f64).expect("a number");
    json!({
        "messages_per_second": number("/completed") / number("/simulated_seconds"),
        "p50_ms": number("/latency/p50") * 1e3,
        "p95_ms": number("/latency/p95") * 1e3,
        "max_ms": number("/latency/max") * 1e3,
        "concurrency_seconds": number("/task_seconds"),
    })
}
