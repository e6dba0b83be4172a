//! What a waiting task keeps in memory, and how many fit in 1 GiB.
//!
//! Tasks are started that do their work and then wait for ever with what they have, until what they hold together
//! reaches the budget, or until there are more than anybody would want to wait for. Counted is what is resident, with
//! shared pages divided among those who share them: for wasmrun and the engine the whole process, for all others
//! every process that they need to keep a task. What the kernel holds for them is told apart: it's read from what the
//! system has left, so it is rough.
//!
//! Each measurement is a process of its own, this program again: `isolation --hold WAY TASK FOLDER MOST`.

use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wasmrun_benches::bare::{Bare, Input, Memory};
use wasmrun_benches::figures::process_cpu;
use wasmrun_benches::guests;
use wasmrun_benches::run::Size;
use wasmrun_runtime::engine::Allocator;

use crate::alone::GUARDS;
use crate::memory;
use crate::program::{Processes, Program};
use crate::sandbox::{Kind, Sandbox};
use crate::ways::{Task, names};
use crate::worker::{self, Running};

const BUDGET: u64 = 1 << 30;
/// What is left to the system, whatever happens.
const RESERVE: u64 = 1 << 30;
/// How long one measurement may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// What is started beyond this many fewer tasks than can be mapped would fail for it now and then.
const LEFT_MAPPABLE: usize = 50;
/// How often what is held is looked at while it grows.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// It doesn't grow any more when those who hold it have computed no longer than this since the last look.
const IDLE: Duration = Duration::from_millis(1);

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

    /// The most that are started. Thousands of network namespaces take the system minutes to make and to remove.
    fn most(self) -> usize {
        match self {
            Self::Bubblewrap => 500,
            Self::Runc => 300,
            Self::Podman => 50,
            _ => 20_000,
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
                Size::Full => way.most(),
            };
            eprintln!("Waiting tasks: {}, {} …", way.name(), task.command());
            let row = Row { what: way.name(), task, held: in_child(way, task, scratch, most) };
            row.print();
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
    let way = serde_json::from_str(way).expect("a way");
    let task = serde_json::from_str(task).expect("a task");
    memory::adopt_orphans();
    let mut holder = holder(way, task, Path::new(scratch), most.parse().expect("a number"));
    let held = fill(&mut *holder, most.parse().expect("a number"));
    drop(holder);
    println!("{}", serde_json::to_string(&held).expect("JSON"));
}

/// Something that holds tasks.
trait Holder {
    /// Starts so many more, and waits until they have started.
    fn start(&mut self, count: usize) -> Result<(), String>;

    /// What all of them hold, and what holds them.
    fn bytes(&self) -> u64;

    /// What all of them have computed.
    fn cpu(&self) -> Duration;
}

/// Starts tasks until there is a reason to stop.
fn fill(holder: &mut dyn Holder, most: usize) -> Held {
    let began = Instant::now();
    // The first ones load what all will share.
    let base_bytes = holder.bytes();
    let (first, mut count) = (most.min(10), 0);
    let (mut first_bytes, mut first_available) = (base_bytes, memory::available_bytes());
    let (mut fit, mut step) = (0, first);
    let (mut fit_bytes, mut fit_available) = (base_bytes, first_available);
    let base_mappings = memory::mappings();
    let ended_by = loop {
        if let Err(why) = holder.start(step) {
            break End::Refused(why);
        }
        count += step;
        let bytes = settled_bytes(holder);
        if bytes > BUDGET {
            // The last step may have been too large by a little.
            break End::Budget;
        }
        (fit, fit_bytes, fit_available) = (count, bytes, memory::available_bytes());
        if count == first {
            (first_bytes, first_available) = (fit_bytes, fit_available);
        }
        if count >= most {
            break End::Most;
        } else if began.elapsed() > PATIENCE {
            break End::Time;
        } else if memory::available_bytes() < RESERVE {
            break End::Reserve;
        }
        let each = ((bytes - base_bytes) / count as u64).max(1);
        let room = usize::try_from((BUDGET - bytes) / each).unwrap_or(usize::MAX);
        if room == 0 {
            break End::Budget;
        }
        let mapped = memory::mappings();
        let each = (mapped.saturating_sub(base_mappings) / count).max(1);
        let mappable = memory::most_mappings().saturating_sub(mapped) / each;
        if mappable < LEFT_MAPPABLE {
            break End::Mappings;
        }
        // Half of what should still fit, so that the end is approached and not jumped over.
        step = room.min(mappable).div_ceil(2).min(most - count);
    };
    let (first, first_bytes, first_available) = match fit > first {
        true => (first, first_bytes, first_available),
        false => (0, base_bytes, first_available),
    };
    let each = |bytes: u64| bytes / (fit.saturating_sub(first) as u64).max(1);
    Held {
        fit,
        ended_by,
        base_bytes,
        rss_bytes: each(fit_bytes.saturating_sub(first_bytes)),
        system_bytes: each(first_available.saturating_sub(fit_available)),
    }
}

/// Waits until all have done their work, and says what they then hold.
fn settled_bytes(holder: &dyn Holder) -> u64 {
    let began = Instant::now();
    let mut before = holder.cpu();
    loop {
        std::thread::sleep(LOOK_EVERY);
        let cpu = holder.cpu();
        if cpu.saturating_sub(before) <= IDLE || began.elapsed() > PATIENCE {
            return holder.bytes();
        }
        before = cpu;
    }
}

fn holder(way: Way, task: Task, scratch: &Path, most: usize) -> Box<dyn Holder> {
    let program = Program::at(scratch);
    let sandbox = |kind| -> Box<dyn Holder> {
        Box::new(InSandboxes {
            sandbox: Sandbox::at(kind, &program, scratch),
            task,
            processes: Processes::default(),
        })
    };
    match way {
        Way::AloneOnDemand => Box::new(InEngine::new(Memory::OnDemand, task)),
        Way::AloneKeeping => {
            Box::new(InEngine::new(Memory::KeptPool(u32::try_from(most).unwrap_or(u32::MAX)), task))
        }
        Way::WasmrunOnDemand => Box::new(InWorker::new(Allocator::OnDemand, task, most)),
        Way::WasmrunPooling => Box::new(InWorker::new(Allocator::Pooling, task, most)),
        Way::Process => Box::new(InProcesses { program, task, processes: Processes::default() }),
        Way::Bubblewrap => sandbox(Kind::Bubblewrap),
        Way::Runc => sandbox(Kind::Runc),
        Way::Podman => sandbox(Kind::Podman),
    }
}

struct InEngine {
    io: Runtime,
    bare: Arc<Bare>,
    input: Arc<Input>,
    tasks: Vec<JoinHandle<()>>,
}

impl InEngine {
    fn new(memory: Memory, task: Task) -> Self {
        let bare = Arc::new(Bare::new(&guests::bytes("workload"), memory, GUARDS));
        let input = Arc::new(Input { body: task.held().into(), ..Input::default() });
        Self { io: worker::io_threads(), bare, input, tasks: Vec::new() }
    }
}

impl Holder for InEngine {
    fn start(&mut self, count: usize) -> Result<(), String> {
        for _ in 0..count {
            let (bare, input) = (self.bare.clone(), self.input.clone());
            self.tasks.push(self.io.spawn(async move { bare.run(&input).await }));
        }
        // They take turns with this one, so that each has begun.
        self.io.block_on(async { tokio::time::sleep(LOOK_EVERY).await });
        match self.tasks.iter().any(JoinHandle::is_finished) {
            true => Err("a task ended".into()),
            false => Ok(()),
        }
    }

    fn bytes(&self) -> u64 {
        memory::own_bytes()
    }

    fn cpu(&self) -> Duration {
        process_cpu()
    }
}

struct InWorker {
    io: Runtime,
    running: Running,
    task: Task,
    count: usize,
}

impl InWorker {
    fn new(allocator: Allocator, task: Task, most: usize) -> Self {
        let io = worker::io_threads();
        let instances = NonZeroUsize::new(most).expect("not zero");
        let component = worker::load(&io, "workload", allocator, instances);
        let running = Running::start(&io, &component, instances);
        Self { io, running, task, count: 0 }
    }
}

impl Holder for InWorker {
    fn start(&mut self, count: usize) -> Result<(), String> {
        self.count += count;
        self.io.block_on(async {
            self.running.send(self.task.held(), count).await;
            while self.running.in_flight().await < self.count {
                if self.running.ended() > 0 {
                    return Err("a task ended".to_owned());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        })
    }

    fn bytes(&self) -> u64 {
        memory::own_bytes()
    }

    fn cpu(&self) -> Duration {
        process_cpu()
    }
}

struct InProcesses {
    program: Program,
    task: Task,
    processes: Processes,
}

impl Holder for InProcesses {
    fn start(&mut self, count: usize) -> Result<(), String> {
        (0..count).try_for_each(|_| self.processes.start(&mut self.program.command(self.task.held())))
    }

    fn bytes(&self) -> u64 {
        memory::descendants_bytes()
    }

    fn cpu(&self) -> Duration {
        memory::descendants_cpu()
    }
}

struct InSandboxes {
    sandbox: Sandbox,
    task: Task,
    processes: Processes,
}

impl Holder for InSandboxes {
    fn start(&mut self, count: usize) -> Result<(), String> {
        (0..count).try_for_each(|_| self.sandbox.hold(self.task, &mut self.processes))
    }

    fn bytes(&self) -> u64 {
        memory::descendants_bytes()
    }

    fn cpu(&self) -> Duration {
        memory::descendants_cpu()
    }
}

impl Drop for InSandboxes {
    fn drop(&mut self) {
        self.sandbox.release();
    }
}
