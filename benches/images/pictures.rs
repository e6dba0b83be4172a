//! Each kind of picture, on one core.

use super::contenders::{Script, Worker};
use super::picture;
use crate::shared::Packages;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::time::Duration;
use wasmrun_benches::{Found, Report, Way, interleaved, median, number};
use wasmrun_runtime::model::limits::Limits;

/// A file that `make.py` makes, what it is, and how many times sharp's CPU time a task should take at most.
pub(crate) struct Kind {
    pub(crate) file: &'static str,
    pub(crate) what: &'static str,
    target: f64,
}

const fn kind(file: &'static str, what: &'static str, target: f64) -> Kind {
    Kind { file, what, target }
}

pub(crate) const KINDS: [Kind; 10] = [
    kind("few.jpg", "12 MP JPEG, few details", 0.65),
    kind("some.jpg", "12 MP JPEG, some details", 0.65),
    kind("many.jpg", "12 MP JPEG, many details", 0.65),
    kind("few-progressive.jpg", "12 MP progressive JPEG, few details", 0.15),
    kind("some-progressive.jpg", "12 MP progressive JPEG, some details", 0.15),
    kind("many-progressive.jpg", "12 MP progressive JPEG, many details", 0.15),
    kind("24mp.jpg", "24 MP JPEG", 0.65),
    kind("2mp.jpg", "2 MP JPEG", 1.0),
    kind("2mp.png", "2 MP PNG", 1.0),
    kind("2mp.webp", "2 MP lossy WebP", 1.6),
];

pub(crate) fn measure(report: &mut Report, packages: &Packages, scratch: &Path) {
    let (rounds, cpu) = report.size.pick((1, Duration::from_millis(50)), (5, Duration::from_millis(800)));
    let worker = RefCell::new(Worker::start(scratch, "worker"));
    let sharp = RefCell::new(Script::start(packages.node("images/sharp.mjs")));
    let pillow = RefCell::new(Script::start(packages.python("images/pillow.py")));
    let rows: Vec<Value> = KINDS
        .iter()
        .map(|kind| {
            let file = picture(scratch, kind.file);
            // The first thumbnails set up what there is once. They also tell how many take so much time.
            let first = worker.borrow_mut().measure(&file, 3);
            let task_ms = number(&first, "task/cpu_ms").max(0.1);
            let count = (cpu.as_secs_f64() * 1e3 / task_ms).ceil() as usize + 2;
            let ways = [
                Way::new("wasmrun", |_| worker.borrow_mut().measure(&file, count)),
                Way::new("sharp", |_| sharp.borrow_mut().measure(&file, cpu)),
                Way::new("Pillow", |_| pillow.borrow_mut().measure(&file, cpu)),
            ];
            let found = interleaved(kind.what, rounds, ways);
            row(kind, fs::metadata(&file).expect("a picture").len(), &found)
        })
        .collect();
    let columns = "= what | MB = mb:1 | wasmrun: a second = wasmrun/per_second:0 \
        | CPU ms = wasmrun/cpu_ms:1 | of that the task = task/cpu_ms:1 \
        | sharp: a second = sharp/per_second:0 | CPU ms = sharp/cpu_ms:1 \
        | Pillow: a second = pillow/per_second:0 | CPU ms = pillow/cpu_ms:1";
    report.table("pictures", columns, rows.clone());
    let columns = "CPU time, compared with sharp's = what | task = task_ratio/median:2 \
        | range = task_ratio/range | target = target:2 | whole worker = worker_ratio/median:2 \
        | range = worker_ratio/range | Pillow = pillow_ratio/median:2";
    report.table("ratios", columns, rows.clone());
    let columns = "= what | fuel of a thumbnail = task/fuel:million \
        | thumbnails for the default fuel = thumbnails_for_default_fuel:0 \
        | memory of the guest = task/memory:size | resident at most: wasmrun = wasmrun/resident:size \
        | sharp = sharp/resident:size | Pillow = pillow/resident:size";
    report.table("memory", columns, rows);
}

fn row(kind: &Kind, bytes: u64, found: &[Found]) -> Value {
    let [wasmrun, sharp, pillow] = found else { unreachable!("three ways") };
    let figures = |way: &Found| {
        json!({
            "per_second": way.median("per_second"),
            "cpu_ms": way.median("cpu_ms"),
            "resident": way.each("resident").fold(0.0, f64::max),
        })
    };
    // CPU time, compared with sharp's.
    let ratio = |way: &Found, field: &str| {
        let pairs = way.each(field).zip(sharp.each("cpu_ms"));
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        let [least, most] = [f64::min, f64::max].map(|choose| ratios.iter().copied().reduce(choose));
        let range = format!("{:.2}–{:.2}", least.unwrap_or_default(), most.unwrap_or_default());
        json!({"median": median(ratios), "range": range})
    };
    let fuel = wasmrun.median("task/fuel");
    json!({
        "what": kind.what,
        "file": kind.file,
        "mb": bytes as f64 / 1e6,
        "target": kind.target,
        "wasmrun": figures(wasmrun),
        "sharp": figures(sharp),
        "pillow": figures(pillow),
        "task": {
            "cpu_ms": wasmrun.median("task/cpu_ms"),
            "start_ms": wasmrun.median("task/start_ms"),
            "fuel": fuel,
            "memory": wasmrun.median("task/memory"),
        },
        "task_ratio": ratio(wasmrun, "task/cpu_ms"),
        "worker_ratio": ratio(wasmrun, "cpu_ms"),
        "pillow_ratio": ratio(pillow, "cpu_ms"),
        "thumbnails_for_default_fuel": (Limits::default().fuel as f64 / fuel).floor(),
    })
}
