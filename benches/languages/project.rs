//! A project of `wasmrun new`, and its tasks in the real program.

use crate::shared::{dir_store, sqlite, usage, wasmrun};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmrun_benches::{cost_by, median_of, number, system};

/// Size of the text in bytes.
const TEXT: usize = 256 << 10;

/// A project that is built.
pub(crate) struct Project {
    pub(crate) lang: &'static str,
    directory: PathBuf,
    pub(crate) component: PathBuf,
    /// Its size, and what compiling it takes.
    pub(crate) figures: Value,
}

impl Project {
    /// Creates and builds a project. Returns `None` if the language's tools aren't here.
    pub(crate) fn build(
        parent: &Path,
        tools: &Path,
        lang: &'static str,
        place: Option<(&str, &str)>,
    ) -> Option<Self> {
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
        let mut inspect = wasmrun();
        inspect.current_dir(&directory).arg("inspect").arg(&component).args(["--cache", "cache"]);
        let compile = cost_by(system::children_cpu, 1, || {
            system::output(&mut inspect).expect("a component");
        });
        let figures = json!({
            "mb": fs::metadata(&component).expect("a file").len() as f64 / 1e6,
            "compile_s": number(&compile, "wall_us") / 1e6,
            "compile_cpu_s": number(&compile, "cpu_us") / 1e6,
        });
        Some(Self { lang, directory, component, figures })
    }

    /// Runs tasks of both kinds, and returns their figures.
    pub(crate) fn measure(&self, tasks: usize) -> Value {
        let short = self.run(tasks, "x");
        let long = self.run(tasks.div_ceil(10), &"a text of many words ".repeat(TEXT / 21));
        json!({
            "start_us": median_of(&short, "start_us"),
            "wall_us": median_of(&short, "wall_us"),
            "cpu_us": median_of(&short, "cpu_us"),
            "fuel": median_of(&short, "fuel"),
            "memory": median_of(&short, "peak_memory_bytes"),
            "work_us": median_of(&long, "cpu_us") - median_of(&short, "cpu_us"),
        })
    }

    /// Runs a task for each message, one after the other, and returns their lines of the usage file.
    fn run(&self, tasks: usize, body: &str) -> Vec<Value> {
        let queue = tempfile::tempdir().expect("a directory");
        let place = |name: &str| queue.path().join(name);
        let url = sqlite(&place("jobs.db"));
        fs::write(place("body"), body).expect("written");
        let body = format!("@{}", place("body").display());
        let mut enqueue = wasmrun();
        enqueue.args(["enqueue", "--queue", &url]);
        for _ in 0..tasks {
            enqueue.args(["--message", &body]);
        }
        system::output(&mut enqueue).expect("messages");
        fs::create_dir(place("out")).expect("a directory");
        let mut worker = wasmrun();
        worker.current_dir(&self.directory).arg("run").arg(&self.component).args(["--queue", &url]);
        worker.args(["--cache", "cache", "--until-empty", "--instances", "1", "--usage"]).arg(place("usage"));
        worker.args(["--store", &dir_store("output", &place("out"), "wo"), "--output-object", "output:{id}"]);
        system::output(&mut worker).expect("a worker");
        let rows = usage(&place("usage"), 0);
        assert!(rows.len() == tasks && rows.iter().all(|row| row["outcome"] == "completed"), "{rows:?}");
        rows
    }
}
