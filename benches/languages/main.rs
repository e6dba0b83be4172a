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
use wasmrun_benches::report::Report;
use wasmrun_benches::rounds::{Found, Way, cost, interleaved, median};
use wasmrun_benches::run::{self, Size};
use wasmrun_benches::system;

/// The languages, and where each one's tools are: in the folder of the tools, and in a project.
static LANGUAGES: [(&str, Option<(&str, &str)>); 5] = [
    ("c", Some(("python", ".venv"))),
    ("rust", None),
    ("go", Some(("python", ".venv"))),
    ("javascript", Some(("node/node_modules", "node_modules"))),
    ("python", Some(("python", ".venv"))),
];

#[allow(clippy::print_stderr, reason = "a benchmark says why it measures nothing")]
fn main() {
    let Some(size) = run::size("languages") else { return };
    let Some(tools) = std::env::var_os("WASMRUN_GUEST_TOOLS").map(PathBuf::from) else {
        eprintln!("languages: skipped, as WASMRUN_GUEST_TOOLS doesn't name the tools that build guests");
        return;
    };
    let (languages, rounds, tasks) = size.pick((&LANGUAGES[..1], 1, 2), (&LANGUAGES[..], 3, 100));
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

    let mut ways: Vec<Way<'_, Value>> = Vec::new();
    for (project, bare) in built.iter().zip(&bare) {
        ways.push(Way::new(project.lang, move |_| project.measure(tasks)));
        ways.push(Way::new(format!("{}, bare engine", project.lang), move |_| bare.measure(tasks)));
    }
    for (name, program, arguments) in &processes {
        ways.push(Way::new(*name, move |_| process(program, arguments, tasks.div_ceil(5))));
    }
    let found = interleaved("languages", rounds, ways);
    write(size, &built, &found);
}

/// Starts a process again and again, and waits for it each time.
fn process(program: &Path, arguments: &[&str], times: usize) -> Value {
    let before = system::children_cpu();
    let wall = cost(times, || {
        for _ in 0..times {
            system::output(Command::new(program).args(arguments)).expect("a process that succeeds");
        }
    })
    .wall;
    let cpu = (system::children_cpu() - before).as_secs_f64() * 1e6 / times as f64;
    json!({ "wall_us": wall, "cpu_us": cpu })
}

/// Writes the page. For each project there are two ways in turn, then come the processes.
fn write(size: Size, built: &[Project], found: &[Found<Value>]) {
    let (tasks, processes) = found.split_at(2 * built.len());
    let of = |way: &Found<Value>, field: &str| way.median(|round| round[field].as_f64().expect("a number"));
    let ratio = |way: &Found<Value>, to: &Found<Value>, field: &str| {
        way.ratio(to, |round| round[field].as_f64().expect("a number"))
    };
    let pairs = || built.iter().zip(tasks.chunks(2));

    let mut report = Report::new("languages", size, &format!("wasmrun {}", env!("CARGO_PKG_VERSION")));
    let rows = pairs().map(|(project, ways)| {
        json!({
            "what": project.lang,
            "mb": project.bytes as f64 / 1e6,
            "compile_s": project.compile_s,
            "compile_cpu_s": project.compile_cpu_s,
            "start_us": of(&ways[0], "start_us"),
            "wall_us": of(&ways[0], "wall_us"),
            "cpu_us": of(&ways[0], "cpu_us"),
            "fuel": of(&ways[0], "fuel"),
            "memory": of(&ways[0], "memory"),
            "work_us": of(&ways[0], "work_us"),
        })
    });
    let headings = "| | component, MB | compile, s | CPU, s | start | task | CPU | fuel | memory | 256 KiB of text, CPU |";
    let fields = "what mb:2 compile_s:1 compile_cpu_s:1 start_us:time wall_us:time cpu_us:time fuel:0 memory:size work_us:time";
    report.table("tasks", headings, fields, rows.collect());

    let rows = pairs().map(|(project, ways)| {
        json!({
            "what": project.lang,
            "bare_start_us": of(&ways[1], "start_us"),
            "start_us": of(&ways[0], "start_us"),
            "start_ratio": ratio(&ways[0], &ways[1], "start_us"),
            "bare_cpu_us": of(&ways[1], "cpu_us"),
            "cpu_us": of(&ways[0], "cpu_us"),
            "cpu_ratio": ratio(&ways[0], &ways[1], "cpu_us"),
        })
    });
    let headings = "| | start, bare engine | wasmrun | ratio | task, CPU, bare engine | wasmrun | ratio |";
    let fields =
        "what bare_start_us:time start_us:time start_ratio:2 bare_cpu_us:time cpu_us:time cpu_ratio:2";
    report.table("engine", headings, fields, rows.collect());

    let rows = processes.iter().flat_map(|process| {
        pairs().filter(|(project, _)| ["javascript", "python"].contains(&project.lang)).map(
            move |(project, ways)| {
                json!({
                    "what": process.name,
                    "than": project.lang,
                    "process_us": of(process, "wall_us"),
                    "wall": ratio(process, &ways[0], "wall_us"),
                    "process_cpu_us": of(process, "cpu_us"),
                    "cpu": ratio(process, &ways[0], "cpu_us"),
                })
            },
        )
    });
    let headings = "| process | until it has ended | CPU | task in | time, times the task's | CPU |";
    let fields = "what process_us:time process_cpu_us:time than wall:1 cpu:1";
    report.table("processes", headings, fields, rows.collect());
    report.write();
}

/// The median of a field of rows.
fn middle(rows: &[Value], field: &str) -> f64 {
    median(rows.iter().map(|row| row[field].as_f64().expect("a number")))
}
