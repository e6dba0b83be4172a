//! What was found, for people and for programs.

use serde_json::json;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use wasmrun_benches::machine;

use crate::burst::{Burst, MOST};
use crate::sweep::{Sweep, WORKLOADS};

pub(crate) struct Report {
    pub(crate) sweeps: [Sweep; WORKLOADS.len()],
    pub(crate) burst: Burst,
}

impl Report {
    pub(crate) fn print(&self) {
        print!("{}", self.tables());
    }

    /// Writes `scale.md` and `scale.json`.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let machine = machine::describe();
        let all = json!({ "machine": machine, "sweeps": self.sweeps, "burst": self.burst });
        std::fs::write(folder.join("scale.json"), serde_json::to_string_pretty(&all)? + "\n")?;
        let page = format!(
            "# The number of instances\n\n\
             Measured on {} on {}. Written by `cargo xtask bench scale`, which measures all of it again; the same figures for\n\
             programs are in [scale.json](scale.json). Take the ratios, not the times.\n\n{}",
            machine.date,
            machine.description,
            self.tables()
        );
        std::fs::write(folder.join("scale.md"), page)
    }

    fn tables(&self) -> String {
        let mut text = String::new();
        for sweep in &self.sweeps {
            let Sweep { what, rounds, seconds, rows, auto_to_best } = sweep;
            let _ = writeln!(
                text,
                "## Tasks that {}\n",
                if what.starts_with("wait") { what } else { "compute: a thumbnail of a photograph" }
            );
            let _ = writeln!(
                text,
                "{seconds} seconds with each number, from a worker's first moment on, {rounds} rounds in turns, medians.\n"
            );
            let _ = writeln!(text, "| instances | tasks a second |\n|---|---|");
            for row in rows {
                let rate = row.tasks_per_second;
                let _ = match row.instances {
                    Some(instances) => writeln!(text, "| {instances} | {rate:.1} |"),
                    None => writeln!(text, "| auto: {} in the end | {rate:.1} |", row.allowed),
                };
            }
            let _ = writeln!(
                text,
                "\n`auto` does {:.0} % of what the best fixed number does (the median of the rounds' ratios).\n",
                auto_to_best * 100.0
            );
        }
        let Burst { rounds, messages, to_most, to_empty, ideal, to_least } = self.burst;
        let _ = writeln!(
            text,
            "## A burst\n\n{messages} messages arrive at an idle worker with `--instances 0..{MOST} --keep-warm 2s`, and each task waits for 100 ms; in-memory queue,\n\
             {rounds} rounds, medians.\n\n| | seconds |\n|---|---|\n\
             | until {MOST} instances are allowed | {to_most:.2} |\n\
             | until all is settled | {to_empty:.2} |\n\
             | ideally | {ideal:.2} |\n\
             | from then until one is allowed | {to_least:.2} |\n\n\
             All is settled after {:.2} times the ideal time.",
            to_empty / ideal
        );
        text
    }
}
