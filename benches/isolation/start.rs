//! A whole task in each way, from asking for it to its end.

use super::memory;
use super::native::{Program, succeed};
use super::running::{self, Settling};
use super::sandbox::Sandbox;
use super::ways::{MICROVM, Task, Way, each, timed};
use crate::shared::{Bare, Guards, Input, Memory, guests, worker};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use wasmrun_benches::{
    Dot, Found, Plot, Report, Samples, cost, interleaved, number, report::time, rounds, with,
};
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::threads;
use wasmrun_runtime::model::outcome::OutcomeKind;

/// The most tasks at once of the worker, whose limit the scaler sets.
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// How long it works before it is measured, so that it finds its limit.
const WARM_UP: Duration = Duration::from_millis(500);
/// What is promised: the most times the CPU time of the way below, or the fewest times that wasmrun's.
const PROMISED: [(Way, &str); 6] = [
    (Way::AlonePooling, "at most 1.5 (CPU)"),
    (Way::AloneKept, "–"),
    (Way::Process, "at least 10 (CPU)"),
    (Way::Bubblewrap, "–"),
    (Way::Runc, "at least 500 (CPU)"),
    (Way::Podman, "–"),
];

pub(crate) fn measure(report: &mut Report, program: &Program, sandboxes: &[Sandbox]) {
    let io = threads::start_io().expect("threads");
    let alone = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut cases = Vec::new();
    let mut ways = Vec::new();
    for way in Way::all() {
        let sandbox = sandboxes.iter().find(|sandbox| sandbox.way == way);
        if way.sandbox().is_some() && sandbox.is_none() {
            continue;
        }
        for task in Task::ALL {
            let count = count(way, task) / report.size.pick(10, 1);
            let mut cycles = cycles(way, task, program, sandbox, &io, &alone);
            ways.push(rounds::Way::new(way.name(), move |_| cycles(count.max(1))));
            cases.push((way, task));
        }
    }
    let found = interleaved("Whole tasks", report.size.pick(1, 10), ways);

    let mut rows: Vec<Value> = cases.iter().zip(&found).map(|((_, task), found)| row(*task, found)).collect();
    let columns = "= what | task = task | tasks = n:0 | median = p50_us:time | 95 % = p95_us:time \
        | 99 % = p99_us:time | mean = mean_us:time | CPU = cpu_us:time";
    report.plot("start", &plot(&rows));
    let of = |way: Way| rows.iter().find(|row| row["what"] == way.name() && row["task"] == "empty");
    let ratios = ratios(of);
    rows.push(json!({"what": MICROVM, "task": "boots", "p50_us": "≤ 125 ms"}));
    report.table("start", columns, rows);
    let columns = "an empty task = what | CPU = cpu | median = median | promised = promised";
    report.table("promised", columns, ratios);
}

/// Tasks in each round: a few seconds in all for each way and task.
fn count(way: Way, task: Task) -> usize {
    let (empty, hash) = match way {
        Way::Process => (200, 50),
        Way::Bubblewrap => (50, 20),
        Way::Runc | Way::Podman => (10, 5),
        _ => (1000, 100),
    };
    if task == Task::Empty { empty } else { hash }
}

/// Runs a number of tasks in this way, one after the other.
fn cycles<'a>(
    way: Way,
    task: Task,
    program: &'a Program,
    sandbox: Option<&'a Sandbox>,
    io: &'a Runtime,
    runtime: &'a Runtime,
) -> Box<dyn FnMut(usize) -> Value + 'a> {
    let alone = |memory| -> Box<dyn FnMut(usize) -> Value + 'a> {
        let bare = Bare::new(&guests::bytes(task.guest()), memory, Guards::BASIC);
        let input = Input { body: task.command().into(), object: None };
        Box::new(move |count| timed(count, || runtime.block_on(bare.run(&input))))
    };
    match way {
        Way::Function => Box::new(move |count| program.calls(task, count)),
        Way::AloneOnDemand => alone(Memory::OnDemand),
        Way::AlonePooling => alone(Memory::Pool(10)),
        Way::AloneKept => alone(Memory::KeptPool(10)),
        Way::WasmrunOnDemand => in_worker(task, Allocator::OnDemand, io),
        Way::Wasmrun => in_worker(task, Allocator::Pooling, io),
        Way::Process => Box::new(move |count| timed(count, || succeed(&mut program.command(task.command())))),
        Way::Bubblewrap | Way::Runc | Way::Podman => {
            let sandbox = sandbox.expect("a sandbox that works here");
            Box::new(move |count| {
                timed(count, || {
                    succeed(&mut sandbox.run(task.command()));
                    memory::reap_orphans();
                })
            })
        }
    }
}

/// In a worker. CPU time is measured on tasks that are sent all at once, as a worker that is worth its price is busy.
fn in_worker(task: Task, allocator: Allocator, io: &Runtime) -> Box<dyn FnMut(usize) -> Value + '_> {
    let component = running::load(io, task.guest(), allocator, MOST);
    let running = Settling::start(io, component, worker::auto(MOST));
    let body = task.command();
    let began = Instant::now();
    while began.elapsed() < WARM_UP {
        io.block_on(running.process(body, MOST.get() * 8));
    }
    // A thousand empty tasks would end before the scaler has found the limit.
    let times = if task == Task::Empty { 10 } else { 1 };
    Box::new(move |count| {
        let each = io.block_on(async {
            let mut each = Vec::with_capacity(count);
            for _ in 0..count {
                each.push(running.cycle(body).await);
            }
            each
        });
        let cost = cost(times * count, || io.block_on(running.process(body, times * count)));
        let summary = running.summary();
        assert_eq!(summary.outcome(OutcomeKind::Completed), summary.tasks);
        with(cost, json!({"each_us": each}))
    })
}

fn row(task: Task, found: &Found) -> Value {
    let samples: Samples = found.rounds.iter().flat_map(each).collect();
    let more = json!({"what": found.name, "task": task.command(), "cpu_us": found.median("cpu_us")});
    with(samples.figures("us"), more)
}

/// wasmrun compared with other ways.
fn ratios<'a>(of: impl Fn(Way) -> Option<&'a Value>) -> Vec<Value> {
    let Some(wasmrun) = of(Way::Wasmrun) else { return Vec::new() };
    let row = |(way, promised): (Way, &str)| {
        let other = of(way)?;
        let is_base = matches!(way, Way::AlonePooling | Way::AloneKept);
        let [what, over] = if is_base { [Way::Wasmrun, way] } else { [way, Way::Wasmrun] }.map(Way::name);
        let ratio = |field| {
            let ratio = number(other, field) / number(wasmrun, field);
            if is_base { 1.0 / ratio } else { ratio }
        };
        let (cpu, median) = (ratio("cpu_us"), ratio("p50_us"));
        let [cpu, median] = match is_base {
            true => [format!("{cpu:.2} times"), format!("{median:.1} times")],
            false => [format!("{cpu:.0} times"), format!("{median:.0} times")],
        };
        let comma = if is_base { "," } else { "" };
        let what = format!("{what}{comma} against {over}");
        Some(json!({"what": what, "cpu": cpu, "median": median, "promised": promised}))
    };
    PROMISED.into_iter().filter_map(row).collect()
}

fn plot(rows: &[Value]) -> Plot<'static> {
    let mut dots: Vec<Dot> = rows
        .iter()
        .map(|row| {
            let median = number(row, "p50_us");
            Dot {
                row: row["what"].as_str().unwrap_or_default().into(),
                series: usize::from(row["task"] == "hash"),
                value: median,
                until: number(row, "p99_us"),
                label: time(median),
            }
        })
        .collect();
    dots.push(Dot::at(MICROVM, 2, 125_000.0, "≤ 125 ms to boot"));
    Plot {
        title: "A whole task, from asking for it to its end: median, and a line to the 99th percentile",
        series: &["an empty task", "hash of a megabyte"],
        ticks: (-3..=7).map(|exponent| 10_f64.powi(exponent)).collect(),
        logarithmic: true,
        format: |micros| time(micros).replace(".00 ", " ").replace(".0 ", " "),
        dots,
    }
}
