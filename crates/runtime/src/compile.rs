//! From a `.wasm` file to code, once.
//!
//! Compiling is where a hostile component hurts, and a compiler thread can't be cancelled: so it happens in a child
//! process (this program again) with bounds on its memory and time, without an environment, and with a kill. The code
//! is kept in a [`Cache`], so that the next start doesn't compile.

use crate::cache::Cache;
use crate::engine::{self, CodeOptions};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasmtime::Engine;

/// A larger file isn't looked at. Components with megabytes of data are common, with hundreds they are not.
pub const MAX_COMPONENT_BYTES: u64 = 128 << 20;
/// The code of the largest components is some times their size.
const MAX_ARTEFACT_BYTES: u64 = 1 << 30;
/// The address space of the child: Cranelift takes some hundreds of MiB for components of tens of MiB.
const CHILD_MEMORY_BYTES: u64 = 4 << 30;
/// The time of the child, computing on all cores or waiting: large components take tens of seconds.
const CHILD_TIME: Duration = Duration::from_secs(300);
/// Its complaint is one line.
const MAX_COMPLAINT_BYTES: u64 = 4 << 10;

/// The argument that makes a program that calls [`child`] compile what it reads.
pub const CHILD_ARGUMENT: &str = "__compile";

/// Its second argument, if it is to compile so.
const DETERMINISTIC: &str = "deterministic";

/// Compiles components, or takes them from the cache.
pub struct Compiler {
    /// The program to run as a child.
    program: Option<PathBuf>,
    cache: Option<Cache>,
}

/// Code of our own making.
pub(crate) struct Artefact(Vec<u8>);

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
    /// [`CHILD_ARGUMENT`].
    pub fn in_child(program: PathBuf, cache: Option<Cache>) -> Self {
        Self { program: Some(program), cache }
    }

    /// Compiles in this process, without bounds: for components of one's own, in tests and benchmarks.
    pub fn in_process() -> Self {
        Self { program: None, cache: None }
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
            return Ok(Artefact(code));
        }
        let began = std::time::Instant::now();
        let code = match &self.program {
            Some(program) => compile_in_child(program, code, bytes).await?,
            None => engine.precompile_component(bytes).map_err(|error| invalid(&error))?,
        };
        tracing::info!(milliseconds = began.elapsed().as_millis() as u64, "Compiled the component.");
        if let Some(cache) = &self.cache {
            cache.put(&key, &code);
        }
        Ok(Artefact(code))
    }
}

impl Artefact {
    #[expect(unsafe_code, reason = "code can't be validated, only trusted")]
    pub(crate) fn load(&self, engine: &Engine) -> Result<wasmtime::component::Component, CompileError> {
        // SAFETY: the bytes were made by wasmtime's compiler just now, in this process or in a child that runs this
        // very program; or they come from a directory that belongs to this user and that nobody else can write to,
        // with a digest that shows that they are whole.
        unsafe { wasmtime::component::Component::deserialize(engine, &self.0) }
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

async fn compile_in_child(
    program: &PathBuf,
    code: CodeOptions,
    bytes: &[u8],
) -> Result<Vec<u8>, CompileError> {
    let failed = |error: io::Error| CompileError::Host(format!("the compiler process failed: {error}"));
    let mut child = tokio::process::Command::new(program)
        .arg(CHILD_ARGUMENT)
        .args(code.deterministic.then_some(DETERMINISTIC))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(CompileError::Host("the compiler process has no pipes".into()));
    };
    let (mut stdout, mut stderr) = (stdout.take(MAX_ARTEFACT_BYTES), stderr.take(MAX_COMPLAINT_BYTES));
    let mut code = Vec::new();
    let mut complaint = Vec::new();
    let talk = async {
        let feed = async {
            // A child that fails early stops reading: its complaint says why.
            let _ = stdin.write_all(bytes).await;
            drop(stdin);
            Ok(0)
        };
        tokio::try_join!(feed, stdout.read_to_end(&mut code), stderr.read_to_end(&mut complaint))?;
        child.wait().await
    };
    match tokio::time::timeout(CHILD_TIME, talk).await {
        Err(_) => Err(CompileError::Bounds(format!(
            "compiling the component takes longer than {} seconds",
            CHILD_TIME.as_secs()
        ))),
        Ok(Err(error)) => Err(failed(error)),
        Ok(Ok(status)) if status.success() => Ok(code),
        Ok(Ok(status)) => Err(child_failed(status, &String::from_utf8_lossy(&complaint))),
    }
}

fn child_failed(status: ExitStatus, complaint: &str) -> CompileError {
    if status.code() == Some(EXIT_INVALID.into()) {
        return CompileError::Invalid(complaint.trim().to_owned());
    }
    CompileError::Bounds(format!(
        "compiling the component takes more memory than {} or more time than {} seconds ({status})",
        bytesize::ByteSize(CHILD_MEMORY_BYTES),
        CHILD_TIME.as_secs()
    ))
}

/// The component is to blame; anything else is the bounds, a signal or a defect.
const EXIT_INVALID: u8 = 2;

/// The life of the child: bounds itself, reads a component from standard input, writes code to standard output.
pub fn child() -> ExitCode {
    match compile_stdin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(mut complaint) => {
            // The parent reads no more, and a full pipe would keep this process.
            let end = complaint.floor_char_boundary(MAX_COMPLAINT_BYTES as usize - 1);
            complaint.truncate(end);
            let _ = writeln!(io::stderr(), "{complaint}");
            ExitCode::from(EXIT_INVALID)
        }
    }
}

fn compile_stdin() -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    for (resource, bound) in [
        (Resource::As, CHILD_MEMORY_BYTES),
        (Resource::Cpu, CHILD_TIME.as_secs()),
        (Resource::Core, 0),
        // It opens no file and writes none.
        (Resource::Fsize, 0),
    ] {
        // A lower bound that is in force already is as good.
        let _ = setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) });
    }
    let mut bytes = Vec::new();
    io::stdin().take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let deterministic = std::env::args_os().nth(2).is_some_and(|argument| argument == DETERMINISTIC);
    let engine = engine::compiling(CodeOptions { deterministic }).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&bytes).map_err(|error| invalid(&error).to_string())?;
    io::stdout().write_all(&code).map_err(|error| error.to_string())
}
