//! Memory of a waiting task, and how many fit in 1 GiB.
//!
//! Tasks do their work and then wait without end with what they have. More are started until all together reach the
//! budget, or for as long as anybody would wait. Counted is resident memory, with shared pages divided among those who
//! share them: of the whole process for wasmrun and the engine, otherwise of every process that a task needs. The
//! kernel's part is read from what the system has left, so it is rough.
//!
//! Each measurement is a child process.

use super::holders::Holder;
use super::memory;
use super::sandbox::Sandbox;
use super::ways::{MICROVM, Task, Way};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use wasmrun_benches::{Dot, Plot, Report, Size, child, number, output, report::size as bytes, with};

/// A child process, which holds tasks. Its arguments are the way, the task, the scratch folder, and the most tasks.
pub(crate) const HOLD: &str = "hold";
const BUDGET: u64 = 1 << 30;
/// What is left to the system in any case.
const RESERVE: u64 = 1 << 30;
/// How long tasks are started: a thousand containers take minutes to start, and to remove.
const PATIENCE: Duration = Duration::from_secs(30);
/// The number of tasks that are started first, and the most that are.
const FIRST: usize = 10;
const MOST: usize = 20_000;
/// Close to the limit of mappings, a task fails now and then.
const LEFT_MAPPABLE: usize = 50;
/// Memory grows until its holders have computed for no longer than `IDLE` since the last look.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_millis(1);
/// A task that hashes keeps the megabyte at least.
const HASHED_BYTES: f64 = 1e6;

pub(crate) fn measure(report: &mut Report, scratch: &Path, sandboxes: &[Sandbox]) {
    let ways = [Way::AloneOnDemand, Way::AloneKept, Way::WasmrunOnDemand, Way::Wasmrun, Way::Process];
    let ways = ways.into_iter().chain(sandboxes.iter().map(|sandbox| sandbox.way));
    let mut rows = Vec::new();
    for (way, task) in ways.flat_map(|way| Task::ALL.map(|task| (way, task))) {
        eprintln!("Waiting tasks: {}, {} …", way.name(), task.command());
        let held = in_child(way, task, scratch, report.size.pick(3, MOST));
        // They were counted before they had begun, once.
        let has_worked = task == Task::Empty || number(&held, "rss_bytes") >= HASHED_BYTES;
        assert!(report.size == Size::Full || has_worked, "{}: the megabyte is missing", way.name());
        let at_once = match held["stopped_by"].as_str() {
            None => held["fit"].to_string(),
            Some(why) => format!("{}: {why}", held["fit"]),
        };
        rows.push(with(held, json!({"what": way.name(), "task": task.command(), "at_once": at_once})));
    }
    report.plot("memory", &plot(&rows));
    rows.push(json!({"what": MICROVM, "task": "boots", "rss_bytes": "≤ 5 MiB and the guest's own"}));
    let columns = "= what | task = task | each = rss_bytes:size | of the system = system_bytes:size \
        | without any = base_bytes:size | at once in 1 GiB = at_once";
    report.table("memory", columns, rows);
}

fn plot(rows: &[Value]) -> Plot<'static> {
    let dot = |row: &Value| {
        let value = number(row, "rss_bytes");
        let more = if row["stopped_by"].is_null() { "" } else { "> " };
        let label = format!("{}: {more}{} in 1 GiB", bytes(value), row["fit"]);
        Dot::at(row["what"].as_str().unwrap_or_default(), usize::from(row["task"] == "hash"), value, label)
    };
    let mut dots: Vec<Dot> = rows.iter().map(dot).collect();
    dots.push(Dot::at(MICROVM, 2, f64::from(5 << 20), "≤ 5 MiB, and the guest's own"));
    Plot {
        title: "Memory of a waiting task, and how many fit in 1 GiB",
        series: &["after an empty task", "after the hash of a megabyte"],
        ticks: (13..=27).step_by(2).map(|exponent| 2_f64.powi(exponent)).collect(),
        logarithmic: true,
        format: bytes,
        dots,
    }
}

fn in_child(way: Way, task: Task, scratch: &Path, most: usize) -> Value {
    let mut command = child(HOLD);
    command.args([way.name(), task.command()]).arg(scratch).arg(most.to_string());
    let answer = output(&mut command).unwrap_or_else(|error| panic!("{way:?} {task:?}: {error}"));
    serde_json::from_str(&answer).expect("what the child found")
}

/// The work of the child.
pub(crate) fn hold(arguments: &[String]) {
    let [way, task, scratch, most] = arguments else { panic!("{arguments:?}") };
    let way = Way::all().find(|known| known.name() == way).expect("a way");
    let task = Task::ALL.into_iter().find(|known| known.command() == task).expect("a task");
    memory::adopt_orphans();
    let most = most.parse().expect("a number");
    let held = fill(Holder::new(way, task, Path::new(scratch), most), most);
    println!("{held}");
}

/// What a number of tasks held.
struct Reading {
    count: usize,
    bytes: u64,
    /// What the system had left.
    available: u64,
    mappings: usize,
}

impl Reading {
    fn of(holder: &Holder, count: usize) -> Self {
        let (available, mappings) = (memory::available_bytes(), memory::mappings());
        Self { count, bytes: holder.bytes(), available, mappings }
    }

    /// Waits until all have done their work.
    fn settled(holder: &Holder, count: usize) -> Self {
        let began = Instant::now();
        let mut before = holder.cpu();
        loop {
            std::thread::sleep(LOOK_EVERY);
            let cpu = holder.cpu();
            if cpu.saturating_sub(before) <= IDLE || began.elapsed() > PATIENCE {
                return Self::of(holder, count);
            }
            before = cpu;
        }
    }

    /// How many more to start: half of what should still fit, so that the end is approached and not overrun. None if the
    /// budget is reached.
    fn step(&self, base: &Self, most: usize) -> Result<usize, String> {
        if self.count >= most {
            return Err("no more were started".into());
        } else if self.available < RESERVE {
            return Err("the machine had no more memory".into());
        }
        let each = (self.bytes.saturating_sub(base.bytes) / self.count as u64).max(1);
        let fit = usize::try_from((BUDGET - self.bytes) / each).unwrap_or(usize::MAX);
        let each = (self.mappings.saturating_sub(base.mappings) / self.count).max(1);
        let mappable = memory::max_mappings().saturating_sub(self.mappings) / each;
        if fit > 0 && mappable < LEFT_MAPPABLE {
            let held = bytes(self.bytes as f64);
            return Err(format!(
                "with {held}, the process has as many mappings as Linux allows (`vm.max_map_count`)"
            ));
        }
        Ok(fit.min(mappable).div_ceil(2).min(most - self.count))
    }
}

/// Starts tasks until there is a reason to stop. Returns what they held.
fn fill(mut holder: Holder, most: usize) -> Value {
    let until = Instant::now() + PATIENCE;
    let late = || format!("no more were started in {} s", PATIENCE.as_secs());
    let base = Reading::of(&holder, 0);
    // Those within the budget.
    let mut readings: Vec<Reading> = Vec::new();
    let (mut count, mut step) = (0, most.min(FIRST));
    let stopped_by = loop {
        match holder.start(step, until) {
            Ok(0) => break Some(late()),
            Ok(started) => count += started,
            Err(why) => break Some(why),
        }
        let reading = Reading::settled(&holder, count);
        if reading.bytes > BUDGET {
            break None;
        }
        let next = reading.step(&base, most);
        readings.push(reading);
        match next {
            Ok(0) => break None,
            Ok(_) if Instant::now() >= until => break Some(late()),
            Ok(next) => step = next,
            Err(why) => break Some(why),
        }
    };
    let last = readings.last().unwrap_or(&base);
    // The first tasks load what all share.
    let first = if readings.len() > 1 { &readings[0] } else { &base };
    let each = |growth: u64| growth / (last.count.saturating_sub(first.count) as u64).max(1);
    json!({
        // How many were within the budget at once.
        "fit": last.count,
        // Why no more were started, unless the budget was reached.
        "stopped_by": stopped_by,
        // Memory without any task, memory that each task added, and what each took from the system, the kernel's part
        // included.
        "base_bytes": base.bytes,
        "rss_bytes": each(last.bytes.saturating_sub(first.bytes)),
        "system_bytes": each(first.available.saturating_sub(last.available)),
    })
}
