//! What was found, as a page to read and as JSON.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::density::{self, End};
use crate::limits::Prices;
use crate::machine::Machine;
use crate::neighbours::Fairness;
use crate::start;
use crate::ways::{Task, names};

/// All that was measured.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) versions: BTreeMap<String, String>,
    /// What is missing here, and why.
    pub(crate) skipped: Vec<String>,
    pub(crate) start: Vec<start::Row>,
    pub(crate) density: Vec<density::Row>,
    pub(crate) limits: Prices,
    pub(crate) neighbours: Fairness,
}

/// A microVM's figures, which weren't measured here.
pub(crate) mod published {
    pub(crate) const WHAT: &str = "microVM (published)";
    /// From the API call that starts it to its first process.
    pub(crate) const START_US: f64 = 125_000.0;
    /// Of the virtual machine monitor, beside the memory that the guest is given.
    pub(crate) const BYTES: u64 = 5 << 20;
    pub(crate) const SOURCE: &str =
        "https://github.com/firecracker-microvm/firecracker/blob/main/SPECIFICATION.md";
    pub(crate) const READ_ON: &str = "2026-11-24";
}

impl Report {
    /// With what, in words.
    pub(crate) fn versions(&self) -> String {
        let versions: Vec<String> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        versions.join(", ")
    }

    /// Writes `isolation.md` and `isolation.json`.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let json = serde_json::to_string_pretty(&self.json())?;
        std::fs::write(folder.join("isolation.json"), json + "\n")?;
        std::fs::write(folder.join("isolation.md"), self.page())
    }

    /// What was measured in one way on one task.
    pub(crate) fn start(&self, what: &str, task: Task) -> Option<&start::Row> {
        self.start.iter().find(|row| row.what == what && row.task == task)
    }

    pub(crate) fn density(&self, what: &str, task: Task) -> Option<&density::Row> {
        self.density.iter().find(|row| row.what == what && row.task == task)
    }

    fn json(&self) -> Value {
        let row = |row: &start::Row| {
            let mut value = json!(row);
            if let Some(density) = self.density(row.what, row.task) {
                merge(&mut value, json!(density.held));
            }
            with_all_columns(value)
        };
        let mut rows: Vec<Value> = self.start.iter().map(row).collect();
        rows.push(with_all_columns(json!({
            "what": published::WHAT,
            "task": Task::Empty,
            "at_most_us": published::START_US,
            "at_most_bytes": published::BYTES,
            "source": published::SOURCE,
            "read_on": published::READ_ON,
        })));
        json!({
            "machine": self.machine.description,
            "date": self.machine.date,
            "versions": self.versions,
            "skipped": self.skipped,
            "rows": rows,
            "limits": self.limits,
            "neighbours": self.neighbours,
        })
    }

    fn page(&self) -> String {
        let mut page = String::new();
        let skipped = match self.skipped.is_empty() {
            true => String::new(),
            false => format!("\nSkipped: {}.\n", self.skipped.join("; ")),
        };
        let _ = write!(
            page,
            "# What isolation costs

Measured on {} on {}: {}. Written by `cargo xtask bench isolation`, which measures all of it
again, in one run, on any Linux; the same figures for programs are in [isolation.json](isolation.json). Take the
ratios, not the times.
{skipped}
",
            self.machine.date,
            self.machine.description,
            self.versions(),
        );
        self.write_start(&mut page);
        self.write_density(&mut page);
        self.write_limits(&mut page);
        self.write_neighbours(&mut page);
        page
    }

    fn write_start(&self, page: &mut String) {
        page.push_str(
            "## A whole task

![The time of a whole task in each way](isolation-start.svg)

From asking for a task to its end, one at a time, the ways taking turns. *empty* does nothing; *hash* fills a megabyte
and hashes it with SHA-256, with the same code everywhere, in software. *CPU* is what a task costs all processes
involved; for wasmrun on a busy worker, that is with messages waiting, since that is what a worker is for.

| | task | tasks | median | 95 % | 99 % | mean | CPU |
|---|---|---|---|---|---|---|---|
",
        );
        for row in &self.start {
            let times = [row.p50_us, row.p95_us, row.p99_us, row.mean_us, row.cpu_us].map(time).join(" | ");
            let _ = writeln!(page, "| {} | {} | {} | {times} |", row.what, row.task.command(), row.n);
        }
        let _ = writeln!(
            page,
            "| {} | boots | – | ≤ {} | – | – | – | – |",
            published::WHAT,
            time(published::START_US)
        );
        page.push_str(
            "
- *wasmtime alone* is the engine in a loop, as its documentation would have one use it: store, WASI context, limiter,
  fuel, instantiate, call, drop. *Pages kept*: with the pool that the worker has.
- *wasmrun* is the real worker on the in-memory queue: sent, received, leased, run on another thread, timed, metered,
  settled. Most of its median on an empty task is threads that wake each other, which a busy worker does without.
- *process* starts a program that is linked statically and waits for it (`posix_spawn`, the cheapest way there is).
  *bubblewrap* has all namespaces unshared, *runc* runs an OCI bundle as `runc spec` makes it, *podman run* an image
  without a network and without a log. All run the same program.
",
        );
        let _ = writeln!(
            page,
            "- *{}* isn't measured here, as few machines have a KVM to spare: Firecracker's specification promises at
  most {} from its API call to the guest's first process, on bare metal
  ([source]({}), read on {}).",
            published::WHAT,
            time(published::START_US),
            published::SOURCE,
            published::READ_ON,
        );
        page.push('\n');
        self.write_ratios(page);
    }

    /// What the project promises of these figures.
    fn write_ratios(&self, page: &mut String) {
        let of = |what| self.start(what, Task::Empty);
        let Some(wasmrun) = of(names::WASMRUN) else { return };
        page.push_str("| an empty task | CPU | median | promised |\n|---|---|---|---|\n");
        for (alone, promised) in [(names::ALONE_POOLING, "at most 1.5 (CPU)"), (names::ALONE_KEEPING, "–")]
        {
            let Some(way) = of(alone) else { continue };
            let _ = writeln!(
                page,
                "| wasmrun, pooling, against {alone} | {:.2} times | {:.1} times | {promised} |",
                wasmrun.cpu_us / way.cpu_us,
                wasmrun.p50_us / way.p50_us,
            );
        }
        for (what, promised) in
            [(names::PROCESS, 10), (names::BUBBLEWRAP, 0), (names::RUNC, 500), (names::PODMAN, 0)]
        {
            let Some(other) = of(what) else { continue };
            let promised = if promised > 0 { format!("at least {promised} (CPU)") } else { "–".into() };
            let _ = writeln!(
                page,
                "| {what} against wasmrun, pooling | {:.0} times | {:.0} times | {promised} |",
                other.cpu_us / wasmrun.cpu_us,
                other.p50_us / wasmrun.p50_us,
            );
        }
        page.push('\n');
    }

    fn write_density(&self, page: &mut String) {
        page.push_str(
            "## Waiting tasks in 1 GiB

![What a waiting task keeps in memory](isolation-memory.svg)

Tasks that have done their work and wait, with what they have, were started for half a minute or until all of them held
1 GiB: resident memory, shared pages divided among those who share them. For wasmtime and wasmrun that is the whole
process, for all others every process that a waiting task needs. *Of the system* is what each took from the machine's
available memory, so the kernel's part (page tables, namespaces, cgroups) included; it is rough.

| | task | each | of the system | without any | at once in 1 GiB |
|---|---|---|---|---|---|
",
        );
        for density::Row { what, task, held } in &self.density {
            let fit = match &held.ended_by {
                End::Budget => held.fit.to_string(),
                End::Most => format!("more than {}: no more were started", held.fit),
                End::Time => {
                    let seconds = density::PATIENCE.as_secs();
                    format!("more than {}: no more were started in {seconds} s", held.fit)
                }
                End::Reserve => format!("{}: the machine had no more memory", held.fit),
                End::Mappings => {
                    format!(
                        "{}, with {}: then the process has as many mappings as Linux allows (`vm.max_map_count`)",
                        held.fit,
                        size(held.base_bytes + held.rss_bytes * held.fit as u64)
                    )
                }
                End::Refused(why) => format!("{}: {why}", held.fit),
            };
            let _ = writeln!(
                page,
                "| {what} | {} | {} | {} | {} | {fit} |",
                task.command(),
                size(held.rss_bytes),
                size(held.system_bytes),
                size(held.base_bytes),
            );
        }
        let _ = writeln!(
            page,
            "| {} | boots | ≤ {} and the guest's own | – | – | – |\n",
            published::WHAT,
            size(published::BYTES)
        );
    }

    fn write_limits(&self, page: &mut String) {
        let Prices { photograph, rounds, rows, counted_by, not_counted } = &self.limits;
        let none = rows.first().and_then(|row| row.instructions);
        let _ = write!(
            page,
            "## What each guard costs

![What each guard adds to a thumbnail](isolation-limits.svg)

The example `thumbnail` on `{photograph}`, in the bare engine with none of the guards, with each of them, and in wasmrun with
all its limits and metering. CPU time of the process; medians of {rounds} rounds, in which the variants take turns. *Against none*
is the median of the rounds' ratios, and for instructions the ratio of the two counts.

| | CPU | against none | wall | instructions | against none |
|---|---|---|---|---|---|
"
        );
        for row in rows {
            let instructions = match (row.instructions, none) {
                (Some(count), Some(none)) => {
                    let (count, none) = (count as f64, none as f64);
                    format!("{:.2} million | {:+.1} %", count / 1e6, (count / none - 1.0) * 100.0)
                }
                _ => "– | –".into(),
            };
            let _ = writeln!(
                page,
                "| {} | {} | {:+.1} % | {} | {instructions} |",
                row.what,
                time(row.cpu_us),
                (row.ratio - 1.0) * 100.0,
                time(row.wall_us),
            );
        }
        let _ = match (counted_by, not_counted) {
            (Some(counter), _) => writeln!(
                page,
                "\nInstructions of user space, all threads together, counted by {counter}, where that can run the program: they differ little from run to run.\n"
            ),
            (None, why) => {
                let why = why.as_deref().unwrap_or("nobody says why");
                writeln!(page, "\nInstructions weren't counted: {why}.\n")
            }
        };
    }

    fn write_neighbours(&self, page: &mut String) {
        page.push_str(
            "## Neighbours that spin

![A task beside neighbours that spin](isolation-neighbours.svg)

The *hash* task in a worker whose other tasks compute without end, and the same as processes. *Fair* is what it would be if
all got the same share of the cores.

| neighbours | wasmrun: median | 99 % | times slower | processes: median | 99 % | times slower | fair |
|---|---|---|---|---|---|---|---|
",
        );
        for row in &self.neighbours.tasks {
            let (wasmrun, processes) = (&row.wasmrun, &row.processes);
            let _ = writeln!(
                page,
                "| {} | {} | {} | {:.1} | {} | {} | {:.1} | {:.1} |",
                row.neighbours,
                time(wasmrun.p50_us),
                time(wasmrun.p99_us),
                wasmrun.slowdown,
                time(processes.p50_us),
                time(processes.p99_us),
                processes.slowdown,
                row.fair,
            );
        }
        page.push_str(
            "
How late a timer of 5 ms is on the worker's own threads, which receive, renew and settle (such timers count whole
milliseconds):

| beside | ticks | median | 95 % | 99 % | longest |
|---|---|---|---|---|---|
",
        );
        for row in &self.neighbours.timer {
            let times = [row.p50_us, row.p95_us, row.p99_us, row.max_us].map(time).join(" | ");
            let _ = writeln!(page, "| {} | {} | {times} |", row.beside, row.n);
        }
    }
}

/// What each row has, if it was measured or not.
const COLUMNS: [&str; 7] = ["what", "n", "p50_us", "p95_us", "p99_us", "mean_us", "rss_bytes"];

/// With nothing in those that weren't measured.
fn with_all_columns(mut row: Value) -> Value {
    if let Value::Object(row) = &mut row {
        for column in COLUMNS {
            row.entry(column).or_insert(Value::Null);
        }
    }
    row
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Microseconds, for people.
pub(crate) fn time(micros: f64) -> String {
    let (value, unit) = match micros {
        _ if micros < 1.0 => (micros * 1e3, "ns"),
        _ if micros < 1e3 => (micros, "µs"),
        _ if micros < 1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    // Three digits.
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// Bytes, for people.
pub(crate) fn size(bytes: u64) -> String {
    let (value, unit) = match bytes {
        _ if bytes < 1 << 10 => return format!("{bytes} B"),
        _ if bytes < 1 << 20 => (bytes as f64 / f64::from(1 << 10), "KiB"),
        _ => (bytes as f64 / f64::from(1 << 20), "MiB"),
    };
    let decimals = usize::from(value < 10.0 && value.fract() != 0.0);
    format!("{value:.decimals$} {unit}")
}
