//! The same program in each language: its size, how long it takes to compile and to start, and what it needs to work.
//!
//!     cargo xtask bench languages                # writes docs/src/benchmarks/languages.md
//!     cargo xtask bench languages -- --quick     # little of each, to see that it works
//!
//! Each program is the template of `wasmrun new --kind command`, which writes its input in upper case, built as its project
//! says. They are measured in turns with [`engine::Bare`], which runs the same components without wasmrun, and with a
//! process of the language's usual interpreter that does nothing. Times of tasks are medians of tasks whose message is one
//! letter; work is the CPU time for a text of 256 KiB beyond that. Fuel and memory are exact.

mod engine;
mod project;

use self::engine::Bare;
use self::project::Project;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmrun_benches::{Arguments, Found, Report, WASMRUN, Way, cost_by, interleaved, system, with};

/// The languages, and where each one's tools are: in the folder of the tools, and in a project.
static LANGUAGES: [(&str, Option<(&str, &str)>); 5] = [
    ("c", Some(("python", ".venv"))),
    ("rust", None),
    ("go", Some(("python", ".venv"))),
    ("javascript", Some(("node/node_modules", "node_modules"))),
    ("python", Some(("python", ".venv"))),
];

pub(crate) fn measure(arguments: &Arguments) {
    let Some(tools) = std::env::var_os("WASMRUN_GUEST_TOOLS").map(PathBuf::from) else {
        return println!("Skipped: WASMRUN_GUEST_TOOLS doesn't name the tools that build guests.");
    };
    let (languages, rounds, tasks) = arguments.size.pick((&LANGUAGES[..1], 1, 2), (&LANGUAGES[..], 3, 100));
    let directory = tempfile::tempdir().expect("a directory");
    let built: Vec<Project> = languages
        .iter()
        .filter_map(|(lang, place)| Project::build(directory.path(), &tools, lang, *place))
        .collect();
    let bare: Vec<Bare> = built.iter().map(|project| Bare::new(&project.component)).collect();
    let processes: Vec<(&str, PathBuf, [&str; 2])> = [
        ("python3 -c pass", tools.join("python/bin/python3"), ["-c", "pass"]),
        ("node -e 0", PathBuf::from("node"), ["-e", "0"]),
    ]
    .into_iter()
    .filter(|(_, program, arguments)| system::output(Command::new(program).args(arguments)).is_ok())
    .collect();

    let mut ways = Vec::new();
    for (project, bare) in built.iter().zip(&bare) {
        ways.push(Way::new(project.lang, move |_| project.measure(tasks)));
        ways.push(Way::new(format!("{}, bare engine", project.lang), move |_| bare.measure(tasks)));
    }
    for (name, program, arguments) in &processes {
        ways.push(Way::new(*name, move |_| process(program, arguments, tasks.div_ceil(5))));
    }
    let found = interleaved("languages", rounds, ways);
    write(arguments, &built, &found);
}

/// Starts a process again and again, and waits for it each time.
fn process(program: &Path, arguments: &[&str], times: usize) -> Value {
    cost_by(system::children_cpu, times, || {
        for _ in 0..times {
            system::output(Command::new(program).args(arguments)).expect("a process that succeeds");
        }
    })
}

/// Writes the page. For each project there are two ways in turn, then come the processes.
fn write(arguments: &Arguments, built: &[Project], found: &[Found]) {
    let (tasks, processes) = found.split_at(2 * built.len());
    let pairs = || built.iter().zip(tasks.chunks(2));

    let mut report = Report::new("languages", arguments, WASMRUN);
    let rows = pairs().map(|(project, ways)| with(ways[0].row(), project.figures.clone()));
    let columns = "= what | component, MB = mb:2 | compile, s = compile_s:1 | CPU, s = compile_cpu_s:1 \
        | start = start_us:time | task = wall_us:time | CPU = cpu_us:time | fuel = fuel:0 \
        | memory = memory:size | 256 KiB of text, CPU = work_us:time";
    report.table("tasks", columns, rows);

    let rows = pairs().map(|(project, ways)| {
        json!({
            "what": project.lang,
            "bare_start_us": ways[1].median("start_us"),
            "start_us": ways[0].median("start_us"),
            "start_ratio": ways[0].ratio(&ways[1], "start_us"),
            "bare_cpu_us": ways[1].median("cpu_us"),
            "cpu_us": ways[0].median("cpu_us"),
            "cpu_ratio": ways[0].ratio(&ways[1], "cpu_us"),
        })
    });
    let columns = "= what | start, bare engine = bare_start_us:time | wasmrun = start_us:time \
        | ratio = start_ratio:2 | task, CPU, bare engine = bare_cpu_us:time | wasmrun = cpu_us:time \
        | ratio = cpu_ratio:2";
    report.table("engine", columns, rows);

    let slow = || pairs().filter(|(project, _)| ["javascript", "python"].contains(&project.lang));
    let rows = processes.iter().flat_map(|process| {
        slow().map(move |(project, ways)| {
            json!({
                "what": process.name,
                "than": project.lang,
                "process_us": process.median("wall_us"),
                "wall": process.ratio(&ways[0], "wall_us"),
                "process_cpu_us": process.median("cpu_us"),
                "cpu": process.ratio(&ways[0], "cpu_us"),
            })
        })
    });
    let columns = "process = what | until it has ended = process_us:time | CPU = process_cpu_us:time \
        | task in = than | time, times the task's = wall:1 | CPU = cpu:1";
    report.table("processes", columns, rows);
    report.write();
}
