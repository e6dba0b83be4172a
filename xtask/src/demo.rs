//! The demo: makes thumbnails of real photographs in a folder, through a queue.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    command::{self, typed},
    guests, pixels,
    places::Places,
};

const PHOTOGRAPHS: &str = "demo/photographs";
const GUEST: &str = "thumbnail";
const THUMBNAILS: &str = "demo/out";
const MAX_SIDE: &str = "320";

/// Builds what is needed, runs the two commands that a user would type, and shows the results.
///
/// # Errors
///
/// Fails if something doesn't build or one of the commands fails.
pub(crate) fn run(places: &Places) -> Result<()> {
    guests::build_example(places, GUEST)?;
    command::build_program(places)?;
    // The commands are shown with paths relative to the repository's root, and these folders are relative too.
    for folder in [places.target.join("demo"), places.root.join(THUMBNAILS)] {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut commands = [enqueue(places), process(places)];
    for command in &mut commands {
        command::run(command)?;
    }
    list(places)?;
    println!("\nBy hand:");
    for command in &commands {
        println!("  {}", typed(command));
    }
    Ok(())
}

fn enqueue(places: &Places) -> Command {
    let mut command = wasmrun(places);
    command
        .args(["enqueue", "--queue", &queue(places)])
        .args(["--store", &format!("input=dir:{PHOTOGRAPHS}")]);
    command
}

fn process(places: &Places) -> Command {
    let component = places.guests().join(GUEST).with_extension("wasm");
    let mut command = wasmrun(places);
    command
        .arg("run")
        .arg(places.typed(&component))
        .args(["--queue", &queue(places)])
        .args(["--store", &format!("input=dir:{PHOTOGRAPHS}:ro")])
        .args(["--store", &format!("output=dir:{THUMBNAILS}:rw")])
        .args(["--env", &format!("MAX_SIDE={MAX_SIDE}"), "--until-empty"]);
    command
}

fn wasmrun(places: &Places) -> Command {
    let program = places.target.join("release/wasmrun");
    let mut command = Command::new(places.typed(&program));
    // Use the terminal's log format, wherever the output goes.
    command.current_dir(&places.root).env("WASMRUN_LOG_FORMAT", "text");
    command
}

fn queue(places: &Places) -> String {
    let file = places.target.join("demo/jobs.db");
    format!("sqlite:{}", places.typed(&file).display())
}

/// Shows each thumbnail with its size in pixels and bytes.
fn list(places: &Places) -> Result<()> {
    println!("\nThumbnails in {THUMBNAILS}:");
    let folder = places.root.join(THUMBNAILS);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>())
        .with_context(|| format!("cannot list {}", folder.display()))?;
    files.retain(|path| path.is_file() && !is_hidden(path));
    files.sort();
    for path in files {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let size = match pixels::size(&bytes) {
            Some((width, height)) => format!("{width} × {height}"),
            None => "?".into(),
        };
        println!("  {name:<26} {size:>11} {:>8} bytes", bytes.len());
    }
    Ok(())
}

/// Whether a file is hidden. The store keeps its own files hidden.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}
