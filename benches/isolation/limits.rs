//! What each guard of a task costs, on a task that computes: the example `thumbnail` with a photograph in memory.
//!
//! The guards are switched on one by one in the bare engine. The last row is wasmrun itself, which has all of them but
//! epochs, more limits than these, and calls its stores on other threads. The variants take turns in each round; what is
//! reported is the median of the rounds. CPU time is that of the whole process.
//!
//! Instructions are counted in a process of its own for each variant: by `perf stat` where the machine lets it, otherwise
//! by valgrind, which needs some minutes.

use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::runtime::Runtime;
use wasmrun_benches::bare::{Bare, Guards, Input, Memory};
use wasmrun_benches::figures::{median, micros, process_cpu};
use wasmrun_benches::guests;
use wasmrun_benches::run::Size;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::model::event;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::model::outcome::Outcome;
use wasmrun_runtime::ports::memory::MemoryStore;
use wasmrun_runtime::task::component::Component;
use wasmrun_runtime::task::grant::{Grants, Mode, StoreGrant};

const ROUNDS: usize = 9;
/// For each variant in each round: half a second.
const THUMBNAILS: usize = 12;
const PHOTOGRAPH: &str = "coffee cup.jpg";
/// Instructions are counted for so many thumbnails, and for so many more: the difference leaves out the start.
const COUNTED: (usize, usize) = (2, 12);

/// What a thumbnail took with some of the guards.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    /// Medians of the rounds.
    pub(crate) cpu_us: f64,
    pub(crate) wall_us: f64,
    /// The median of the rounds' ratios of CPU time to that without any guard.
    pub(crate) ratio: f64,
    /// Of user space, where the machine counts them.
    pub(crate) instructions: Option<u64>,
}

/// All that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Prices {
    pub(crate) photograph: String,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
    /// Who counted the instructions.
    pub(crate) counted_by: Option<&'static str>,
    /// Why there are no instructions, if there are none.
    pub(crate) not_counted: Option<String>,
}

const NONE: Guards = Guards { fuel: false, epochs: false, limiter: false, metering: false };

#[derive(Clone, Copy)]
enum Variant {
    Bare(Guards),
    Wasmrun,
}

const VARIANTS: [(&str, Variant); 8] = [
    ("none", Variant::Bare(NONE)),
    ("limiter", Variant::Bare(Guards { limiter: true, ..NONE })),
    ("metering", Variant::Bare(Guards { metering: true, ..NONE })),
    ("fuel", Variant::Bare(Guards { fuel: true, ..NONE })),
    ("epochs", Variant::Bare(Guards { epochs: true, ..NONE })),
    ("fuel and epochs", Variant::Bare(Guards { fuel: true, epochs: true, ..NONE })),
    (
        "fuel, limiter and metering",
        Variant::Bare(Guards { fuel: true, limiter: true, metering: true, epochs: false }),
    ),
    ("wasmrun, all its limits", Variant::Wasmrun),
];

pub(crate) fn measure(size: Size) -> Prices {
    let (rounds, thumbnails) = match size {
        Size::Quick => (1, 1),
        Size::Full => (ROUNDS, THUMBNAILS),
    };
    let subjects: Vec<Subject> = VARIANTS.iter().map(|(_, variant)| Subject::new(*variant)).collect();
    // The first one of each faults its memory in.
    subjects.iter().for_each(|subject| subject.run(1));
    let mut found: Vec<Vec<(f64, f64)>> = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        eprintln!("Guards of a thumbnail: round {} of {rounds} …", round + 1);
        for (subject, found) in subjects.iter().zip(&mut found) {
            let (cpu, wall) = (process_cpu(), Instant::now());
            subject.run(thumbnails);
            let each = |duration| micros(duration) / thumbnails as f64;
            found.push((each(process_cpu() - cpu), each(wall.elapsed())));
        }
    }
    drop(subjects);

    let counted = count_instructions(size);
    let none = found[0].clone();
    let rows = VARIANTS
        .iter()
        .zip(found)
        .map(|((name, _), found)| Row {
            what: name,
            cpu_us: median(found.iter().map(|(cpu, _)| *cpu).collect()),
            wall_us: median(found.iter().map(|(_, wall)| *wall).collect()),
            ratio: median(found.iter().zip(&none).map(|((cpu, _), (none, _))| cpu / none).collect()),
            instructions: counted.as_ref().ok().and_then(|counted| counted.instructions.get(name).copied()),
        })
        .collect();
    let (counted_by, not_counted) = match counted {
        Ok(Counted { by, .. }) => (Some(by), None),
        Err(why) => (None, Some(why)),
    };
    let prices = Prices { photograph: PHOTOGRAPH.into(), rounds, rows, counted_by, not_counted };
    prices.print();
    prices
}

impl Prices {
    fn print(&self) {
        for Row { what, cpu_us, wall_us, ratio, instructions } in &self.rows {
            let counted = instructions.map(|count| format!(", {count} instructions")).unwrap_or_default();
            println!("{what:<36} CPU {cpu_us:>9.0} us  wall {wall_us:>9.0} us  {ratio:.3} of none{counted}");
        }
        if let Some(why) = &self.not_counted {
            println!("Instructions weren't counted: {why}.");
        }
    }
}

/// Something that makes thumbnails.
struct Subject {
    runtime: Runtime,
    engine: Engine,
}

enum Engine {
    Bare(Bare, Arc<Input>),
    Wasmrun(Arc<Component>, Arc<Message>),
}

impl Subject {
    fn new(variant: Variant) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        const GUEST: &str = "thumbnail";
        let photograph = guests::repository().join("demo/photographs").join(PHOTOGRAPH);
        let photograph = Bytes::from(std::fs::read(photograph).expect("a photograph"));
        let engine = match variant {
            Variant::Bare(guards) => {
                let input = Input { object: Some(photograph), ..Input::default() };
                Engine::Bare(Bare::new(&guests::bytes(GUEST), Memory::KeptPool(2), guards), Arc::new(input))
            }
            Variant::Wasmrun => {
                let (grants, message) = announced(photograph);
                let component =
                    guests::load(GUEST, Allocator::Pooling, NonZeroUsize::MIN, grants, Limits::default());
                Engine::Wasmrun(Arc::new(runtime.block_on(component)), message)
            }
        };
        Self { runtime, engine }
    }

    fn run(&self, thumbnails: usize) {
        for _ in 0..thumbnails {
            match &self.engine {
                Engine::Bare(bare, input) => self.runtime.block_on(bare.run(input)),
                Engine::Wasmrun(component, message) => {
                    let task = component.clone();
                    let message = message.clone();
                    let report = component
                        .threads()
                        .handle()
                        .spawn(async move { task.run(message, std::future::pending()).await });
                    let report = self.runtime.block_on(report).expect("no panic");
                    assert_eq!(report.outcome, Outcome::Completed);
                }
            }
        }
    }
}

/// The photograph in a store, a store for the thumbnail, and the message that announces it.
fn announced(photograph: Bytes) -> (Grants, Arc<Message>) {
    let (input, output) = (MemoryStore::new("input"), MemoryStore::new("output"));
    input.insert("photograph", photograph.clone());
    let body =
        event::notification("memory:input/", "photograph", photograph.len() as u64, None, SystemTime::now());
    let grant = |alias: &str, store: MemoryStore, mode| {
        (alias.to_owned(), StoreGrant { alias: alias.into(), store: Arc::new(store), mode })
    };
    let stores =
        BTreeMap::from([grant("input", input, Mode::ReadOnly), grant("output", output, Mode::ReadWrite)]);
    (Grants { stores, ..Grants::default() }, Arc::new(Message::new("message", body)))
}

const CHILD_ARGUMENT: &str = "--thumbnails";

pub(crate) fn is_child(arguments: &[String]) -> bool {
    arguments.first().is_some_and(|argument| argument == CHILD_ARGUMENT)
}

/// The life of the child: `isolation --thumbnails VARIANT COUNT`.
pub(crate) fn child(arguments: &[String]) {
    let [_, variant, count] = arguments else { panic!("{arguments:?}") };
    let (_, variant) = VARIANTS[variant.parse::<usize>().expect("a number")];
    Subject::new(variant).run(count.parse().expect("a number"));
}

/// The instructions that a thumbnail takes in each variant that can be counted, or why none can.
fn count_instructions(size: Size) -> Result<Counted, String> {
    let counter = Counter::here(size)?;
    let mut instructions = BTreeMap::new();
    for (index, (name, _)) in VARIANTS.iter().enumerate() {
        eprintln!("Counting instructions by {}: {name} …", counter.name());
        let counted = |thumbnails: usize| {
            let mut child = Command::new(std::env::current_exe().map_err(|error| error.to_string())?);
            child.args([CHILD_ARGUMENT, &index.to_string(), &thumbnails.to_string()]);
            counter.count(&child)
        };
        // valgrind hides the vDSO from programs, without which rustix reads no clock: what meters CPU time ends there.
        match (counted(COUNTED.0), counted(COUNTED.1)) {
            (Ok(few), Ok(many)) => {
                let each = many.saturating_sub(few) / (COUNTED.1 - COUNTED.0) as u64;
                instructions.insert(*name, each);
            }
            (Err(why), _) | (_, Err(why)) => eprintln!("Not counted: {name}: {why}"),
        }
    }
    Ok(Counted { by: counter.name(), instructions })
}

struct Counted {
    by: &'static str,
    instructions: BTreeMap<&'static str, u64>,
}

/// Who counts the instructions that a program takes in user space.
enum Counter {
    /// The processor, where it and the system let us.
    Perf,
    /// A machine in software: the same count each time, and dozens of times slower.
    Valgrind,
}

impl Counter {
    fn here(size: Size) -> Result<Self, String> {
        let anything = Command::new("true");
        let Err(of_perf) = Self::Perf.count(&anything) else { return Ok(Self::Perf) };
        match size {
            Size::Quick => Err(format!("{of_perf}, and valgrind is too slow for a quick run")),
            Size::Full => match Self::Valgrind.count(&anything) {
                Ok(_) => Ok(Self::Valgrind),
                Err(of_valgrind) => Err(format!("{of_perf}; {of_valgrind}")),
            },
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Perf => "perf stat",
            Self::Valgrind => "valgrind",
        }
    }

    fn arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Perf => &["perf", "stat", "--field-separator", ",", "--event", "instructions:u", "--"],
            Self::Valgrind => {
                &["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--"]
            }
        }
    }

    /// Runs a command, and returns the instructions that it took.
    fn count(&self, command: &Command) -> Result<u64, String> {
        let [counter, arguments @ ..] = self.arguments() else { unreachable!("each has a name") };
        let output = Command::new(counter)
            .args(arguments)
            .arg(command.get_program())
            .args(command.get_args())
            // Threads that compile look for each other's work, never the same number of times.
            .env("RAYON_NUM_THREADS", "1")
            .stdin(Stdio::null())
            .output()
            .map_err(|_| format!("{counter} isn't installed"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("it ends with {} under {counter}", output.status));
        }
        self.read(counter, &said)
    }

    fn read(&self, counter: &str, said: &str) -> Result<u64, String> {
        let about = match self {
            Self::Perf => "instructions",
            Self::Valgrind => "I   refs:",
        };
        let line = said.lines().find(|line| line.contains(about));
        let line = line.ok_or_else(|| format!("{counter} says nothing of them"))?;
        let value = match self {
            // Fields; the first is the value.
            Self::Perf => line.split(',').next().unwrap_or_default().to_owned(),
            // `==1== I   refs:      953,528,332`
            Self::Valgrind => line.rsplit(' ').next().unwrap_or_default().replace(',', ""),
        };
        value.parse().map_err(|_| format!("{counter} says {}", value.trim_matches(['<', '>'])))
    }
}
