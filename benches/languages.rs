//! The same program in each language: its size, how long it takes to compile and to start, and what it needs to work.
//!
//!     cargo xtask bench languages
//!
//! Each program is the template of `wasmrun new --kind command`, which writes its input in upper case, built as its project
//! says. The languages are measured in turns. A start is the median time of a task whose message is one letter; work is
//! the CPU time for a text of 256 KiB beyond that of a start. Fuel and memory are exact.

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use wasmrun_benches::program::{dir_store, wasmrun};
use wasmrun_benches::rounds::{Way, interleaved, median};
use wasmrun_benches::{report, run, system};

/// The languages, and where each one's tools are: in the folder of the tools, and in a project.
static LANGUAGES: [(&str, Option<(&str, &str)>); 5] = [
    ("c", Some(("python", ".venv"))),
    ("rust", None),
    ("go", Some(("python", ".venv"))),
    ("javascript", Some(("node/node_modules", "node_modules"))),
    ("python", Some(("python", ".venv"))),
];
/// Size of the text in bytes.
const TEXT: usize = 256 << 10;

#[allow(clippy::print_stderr, reason = "a benchmark says why it measures nothing")]
fn main() {
    let Some(size) = run::size("languages") else { return };
    let Some(tools) = std::env::var_os("WASMRUN_GUEST_TOOLS").map(PathBuf::from) else {
        eprintln!("languages: skipped, as WASMRUN_GUEST_TOOLS doesn't name the tools that build guests");
        return;
    };
    let (languages, rounds, tasks) = size.pick((&LANGUAGES[..1], 1, 2), (&LANGUAGES[..], 5, 100));
    let directory = tempfile::tempdir().expect("a directory");
    let built: Vec<Project> = languages
        .iter()
        .filter_map(|(lang, place)| Project::build(directory.path(), &tools, lang, *place))
        .collect();
    let ways = built.iter().map(|project| Way::new(project.lang, move |_| project.measure(tasks))).collect();
    let found = interleaved("languages", rounds, ways);
    let rows: Vec<Value> = built
        .iter()
        .zip(&found)
        .map(|(project, found)| {
            let of =
                |field: &str| median(found.rounds.iter().map(|row| row[field].as_f64().expect("a number")));
            json!({
                "what": project.lang,
                "kb": project.bytes as f64 / 1e3,
                "compile_s": project.compile_s,
                "start_us": of("start_us"),
                "fuel": of("fuel"),
                "mib": of("memory") / f64::from(1 << 20),
                "work_ms": of("work_us") / 1e3,
            })
        })
        .collect();
    let headings = "| | kB | compile s | start µs | fuel | MiB | 256 KiB, ms |";
    let fields = "what kb:0 compile_s:1 start_us:0 fuel:0 mib:1 work_ms:1";
    report::print("A program that writes its input in upper case.", headings, fields, &rows);
}

/// A project that is built.
struct Project {
    lang: &'static str,
    directory: PathBuf,
    component: PathBuf,
    bytes: u64,
    compile_s: f64,
}

impl Project {
    /// Creates and builds a project. Returns `None` if the language's tools aren't here.
    #[allow(clippy::print_stderr, reason = "a benchmark says what it leaves out")]
    fn build(parent: &Path, tools: &Path, lang: &'static str, place: Option<(&str, &str)>) -> Option<Self> {
        let directory = parent.join(lang);
        let mut new = wasmrun();
        system::output(new.current_dir(parent).args(["new", lang, "--lang", lang, "--kind", "command"]))
            .expect("a project");
        if let Some((tool, link)) = place {
            symlink(tools.join(tool), directory.join(link)).expect("linked");
        }
        let file = fs::read_to_string(directory.join("guest.toml")).expect("a file");
        let value = |key: &str| {
            let line =
                file.lines().find_map(|line| line.strip_prefix(&format!("{key} = \""))).expect("a key");
            line.trim_end_matches('"').to_owned()
        };
        if lang == "rust" {
            // The toolchain that builds this benchmark.
            fs::remove_file(directory.join("rust-toolchain.toml")).expect("removed");
        }
        let mut build = Command::new("sh");
        build.current_dir(&directory).env_remove("CARGO_TARGET_DIR").args(["-euc", &value("build")]);
        if let Err(error) = system::output(&mut build) {
            eprintln!("languages: {lang} is left out: {error}");
            return None;
        }
        let component = directory.join(value("component"));
        let began = Instant::now();
        let mut inspect = wasmrun();
        system::output(
            inspect.current_dir(&directory).arg("inspect").arg(&component).args(["--cache", "cache"]),
        )
        .expect("a component");
        let bytes = fs::metadata(&component).expect("a file").len();
        Some(Self { lang, directory, component, bytes, compile_s: began.elapsed().as_secs_f64() })
    }

    /// Runs tasks of both kinds, and returns their figures.
    fn measure(&self, tasks: usize) -> Value {
        let short = self.run(tasks, "x");
        let long = self.run(tasks.div_ceil(10), &"a text of many words ".repeat(TEXT / 21));
        let of = |summary: &Value, field: &str| summary[field].as_f64().expect("a number");
        json!({
            "start_us": of(&short, "wall_us_p50"),
            "fuel": of(&short, "fuel_p50"),
            "memory": of(&short, "peak_memory_bytes_p50"),
            "work_us": of(&long, "cpu_us_p50") - of(&short, "cpu_us_p50"),
        })
    }

    /// Runs a task for each message, one after the other, and returns the summary.
    fn run(&self, tasks: usize, body: &str) -> Value {
        let queue = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", queue.path().join("jobs.db").display());
        fs::write(queue.path().join("body"), body).expect("written");
        let body = format!("@{}", queue.path().join("body").display());
        let mut enqueue = wasmrun();
        enqueue.args(["enqueue", "--queue", &url]);
        for _ in 0..tasks {
            enqueue.args(["--message", &body]);
        }
        system::output(&mut enqueue).expect("messages");
        let output = queue.path().join("out");
        fs::create_dir(&output).expect("a directory");
        let mut worker = wasmrun();
        worker.current_dir(&self.directory).arg("run").arg(&self.component).args(["--queue", &url]);
        worker.args(["--cache", "cache", "--until-empty", "--instances", "1", "--log-format", "json"]);
        worker.args(["--store", &dir_store("output", &output, "wo"), "--output-object", "output:{id}"]);
        let ended = worker.output().expect("a worker");
        let log = String::from_utf8_lossy(&ended.stderr).into_owned();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let summary = lines.find(|line| line["message"] == "summary");
        let summary = summary.unwrap_or_else(|| panic!("no summary: {log}"));
        assert_eq!(summary["completed"], tasks, "{log}");
        summary
    }
}
