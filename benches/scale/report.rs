//! What was found, for people and for programs.

use serde_json::json;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use wasmrun_benches::machine;

use crate::burst::{Burst, MOST};
use crate::on_sqs::OnSqs;
use crate::sweep::{Sweep, WORKLOADS};

const MIB: f64 = (1 << 20) as f64;

pub(crate) struct Report {
    pub(crate) sweeps: [Sweep; WORKLOADS.len()],
    pub(crate) burst: Burst,
    /// `None`: there was no server.
    pub(crate) on_sqs: Option<OnSqs>,
}

impl Report {
    pub(crate) fn print(&self) {
        print!("{}", self.tables());
    }

    /// Writes `scale.md` and `scale.json`.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let machine = machine::describe();
        let all =
            json!({ "machine": machine, "sweeps": self.sweeps, "burst": self.burst, "on_sqs": self.on_sqs });
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
            let Sweep { what, rounds, seconds, rows, auto_to_best, medians_to_best } = sweep;
            let _ = writeln!(
                text,
                "## Tasks that {}\n",
                if what.starts_with("wait") { what } else { "compute: a thumbnail of a photograph" }
            );
            let _ = writeln!(
                text,
                "{seconds} seconds with each number, from a worker's first moment on, {rounds} rounds in turns, each round in another order, medians.\n"
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
                "\n`auto` does {:.0} % of what the best fixed number does (the ratio of the medians; the median of the rounds' ratios is {:.0} %).\n",
                medians_to_best * 100.0,
                auto_to_best * 100.0
            );
        }
        let _ = writeln!(
            text,
            "## A burst\n\nMessages arrive at an idle worker with `--instances 0..{MOST} --scale-in-delay 2s`, and each task waits for 100 ms.\n"
        );
        let _ = writeln!(text, "{}", burst("In this process, on a queue in memory", &self.burst));
        if let Some(OnSqs { burst: on_sqs, before, after, after_to_before }) = &self.on_sqs {
            let _ = writeln!(text, "{}", burst("The program, on a server of SQS (fauxqs)", on_sqs));
            let _ = writeln!(
                text,
                "Resident memory of the idle worker: {:.1} MiB before, {:.1} MiB once it was idle again ({:+.0} %).",
                before / MIB,
                after / MIB,
                (after_to_before - 1.0) * 100.0
            );
        }
        text
    }
}

fn burst(where_it_is: &str, burst: &Burst) -> String {
    let Burst { rounds, messages, to_most, to_empty, ideal, to_least } = burst;
    format!(
        "{where_it_is}: {messages} messages, {rounds} rounds, medians.\n\n| | seconds |\n|---|---|\n\
         | until {MOST} instances are allowed | {to_most:.2} |\n\
         | until all is done | {to_empty:.2}: {:.2} times the ideal |\n\
         | ideally | {ideal:.2} |\n\
         | from then until one is allowed | {to_least:.2} |\n",
        to_empty / ideal
    )
}
