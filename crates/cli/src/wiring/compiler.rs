//! Opens the compiler of components and its cache.

use crate::output::failure::Failure;
use crate::settings::engine::CompileSettings;
use std::path::PathBuf;
use wasmrun_runtime::engine::cache::Cache;
use wasmrun_runtime::engine::compile::Compiler;

/// Returns the compiler, which runs this program as a child process. With `--precompiled`, nothing is compiled.
pub(crate) fn compiler(engine: &CompileSettings, cache: Option<Cache>) -> Result<Compiler, Failure> {
    if engine.is_precompiled() {
        return Ok(Compiler::precompiled());
    }
    Ok(Compiler::in_child(program()?, engine.compile_limits()?, cache))
}

/// Returns the path of this program's file.
pub(super) fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::backend(format!("this program's own file cannot be found: {error}")))
}

/// Opens the cache of compiled components. Returns `None` if it is off or not needed, or if the default
/// directory can't be used.
pub(crate) fn open_cache(engine: &CompileSettings) -> Result<Option<Cache>, Failure> {
    if engine.is_precompiled() {
        return Ok(None);
    }
    if let Some(directory) = &engine.cache {
        if directory.as_os_str() == "off" {
            return Ok(None);
        }
        return Cache::open(directory).map(Some).map_err(Failure::Backend);
    }
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            std::env::var_os("HOME")
                .filter(|home| !home.is_empty())
                .map(|home| PathBuf::from(home).join(".cache"))
        });
    let Some(base) = base else {
        tracing::warn!(
            "no home directory: the component is compiled at each start; name a directory with --cache"
        );
        return Ok(None);
    };
    match Cache::open(&base.join("wasmrun")) {
        Ok(cache) => Ok(Some(cache)),
        Err(error) => {
            // The user didn't name this directory, and a read-only home directory is common in containers.
            tracing::warn!(
                error,
                "cannot use the cache: the component is compiled at each start; name a directory with --cache"
            );
            Ok(None)
        }
    }
}
