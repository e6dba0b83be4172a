//! The best of some fixed concurrency limits, and the limit that the scaler finds.

use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wasmrun_benches::report::Report;
use wasmrun_benches::rounds::{Way, interleaved};
use wasmrun_benches::run::Size;
use wasmrun_benches::system::cores;
use wasmrun_benches::{guests, worker};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::capacity::{Host, HostMemory, capacity};
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::task::component::Component;
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

pub(crate) fn measure(report: &mut Report, runtime: &Runtime, workload: &Workload, size: Size) {
    let limits = Limits::default();
    let host = Host { memory: HostMemory::find(), ..Host::default() };
    let most = capacity(AUTO, &limits, &host, 0).expect("some fit").instances;
    let (grants, body) = match workload.body {
        Some(body) => (Grants::default(), body.to_owned()),
        None => guests::thumbnail(guests::photograph(PHOTOGRAPH)),
    };
    let component = guests::load_with(workload.guest, Allocator::Pooling, most, grants, limits);
    let component = runtime.block_on(component);
    let work = Work {
        component,
        body,
        messages: size.pick(200, (workload.messages)(most.get())),
        time: Duration::from_secs_f64(size.pick(0.3, workload.seconds)),
        most,
    };

    let fixed = [1, 2, 3, 4, 6, 8, 16, 32, most.get()];
    let fixed = fixed.into_iter().filter(|limit| (workload.least..=most.get()).contains(limit));
    let limits: Vec<Option<usize>> = fixed.map(Some).chain([None]).collect();
    let way = |limit: &Option<usize>| {
        let (limit, work) = (*limit, &work);
        let name = limit.map_or_else(|| "auto".into(), |limit| limit.to_string());
        Way::new(name, move |_| runtime.block_on(work.off(limit)))
    };
    let title = format!("Sweep, {}", workload.parts[0]);
    let found = interleaved(&title, size.pick(1, 7), limits.iter().map(way).collect());

    let rate = |(rate, _): &(f64, usize)| *rate;
    let rates: Vec<f64> = found.iter().map(|way| way.median(rate)).collect();
    let row = |index: usize| -> Value {
        let allowed = found[index].median(|(_, allowed)| *allowed as f64);
        let name = &found[index].name;
        let what = if name == "auto" { format!("auto: {allowed} in the end") } else { name.clone() };
        json!({"instances": what, "tasks_per_second": rates[index], "allowed": allowed})
    };
    let rows = (0..found.len()).map(row).collect();
    let headings = "| instances | tasks a second |";
    let fields = "instances tasks_per_second:1";
    report.table(workload.parts[0], headings, fields, rows);
    let auto = found.len() - 1;
    let best = (0..auto).max_by(|a, b| rates[*a].total_cmp(&rates[*b])).unwrap_or(0);
    let (medians, rounds) = (rates[auto] / rates[best], found[auto].ratio(&found[best], rate));
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
    async fn off(&self, limit: Option<usize>) -> (f64, usize) {
        let queue = worker::queue();
        worker::fill(&*queue, worker::message(&self.body), self.messages).await;
        let options = match limit.and_then(NonZeroUsize::new) {
            Some(limit) => worker::fixed(limit),
            None => worker::auto(self.most),
        };
        let worker = worker::worker(queue.clone(), self.component.clone(), options).await;
        let stop = CancellationToken::new();
        // It doesn't wait for tasks when it stops.
        let running = tokio::spawn(worker.clone().run(stop.clone(), stop.clone()));
        tokio::time::sleep(self.time).await;
        let (summary, allowed) = (worker.tally().summary(), worker.status().instances.allowed);
        stop.cancel();
        running.await.expect("a worker's end");
        assert!(!queue.visible().is_empty(), "it had enough to do");
        (summary.tasks as f64 / summary.elapsed.as_secs_f64(), allowed)
    }
}
