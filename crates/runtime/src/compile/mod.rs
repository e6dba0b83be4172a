//! From a `.wasm` file to code, once.
//!
//! Compiling is where a hostile component hurts, and a compiler thread can't be cancelled: so it happens in a child
//! process (this program again) with bounds on its memory and time, without an environment, and with a kill. The code
//! is kept in a [`Cache`], so that the next start doesn't compile.

mod bounds;
mod child;

pub use self::bounds::CompileLimits;
pub use self::child::{CHILD_ARGUMENT, child};

use self::bounds::Bounds;
use crate::cache::Cache;
use crate::capacity::HostMemory;
use crate::engine::{self, CodeOptions};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use wasmtime::Engine;

/// A larger file isn't looked at. Components with megabytes of data are common, with hundreds they are not.
pub const MAX_COMPONENT_BYTES: u64 = 128 << 20;

/// Compiles components, or takes them from the cache.
pub struct Compiler {
    /// The program to run as a child.
    program: Option<PathBuf>,
    limits: CompileLimits,
    cache: Option<Cache>,
}

/// Code of our own making.
pub(crate) struct Artefact {
    code: Vec<u8>,
    was_cached: bool,
}

/// Why a component can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It's something else, or broken.
    #[error("{0}")]
    Invalid(String),
    /// It takes more than the compiler is given.
    #[error("{0}")]
    Bounds(String),
    /// The host's fault.
    #[error("{0}")]
    Host(String),
}

impl Compiler {
    /// Compiles in a child process that runs `program`, which must call [`child`] when its first argument is
    /// [`CHILD_ARGUMENT`]. The child ends with the thread that loads the component.
    pub fn in_child(program: PathBuf, limits: CompileLimits, cache: Option<Cache>) -> Self {
        Self { program: Some(program), limits, cache }
    }

    /// Compiles in this process, without bounds: for components of one's own, in tests and benchmarks.
    pub fn in_process() -> Self {
        Self { program: None, limits: CompileLimits::default(), cache: None }
    }

    /// The code of a component.
    pub(crate) async fn artefact(
        &self,
        engine: &Engine,
        code: CodeOptions,
        bytes: &[u8],
    ) -> Result<Artefact, CompileError> {
        check_format(bytes)?;
        let key = {
            let mut hasher = Sha256::new();
            hasher.update(engine::compatibility(engine));
            hasher.update(Sha256::digest(bytes));
            hasher.finalize()
        };
        let key = format!("{key:x}");
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.get(&key)) {
            return Ok(Artefact { code, was_cached: true });
        }
        let began = std::time::Instant::now();
        let code = match &self.program {
            Some(program) => {
                let bounds = Bounds::of(bytes.len() as u64, self.limits, HostMemory::find());
                child::compile(program, code, bounds, bytes).await?
            }
            None => engine.precompile_component(bytes).map_err(|error| invalid(&error))?,
        };
        tracing::info!(milliseconds = began.elapsed().as_millis() as u64, "Compiled the component.");
        if let Some(cache) = &self.cache {
            cache.put(&key, &code);
        }
        Ok(Artefact { code, was_cached: false })
    }
}

impl Artefact {
    /// What a component was loaded from.
    pub(crate) fn of(component: &wasmtime::component::Component) -> wasmtime::Result<Self> {
        Ok(Self { code: component.serialize()?, was_cached: true })
    }

    /// It came from the cache.
    pub(crate) fn was_cached(&self) -> bool {
        self.was_cached
    }

    #[expect(unsafe_code, reason = "code can't be validated, only trusted")]
    pub(crate) fn load(&self, engine: &Engine) -> Result<wasmtime::component::Component, CompileError> {
        // SAFETY: the bytes were made by wasmtime's compiler just now, in this process or in a child that runs this
        // very program; or they are those of a component that was loaded before; or they come from a directory that belongs to this user and that nobody else can write to,
        // with a digest that shows that they are whole.
        unsafe { wasmtime::component::Component::deserialize(engine, &self.code) }
            .map_err(|error| CompileError::Host(format!("the compiled component can't be loaded: {error:#}")))
    }
}

/// Tells what isn't a component by its first bytes.
fn check_format(bytes: &[u8]) -> Result<(), CompileError> {
    let invalid = |text: &str| Err(CompileError::Invalid(text.into()));
    match bytes {
        [] => invalid("the file is empty"),
        _ if bytes.len() as u64 > MAX_COMPONENT_BYTES => Err(CompileError::Bounds(format!(
            "the file is larger than {}",
            bytesize::ByteSize(MAX_COMPONENT_BYTES)
        ))),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => invalid(
            "this is a core module, not a component: build it with `cargo build --target wasm32-wasip2` or `cargo component build`",
        ),
        [0, b'a', b's', b'm', ..] => {
            invalid("this is WebAssembly of a version that isn't known here, or a truncated file")
        }
        _ => invalid("this is not WebAssembly"),
    }
}

fn invalid(error: &wasmtime::Error) -> CompileError {
    CompileError::Invalid(format!("the component is invalid: {}", error.root_cause()))
}
