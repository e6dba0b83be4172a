//! `wasmrun test`: runs the cases of a guest's project, and compares what is seen with what they expect.
//! [`dev`] does so after each change.
//!
//! | module | owns |
//! |---|---|
//! | `judge`, `diff` | compare a task with its case |
//! | `update` | writes what was seen into a case |
//! | `print` | prints results as lines, JSON and JUnit |
//! | `dev` | `wasmrun dev`: watches, builds and runs the cases again |
//! | `live` | the worker of `wasmrun dev --queue` |

pub(crate) mod dev;
mod diff;
mod judge;
mod live;
mod print;
mod update;

use self::judge::{Finding, judge};
use crate::output::Output;
use crate::output::failure::{EXIT_TASK_FAILED, Failure};
use crate::settings::flags::{CaseArgs, TestArgs};
use crate::settings::log::LogSettings;
use crate::settings::project::{PROJECT_FILE, ProjectFile};
use crate::wiring::cases::{Case, LogLine, Runner, find_cases};
use crate::wiring::compiler::{compiler, open_cache};
use crate::wiring::component::read_component;
use crate::wiring::logging;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::model::usage::Usage;

/// Maximum number of cases that run at once: each may hold some hundred megabytes.
const MAX_AT_ONCE: usize = 16;

/// Result of a case.
#[derive(Debug)]
struct Done {
    name: String,
    elapsed: Duration,
    result: Result<Ran, String>,
}

/// A case whose task ran.
#[derive(Debug)]
struct Ran {
    outcome: OutcomeKind,
    reason: Option<String>,
    usage: Usage,
    log: Vec<LogLine>,
    findings: Vec<Finding>,
    is_updated: bool,
}

impl Done {
    fn passed(&self) -> bool {
        self.result.as_ref().is_ok_and(|ran| ran.findings.is_empty() || ran.is_updated)
    }
}

pub(crate) async fn test(args: TestArgs) -> Result<ExitCode, Failure> {
    let output = start_log(&args.cases.log, "warn")?;
    let done = run(&args.cases, args.update).await?;
    if let Some(path) = &args.junit {
        fs::write(path, print::junit(&done)).map_err(|error| {
            Failure::backend(format!("cannot write the file {}: {error}", path.display()))
        })?;
    }
    if args.json {
        output.print(&print::json(&done).to_string());
    } else {
        print::lines(&output, &done, &Default::default());
    }
    Ok(if done.iter().all(Done::passed) { ExitCode::SUCCESS } else { ExitCode::from(EXIT_TASK_FAILED) })
}

/// Starts the log. What isn't asked for is a warning at least: a result isn't to be searched for among log lines.
fn start_log(log: &LogSettings, default_level: &str) -> Result<Output, Failure> {
    let default = LogSettings { level: Some(default_level.into()), format: None };
    logging::start(&log.clone().or(default))
}

/// Runs all cases that the arguments name. The results are in the order of the names.
async fn run(args: &CaseArgs, updates: bool) -> Result<Vec<Done>, Failure> {
    let directory = args.directory();
    let project = ProjectFile::read(&directory)?;
    let cases = find_cases(&directory, args.case.as_deref().unwrap_or_default())?;
    let component = component(args, &directory, &project)?;
    let bytes =
        read_component(&component, args.engine.compile.is_precompiled()).map_err(|failure| match &project
            .build
        {
            Some(build) if !component.exists() => Failure::usage(format!("{failure}; `{build}` builds it")),
            _ => failure,
        })?;
    let cache = open_cache(&args.engine.compile)?;
    let runner = Arc::new(Runner {
        bytes,
        shown: component.display().to_string(),
        compiler: compiler(&args.engine.compile, cache)?,
        // Unless it is asked for, a pool isn't worth its reservation for one task.
        allocator: match args.engine.allocator() {
            Allocator::Auto => Allocator::OnDemand,
            named => named,
        },
        project,
    });
    // Everything that would make each case fail, said once.
    runner.check().await?;
    let at_once = Arc::new(Semaphore::new(args.engine.threads()?.get().min(MAX_AT_ONCE)));
    let running: Vec<_> = cases
        .into_iter()
        .map(|(name, path)| {
            let (runner, at_once) = (runner.clone(), at_once.clone());
            tokio::spawn(async move {
                let permit = at_once.acquire_owned().await;
                // Reading a case and loading its component block a thread.
                let (handle, shown) = (Handle::current(), name.clone());
                let work = move || handle.block_on(run_case(&runner, shown, &path, updates));
                let done = tokio::task::spawn_blocking(work).await;
                drop(permit);
                done.map_err(|error| Failure::backend(format!("the case {name} was lost: {error}")))
            })
        })
        .collect();
    let mut done = Vec::with_capacity(running.len());
    for case in running {
        done.push(case.await.map_err(|error| Failure::backend(format!("a case was lost: {error}")))??);
    }
    Ok(done)
}

/// Returns the path of the component: the one of the flag, or that of the project's file.
fn component(args: &CaseArgs, directory: &Path, project: &ProjectFile) -> Result<PathBuf, Failure> {
    let of_project = project.component.as_ref().map(|component| directory.join(component));
    args.component.clone().or(of_project).ok_or_else(|| {
        Failure::usage(format!(
            "no component: set `component` in {}, or name a file with --component",
            directory.join(PROJECT_FILE).display()
        ))
    })
}

async fn run_case(runner: &Runner, name: String, path: &Path, updates: bool) -> Done {
    let began = Instant::now();
    let result = try_case(runner, path, updates).await;
    Done { name, elapsed: began.elapsed(), result }
}

async fn try_case(runner: &Runner, path: &Path, updates: bool) -> Result<Ran, String> {
    let case = Case::read(path)?;
    let seen = runner.run(&case).await?;
    let findings = judge(&case, &seen);
    let is_updated = updates && update::update(&case, &seen, &findings)?;
    let report = seen.report;
    Ok(Ran {
        outcome: report.outcome.kind(),
        reason: report.outcome.reason().map(str::to_owned),
        usage: report.usage,
        log: seen.log,
        findings,
        is_updated,
    })
}
