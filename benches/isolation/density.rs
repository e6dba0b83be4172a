//! What a waiting task keeps in memory, and how many fit in 1 GiB.
//!
//! Tasks are started that do their work and then wait for ever with what they have, until what they hold together
//! reaches the budget, or until it took as long as anybody would want to wait for. Counted is what is resident, with
//! shared pages divided among those who share them: for wasmrun and the engine the whole process, for all others
//! every process that they need to keep a task. What the kernel holds for them is told apart: it's read from what the
//! system has left, so it is rough.
//!
//! Each measurement is a process of its own, this program again: `isolation --hold WAY TASK FOLDER MOST`.

use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wasmrun_benches::bare::Memory;
use wasmrun_benches::run::Size;
use wasmrun_runtime::engine::Allocator;

use crate::holders::{Holder, InEngine, InProcesses, InWorker, Start};
use crate::memory;
use crate::program::Program;
use crate::sandbox::{Kind, Sandbox};
use crate::ways::{Task, names};

const BUDGET: u64 = 1 << 30;
/// What is left to the system, whatever happens.
const RESERVE: u64 = 1 << 30;
/// How long tasks are started for one measurement: a thousand containers take minutes to start, and to remove.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The most that are started: nothing is as small as that.
const MOST: usize = 20_000;
/// So many are started first.
const FIRST: usize = 10;
/// Close to the end of what can be mapped, one more fails now and then.
const LEFT_MAPPABLE: usize = 50;
/// How often what is held is looked at while it grows.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// It doesn't grow any more when those who hold it have computed no longer than this since the last look.
const IDLE: Duration = Duration::from_millis(1);

/// What a task that hashes keeps at least: the megabyte.
const HASHED_BYTES: u64 = 1_000_000;

/// What so many tasks held in one way.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) task: Task,
    #[serde(flatten)]
    pub(crate) held: Held,
}

/// The same, as the child says it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    /// So many were within the budget at once.
    pub(crate) fit: usize,
    /// What ended the measurement.
    pub(crate) ended_by: End,
    /// Without any task.
    pub(crate) base_bytes: u64,
    /// What each task added.
    pub(crate) rss_bytes: u64,
    /// What each took from the system, the kernel's part included.
    pub(crate) system_bytes: u64,
}

/// Why no more tasks were started.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// The budget was reached.
    Budget,
    /// There were as many as are started at most.
    Most,
    /// It took too long.
    Time,
    /// The system had too little memory left.
    Reserve,
    /// This process may not have more mappings of memory: `vm.max_map_count`.
    Mappings,
    /// One more wasn't to be had.
    Refused(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    AloneOnDemand,
    AloneKeeping,
    WasmrunOnDemand,
    WasmrunPooling,
    Process,
    Bubblewrap,
    Runc,
    Podman,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::AloneOnDemand => names::ALONE_ON_DEMAND,
            Self::AloneKeeping => names::ALONE_KEEPING,
            Self::WasmrunOnDemand => names::WASMRUN_ON_DEMAND,
            Self::WasmrunPooling => names::WASMRUN,
            Self::Process => names::PROCESS,
            Self::Bubblewrap => names::BUBBLEWRAP,
            Self::Runc => names::RUNC,
            Self::Podman => names::PODMAN,
        }
    }

    fn holder(self, task: Task, scratch: &Path, most: usize) -> Box<dyn Holder> {
        let program = Program::at(scratch);
        let sandbox = |kind| {
            let sandbox = Sandbox::at(kind, &program, scratch);
            Box::new(InProcesses::new(Start::Sandboxed(sandbox), task))
        };
        match self {
            Self::AloneOnDemand => Box::new(InEngine::new(Memory::OnDemand, task)),
            Self::AloneKeeping => {
                Box::new(InEngine::new(Memory::KeptPool(u32::try_from(most).unwrap_or(u32::MAX)), task))
            }
            Self::WasmrunOnDemand => Box::new(InWorker::new(Allocator::OnDemand, task, most)),
            Self::WasmrunPooling => Box::new(InWorker::new(Allocator::Pooling, task, most)),
            Self::Process => Box::new(InProcesses::new(Start::Plain(program), task)),
            Self::Bubblewrap => sandbox(Kind::Bubblewrap),
            Self::Runc => sandbox(Kind::Runc),
            Self::Podman => sandbox(Kind::Podman),
        }
    }
}

impl From<Kind> for Way {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Bubblewrap => Self::Bubblewrap,
            Kind::Runc => Self::Runc,
            Kind::Podman => Self::Podman,
        }
    }
}

pub(crate) fn measure(program: &Program, sandboxes: &[Sandbox], size: Size) -> Vec<Row> {
    let scratch = program.root.parent().expect("the folder that the program was built with");
    let mut ways =
        vec![Way::AloneOnDemand, Way::AloneKeeping, Way::WasmrunOnDemand, Way::WasmrunPooling, Way::Process];
    ways.extend(sandboxes.iter().map(|sandbox| Way::from(sandbox.kind)));
    let mut rows = Vec::new();
    for way in ways {
        for task in Task::ALL {
            let most = match size {
                Size::Quick => 3,
                Size::Full => MOST,
            };
            eprintln!("Waiting tasks: {}, {} …", way.name(), task.command());
            let row = Row { what: way.name(), task, held: in_child(way, task, scratch, most) };
            row.print();
            // Some time ago they were counted before they had begun.
            let has_worked = task == Task::Empty || row.held.rss_bytes >= HASHED_BYTES;
            assert!(size == Size::Full || has_worked, "{}: the megabyte isn't there", way.name());
            rows.push(row);
        }
    }
    rows
}

impl Row {
    fn print(&self) {
        let Held { fit, ended_by, base_bytes, rss_bytes, system_bytes } = &self.held;
        let kibibytes = |bytes: &u64| bytes >> 10;
        println!(
            "{:<36} {:<6} {fit:>6} fit ({ended_by:?}), each {} KiB ({} of the system), base {} KiB",
            self.what,
            self.task.command(),
            kibibytes(rss_bytes),
            kibibytes(system_bytes),
            kibibytes(base_bytes),
        );
    }
}

const CHILD_ARGUMENT: &str = "--hold";

fn in_child(way: Way, task: Task, scratch: &Path, most: usize) -> Held {
    let words = [serde_json::to_string(&way), serde_json::to_string(&task)].map(|word| word.expect("JSON"));
    let output = Command::new(std::env::current_exe().expect("this program"))
        .arg(CHILD_ARGUMENT)
        .args(words)
        .arg(scratch)
        .arg(most.to_string())
        .stderr(Stdio::inherit())
        .output()
        .expect("this program");
    assert!(output.status.success(), "{way:?} {task:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("what the child says")
}

pub(crate) fn is_child(arguments: &[String]) -> bool {
    arguments.first().is_some_and(|argument| argument == CHILD_ARGUMENT)
}

/// The life of the child.
pub(crate) fn child(arguments: &[String]) {
    let [_, way, task, scratch, most] = arguments else { panic!("{arguments:?}") };
    let way: Way = serde_json::from_str(way).expect("a way");
    let task = serde_json::from_str(task).expect("a task");
    memory::adopt_orphans();
    let most = most.parse().expect("a number");
    let held = fill(&mut *way.holder(task, Path::new(scratch), most), most);
    println!("{}", serde_json::to_string(&held).expect("JSON"));
}

/// How much was held by so many tasks.
struct Reading {
    count: usize,
    bytes: u64,
    /// What the system had left.
    available: u64,
    mappings: usize,
}

impl Reading {
    fn of(holder: &dyn Holder, count: usize) -> Self {
        let (available, mappings) = (memory::available_bytes(), memory::mappings());
        Self { count, bytes: holder.bytes(), available, mappings }
    }

    /// Waits until all have done their work.
    fn settled(holder: &dyn Holder, count: usize) -> Self {
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

    /// How many more to start: half of what should still fit, so that the end is approached and not jumped over.
    fn step(&self, base: &Self, most: usize) -> Result<usize, End> {
        if self.count >= most {
            return Err(End::Most);
        } else if self.available < RESERVE {
            return Err(End::Reserve);
        }
        let each = (self.bytes.saturating_sub(base.bytes) / self.count as u64).max(1);
        let fit = usize::try_from((BUDGET - self.bytes) / each).unwrap_or(usize::MAX);
        let each = (self.mappings.saturating_sub(base.mappings) / self.count).max(1);
        let mappable = memory::most_mappings().saturating_sub(self.mappings) / each;
        if fit == 0 {
            Err(End::Budget)
        } else if mappable < LEFT_MAPPABLE {
            Err(End::Mappings)
        } else {
            Ok(fit.min(mappable).div_ceil(2).min(most - self.count))
        }
    }
}

/// Starts tasks until there is a reason to stop.
fn fill(holder: &mut dyn Holder, most: usize) -> Held {
    let until = Instant::now() + PATIENCE;
    let base = Reading::of(holder, 0);
    // Of what was within the budget.
    let mut readings: Vec<Reading> = Vec::new();
    let (mut count, mut step) = (0, most.min(FIRST));
    let ended_by = loop {
        let started = match holder.start(step, until) {
            Ok(0) => break End::Time,
            Ok(started) => started,
            Err(why) => break End::Refused(why),
        };
        count += started;
        let reading = Reading::settled(holder, count);
        if reading.bytes > BUDGET {
            break End::Budget;
        }
        let next = reading.step(&base, most);
        readings.push(reading);
        match next {
            Ok(_) if Instant::now() >= until => break End::Time,
            Ok(next) => step = next,
            Err(end) => break end,
        }
    };
    let last = readings.last().unwrap_or(&base);
    // The first ones load what all share.
    let first = if readings.len() > 1 { &readings[0] } else { &base };
    let each = |growth: u64| growth / (last.count.saturating_sub(first.count) as u64).max(1);
    Held {
        fit: last.count,
        ended_by,
        base_bytes: base.bytes,
        rss_bytes: each(last.bytes.saturating_sub(first.bytes)),
        system_bytes: each(first.available.saturating_sub(last.available)),
    }
}
