//! The demo: makes renditions of real photographs in a folder, through a queue, and a page that shows them.

use std::{fs, path::Path, process::Command, thread};

use anyhow::{Context, Result};

use crate::{
    command::{self, typed},
    guests,
    places::Places,
    sheet,
};

const PHOTOGRAPHS: &str = "demo/photographs";
const GUEST: &str = "image-processor";
const COMPONENT: &str = "image_processor.wasm";
const SETTINGS: &str = "demo/settings";
const OUTPUTS: &str = "demo/out";
const SHEET: &str = "index.html";

/// Builds what is needed, runs the two commands that a user would type, and shows the results.
///
/// # Errors
///
/// Fails if something doesn't build, one of the commands fails, or a photograph has no sidecar.
pub(crate) fn run(places: &Places) -> Result<()> {
    // Whoever has the program as it ships gets that one brought up to date; for others, half the time of compiling
    // matters more than the seconds of running.
    let quick = !places.target.join("release/wasmrun").exists();
    let own = places.target.join("demo");
    // At the same time: each of the two leaves a processor idle while it waits for one large crate.
    let (program, components) = thread::scope(|scope| {
        let guest = scope.spawn(|| guests::build_example(places, GUEST, quick.then(|| own.clone())));
        let program = command::build_program(places, quick);
        let components = guest.join().expect("building a guest doesn't panic");
        program.and_then(|program| Ok((program, components?)))
    })?;
    // The commands are shown with paths relative to the repository's root, and these folders are relative too.
    for folder in [own, places.root.join(OUTPUTS)] {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let component = components.join(COMPONENT);
    let mut commands = [enqueue(places, &program), process(places, &program, &component)];
    for command in &mut commands {
        command::run(command)?;
    }
    show(places)?;
    println!("\nBy hand:");
    for command in &commands {
        println!("  {}", typed(command));
    }
    if quick {
        println!(
            "\nThe program and the component were compiled quickly, and run slowly. For use: cargo build --release \
             --workspace && cargo xtask guests"
        );
    }
    Ok(())
}

fn enqueue(places: &Places, program: &Path) -> Command {
    let mut command = wasmrun(places, program);
    command
        .args(["enqueue", "--queue", &queue(places)])
        .args(["--store", &format!("input=dir:{PHOTOGRAPHS}")]);
    command
}

fn process(places: &Places, program: &Path, component: &Path) -> Command {
    let mut command = wasmrun(places, program);
    command
        .arg("run")
        .arg(places.typed(component))
        .args(["--queue", &queue(places)])
        .args(["--store", &format!("input=dir:{PHOTOGRAPHS}:ro")])
        .args(["--store", &format!("settings=dir:{SETTINGS}:ro")])
        .args(["--store", &format!("output=dir:{OUTPUTS}:rw")])
        .args(["--env", "RENDITIONS_OBJECT=settings:renditions.toml"])
        .args(["--env", "SIDECAR=yes", "--env", "SIDECAR_EXIF=yes", "--until-empty"]);
    command
}

fn wasmrun(places: &Places, program: &Path) -> Command {
    let mut command = Command::new(places.typed(program));
    // Use the terminal's log format, wherever the output goes.
    command.current_dir(&places.root).env("WASMRUN_LOG_FORMAT", "text");
    command
}

fn queue(places: &Places) -> String {
    let file = places.target.join("demo/jobs.db");
    format!("sqlite:{}", places.typed(&file).display())
}

/// Lists the outputs, as the sidecars describe them, and writes the contact sheet.
fn show(places: &Places) -> Result<()> {
    let sidecars = sheet::sidecars(&places.root.join(PHOTOGRAPHS), &places.root.join(OUTPUTS))?;
    println!("\nRenditions in {OUTPUTS}:");
    for output in sidecars.iter().flat_map(|sidecar| &sidecar.outputs) {
        let size = format!("{} × {}", output.width, output.height);
        println!("  {:<26} {size:>11} {:>8} bytes", output.key, output.bytes);
    }
    let page = places.root.join(OUTPUTS).join(SHEET);
    fs::write(&page, sheet::html(&sidecars)).with_context(|| format!("cannot write {}", page.display()))?;
    println!("\nContact sheet: {OUTPUTS}/{SHEET}");
    Ok(())
}
