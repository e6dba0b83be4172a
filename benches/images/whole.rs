//! A folder of photographs on all cores: `wasmrun run` with its defaults, and a worker in Node with sharp.

use super::picture;
use crate::shared::{Packages, dir_store, enqueue, guests, sqlite, wasmrun};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use wasmrun_benches::{Found, Report, Way, cost_by, interleaved, system};

/// The photographs, which the folder has in turns.
const FILES: [&str; 3] = ["few.jpg", "some.jpg", "many.jpg"];

pub(crate) fn measure(report: &mut Report, packages: &Packages, scratch: &Path) {
    let (rounds, photographs) = report.size.pick((1, 12), (3, 2_000));
    let folder = scratch.join("whole");
    let input = folder.join("in");
    fs::create_dir_all(&input).expect("a directory");
    for number in 0..photographs {
        let file = picture(scratch, FILES[number % FILES.len()]);
        fs::hard_link(file, input.join(format!("{number:04}.jpg"))).expect("another name of a photograph");
    }
    let out = |name: &str, round: usize| {
        let out = folder.join(format!("{name}-{round}"));
        fs::create_dir(&out).expect("a directory");
        out
    };
    let ways = [
        Way::new("wasmrun, an instance for each", |round| {
            let out = out("wasmrun", round);
            let queue = sqlite(&out.with_extension("db"));
            enqueue(wasmrun(), &queue, &input, &[]);
            let mut run = wasmrun();
            run.arg("run").arg(guests::path("thumbnail"));
            run.args(["--queue", &queue, "--until-empty", "--log", "error"]);
            run.args(["--store", &dir_store("input", &input, "ro")]);
            run.args(["--store", &dir_store("output", &out, "rw")]);
            worked_off(&mut run, &out, photographs)
        }),
        Way::new("sharp in a worker of Node", |round| {
            let out = out("sharp", round);
            let mut node = packages.node("images/sharp-folder.mjs");
            node.arg(&input).arg(&out).arg(system::cores().to_string());
            worked_off(&mut node, &out, photographs)
        }),
    ];
    let found = interleaved("A folder of photographs", rounds, ways);
    let [ours, theirs] = &found[..] else { unreachable!("two ways") };
    let row = |way: &Found| {
        let (per_second, cpu_ms) = (1e6 / way.median("wall_us"), way.median("cpu_us") / 1e3);
        json!({"what": way.name, "per_second": per_second, "cpu_ms": cpu_ms})
    };
    let rows = found.iter().map(row);
    report.table("whole", "= what | pictures a second = per_second:1 | CPU ms each = cpu_ms:1", rows);
    let (speed, cpu) = (theirs.ratio(ours, "wall_us"), ours.ratio(theirs, "cpu_us"));
    report.data("whole_ratios", json!({"speed": speed, "cpu": cpu}));
    report.text(
        "whole-ratio",
        format!(
            "wasmrun makes {speed:.2} times as many pictures a second as sharp, with {cpu:.2} times the CPU time \
             (medians of the rounds' ratios)."
        ),
    );
}

/// Runs a command to its end, and checks that it made all thumbnails. Returns what a photograph cost it.
fn worked_off(command: &mut Command, out: &Path, photographs: usize) -> Value {
    let cost = cost_by(system::children_cpu, photographs, || {
        system::output(command).expect("thumbnails");
    });
    let is_thumbnail = |name: OsString| name.to_string_lossy().ends_with(".jpg.jpg");
    let names = fs::read_dir(out).expect("a directory").filter_map(Result::ok);
    assert_eq!(names.filter(|entry| is_thumbnail(entry.file_name())).count(), photographs);
    fs::remove_dir_all(out).expect("a directory");
    cost
}
