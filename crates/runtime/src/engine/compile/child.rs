//! The compiling child process: how it's confined, and both sides of the communication with it.
//!
//! It has only three pipes to its parent and can open nothing else. It has no environment and can't gain privileges,
//! and the system enforces its [`Bounds`]. It ends with its parent, and is the first process that the OOM killer ends.

use super::bounds::Bounds;
use super::{CompileError, MAX_COMPONENT_BYTES, invalid};
use crate::engine::{self, CodeOptions};
use bytesize::ByteSize;
use rustix::process::{Resource, Rlimit, Signal};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Maximum number of bytes that are read of the child's error message, which is one line.
const MAX_COMPLAINT_BYTES: u64 = 4 << 10;
/// Maximum number of threads. Each compiles a function at a time; further threads take more memory and help less.
const MAX_THREADS: usize = 8;
/// Exit status if the component is invalid. Any other failure comes from the bounds, a signal or a defect.
const EXIT_INVALID: u8 = 2;

/// The argument with which a program that calls [`child`] compiles its standard input.
pub const CHILD_ARGUMENT: &str = "__compile";
/// Optional last arguments of the child, which set its [`CodeOptions`].
const DETERMINISTIC: &str = "deterministic";
const PORTABLE: &str = "portable";

/// Compiles in a child of this thread. The thread must live until the child has ended.
pub(super) async fn compile(
    program: &Path,
    code: CodeOptions,
    bounds: Bounds,
    bytes: &[u8],
) -> Result<Vec<u8>, CompileError> {
    let failed = |error: io::Error| CompileError::Host(format!("the compiler process failed: {error}"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let mut child = tokio::process::Command::new(program)
        .arg(CHILD_ARGUMENT)
        .arg(bounds.memory_bytes.to_string())
        .arg(bounds.cpu_seconds.to_string())
        .arg(std::process::id().to_string())
        .args(code.deterministic.then_some(DETERMINISTIC))
        .args(code.portable.then_some(PORTABLE))
        .env_clear()
        .env("RAYON_NUM_THREADS", threads.to_string())
        .current_dir("/")
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
    let talk = async {
        let feed = async {
            // A child that fails early stops reading; its error message says why.
            let _ = stdin.write_all(bytes).await;
            drop(stdin);
            Ok(())
        };
        let complain = async {
            let mut complaint = Vec::new();
            stderr.take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint).await.map_err(failed)?;
            Ok(complaint)
        };
        let ((), code, complaint) = tokio::try_join!(feed, receive(stdout, bounds), complain)?;
        Ok((code, complaint, child.wait().await.map_err(failed)?))
    };
    let (code, complaint, status) = tokio::time::timeout(bounds.wall_time(), talk)
        .await
        .map_err(|_| too_long(&format!("{} seconds", bounds.wall_time().as_secs())))??;
    if status.success() {
        Ok(code)
    } else {
        Err(explain(status, &String::from_utf8_lossy(&complaint), bounds))
    }
}

async fn receive(stdout: impl AsyncRead + Unpin, bounds: Bounds) -> Result<Vec<u8>, CompileError> {
    let most = bounds.code_bytes();
    let mut code = Vec::new();
    let received = stdout.take(most + 1).read_to_end(&mut code).await;
    match received {
        Err(error) => Err(CompileError::Host(format!("the compiler process failed: {error}"))),
        Ok(_) if code.len() as u64 > most => Err(too_much(&format!("{} of code", iec(most)))),
        Ok(_) => Ok(code),
    }
}

fn explain(status: ExitStatus, complaint: &str, bounds: Bounds) -> CompileError {
    let by = |signal: Signal| status.signal() == Some(signal.as_raw());
    if status.code() == Some(EXIT_INVALID.into()) {
        CompileError::Invalid(complaint.trim().to_owned())
    } else if by(Signal::XCPU) {
        too_long(&format!("{} seconds of computing", bounds.cpu_seconds))
    } else if by(Signal::KILL) {
        // Not the bound on memory, which fails an allocation. The child is the first that the OOM killer ends.
        CompileError::Host(format!(
            "the system killed the compiler, which may take {} of memory and had not reached that: the host or its container is short of memory; free some, or compile elsewhere with `wasmrun compile`",
            iec(bounds.memory_bytes)
        ))
    } else if (by(Signal::ABORT) && complaint.contains("memory allocation"))
        // The memory doesn't even suffice for the threads' stacks.
        || complaint.contains("ThreadPoolBuildError")
    {
        too_much(&format!("{} of memory", iec(bounds.memory_bytes)))
    } else {
        tracing::warn!(%status, complaint, "the compiler failed");
        CompileError::Invalid(format!("the compiler fails on the component ({status})"))
    }
}

fn too_much(what: &str) -> CompileError {
    CompileError::Bounds(format!(
        "compiling the component takes more than {what}: raise --compile-memory to allow more"
    ))
}

fn too_long(what: &str) -> CompileError {
    CompileError::Bounds(format!(
        "compiling the component takes longer than {what}: raise --compile-time to allow more"
    ))
}

fn iec(bytes: u64) -> impl std::fmt::Display {
    ByteSize(bytes).display().iec()
}

/// Runs the child: confines itself, reads a component from standard input, writes code to standard output.
pub fn child() -> ExitCode {
    match confine().and_then(compile_stdin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(mut complaint) => {
            // The parent reads no further, and a full pipe would block this process.
            let end = complaint.floor_char_boundary(MAX_COMPLAINT_BYTES as usize - 1);
            complaint.truncate(end);
            let _ = writeln!(io::stderr(), "{complaint}");
            ExitCode::from(EXIT_INVALID)
        }
    }
}

/// Drops everything that compiling doesn't need, before the component is read.
fn confine() -> Result<CodeOptions, String> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let number = |index: usize| arguments.get(index).and_then(|argument| argument.parse::<u64>().ok());
    let (Some(memory_bytes), Some(cpu_seconds), Some(parent)) = (number(0), number(1), number(2)) else {
        return Err("this command is wasmrun's own".into());
    };
    let refused = |error: rustix::io::Errno| format!("the compiler process cannot confine itself: {error}");

    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(refused)?;
    // The parent may have ended before the signal was set.
    if rustix::process::getppid().map(|pid| u64::from(pid.as_raw_nonzero().get().unsigned_abs()))
        != Some(parent)
    {
        return Err("the process that wanted the component is gone".into());
    }
    rustix::thread::set_no_new_privs(true).map_err(refused)?;
    // When the host's memory is short, this process is to be killed first. Some sandboxes don't allow the write.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    for (resource, current, maximum) in [
        // Allocations, including threads' stacks. A limit on address space would also count what the allocator only
        // reserves.
        (Resource::Data, memory_bytes, memory_bytes),
        // The first signal identifies the reason; the second can't be ignored.
        (Resource::Cpu, cpu_seconds, cpu_seconds + 1),
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        // Standard input, output and error: no further file or socket can be opened.
        (Resource::Nofile, 3, 3),
    ] {
        let held = rustix::process::getrlimit(resource);
        let lower = |new: u64, held: Option<u64>| Some(held.map_or(new, |held| held.min(new)));
        let new = Rlimit { current: lower(current, held.maximum), maximum: lower(maximum, held.maximum) };
        rustix::process::setrlimit(resource, new).map_err(refused)?;
    }
    let is_told = |option: &str| arguments.iter().skip(3).any(|argument| argument == option);
    Ok(CodeOptions { deterministic: is_told(DETERMINISTIC), portable: is_told(PORTABLE) })
}

fn compile_stdin(code: CodeOptions) -> Result<(), String> {
    let mut bytes = Vec::new();
    io::stdin().take(MAX_COMPONENT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let engine = engine::compiling(code).map_err(|error| format!("{error:#}"))?;
    let code = engine.precompile_component(&bytes).map_err(|error| invalid(&error).to_string())?;
    io::stdout().write_all(&code).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { memory_bytes: 96 << 20, cpu_seconds: 20 };

    fn explained(status: i32, complaint: &str) -> CompileError {
        explain(ExitStatus::from_raw(status), complaint, BOUNDS)
    }

    #[test]
    fn a_compiler_that_the_system_killed_is_not_said_to_exceed_its_bound() {
        let error = explained(Signal::KILL.as_raw(), "");
        assert!(matches!(error, CompileError::Host(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("the system killed the compiler") && text.contains("96.0 MiB"), "{text}");
        assert!(!text.contains("more than") && !text.contains("--compile-memory"), "{text}");
    }

    #[test]
    fn a_compiler_over_its_bounds_is_said_to_exceed_them() {
        let memory = explained(Signal::ABORT.as_raw(), "memory allocation of 65536 bytes failed");
        assert!(
            matches!(&memory, CompileError::Bounds(text) if text.contains("--compile-memory")),
            "{memory}"
        );
        let time = explained(Signal::XCPU.as_raw(), "");
        assert!(matches!(&time, CompileError::Bounds(text) if text.contains("--compile-time")), "{time}");
    }
}
