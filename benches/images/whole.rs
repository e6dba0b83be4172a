//! A folder of photographs on all cores: `wasmrun run` with its defaults, and a worker in Node with sharp.

use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use wasmrun_benches::packages::Packages;
use wasmrun_benches::program::{dir_store, wasmrun};
use wasmrun_benches::report::Report;
use wasmrun_benches::rounds::{Cost, Found, Way, interleaved, micros};
use wasmrun_benches::run::Size;
use wasmrun_benches::{guests, system};

use crate::picture;

/// The photographs, which the folder has in turns.
const FILES: [&str; 3] = ["few.jpg", "some.jpg", "many.jpg"];

pub(crate) fn measure(report: &mut Report, packages: &Packages, scratch: &Path, size: Size) {
    let (rounds, photographs) = size.pick((1, 12), (3, 2_000));
    let folder = scratch.join("whole");
    let input = folder.join("in");
    fs::create_dir_all(&input).expect("a directory");
    for number in 0..photographs {
        let file = picture(scratch, FILES[number % FILES.len()]);
        fs::hard_link(file, input.join(format!("{number:04}.jpg"))).expect("another name of a photograph");
    }
    let store = dir_store("input", &input, "ro");
    let out = |name: &str, round: usize| {
        let out = folder.join(format!("{name}-{round}"));
        fs::create_dir(&out).expect("a directory");
        out
    };
    let ways = vec![
        Way::new("wasmrun, an instance for each", |round| {
            let out = out("wasmrun", round);
            let queue = format!("sqlite:{}", out.with_extension("db").display());
            let mut enqueue = wasmrun();
            enqueue.args(["enqueue", "--queue", &queue]);
            enqueue.args(["--store", store.trim_end_matches(":ro")]);
            system::output(&mut enqueue).expect("messages");
            let mut run = wasmrun();
            run.arg("run").arg(guests::path("thumbnail"));
            run.args(["--queue", &queue, "--until-empty", "--log", "error"]);
            run.args(["--store", &store, "--store", &dir_store("output", &out, "rw")]);
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
    let row = |way: &Found<Cost>| {
        json!({
            "what": way.name,
            "per_second": way.median(|cost| 1e6 / cost.wall),
            "cpu_ms": way.median(|cost| cost.cpu / 1e3),
        })
    };
    let rows = found.iter().map(row).collect();
    report.table("whole", "| | pictures a second | CPU ms each |", "what per_second:1 cpu_ms:1", rows);
    let speed = theirs.ratio(ours, |cost| cost.wall);
    let cpu = ours.ratio(theirs, |cost| cost.cpu);
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
fn worked_off(command: &mut Command, out: &Path, photographs: usize) -> Cost {
    let (cpu, began) = (system::children_cpu(), Instant::now());
    system::output(command).expect("thumbnails");
    let (wall, cpu) = (began.elapsed(), system::children_cpu() - cpu);
    let is_thumbnail = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".jpg.jpg");
    let names = fs::read_dir(out).expect("a directory").filter_map(Result::ok);
    assert_eq!(names.filter(|entry| is_thumbnail(entry.file_name())).count(), photographs);
    fs::remove_dir_all(out).expect("a directory");
    let each = |time| micros(time) / photographs as f64;
    Cost { cpu: each(cpu), wall: each(wall) }
}
