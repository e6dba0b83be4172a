//! Thumbnails of photographs: the guest `thumbnail` in the worker, sharp (Node) and Pillow (Python).
//!
//!     cargo xtask bench images                             # writes docs/src/benchmarks/images.md
//!     cargo xtask bench images -- --quick                  # little of each, to see that it works
//!     cargo xtask bench images -- --only pictures          # one of the modules below, without a page
//!
//! | module | measures |
//! |---|---|
//! | [`pictures`] | each kind of picture on one core: `wasmrun run` with all its limits, and the others in memory |
//! | [`steps`] | what a task spends its time on |
//! | [`whole`] | a folder of photographs on all cores |
//!
//! Pillow makes the pictures from the demo's photographs, so that none needs to be in the repository. [`contenders`] are the
//! processes that are measured.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod contenders;
mod pictures;
mod steps;
mod whole;

use serde_json::Value;
use std::path::Path;
use wasmrun_benches::packages::Packages;
use wasmrun_benches::report::Report;
use wasmrun_benches::run::Only;
use wasmrun_benches::{guests, run, system};

fn main() {
    let Some(size) = run::size("images") else { return };
    let Some(packages) = Packages::find() else {
        println!("Skipped: sharp and Pillow aren't installed (cargo xtask bench images installs them).");
        return;
    };
    let only = Only::given();
    let scratch = tempfile::tempdir().expect("a directory");
    let folder = scratch.path().join("pictures");
    std::fs::create_dir(&folder).expect("a directory");
    let mut make = packages.python("images/make.py");
    system::output(make.arg(guests::photographs()).arg(&folder)).expect("the pictures");

    let mut report = Report::new("images", size, &versions(&packages));
    if only.wants("pictures") {
        pictures::measure(&mut report, &packages, scratch.path(), size);
    }
    if only.wants("steps") {
        steps::measure(&mut report, scratch.path(), size);
    }
    if only.wants("whole") {
        whole::measure(&mut report, &packages, scratch.path(), size);
    }
    if only.is_all() {
        report.write();
    }
}

/// The versions of what is compared.
fn versions(packages: &Packages) -> String {
    let node = packages.node_text(
        "import sharp from 'sharp'; console.log(`sharp ${sharp.versions.sharp} (libvips ${sharp.versions.vips})`)",
    );
    let python = packages.python_text("import PIL; print('Pillow', PIL.__version__)");
    let [sharp, pillow] =
        [node, python].map(|mut command| system::output(&mut command).expect("a version").trim().to_owned());
    format!("{sharp}, {pillow}, wasmrun {}", env!("CARGO_PKG_VERSION"))
}

/// A picture of the scratch folder.
pub(crate) fn picture(scratch: &Path, name: &str) -> std::path::PathBuf {
    scratch.join("pictures").join(name)
}

/// A number in a line of JSON.
pub(crate) fn number(line: &Value, field: &str) -> f64 {
    line[field].as_f64().unwrap_or_else(|| panic!("{line} has no number {field}"))
}
