//! The command line: reads arguments, validates them as settings, opens what they name, runs the command and returns
//! an exit code.
//!
//! It has four rooms, listed from the top down. A room uses only the rooms below it; a test checks that.
//!
//! | room | work |
//! |---|---|
//! | `commands` | runs one command each |
//! | `wiring` | opens and starts what settings name: log, backends, components, signals, observers, usage file |
//! | `settings` | merges and validates flags, `WASMRUN_*` variables and the file; opens no queue and no store |
//! | `output` | prints logs, progress, results and errors; defines the exit codes |

mod commands;
#[doc(hidden)]
pub mod fuzzing;
mod output;
mod settings;
mod wiring;

#[cfg(feature = "compiler")]
use self::commands::compile;
use self::commands::{
    cases, control, enqueue, health, inspect, invoke, manifest, new, policy, push, queue, replay, report,
    run, simulate, top,
};
use self::output::failure::Failure;
use self::settings::flags::{Cli, Command, help};
use self::settings::variables;
use self::wiring::worker::WorkArgs;
use clap::FromArgMatches;
use clap::error::ErrorKind;
use std::borrow::Cow;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;
use wasmrun_runtime::model::text::without_passwords;

pub use self::output::version::Build;

/// Runs the `wasmrun` program.
pub fn main(build: &Build) -> ExitCode {
    // The child process that compiles components shares nothing with the other commands, not even the parser of
    // arguments.
    #[cfg(feature = "compiler")]
    {
        use wasmrun_runtime::engine::compile::{CHILD_ARGUMENT, child};
        if std::env::args_os().nth(1).is_some_and(|argument| argument == CHILD_ARGUMENT) {
            return child();
        }
    }
    let Cli { version, verbose, command } = match parse() {
        Ok(typed) => typed,
        Err(failure) => return failure.report(),
    };
    let result = match command.filter(|_| !version) {
        Some(command) => {
            raise_file_limit();
            dispatch(command)
        }
        None => {
            output::to_stdout(build.text(verbose).as_bytes());
            Ok(ExitCode::SUCCESS)
        }
    };
    match result.and_then(|code| output::written().map(|()| code)) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

/// Parses the arguments. If they ask for help or are wrong, prints the parser's text and ends the program.
fn parse() -> Result<Cli, Failure> {
    let parsed = help::command().try_get_matches().and_then(|matches| {
        help::check(&matches)?;
        Cli::from_arg_matches(&matches)
    });
    parsed.map_err(help::with_tip).or_else(|error| match error.kind() {
        ErrorKind::InvalidUtf8 => Err(Failure::usage(format!("{} is not UTF-8 text", variables::not_utf8()))),
        _ => exit(&error),
    })
}

/// Prints the parser's text and ends the program. Passwords are masked: an error repeats arguments, and help shows the
/// values of variables.
fn exit(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let Cow::Owned(text) = without_passwords(&text) else { error.exit() };
    // A failed write is ignored.
    let _ = match error.use_stderr() {
        true => io::stderr().write_all(text.as_bytes()),
        false => io::stdout().write_all(text.as_bytes()),
    };
    std::process::exit(error.exit_code())
}

/// Raises the soft limit of open files to the hard limit, as the readers and writers of each task hold descriptors. The
/// usual soft limit of 1,024 is for programs that call select(2), which this program doesn't.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // On an error, the limit stays unchanged.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(args) => block_on(run::run(WorkArgs::Run(args))),
        Command::Serve(args) => block_on(run::run(WorkArgs::Serve(args))),
        Command::Invoke(args) => block_on(invoke::invoke(*args)),
        Command::Replay(args) => block_on(replay::replay(*args)),
        Command::Enqueue(args) => block_on(enqueue::enqueue(args)),
        Command::Queue(args) => block_on(queue::queue(args)),
        Command::Pause(args) => block_on(control::pause(args)),
        Command::Resume(args) => block_on(control::resume(args)),
        Command::Cancel(args) => block_on(control::cancel(args)),
        Command::Health(args) => block_on(health::health(args)),
        Command::Top(args) => block_on(top::top(args)),
        Command::Report(args) => report::report(&args),
        Command::Simulate(args) => simulate::simulate(&args),
        Command::New(args) => new::new(&args),
        Command::Test(args) => block_on(cases::test(args)),
        Command::Dev(args) => block_on(cases::dev::dev(*args)),
        Command::Inspect(args) => block_on(inspect::inspect(*args)),
        #[cfg(feature = "compiler")]
        Command::Compile(args) => block_on(compile::compile(args)),
        Command::Push(args) => block_on(push::push(args)),
        Command::Policy(args) => policy::policy(*args),
        Command::Manifest(args) => manifest::manifest(*args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut help::command(), "wasmrun", &mut script);
            output::to_stdout(&script);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a future on the threads of the worker and its backends. Guests have their own threads.
fn block_on<T: Send + 'static>(
    future: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let runtime = wasmrun_runtime::engine::threads::start_io()
        .map_err(|error| Failure::backend(format!("the system refuses threads: {error}")))?;
    // The future is spawned: if it ran on this thread, each answer of a backend would have to wake another thread.
    let result = match runtime.block_on(runtime.spawn(future)) {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::backend(format!("the work was given up: {error}"))),
        },
    };
    // A backend's blocking call that hangs must not keep the process alive.
    runtime.shutdown_background();
    result
}
