//! The best of some fixed concurrency limits, and the limit that the scaler finds.

use crate::shared::{Running, guests, worker};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use wasmrun_benches::{Found, Report, Way, cores, interleaved};
use wasmrun_runtime::engine::capacity::{Host, HostMemory, capacity};
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::task::grant::Grants;

/// What tasks do.
pub(crate) struct Workload {
    /// The part of the page with the table, and the part with the ratio.
    parts: [&'static str; 2],
    guest: &'static str,
    /// The body of each message; `None`: it announces the photograph.
    body: Option<&'static str>,
    /// The lowest fixed limit: lower ones are worse in proportion.
    least: usize,
    /// Seconds of work with each limit.
    seconds: f64,
    /// Number of messages: more than are worked off in that time, of `most` instances or of all cores.
    messages: fn(most: usize) -> usize,
}

pub(crate) const WORKLOADS: [Workload; 2] = [
    Workload {
        parts: ["compute", "compute-ratio"],
        guest: "thumbnail",
        body: None,
        least: 1,
        seconds: 4.0,
        messages: |most| (most * 60).max(2_000 * cores()),
    },
    Workload {
        parts: ["wait", "wait-ratio"],
        guest: "misbehave",
        body: Some("sleep 200"),
        least: 8,
        seconds: 10.0,
        messages: |most| most * 60,
    },
];
const PHOTOGRAPH: &str = "chelsea.png";
/// The limit of `auto`, unless the host bears less.
const AUTO: NonZeroUsize = NonZeroUsize::new(1000).expect("not zero");

pub(crate) fn measure(report: &mut Report, runtime: &Runtime, workload: &Workload) {
    let host = Host { memory: HostMemory::find(), ..Host::default() };
    let most = capacity(AUTO, &Limits::default(), &host, 0).expect("some fit").instances;
    let (grants, body) = match workload.body {
        Some(body) => (Grants::default(), body.to_owned()),
        None => guests::thumbnail(guests::photograph(PHOTOGRAPH)),
    };
    let options = LoadOptions { grants, ..guests::options(workload.guest, most) };
    let component = runtime.block_on(guests::load(options));
    let work = Work {
        component,
        body,
        messages: report.size.pick(200, (workload.messages)(most.get())),
        time: Duration::from_secs_f64(report.size.pick(0.3, workload.seconds)),
        most,
    };

    let fixed = [1, 2, 3, 4, 6, 8, 16, 32, most.get()];
    let fixed = fixed.into_iter().filter(|limit| (workload.least..=most.get()).contains(limit));
    let ways = fixed.map(Some).chain([None]).map(|limit| {
        let work = &work;
        let name = limit.map_or_else(|| "auto".into(), |limit| limit.to_string());
        Way::new(name, move |_| work.off(runtime, limit))
    });
    let title = format!("Sweep, {}", workload.parts[0]);
    let found = interleaved(&title, report.size.pick(1, 7), ways);

    let rate = |way: &Found| way.median("tasks_per_second");
    let row = |way: &Found| {
        let allowed = way.median("allowed");
        let what = if way.name == "auto" { format!("auto: {allowed} in the end") } else { way.name.clone() };
        json!({"instances": what, "tasks_per_second": rate(way), "allowed": allowed})
    };
    let columns = "instances = instances | tasks a second = tasks_per_second:1";
    report.table(workload.parts[0], columns, found.iter().map(row));
    let (auto, fixed) = found.split_last().expect("auto");
    let best = fixed.iter().max_by(|a, b| rate(a).total_cmp(&rate(b))).unwrap_or(auto);
    let (medians, rounds) = (rate(auto) / rate(best), auto.ratio(best, "tasks_per_second"));
    report.data(&format!("{}_to_best", workload.parts[0]), json!({"medians": medians, "rounds": rounds}));
    report.text(
        workload.parts[1],
        format!(
            "`auto` does {:.0} % of what the best fixed limit does (the ratio of the medians; the median of the rounds' ratios is {:.0} %).",
            medians * 100.0,
            rounds * 100.0
        ),
    );
}

struct Work {
    component: Arc<Component>,
    body: String,
    messages: usize,
    time: Duration,
    most: NonZeroUsize,
}

impl Work {
    /// Tasks a second, and the limit in the end.
    fn off(&self, runtime: &Runtime, limit: Option<usize>) -> Value {
        let queue = worker::queue();
        runtime.block_on(worker::fill(&*queue, worker::message(&self.body), self.messages));
        let options = match limit.and_then(NonZeroUsize::new) {
            Some(limit) => worker::fixed(limit),
            None => worker::auto(self.most),
        };
        let worker = runtime.block_on(worker::worker(queue.clone(), self.component.clone(), options));
        let running = Running::start(runtime, worker);
        std::thread::sleep(self.time);
        let summary = running.worker.tally().summary();
        let allowed = running.worker.status().instances.allowed;
        runtime.block_on(running.end());
        assert!(!queue.visible().is_empty(), "it had enough to do");
        let tasks_per_second = summary.tasks as f64 / summary.elapsed.as_secs_f64();
        json!({"tasks_per_second": tasks_per_second, "allowed": allowed})
    }
}
