//! A burst at an idle worker: in this process on a queue in memory, and in a process of its own on a real server of SQS.

use crate::shared::{
    Packages, Process, Running, Server, dir_store, free_address, get, guests, until, wasmrun, worker,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wasmrun_benches::{Found, Report, Way, interleaved, system, with};
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

/// Adds the medians of the rounds: seconds until all instances are allowed, until all is done, and from then until one
/// instance is allowed.
fn add(report: &mut Report, name: &'static str, (messages, most): (usize, usize), found: &Found) {
    let to_empty = found.median("to_empty");
    let ideal = messages as f64 * WAIT_SECONDS / most as f64;
    let done = format!("{to_empty:.2}: {:.2} times the ideal", to_empty / ideal);
    let rows = [
        json!({"what": format!("until {most} instances are allowed"), "seconds": found.median("to_most")}),
        json!({"what": "until all is done", "seconds": done}),
        json!({"what": "ideally", "seconds": ideal}),
        json!({"what": "from then until one is allowed", "seconds": found.median("to_least")}),
    ];
    report.table(name, "= what | seconds = seconds:2", rows);
}

fn times(to_most: Duration, to_empty: Duration, to_least: Duration) -> Value {
    let [to_most, to_empty, to_least] = [to_most, to_empty, to_least].map(|time| time.as_secs_f64());
    json!({"to_most": to_most, "to_empty": to_empty, "to_least": to_least})
}

pub(crate) fn in_memory(report: &mut Report, runtime: &Runtime) {
    // A quick burst on a busy machine needs fewer instances.
    let (rounds, messages, most) = report.size.pick((1, 100, 8), (3, 10_000, MOST));
    let instances = NonZeroUsize::new(most).expect("not zero");
    let component = runtime.block_on(guests::load(guests::options("misbehave", instances)));
    let scale = Some(ScaleOptions { min: 0, goal: Goal::AtOnce, scale_in_delay: SCALE_IN_DELAY });
    let options = WorkerOptions { scale, ..worker::fixed(instances) };
    let burst = |_| {
        let queue = worker::queue();
        let worker = runtime.block_on(worker::worker(queue.clone(), component.clone(), options.clone()));
        let running = Running::start(runtime, worker);
        let allowed = || running.worker.status().instances.allowed;
        assert_eq!(allowed(), 1, "it is idle");
        let began = Instant::now();
        runtime.block_on(worker::fill(&*queue, worker::message(WAIT), messages));
        until("scaling out", || allowed() == most);
        let to_most = began.elapsed();
        until("the burst", || runtime.block_on(queue.depth()).is_ok_and(|depth| depth.is_empty()));
        let to_empty = began.elapsed();
        let to_least = until("scaling in", || allowed() == 1);
        runtime.block_on(running.end());
        times(to_most, to_empty, to_least)
    };
    let found = interleaved("Burst", rounds, [Way::new("in memory", burst)]);
    add(report, "burst-in-memory", (messages, most), &found[0]);
}

pub(crate) fn on_sqs(report: &mut Report, packages: &Packages) {
    let (rounds, messages) = report.size.pick((1, 400), (3, 10_000));
    let server = Server::start(packages);
    let burst = |round| burst_on_sqs(&server, round, messages);
    let found = interleaved("Burst on SQS", rounds, [Way::new("on SQS", burst)]);
    add(report, "burst-on-sqs", (messages, MOST), &found[0]);
    let [before, after, ratio] = ["before", "after", "after_to_before"].map(|field| found[0].median(field));
    report.data("memory", json!({"before": before, "after": after, "after_to_before": ratio}));
    let mib = f64::from(1 << 20);
    report.text(
        "memory",
        format!(
            "Resident memory of the idle worker: {:.1} MiB before, {:.1} MiB once it was idle again ({:+.0} %).",
            before / mib,
            after / mib,
            (ratio - 1.0) * 100.0
        ),
    );
}

/// Also returns the resident memory of the idle worker before and after, in bytes.
fn burst_on_sqs(server: &Server, round: usize, messages: usize) -> Value {
    let url = server.queue(&format!("burst-{round}"));
    // The guest wants a queue and a store to be granted, which it doesn't use here.
    let next = server.queue("next");
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
    server.fill(&url, "sleep 1", FIRST);
    until("its first tasks", || is(FIRST, 1));
    std::thread::sleep(REST);
    let before = resident();

    let began = Instant::now();
    // Tasks start while messages still arrive.
    let (to_most, to_empty) = std::thread::scope(|scope| {
        scope.spawn(|| server.fill(&url, WAIT, messages));
        until("scaling out", || status(address).is_some_and(|status| status["instances"]["allowed"] == MOST));
        let to_most = began.elapsed();
        until("the burst", || status(address).is_some_and(|status| status["tasks"] == FIRST + messages));
        (to_most, began.elapsed())
    });
    let to_least = until("scaling in", || is(FIRST + messages, 1));
    std::thread::sleep(REST);
    assert!(server.is_empty(&url), "nothing is left");
    let after = resident();
    let memory = json!({"before": before, "after": after, "after_to_before": after / before});
    with(times(to_most, to_empty, to_least), memory)
}

/// The status that a worker tells. `None`: it doesn't listen yet.
fn status(address: SocketAddr) -> Option<Value> {
    serde_json::from_str(&get(address, "/status")?).ok()
}
