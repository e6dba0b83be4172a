//! What a task spends its time on.
//!
//! From outside, only two steps can be told apart in Wasm: the worker runs the guest on files that it rejects by their first
//! bytes. An empty one costs the start, and one as large as a picture also the copy into the guest's memory. The other steps are
//! measured in a native program with the same code.

use super::contenders::Worker;
use super::picture;
use super::pictures::KINDS;
use crate::shared::guests;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmrun_benches::{Report, number, system, with};

/// How a file begins that the guest knows, but doesn't read.
const REJECTED: &[u8] = b"%PDF-1.7";
const FILES: [&str; 6] = ["few.jpg", "some.jpg", "some-progressive.jpg", "2mp.jpg", "2mp.png", "2mp.webp"];

pub(crate) fn measure(report: &mut Report, scratch: &Path) {
    let pictures: Vec<PathBuf> = FILES.iter().map(|file| picture(scratch, file)).collect();
    let native = system::output(Command::new(build()).args(&pictures)).expect("steps");
    let mut worker = Worker::start(scratch, "steps");
    let tasks = report.size.pick(5, 41);
    let mut task_ms = |file: &Path| number(&worker.measure(file, tasks), "task/cpu_ms");
    let rejected = picture(scratch, "rejected");
    fs::write(&rejected, REJECTED).expect("a file");
    let start = task_ms(&rejected);
    let rows = FILES.iter().zip(&pictures).zip(native.lines()).map(|((file, path), line)| {
        let steps: Value = serde_json::from_str(line).expect("JSON");
        let mut content = fs::read(path).expect("a picture");
        content[..REJECTED.len()].copy_from_slice(REJECTED);
        fs::write(&rejected, content).expect("a file");
        let copy = task_ms(&rejected) - start;
        let task = task_ms(path);
        let native: f64 =
            ["decode_ms", "resize_ms", "encode_ms"].map(|step| number(&steps, step)).iter().sum();
        let found = json!({
            "what": KINDS.iter().find(|kind| kind.file == *file).map(|kind| kind.what),
            "task_ms": task,
            "start_ms": start,
            "copy_ms": copy,
            "rest_ms": task - start - copy,
            "native_ms": native,
        });
        with(steps, found)
    });
    let rows: Vec<Value> = rows.collect();
    let columns = "CPU ms = what | task = task_ms:1 | start = start_ms:2 | copy in = copy_ms:2 \
        | the rest = rest_ms:1";
    report.table("outside", columns, rows.clone());
    let columns = "ms, natively = what | all = native_ms:1 | decoding = decode_ms:1 \
        | of that entropy and transform = planes_ms:1 | of that colour = pixels_ms:2 \
        | resizing = resize_ms:1 | encoding = encode_ms:1";
    report.table("steps", columns, rows);
}

/// Builds the native program, and returns its file.
fn build() -> PathBuf {
    let (mut cargo, release) = guests::native_build("guest-examples/Cargo.toml");
    system::output(cargo.args(["--package", "picture", "--example", "steps"])).expect("the native program");
    release.join("examples/steps")
}
