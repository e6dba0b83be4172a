//! Builds the program of the container image. It is linked statically, because the image has no libraries.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{self, on_path, quiet},
    image::Source,
    places::Places,
    sbom::Part,
};

/// A processor architecture that the image is built for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Processor {
    /// Name in container images.
    pub(crate) image: &'static str,
    /// Name in Rust targets.
    rust: &'static str,
    /// `e_machine` in ELF files.
    elf: u16,
}

const PROCESSORS: [Processor; 2] = [
    Processor { image: "amd64", rust: "x86_64", elf: 62 },
    Processor { image: "arm64", rust: "aarch64", elf: 183 },
];

/// A program that needs no libraries, with a description.
pub(crate) struct Program {
    pub(crate) file: PathBuf,
    pub(crate) processor: &'static Processor,
    /// Rust target that it was compiled for.
    pub(crate) target: String,
    /// Its parts that aren't crates.
    pub(crate) parts: Vec<Part>,
}

impl Program {
    /// Takes a program that was built before, maybe on another machine and for another processor.
    ///
    /// # Errors
    ///
    /// Fails if it isn't a static program for a processor that the image is built for.
    pub(crate) fn take(file: &Path) -> Result<Self> {
        let (file, processor) = (file.to_owned(), examine(file)?);
        Ok(Self { file, processor, target: processor.target("gnu"), parts: Vec::new() })
    }

    /// Builds the program for this machine's processor, with musl if rustc and a C compiler support it, otherwise with
    /// glibc.
    ///
    /// The glibc build compiles the same code as the ordinary build but links it differently, to the same file. The
    /// next ordinary build links that file again. Name resolution and certificates work without glibc's plug-ins: since
    /// 2.34 those for files and DNS are part of glibc.
    pub(crate) fn build(places: &Places, source: &Source) -> Result<Self> {
        let here = PROCESSORS.iter().find(|processor| processor.rust == env::consts::ARCH);
        let here = here.with_context(|| format!("there is no image for {} yet", env::consts::ARCH))?;
        let musl = has_musl(here)?;
        let target = here.target(if musl { "musl" } else { "gnu" });
        let mut cargo = command::cargo(places);
        cargo.args(["rustc", "--release", "--package", "wasmrun-worker", "--bin", "wasmrun"]);
        // Shown by --version --verbose.
        cargo.env("WASMRUN_REVISION", &source.revision).env("WASMRUN_COMMITTED", &source.time);
        if musl {
            cargo.args(["--target", &target]);
        }
        // Function names are for debuggers, and take half of the file.
        cargo.args(["--", "-Ctarget-feature=+crt-static", "-Cstrip=symbols"]);
        if can_merge(places, &target)? {
            cargo.arg(MERGE);
        }
        command::run(&mut cargo)
            .context("cannot build a static program (glibc's static library is in Debian's libc6-dev)")?;
        let folder = if musl { places.target.join(&target) } else { places.target.clone() };
        let file = folder.join("release/wasmrun");
        let (package, licence) = if musl { ("musl-dev", "MIT") } else { ("libc6-dev", "LGPL-2.1-or-later") };
        let parts = [Some(Part::standard_library()?), Part::of_debian(package, licence)];
        let processor = examine(&file)?;
        Ok(Self { file, processor, target, parts: parts.into_iter().flatten().collect() })
    }
}

impl Processor {
    fn target(&self, library: &str) -> String {
        format!("{}-unknown-linux-{library}", self.rust)
    }
}

/// Makes the linker merge functions with the same code, mostly instances of the same generic function in several crates:
/// the program is a twelfth smaller, and compiles as before. Functions whose landing pads differ are kept apart. Rust
/// promises no function an address of its own.
const MERGE: &str = "-Clink-arg=-Wl,--icf=all";

/// Returns whether the linker can [`MERGE`]: LLD can, which rustc takes for x86-64 with glibc; GNU's can't.
fn can_merge(places: &Places, target: &str) -> Result<bool> {
    let folder = places.target.join("image");
    fs::create_dir_all(&folder)?;
    let [source, program] = ["empty.rs", "empty"].map(|name| folder.join(name));
    fs::write(&source, "fn main() {}")?;
    let mut rustc = Command::new("rustc");
    rustc.args(["--target", target, MERGE, "-o"]).arg(program).arg(source);
    Ok(quiet(&mut rustc).is_ok())
}

/// Whether rustc has a standard library for musl, and whether there is a C compiler for it, which SQLite needs.
fn has_musl(processor: &Processor) -> Result<bool> {
    let target = processor.target("musl");
    let folder = quiet(Command::new("rustc").args(["--print", "target-libdir", "--target", &target]))?;
    Ok(Path::new(folder.trim()).is_dir() && on_path("musl-gcc").is_some())
}

fn examine(file: &Path) -> Result<&'static Processor> {
    let program = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    processor_of(&program).with_context(|| format!("{} does not fit into the image", file.display()))
}

/// Reads the headers of a 64-bit ELF file. Returns its processor, and fails if it names a dynamic linker.
fn processor_of(program: &[u8]) -> Result<&'static Processor> {
    /// Type of the program header that names the dynamic linker (`PT_INTERP`).
    const INTERPRETER: u64 = 3;
    // ELF numbers here are little-endian.
    let number = |at: usize, size: usize| {
        let bytes = program.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    };
    if !program.starts_with(b"\x7fELF\x02\x01") {
        bail!("it is no ELF program of 64 bits");
    }
    let machine = number(18, 2);
    let known = PROCESSORS.iter().find(|processor| Some(u64::from(processor.elf)) == machine);
    let known = known.context("there is no image for its processor yet")?;
    let headers = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let (first, size, count) = headers().context("it ends within its header")?;
    for index in 0..count {
        let at = index.checked_mul(size).and_then(|offset| first.checked_add(offset));
        let kind = at.and_then(|at| number(usize::try_from(at).ok()?, 4));
        if kind.context("it ends within its headers")? == INTERPRETER {
            bail!("it is linked dynamically, and there are no libraries in the image");
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::processor_of;
    use crate::{
        command::{cargo, quiet},
        places::Places,
    };
    use std::collections::{BTreeMap, BTreeSet};

    /// The packages that are compiled for some selection of the workspace's, each with its sets of features.
    fn features(selection: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        let mut command = cargo(&Places::find().expect("places"));
        command.args(["tree", "--locked", "--prefix=none", "--format={p}\t{f}"]);
        let mut packages = BTreeMap::<_, BTreeSet<_>>::new();
        for line in quiet(command.args(selection)).expect("a tree").lines() {
            // An empty line is between the workspace's packages.
            let Some((package, features)) = line.trim_end_matches(" (*)").split_once('\t') else { continue };
            packages.entry(package.to_owned()).or_default().insert(features.to_owned());
        }
        packages
    }

    /// Otherwise the image, which needs the program alone, or the tests take minutes more to compile.
    #[test]
    fn the_program_alone_the_workspace_and_the_tests_share_what_they_compile() {
        let alone = features(&["--package", "wasmrun-worker", "--edges=normal,build"]);
        let workspace = features(&["--workspace", "--edges=normal,build"]);
        let tests = features(&["--workspace", "--edges=all"]);
        assert!(alone.len() > 100);
        for (package, features) in &alone {
            assert_eq!([features; 2], [&workspace[package], &tests[package]], "{package}");
        }
    }

    /// Creates the headers of an ELF file with one program header of this type.
    fn elf(machine: u16, kind: u32) -> Vec<u8> {
        let mut program = vec![0; 64];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        program[18..20].copy_from_slice(&machine.to_le_bytes());
        program[32] = 64;
        program[54] = 56;
        program[56] = 1;
        program.extend(kind.to_le_bytes());
        program.extend([0; 52]);
        program
    }

    #[test]
    fn a_program_tells_its_processor() {
        for (machine, name) in [(62, "amd64"), (183, "arm64")] {
            assert_eq!(processor_of(&elf(machine, 1)).expect("a program").image, name);
        }
    }

    #[test]
    fn what_cannot_run_in_the_image_is_refused_with_the_reason() {
        let mut short = elf(62, 1);
        short.truncate(64);
        for (program, reason) in [
            (elf(62, 3), "linked dynamically"),
            (elf(243, 1), "processor"),
            (b"#!/bin/sh\n".to_vec(), "no ELF"),
            (short, "ends within"),
        ] {
            let error = processor_of(&program).expect_err("must be refused");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
