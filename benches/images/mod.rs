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

mod contenders;
mod pictures;
mod steps;
mod whole;

use crate::shared::{Packages, guests};
use std::path::{Path, PathBuf};
use wasmrun_benches::{Arguments, Report, WASMRUN, system};

pub(crate) fn measure(arguments: &Arguments) {
    let Some(packages) = Packages::find("images") else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let folder = scratch.path().join("pictures");
    std::fs::create_dir(&folder).expect("a directory");
    let mut make = packages.python("images/make.py");
    system::output(make.arg(guests::photographs()).arg(&folder)).expect("the pictures");

    let mut report = Report::new("images", arguments, &versions(&packages));
    if arguments.wants("pictures") {
        pictures::measure(&mut report, &packages, scratch.path());
    }
    if arguments.wants("steps") {
        steps::measure(&mut report, scratch.path());
    }
    if arguments.wants("whole") {
        whole::measure(&mut report, &packages, scratch.path());
    }
    report.write();
}

/// The versions of what is compared.
fn versions(packages: &Packages) -> String {
    let node = packages.node_text(
        "import sharp from 'sharp'; console.log(`sharp ${sharp.versions.sharp} (libvips ${sharp.versions.vips})`)",
    );
    let python = packages.python_text("import PIL; print('Pillow', PIL.__version__)");
    let [sharp, pillow] =
        [node, python].map(|mut command| system::output(&mut command).expect("a version").trim().to_owned());
    format!("{sharp}, {pillow}, {WASMRUN}")
}

/// A picture of the scratch folder.
fn picture(scratch: &Path, name: &str) -> PathBuf {
    scratch.join("pictures").join(name)
}
