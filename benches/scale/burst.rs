//! A burst at an idle worker: in this process on a queue in memory, and in a process of its own on a real server of SQS.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wasmrun_benches::fauxqs::{Server, Sqs};
use wasmrun_benches::packages::Packages;
use wasmrun_benches::program::{Process, dir_store, free_address, get, until, wasmrun};
use wasmrun_benches::report::Report;
use wasmrun_benches::rounds::{Way, interleaved, median};
use wasmrun_benches::run::Size;
use wasmrun_benches::{guests, system, worker};
use wasmrun_runtime::ports::queue::Queue;
use wasmrun_runtime::worker::scaler::Goal;
use wasmrun_runtime::worker::{ScaleOptions, WorkerOptions};

const MOST: usize = 64;
/// What each task does, …
const WAIT: &str = "sleep 100";
/// … in seconds.
const WAIT_SECONDS: f64 = 0.1;
/// Short, so that scaling in is seen soon. The default is five minutes.
const SCALE_IN_DELAY: Duration = Duration::from_secs(2);
/// Tasks before the burst, for which the worker sets up what it needs once.
const FIRST: usize = 40;
/// What the allocator and the system do a moment after the last task isn't memory of an idle worker.
const REST: Duration = Duration::from_secs(2);

/// Seconds until all instances are allowed, until all is done, and from then until one instance is allowed.
type Times = [f64; 3];

/// Adds the medians of the rounds.
fn add(report: &mut Report, name: &'static str, (messages, most): (usize, usize), rounds: &[Times]) {
    let [to_most, to_empty, to_least] =
        [0, 1, 2].map(|which: usize| median(rounds.iter().map(|times| times[which])));
    let ideal = messages as f64 * WAIT_SECONDS / most as f64;
    let row = |what: String, seconds: Value| json!({"what": what, "seconds": seconds});
    let rows = vec![
        row(format!("until {most} instances are allowed"), to_most.into()),
        row(
            "until all is done".into(),
            format!("{to_empty:.2}: {:.2} times the ideal", to_empty / ideal).into(),
        ),
        row("ideally".into(), ideal.into()),
        row("from then until one is allowed".into(), to_least.into()),
    ];
    report.table(name, "| | seconds |", "what seconds:2", rows);
}

pub(crate) fn in_memory(report: &mut Report, runtime: &Runtime, size: Size) {
    // A quick burst on a busy machine needs fewer instances.
    let (rounds, messages, most) = size.pick((1, 100, 8), (3, 10_000, MOST));
    let instances = NonZeroUsize::new(most).expect("not zero");
    let component = runtime.block_on(guests::load("misbehave", instances));
    let scale = Some(ScaleOptions { min: 0, goal: Goal::AtOnce, scale_in_delay: SCALE_IN_DELAY });
    let options = WorkerOptions { scale, ..worker::fixed(instances) };
    let burst = |_| -> Times {
        let queue = worker::queue();
        let worker = runtime.block_on(worker::worker(queue.clone(), component.clone(), options.clone()));
        let stop = CancellationToken::new();
        let running = runtime.spawn(worker.clone().run(stop.clone(), CancellationToken::new()));
        let allowed = || worker.status().instances.allowed;
        assert_eq!(allowed(), 1, "it is idle");
        let began = Instant::now();
        runtime.block_on(worker::fill(&*queue, worker::message(WAIT), messages));
        until("scaling out", || allowed() == most);
        let to_most = began.elapsed();
        until("the burst", || runtime.block_on(queue.depth()).is_ok_and(|depth| depth.is_empty()));
        let to_empty = began.elapsed();
        let to_least = until("scaling in", || allowed() == 1);
        stop.cancel();
        runtime.block_on(running).expect("a worker's end");
        [to_most, to_empty, to_least].map(|time| time.as_secs_f64())
    };
    let found = interleaved("Burst", rounds, vec![Way::new("in memory", burst)]);
    add(report, "burst-in-memory", (messages, most), &found[0].rounds);
}

pub(crate) fn on_sqs(report: &mut Report, runtime: &Runtime, packages: &Packages, size: Size) {
    let (rounds, messages) = size.pick((1, 400), (3, 10_000));
    let server = Server::start(packages);
    let sqs = Sqs::at(&server.endpoint);
    let burst = |round| burst_on_sqs(runtime, &server, &sqs, round, messages);
    let found = interleaved("Burst on SQS", rounds, vec![Way::new("on SQS", burst)]);
    let times: Vec<Times> = found[0].rounds.iter().map(|(times, _)| *times).collect();
    add(report, "burst-on-sqs", (messages, MOST), &times);
    let memory = |which: usize| found[0].median(|(_, memory)| memory[which]);
    let ratio = found[0].median(|(_, memory)| memory[1] / memory[0]);
    report.data("memory", json!({"before": memory(0), "after": memory(1), "after_to_before": ratio}));
    let mib = f64::from(1 << 20);
    report.text(
        "memory",
        format!(
            "Resident memory of the idle worker: {:.1} MiB before, {:.1} MiB once it was idle again ({:+.0} %).",
            memory(0) / mib,
            memory(1) / mib,
            (ratio - 1.0) * 100.0
        ),
    );
}

/// Also returns the resident memory of the idle worker before and after, in bytes.
fn burst_on_sqs(
    runtime: &Runtime,
    server: &Server,
    sqs: &Sqs,
    round: usize,
    messages: usize,
) -> (Times, [f64; 2]) {
    let url = runtime.block_on(sqs.filled(&format!("burst-{round}"), "", 0));
    // The guest wants a queue and a store to be granted, which it doesn't use here.
    let next = runtime.block_on(sqs.filled("next", "", 0));
    let store = tempfile::tempdir().expect("a directory");
    let address = free_address();
    let mut command = wasmrun();
    command
        .arg("run")
        .arg(guests::path("misbehave"))
        .args(["--queue", &url, "--instances", &format!("0..{MOST}"), "--scale-in-delay", "2s"])
        .args(["--send", &format!("next={next}"), "--store", &dir_store("input", store.path(), "ro")])
        .args(["--on", "rejected=drop", "--log", "error", "--status", &address.port().to_string()]);
    let worker = Process::start(server.in_environment(&mut command));
    let is = |tasks: usize, allowed: usize| {
        let status = status(address).unwrap_or_default();
        status["tasks"] == tasks && status["instances"]["allowed"] == allowed
    };
    let resident = || system::memory_of(worker.pid(), "Rss:").expect("a running worker") as f64;
    until("its start", || is(0, 1));
    runtime.block_on(sqs.fill(&url, "sleep 1", FIRST));
    until("its first tasks", || is(FIRST, 1));
    std::thread::sleep(REST);
    let before = resident();

    let began = Instant::now();
    // Tasks start while messages still arrive.
    let (to_most, to_empty) = std::thread::scope(|scope| {
        scope.spawn(|| runtime.block_on(sqs.fill(&url, WAIT, messages)));
        until("scaling out", || status(address).is_some_and(|status| status["instances"]["allowed"] == MOST));
        let to_most = began.elapsed();
        until("the burst", || status(address).is_some_and(|status| status["tasks"] == FIRST + messages));
        (to_most, began.elapsed())
    });
    let to_least = until("scaling in", || is(FIRST + messages, 1));
    std::thread::sleep(REST);
    assert!(runtime.block_on(sqs.is_empty(&url)), "nothing is left");
    ([to_most, to_empty, to_least].map(|time| time.as_secs_f64()), [before, resident()])
}

/// The status that a worker tells. `None`: it doesn't listen yet.
fn status(address: SocketAddr) -> Option<Value> {
    serde_json::from_str(&get(address, "/status")?).ok()
}
