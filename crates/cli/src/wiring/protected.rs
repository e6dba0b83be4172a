//! The files that no guest may write to, and that no two parts of a worker may share.

use super::backends::OpenStore;
use super::compiler::program;
use crate::output::failure::Failure;
use crate::settings::registry::VerifyKeySetting;
use crate::settings::source::Source;
use crate::settings::task::TaskPlan;
use std::fmt;
use std::path::{Path, PathBuf};
use wasmrun_local::{is_same_file, resolve};
use wasmrun_runtime::engine::cache::Cache;

/// A path that no guest may write to, such as the component or the usage file. Otherwise a guest could change the code
/// that runs, or what the worker records of it.
pub(crate) struct Protected {
    pub(crate) used_for: FileUse,
    pub(crate) path: PathBuf,
}

/// What a file is used for, in words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileUse {
    /// A queue, which may share its file with other queues: a queue and its dead-letter queue usually do.
    Queue(&'static str),
    /// Something that needs a file of its own.
    Alone(&'static str),
}

impl fmt::Display for FileUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Queue(what) | Self::Alone(what)) = self;
        f.write_str(what)
    }
}

/// Returns the paths that no guest may write to, as the components are made from them.
pub(super) fn protected_files(plan: &TaskPlan, cache: Option<&Cache>) -> Result<Vec<Protected>, Failure> {
    let alone = |what, path| Protected { used_for: FileUse::Alone(what), path };
    let mut protected = Vec::new();
    for (_, TaskPlan { component, .. }) in plan.components() {
        if let Source::File(path) = component {
            protected.push(alone("the component", path.clone()));
        }
    }
    let keys = plan.registry.verify_key.as_ref().and_then(VerifyKeySetting::file);
    protected.extend(keys.map(|path| alone("the file of --verify-key", path.to_owned())));
    protected.push(alone("this program", program()?));
    protected.extend(plan.config.clone().map(|path| alone("the configuration", path)));
    if let Some(cache) = cache {
        protected.push(alone("the cache of compiled components", cache.directory().to_owned()));
    }
    Ok(protected)
}

/// Refuses a file that the worker would use for two things, also if it has two names, such as hard links: SQLite keeps a
/// log for each name, so that writes by both damage the file.
pub(super) fn refuse_shared_files(files: &[Protected]) -> Result<(), Failure> {
    let resolved = |path: &Path| resolve(path).unwrap_or_else(|_| path.to_owned());
    let files: Vec<_> = files.iter().map(|file| (file.used_for, resolved(&file.path))).collect();
    for (index, (used_for, path)) in files.iter().enumerate() {
        let may_share = |other: &FileUse| match (other, used_for) {
            (FileUse::Queue(_), FileUse::Queue(_)) => true,
            _ => other == used_for,
        };
        let is_shared = |(other, name): &&(FileUse, PathBuf)| match name == path {
            true => !may_share(other),
            false => is_same_file(name, path),
        };
        if let Some((other, name)) = files[..index].iter().find(is_shared) {
            return Err(Failure::usage(format!(
                "{used_for} {} and {other} {} are one file: use two files",
                path.display(),
                name.display()
            )));
        }
    }
    Ok(())
}

/// Refuses a store that a guest may write to and that holds a protected file.
pub(super) fn refuse_protected(
    alias: &str,
    store: &OpenStore,
    protected: &[Protected],
) -> Result<(), Failure> {
    match protected.iter().find(|protected| store.contains(&protected.path)) {
        None => Ok(()),
        Some(Protected { used_for, path }) => Err(Failure::usage(format!(
            "the store {alias} is writable and holds {used_for} ({}): move one of them, or grant the store as ro",
            path.display()
        ))),
    }
}
