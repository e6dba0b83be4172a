//! `wasmrun dev`: builds the guest after each change, and runs its cases or a worker on a queue.

use super::live::Live;
use super::{Done, component, print, run, start_log};
use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::flags::{CaseArgs, DevArgs};
use crate::settings::project::{PROJECT_FILE, ProjectFile};
use crate::wiring::signals::Stop;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::Hasher;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, SystemTime};
use tokio::process::Command;
use wasmrun_runtime::model::usage::Usage;

/// How often the watched files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Maximum number of watched files.
const MAX_FILES: usize = 20_000;
/// Maximum number of bytes of a file that are compared.
const MAX_BYTES: u64 = 256 << 20;
/// Directories with the output of tools, which aren't watched.
const OUTPUT: [&str; 4] = ["target", "node_modules", "__pycache__", "build"];

pub(crate) async fn dev(args: DevArgs) -> Result<ExitCode, Failure> {
    if args.task.registry.verify_key.is_some() {
        return Err(Failure::usage(
            "--verify-key is for a component in a registry, and the component of a project is a file: leave it out",
        ));
    }
    let live = args.live();
    // Without the flag, what a guest says on a queue is shown; the outcomes of tasks are shown in any case.
    let level =
        if live.is_some() { "warn,guest=info,wasmrun_runtime::worker::process=error" } else { "warn" };
    let output = start_log(&args.task.log, level)?;
    let stop = Stop::on_signals()?;
    let live = live.map(|run| Live::new(run, output.clone(), stop.clone()));
    let mut dev = Dev { cases: args.cases(), config: args.task.config.clone(), output, live };
    let result = tokio::select! {
        result = dev.watch() => result,
        () = stop.drain.cancelled() => Ok(()),
    };
    if let Some(live) = &mut dev.live {
        live.finish().await;
    }
    result.map(|()| ExitCode::SUCCESS)
}

/// What is done after each change.
struct Dev {
    cases: CaseArgs,
    /// The worker's configuration file, which is watched, too.
    config: Option<PathBuf>,
    output: Output,
    /// Runs instead of the cases.
    live: Option<Live>,
}

impl Dev {
    async fn watch(&mut self) -> Result<(), Failure> {
        let directory = self.cases.directory();
        let (mut files, mut before) = (Files::default(), BTreeMap::new());
        // A first look at all files, so that the first build and run aren't started twice.
        files.look(&self.watched(&directory)?);
        loop {
            self.round(&directory, &mut before).await?;
            self.output.line("waiting for changes");
            while !files.look(&self.watched_now(&directory)) {
                self.pause().await;
            }
            // Until an editor or a checkout has written all files.
            loop {
                self.pause().await;
                if !files.look(&self.watched_now(&directory)) {
                    break;
                }
            }
        }
    }

    /// Waits until the files are looked at again. Meanwhile, says how the worker ended.
    async fn pause(&mut self) {
        let pause = tokio::time::sleep(LOOK_EVERY);
        match &mut self.live {
            Some(live) => {
                let mut pause = std::pin::pin!(pause);
                tokio::select! {
                    () = &mut pause => {}
                    () = live.ended() => pause.await,
                }
            }
            None => pause.await,
        }
    }

    /// Builds the component, and runs the cases once or replaces the worker. A failed build or run is printed.
    async fn round(&mut self, directory: &Path, before: &mut BTreeMap<String, Usage>) -> Result<(), Failure> {
        if self.cases.component.is_none()
            && let Ok(ProjectFile { build: Some(build), .. }) = ProjectFile::read(directory)
            && !is_built(&self.output, directory, &build).await?
        {
            self.live.iter().for_each(Live::keep);
            return Ok(());
        }
        if let Some(live) = &mut self.live {
            let found =
                ProjectFile::read(directory).and_then(|project| component(&self.cases, directory, &project));
            let replaced = match found {
                Ok(component) => live.replace(&component).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = replaced {
                self.output.line(format_args!("error: {failure}"));
                live.keep();
            }
            return Ok(());
        }
        match run(&self.cases, false).await {
            Ok(done) => {
                print::lines(&self.output, &done, before);
                for Done { name, result, .. } in done {
                    if let Ok(ran) = result {
                        before.insert(name, ran.usage);
                    }
                }
            }
            Err(failure) => self.output.line(format_args!("error: {failure}")),
        }
        Ok(())
    }

    /// Returns the paths to watch. A wrong project file is a result like a failed build: it is watched, too.
    fn watched_now(&self, directory: &Path) -> Vec<PathBuf> {
        self.watched(directory).unwrap_or_else(|_| match &self.live {
            Some(_) => vec![directory.join(PROJECT_FILE)],
            None => vec![directory.to_owned()],
        })
    }

    /// Returns the paths to watch: those of the project's file, or else the whole directory; and its cases, or the
    /// worker's configuration.
    fn watched(&self, directory: &Path) -> Result<Vec<PathBuf>, Failure> {
        let mut paths = match &self.live {
            Some(_) => self.config.iter().cloned().collect(),
            None => vec![directory.join("cases")],
        };
        if let Some(component) = &self.cases.component {
            paths.push(component.clone());
            return Ok(paths);
        }
        let project = ProjectFile::read(directory)?;
        paths.push(directory.join(PROJECT_FILE));
        match (&*project.watch, &self.live) {
            ([], None) => paths.push(directory.to_owned()),
            // The queue and the stores may be in the directory, and tasks change them.
            ([], Some(_)) if project.build.is_some() => {
                return Err(Failure::usage(format!(
                    "{} has no `watch`: with --queue, name the files that are built",
                    directory.join(PROJECT_FILE).display()
                )));
            }
            (watch, _) => paths.extend(watch.iter().map(|path| directory.join(path))),
        }
        if project.build.is_none() {
            paths.extend(project.component.map(|component| directory.join(component)));
        }
        Ok(paths)
    }
}

/// Runs the project's build command, which prints to this terminal. Returns whether it succeeded.
async fn is_built(output: &Output, directory: &Path, build: &str) -> Result<bool, Failure> {
    output.line(format_args!("$ {build}"));
    let status = Command::new("sh")
        .args(["-c", build])
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| Failure::backend(format!("cannot run `sh` to build the component: {error}")))?;
    if !status.success() {
        output.line(format_args!("the build failed: {status}"));
    }
    Ok(status.success())
}

/// The watched files, as they were at the last look.
#[derive(Default)]
struct Files(BTreeMap<PathBuf, FileState>);

/// A file: what is cheap to compare, and a hash of its content. Builds write files anew that haven't changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileState {
    size: u64,
    modified: Option<SystemTime>,
    content: u64,
}

impl Files {
    /// Looks at all files at or below the paths. Returns whether one was changed, added or removed.
    fn look(&mut self, paths: &[PathBuf]) -> bool {
        let mut found = BTreeSet::new();
        paths.iter().for_each(|path| collect(path, true, &mut found));
        let mut changed = false;
        let before = self.0.len();
        self.0.retain(|path, _| found.contains(path));
        changed |= self.0.len() != before;
        for path in found {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let (size, modified) = (metadata.len(), metadata.modified().ok());
            let old = self.0.get(&path).copied();
            if old.is_some_and(|old| old.size == size && old.modified == modified) {
                continue;
            }
            let content = hash(&path);
            changed |= old.is_none_or(|old| old.content != content);
            self.0.insert(path, FileState { size, modified, content });
        }
        changed
    }
}

/// Collects the files at or below a path. Links aren't followed, and neither are hidden directories nor [`OUTPUT`]
/// below the path.
fn collect(path: &Path, is_named: bool, found: &mut BTreeSet<PathBuf>) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_output = name.starts_with('.') && name != "." && name != ".." || OUTPUT.contains(&&*name);
    if found.len() >= MAX_FILES || (!is_named && is_output && metadata.is_dir()) {
        return;
    }
    // A component is what a build writes.
    if metadata.is_file() && (is_named || !name.ends_with(".wasm")) {
        found.insert(path.to_owned());
    } else if metadata.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.for_each(|entry| collect(&entry.path(), false, found));
    }
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    let Ok(file) = fs::File::open(path) else { return 0 };
    let mut file = file.take(MAX_BYTES);
    while let Ok(read @ 1..) = file.read(&mut buffer) {
        hasher.write(&buffer[..read]);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_changed_when_its_content_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, paths) = (directory.path().join("a.txt"), [directory.path().to_owned()]);
        let mut files = Files::default();
        fs::write(&path, "one").expect("written");
        assert!(files.look(&paths) && !files.look(&paths));
        // Written anew with the same content.
        fs::write(&path, "one").expect("written");
        assert!(!files.look(&paths));
        fs::write(&path, "two!").expect("written");
        assert!(files.look(&paths) && !files.look(&paths));
        fs::remove_file(&path).expect("removed");
        assert!(files.look(&paths) && !files.look(&paths));
    }

    #[test]
    fn the_output_of_tools_is_not_watched() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut files = Files::default();
        files.look(&[directory.path().to_owned()]);
        for path in ["target/x", "node_modules/x", ".git/x", "guest.wasm"] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("created");
            fs::write(path, "x").expect("written");
            assert!(!files.look(&[directory.path().to_owned()]));
        }
        // A file that is named is watched.
        assert!(files.look(&[directory.path().join("guest.wasm")]));
    }
}
