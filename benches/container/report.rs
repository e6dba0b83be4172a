//! What was found, for people and for programs.

use serde::Serialize;
use serde_json::json;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use wasmrun_benches::machine;

use crate::idle::Idle;
use crate::published::{FARGATE, LAMBDA, Published, SHARES};
use crate::start::{Place, Start};

const MIB: f64 = (1 << 20) as f64;

/// A kind of start, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Started {
    pub(crate) start: Start,
    pub(crate) place: Place,
    /// Until it was ready to receive; `None`: it's no worker.
    pub(crate) ready_p50: Option<f64>,
    /// Until the first task had completed, or the version was read.
    pub(crate) p50: f64,
    pub(crate) p95: f64,
}

/// What a program's file takes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Program {
    pub(crate) what: &'static str,
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) rounds: usize,
    /// Which, with what.
    pub(crate) podman: String,
    /// The compressed archive.
    pub(crate) image_bytes: u64,
    pub(crate) programs: Vec<Program>,
    pub(crate) starts: Vec<Started>,
    pub(crate) idle: Vec<Idle>,
}

impl Report {
    pub(crate) fn print(&self) {
        print!("{}{}", self.start_table(), self.size_tables());
    }

    /// Writes `container.md` and `container.json`.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let machine = machine::describe();
        let all = json!({ "machine": machine, "container": self });
        std::fs::write(folder.join("container.json"), serde_json::to_string_pretty(&all)? + "\n")?;
        let page = format!(
            "# The container\n\n\
             Measured on {} on {}, with {}.\n\
             Written by `cargo xtask bench container`, which measures all of it again; the same figures for programs are in\n\
             [container.json](container.json). Take the ratios, not the times.\n\n{}{}{}",
            machine.date,
            machine.description,
            self.podman,
            self.start_table(),
            self.size_tables(),
            self.elsewhere()
        );
        std::fs::write(folder.join("container.md"), page)
    }

    fn find(&self, start: Start, place: Place) -> Option<&Started> {
        self.starts.iter().find(|started| started.start == start && started.place == place)
    }

    fn start_table(&self) -> String {
        let mut text = format!(
            "## From the start to the end of the first task\n\n\
             The image that ships and the example `thumbnail`, whose message for one photograph waits in the queue. {} rounds, in each of them\n\
             every start once, in another order; milliseconds. *Ready*: until the worker receives, the median.\n\n\
             | | container: p50 | p95 | ready | plain process: p50 | p95 | ready | the container's part: p50 |\n\
             |---|---|---|---|---|---|---|---|\n",
            self.rounds
        );
        for start in Start::ALL {
            if let Some(container) = self.find(start, Place::Container)
                && let Some(process) = self.find(start, Place::Process)
            {
                let (name, part) = (start.name(), container.p50 - process.p50);
                let _ = writeln!(text, "| {name} | {} | {} | {part:.0} |", cells(container), cells(process));
            }
        }
        if let Some(process) = self.find(Start::Precompiled, Place::WithoutCompiler) {
            let _ = writeln!(
                text,
                "| precompiled, program without the compiler | – | – | – | {} | – |",
                cells(process)
            );
        }
        text.push_str(
            "\n- *Container*: `podman run` with a read-only root, no capabilities, user 65532, 512 MiB, no network. The image is there already. From\n  \
               before podman is asked until the worker logs that the task completed, by the time in that line; the container's end is no part of it.\n\
             - *Plain process*: the program out of the image, with the same arguments.\n\
             - The queue is a file (`sqlite:`) and the stores are folders (`dir:`), mounted into the container: no network and no server is in these\n  \
               figures. One instance at once, which is what 512 MiB have room for.\n\
             - *Cold cache*: an empty volume. *Warm cache*: a volume that an earlier start has filled. *Precompiled*: `wasmrun compile thumbnail.wasm -o\n  \
               thumbnail.cwasm` was run before, and `run thumbnail.cwasm --precompiled` is started.\n\
             - *`wasmrun --version`* is what starting a container takes at all, here until its line is read.\n\n",
        );
        text
    }

    fn size_tables(&self) -> String {
        let mut text = format!(
            "## Sizes\n\n| | MB |\n|---|---|\n| image, the compressed archive | {:.1} |\n",
            self.image_bytes as f64 / 1e6
        );
        for Program { what, bytes } in &self.programs {
            let _ = writeln!(text, "| program {what} | {:.1} |", *bytes as f64 / 1e6);
        }
        text.push_str(
            "\nAn idle worker, two seconds after its first task, one instance; `/proc/PID/smaps_rollup`, medians of three. What isn't anonymous are pages\n\
             of files, most of them the program's, which the system can drop.\n\n\
             | worker | resident, MiB | of that anonymous, MiB |\n|---|---|---|\n",
        );
        for Idle { what, resident, anonymous } in &self.idle {
            let _ = writeln!(text, "| {what} | {:.1} | {:.1} |", resident / MIB, anonymous / MIB);
        }
        text.push('\n');
        text
    }

    /// Compares with what others have published.
    fn elsewhere(&self) -> String {
        let mut text = "## Compared with Fargate and Lambda\n\n\
             Published by others, and not measured here. The first rows are the figures above. They leave out what comes before a container\n\
             starts: finding a machine, and fetching the image. A worker on Fargate waits for both as everything there does, once; what it has in its own\n\
             hands is the size of the image and the time after it. Who starts a Fargate task for each message waits for all of it each time.\n\n\
             | | takes | source |\n|---|---|---|\n"
            .to_owned();
        for (start, what) in [
            (Start::Cold, "wasmrun in a container, to the end of the first task, compiled now"),
            (Start::Precompiled, "the same, precompiled"),
        ] {
            if let Some(found) = self.find(start, Place::Container) {
                let _ = writeln!(text, "| {what} | {:.0} ms (p95 {:.0} ms) | above |", found.p50, found.p95);
            }
        }
        for Published { what, takes, source } in FARGATE.iter().chain(&LAMBDA) {
            let _ = writeln!(text, "| {what} | {takes} | {source} |");
        }
        let _ = writeln!(text, "\n{SHARES}");
        text
    }
}

/// The columns of a place.
fn cells(Started { ready_p50, p50, p95, .. }: &Started) -> String {
    let ready = ready_p50.map_or("–".into(), |ready| format!("{ready:.0}"));
    format!("{p50:.0} | {p95:.0} | {ready}")
}
