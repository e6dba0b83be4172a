//! The command line: arguments to validated configuration to wiring to exit code. No behaviour of its own.
//!
//! | module | owns |
//! |---|---|
//! | `args` | what can be typed |
//! | `settings`, `limits` | flags, `WASMRUN_*` variables and the configuration file, merged and validated |
//! | `backends` | from a URL to a queue or a store |
//! | `run`, `invoke`, `enqueue`, `queue`, `inspect`, `report` | one command each |
//! | `usage` | the file that `run` appends what each task consumed to |
//! | `output` | logs, progress, summaries: all that people see |
//! | `show` | how numbers look |
//! | `failure` | exit codes |

mod args;
mod backends;
mod enqueue;
mod failure;
#[doc(hidden)]
pub mod fuzzing;
mod inspect;
mod invoke;
mod limits;
mod output;
mod queue;
mod report;
mod run;
mod settings;
mod show;
mod task;
mod usage;

use self::args::{Cli, Command};
use self::failure::Failure;
use clap::{CommandFactory, Parser};
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;
use wasmrun_runtime::compile;

/// The `wasmrun` program.
pub fn main() -> ExitCode {
    // The child that compiles: it shares nothing with the rest, not even the arguments' parser.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == compile::CHILD_ARGUMENT) {
        return compile::child();
    }
    let cli = Cli::parse();
    raise_file_limit();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Takes as many file descriptors as the system allows: each task's readers and writers hold some, and the usual soft
/// limit of 1,024 is for programs that call select(2), which this one doesn't.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If it can't be raised, it is as it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(args) => block_on(run::run(*args)),
        Command::Invoke(args) => block_on(invoke::invoke(*args)),
        Command::Enqueue(args) => block_on(enqueue::enqueue(args)),
        Command::Queue(args) => block_on(queue::queue(args)),
        Command::Report(args) => report::report(&args),
        Command::Inspect(args) => block_on(inspect::inspect(args)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "wasmrun", &mut script);
            // That nobody reads it changes nothing.
            let _ = io::stdout().write_all(&script);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The threads of the worker and its backends; guests have their own.
fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| Failure::backend(format!("the system refuses threads: {error}")))?;
    let result = runtime.block_on(future);
    // A backend's blocking call that hangs doesn't keep the process.
    runtime.shutdown_background();
    result
}
