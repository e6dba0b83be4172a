//! Embeds the worker: runs a component on files, with the queue and the stores in memory, and prints each outcome.
//!
//!     cargo build --release --workspace --examples
//!     target/release/examples/embed target/guests/shout.wasm README.md

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;
use wasmrun_runtime::engine::capacity::{Host, HostMemory};
use wasmrun_runtime::engine::compile::{CHILD_ARGUMENT, CompileLimits, Compiler, child};
use wasmrun_runtime::engine::threads::{self, GuestThreads};
use wasmrun_runtime::model::event::notification;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::model::usage::{TaskObserver, TaskRecord};
use wasmrun_runtime::ports::memory::{MemoryQueue, MemoryStore};
use wasmrun_runtime::ports::object_store::ObjectStore;
use wasmrun_runtime::ports::queue::Queue;
use wasmrun_runtime::task::by_key::Scope;
use wasmrun_runtime::task::component::{Component, LoadOptions};
use wasmrun_runtime::task::grant::{Grants, Mode, StoreGrant};
use wasmrun_runtime::worker::{Worker, WorkerOptions};

/// Passes on how each task ended. It is called on a thread on which guests compute, and must not wait.
struct Outcomes(mpsc::Sender<String>);

impl TaskObserver for Outcomes {
    fn ended(&self, TaskRecord { message_id, outcome, reason, usage, .. }: &TaskRecord<'_>) {
        // The reason may hold the guest's text: `{:?}` escapes it.
        let _ = self.0.send(format!("{message_id}: {outcome} {reason:?}, {} fuel", usage.fuel));
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        // A component is compiled in a confined child process, which is this program again.
        [first, ..] if first == CHILD_ARGUMENT => Ok(child()),
        [component, files @ ..] => threads::start_io()?.block_on(work(component, files)),
        [] => Err("usage: embed COMPONENT.wasm FILE...".into()),
    }
}

async fn work(component: &str, files: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let [queue, dead] =
        ["work", "dead"].map(|name| Arc::new(MemoryQueue::new(name, Duration::from_secs(30))));
    let [input, output] = ["input", "output"].map(MemoryStore::new);
    for file in files {
        let (key, content) = (name(file), std::fs::read(file)?);
        // What S3 sends when an object arrives.
        let body = notification(input.url(), &key, content.len() as u64, None, SystemTime::now());
        input.insert(&key, content);
        queue.send(&[OutgoingMessage { body, ..OutgoingMessage::default() }]).await.remove(0)?;
    }

    // All that a task can touch. Without a grant it computes on its message, and no more.
    let mut grants = Grants::default();
    for (alias, store, mode) in [("input", &input, Mode::ReadOnly), ("output", &output, Mode::WriteOnly)] {
        let grant =
            StoreGrant { alias: alias.into(), store: Arc::new(store.clone()), mode, scope: Scope::All };
        grants.stores.insert(alias.into(), grant);
    }
    let threads = Arc::new(GuestThreads::start(std::thread::available_parallelism()?)?);
    let options = LoadOptions {
        grants,
        limits: Limits { memory_bytes: 64 << 20, timeout: Duration::from_secs(10), ..Limits::default() },
        instances: NonZeroUsize::MIN.saturating_add(3),
        host: Host { memory: HostMemory::find(), files: None },
        ..LoadOptions::new("example", threads)
    };
    let compiler = Compiler::in_child(std::env::current_exe()?, CompileLimits::default(), None);
    let component = Component::load(&std::fs::read(component)?, &compiler, options).await?;

    let (sender, outcomes) = mpsc::channel();
    let options = WorkerOptions {
        instances: component.capacity().instances,
        until_empty: true,
        observers: vec![Arc::new(Outcomes(sender))],
        ..WorkerOptions::default()
    };
    let worker = Worker::new(queue, Some(dead.clone()), Arc::new(component), options).await?;
    // Cancel the first token to drain, and the second to end at once.
    let summary = Arc::new(worker).run(CancellationToken::new(), CancellationToken::new()).await;

    outcomes.try_iter().for_each(|outcome| println!("{outcome}"));
    println!("{} tasks, {} dead letters", summary.tasks, dead.visible().len());
    for key in files.iter().map(|file| name(file)) {
        println!("output/{key}: {:?} bytes", output.content(&key).map(|content| content.len()));
    }
    Ok(ExitCode::SUCCESS)
}

fn name(file: &str) -> String {
    Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
