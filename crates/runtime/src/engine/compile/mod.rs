//! Compiles a `.wasm` file to code, once.
//!
//! Compiling is the step in which a hostile component can consume the most resources, and a compiler thread can't be
//! cancelled. So it happens in a child process (this program again) that has bounds on memory and time, has no
//! environment and can be killed. The code is kept in a [`Cache`], so that the next start doesn't compile.

#[cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "nothing is compiled"))]
mod bounds;
#[cfg(feature = "compiler")]
mod child;
mod precompiled;

pub use self::bounds::CompileLimits;
#[cfg(feature = "compiler")]
pub use self::child::{CHILD_ARGUMENT, child};

use crate::engine::CodeOptions;
use crate::engine::cache::Cache;
use std::path::PathBuf;
use wasmtime::Engine;

/// Largest component file that is read. Components with megabytes of data are common, those with hundreds of megabytes
/// aren't.
pub const MAX_COMPONENT_BYTES: u64 = 128 << 20;

/// Compiles components or takes their code from the cache, or loads precompiled code.
pub struct Compiler(Way);

#[cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "only precompiled code can be loaded"))]
enum Way {
    /// Runs this program as a child.
    InChild {
        program: PathBuf,
        limits: CompileLimits,
        cache: Option<Cache>,
    },
    InProcess,
    /// Takes precompiled code.
    Precompiled,
}

/// Compiled code and its origin.
pub(crate) struct Artefact {
    code: Vec<u8>,
    origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    #[cfg(feature = "compiler")]
    Compiled,
    /// From the cache, or from a component that was loaded before.
    Known,
    /// From a file that the user vouches for.
    Precompiled,
}

/// Why a component can't be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It isn't a component, or it's malformed.
    #[error("{0}")]
    Invalid(String),
    /// Compiling exceeds the compiler's bounds.
    #[error("{0}")]
    Bounds(String),
    /// The host failed, not the component.
    #[error("{0}")]
    Host(String),
}

impl Compiler {
    /// Compiles in a child process that runs `program`. The program must call [`child`] when its first argument is
    /// [`CHILD_ARGUMENT`]. The child ends with the thread that loads the component.
    pub fn in_child(program: PathBuf, limits: CompileLimits, cache: Option<Cache>) -> Self {
        Self(Way::InChild { program, limits, cache })
    }

    /// Compiles in this process without bounds: for trusted components in tests and benchmarks.
    pub fn in_process() -> Self {
        Self(Way::InProcess)
    }

    /// Takes files that `wasmrun compile` made of components. The code runs without checks: its author can do all that
    /// this process can.
    pub fn precompiled() -> Self {
        Self(Way::Precompiled)
    }

    /// Returns whether the input is precompiled code, which the operator vouches for.
    pub(crate) fn is_trusting(&self) -> bool {
        matches!(self.0, Way::Precompiled)
    }

    /// Returns the code of a component.
    pub(crate) async fn artefact(
        &self,
        engine: &Engine,
        code: CodeOptions,
        bytes: &[u8],
    ) -> Result<Artefact, CompileError> {
        if self.is_trusting() {
            let code = precompiled::unpack(bytes, code).map_err(CompileError::Invalid)?;
            return Ok(Artefact { code, origin: Origin::Precompiled });
        }
        check_format(bytes)?;
        self.compile(engine, code, bytes).await
    }

    /// Returns the options with which to inspect a component.
    pub(crate) fn options_of(&self, bytes: &[u8]) -> CodeOptions {
        if self.is_trusting() { precompiled::options(bytes) } else { CodeOptions::default() }
    }

    #[cfg(not(feature = "compiler"))]
    async fn compile(&self, _: &Engine, _: CodeOptions, _: &[u8]) -> Result<Artefact, CompileError> {
        Err(CompileError::Invalid(
            "this wasmrun was built without the compiler: compile it with `wasmrun compile` of another, and run that with --precompiled".into(),
        ))
    }

    #[cfg(feature = "compiler")]
    async fn compile(
        &self,
        engine: &Engine,
        code: CodeOptions,
        bytes: &[u8],
    ) -> Result<Artefact, CompileError> {
        use sha2::{Digest, Sha256};

        let key = {
            let mut hasher = Sha256::new();
            hasher.update(crate::engine::compatibility(engine));
            hasher.update(Sha256::digest(bytes));
            hasher.finalize()
        };
        let key = format!("{key:x}");
        let cache = if let Way::InChild { cache, .. } = &self.0 { cache.as_ref() } else { None };
        if let Some(code) = cache.and_then(|cache| cache.get(&key)) {
            return Ok(Artefact { code, origin: Origin::Known });
        }
        let began = std::time::Instant::now();
        let code = match &self.0 {
            Way::InChild { program, limits, .. } => {
                let memory = crate::engine::capacity::HostMemory::find();
                let bounds = bounds::Bounds::of(bytes.len() as u64, *limits, memory);
                child::compile(program, code, bounds, bytes).await?
            }
            _ => engine.precompile_component(bytes).map_err(|error| invalid(&error))?,
        };
        tracing::info!(milliseconds = began.elapsed().as_millis() as u64, "compiled the component");
        if let Some(cache) = cache {
            cache.put(&key, &code);
        }
        Ok(Artefact { code, origin: Origin::Compiled })
    }
}

impl Artefact {
    /// Takes the code of a loaded component.
    pub(crate) fn of(component: &wasmtime::component::Component) -> wasmtime::Result<Self> {
        Ok(Self { code: component.serialize()?, origin: Origin::Known })
    }

    /// Returns the size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.code.len()
    }

    /// Returns whether the code came from the cache.
    pub(crate) fn was_cached(&self) -> bool {
        self.origin == Origin::Known
    }

    /// Encodes the code as a file for [`Compiler::precompiled`].
    #[cfg(feature = "compiler")]
    pub(crate) fn pack(self, code: CodeOptions) -> Vec<u8> {
        precompiled::pack(self.code, code)
    }

    #[expect(unsafe_code, reason = "code can't be validated, only trusted")]
    pub(crate) fn load(&self, engine: &Engine) -> Result<wasmtime::component::Component, CompileError> {
        // SAFETY: the bytes come from one of four trusted sources: Wasmtime's compiler, just now, in this process or in
        // a child that runs this program; a component that was loaded before; a directory that belongs to this user and
        // that nobody else can write to; or a file that the user has vouched for. A digest shows that files are
        // complete.
        unsafe { wasmtime::component::Component::deserialize(engine, &self.code) }.map_err(|error| {
            match self.origin {
                Origin::Precompiled => CompileError::Invalid(format!(
                    "it was compiled for another CPU: compile the component again there, or with --portable ({error:#})"
                )),
                _ => CompileError::Host(format!("the compiled component cannot be loaded: {error:#}")),
            }
        })
    }
}

/// Recognises by its first bytes a file that isn't a component.
fn check_format(bytes: &[u8]) -> Result<(), CompileError> {
    let invalid = |text: &str| Err(CompileError::Invalid(text.into()));
    match bytes {
        [] => invalid("the file is empty"),
        _ if bytes.len() as u64 > MAX_COMPONENT_BYTES => Err(CompileError::Bounds(format!(
            "the file is larger than {}",
            bytesize::ByteSize(MAX_COMPONENT_BYTES)
        ))),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        _ if precompiled::is_code(bytes) => invalid("this is precompiled code: run it with --precompiled"),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => invalid("this is a core module, not a component"),
        [0, b'a', b's', b'm', ..] => {
            invalid("this is WebAssembly of a version that is not known here, or a truncated file")
        }
        _ => invalid("this is not WebAssembly"),
    }
}

/// The validator's names of the disabled features that only async components use. The decision is in
/// `docs/src/internals/decisions/async.md`.
#[cfg(feature = "compiler")]
const ASYNC_FEATURES: [&str; 3] =
    ["component model async", "component model error-context", "component model threading"];

#[cfg(feature = "compiler")]
fn invalid(error: &wasmtime::Error) -> CompileError {
    let text = error.root_cause().to_string();
    if ASYNC_FEATURES.iter().any(|feature| text.contains(&format!("the {feature} feature"))) {
        return CompileError::Invalid(
            "the component uses async functions (WASI 0.3), which this wasmrun does not offer because the engine does not isolate them yet: build it for WASI 0.2, with synchronous functions".into(),
        );
    }
    CompileError::Invalid(format!("the component is invalid: {text}"))
}

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let bytes = wat::parse_str(text).expect("a component");
        let engine = crate::engine::compiling(CodeOptions::default()).expect("an engine");
        invalid(&engine.precompile_component(&bytes).expect_err("refused")).to_string()
    }

    #[test]
    fn async_components_are_refused_by_name() {
        for text in [
            r#"(component (import "f" (func async)))"#,
            r#"(component (import "i" (instance (export "f" (func async (result string))))))"#,
            "(component (component (core func (canon task.return))))",
            "(component (core func (canon task.return)))",
            "(component (core func (canon task.cancel)))",
            "(component (core func (canon subtask.cancel)))",
            "(component (core func (canon subtask.drop)))",
            "(component (core func (canon backpressure.inc)))",
            "(component (core func (canon context.get i32 0)))",
            "(component (core func (canon thread.yield)))",
            "(component (core func (canon thread.index)))",
            "(component (core func (canon waitable-set.new)))",
            "(component (core func (canon waitable.join)))",
            "(component (type (stream u8)))",
            "(component (type (future)))",
            "(component (type error-context))",
        ] {
            let error = refused(text);
            assert!(error.contains("WASI 0.3") && !error.contains("invalid"), "{text}: {error}");
        }
    }

    #[test]
    fn other_invalid_components_are_called_invalid() {
        let error = refused("(component (core module (func (result i32))))");
        assert!(error.starts_with("the component is invalid: "), "{error}");
    }
}
