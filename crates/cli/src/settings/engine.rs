//! Settings of the compiler and the engine.

use super::range::{at_most, check};
use super::text::{typed, written};
use super::words::one_of;
use crate::output::failure::Failure;
use bytesize::ByteSize;
use clap::Args;
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::compile::CompileLimits;

/// Minimum of `--compile-memory`. The compiler's threads take half of it before the compiler has read a component.
const MIN_COMPILE_MEMORY: ByteSize = ByteSize(64 << 20);
/// Maximum of `--threads`: a larger number is a typing error.
const MAX_THREADS: usize = 1_024;

settings! {
    /// How components are compiled and run.
    pub(crate) struct EngineSettings {
        /// Number of threads that guests compute on [default: the number of cores]
        #[arg(long, value_name = "N", env = "WASMRUN_THREADS", value_parser = typed::<NonZeroUsize>)]
        #[serde(deserialize_with = "written")]
        threads: Option<NonZeroUsize>,
        /// Allocator of instances: a pool, or the system for each instance [default: auto]
        #[arg(long, env = "WASMRUN_ALLOCATOR", value_parser = one_of::<Allocator>())]
        #[serde(deserialize_with = "written")]
        allocator: Option<Allocator>,
    }
    /// How components are compiled.
    compile: struct CompileSettings {
        /// Directory for compiled components, or off [default: wasmrun in the user's cache directory]
        #[arg(long, value_name = "DIRECTORY", env = "WASMRUN_CACHE")]
        #[serde(deserialize_with = "written")]
        pub(crate) cache: Option<PathBuf>,
        /// Trust the component as code that `wasmrun compile` wrote: it runs without validation
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_PRECOMPILED")]
        precompiled: Option<bool>,
        /// Memory limit for compiling the component [default: 256MiB plus 64 times the component's size, at
        /// most 4GiB and half of the host's memory]
        #[arg(long, value_name = "SIZE", env = "WASMRUN_COMPILE_MEMORY", value_parser = typed::<ByteSize>)]
        #[serde(deserialize_with = "written")]
        compile_memory: Option<ByteSize>,
        /// CPU time limit for compiling the component [default: 20s plus 5s for each MiB of the component]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_COMPILE_TIME", value_parser = typed::<Duration>)]
        #[serde(deserialize_with = "written")]
        compile_time: Option<Duration>,
    }
}

impl CompileSettings {
    pub(crate) fn is_precompiled(&self) -> bool {
        self.precompiled.unwrap_or(false)
    }

    pub(crate) fn compile_limits(&self) -> Result<CompileLimits, Failure> {
        if self.compile_time.is_some_and(|time| time.is_zero()) {
            return Err(Failure::usage("--compile-time 0s is too short: nothing could be compiled"));
        }
        if let Some(memory) = self.compile_memory {
            check(memory, "compile-memory", MIN_COMPILE_MEMORY..=ByteSize(u64::MAX))?;
        }
        Ok(CompileLimits {
            memory_bytes: self.compile_memory.map(|size| size.0),
            cpu_time: self.compile_time,
        })
    }
}

impl EngineSettings {
    pub(crate) fn allocator(&self) -> Allocator {
        self.allocator.unwrap_or_default()
    }

    pub(crate) fn threads(&self) -> Result<NonZeroUsize, Failure> {
        at_most(self.threads.unwrap_or_else(cores), MAX_THREADS, "threads")
    }
}

/// Returns the number of cores that this process may use.
fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
