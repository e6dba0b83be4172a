//! The files that no guest may write to, and that no two parts of a worker may share.

use super::backends::OpenStore;
use super::compiler::program;
use crate::output::failure::Failure;
use crate::settings::read::resolve;
use crate::settings::registry::KeySetting;
use crate::settings::source::Source;
use crate::settings::task::TaskPlan;
use std::path::{Path, PathBuf};
use wasmrun_local::is_same_file;
use wasmrun_runtime::engine::cache::Cache;

/// A path that no guest may write to, such as the component or the usage file. Otherwise a guest could change the code
/// that runs, or what the worker records of it.
pub(crate) struct Protected {
    pub(crate) what: &'static str,
    pub(crate) path: PathBuf,
}

/// Returns the paths that no guest may write to, as the components are made from them.
pub(super) fn protected_files(plan: &TaskPlan, cache: Option<&Cache>) -> Result<Vec<Protected>, Failure> {
    let mut protected = Vec::new();
    for (_, TaskPlan { component, .. }) in plan.components() {
        if let Source::File(path) = component {
            protected.push(Protected { what: "the component", path: path.clone() });
        }
    }
    let keys = plan.registry.verify_key.as_ref().and_then(KeySetting::file);
    protected.extend(keys.map(|path| Protected { what: "the file of --verify-key", path: path.to_owned() }));
    protected.push(Protected { what: "this program", path: program()? });
    protected.extend(plan.config.clone().map(|path| Protected { what: "the configuration", path }));
    if let Some(cache) = cache {
        let path = cache.directory().to_owned();
        protected.push(Protected { what: "the cache of compiled components", path });
    }
    Ok(protected)
}

/// What a file of queues is used for. Only queues may share a file: a queue and its dead-letter queue usually do.
const QUEUES: [&str; 4] = ["the queue", "the dead-letter queue", "the queue of notifications", "a queue"];

/// Refuses a file that the worker would use for two things, also if it has two names, such as hard links: SQLite keeps a
/// log for each name, so that writes by both damage the file.
pub(super) fn refuse_shared_files(files: &[Protected]) -> Result<(), Failure> {
    let resolved = |path: &Path| resolve(path).unwrap_or_else(|_| path.to_owned());
    let files: Vec<_> = files.iter().map(|file| (file.what, resolved(&file.path))).collect();
    for (index, (what, path)) in files.iter().enumerate() {
        let may_share = |other: &str| other == *what || QUEUES.contains(&other) && QUEUES.contains(what);
        let is_shared = |(other, name): &&(&str, PathBuf)| match name == path {
            true => !may_share(other),
            false => is_same_file(name, path),
        };
        if let Some((other, name)) = files[..index].iter().find(is_shared) {
            return Err(Failure::usage(format!(
                "{what} {} and {other} {} are one file: use two files",
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
        Some(Protected { what, path }) => Err(Failure::usage(format!(
            "the store {alias} is writable and holds {what} ({}): move one of them, or grant the store as ro",
            path.display()
        ))),
    }
}
