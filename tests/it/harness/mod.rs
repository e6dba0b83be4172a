//! The test harness. A [`World`] is a directory with stores and queues. A [`Command`] runs the real program in it and
//! becomes a [`Process`] or an [`Output`].
//!
//! | to | use |
//! |---|---|
//! | send messages | [`World::send`], `send_with` (options), `send_of` (a key), `send_to` (another queue), `announce` (objects) |
//! | run a worker | [`World::run`], `run_on` (another queue), [`Command::misbehaving`] (other stores) |
//! | wait for it | [`Command::start_ready`], [`Process::until_logged`], [`World::wait_until_empty`], [`wait_until`] |
//! | end it | [`Process::stop`], `finish`, `kill` |
//! | see its results | [`Output::has_outcomes`], `summary`, `logs_of`; [`World::depth`], `dead_letters`, `usage` |
//! | stand in for a server | [`Stub`] (answers), [`Raw`] (bytes), [`Objects`] (S3), [`ScriptedSqs`], [`Proxy`] |
//! | have real servers | [`Amazon`], [`DockerRegistry`], [`Tls`] |
//! | speak HTTP | [`Wire`]; `get` and `status` for a worker's own endpoints |
//!
//! Nothing here sleeps for a time that "should be enough": tests wait for a condition, for [`PATIENCE`] at most. Every
//! process that a test starts ends with the test.

mod amazon;
mod browser;
mod collector;
mod command;
mod disk;
mod event;
mod faults;
mod guard;
pub(crate) mod large;
mod objects;
pub(crate) mod png;
mod ports;
mod process;
mod proxy;
mod raw;
mod registry;
mod scripted_sqs;
mod stub;
mod tls;
mod tools;
mod vitals;
mod watcher;
mod wire;
mod world;

pub(crate) use amazon::{ACCOUNT, Amazon, arn, signed};
pub(crate) use browser::Browser;
pub(crate) use collector::{Collector, attribute};
pub(crate) use command::{Command, Output, field, why};
pub(crate) use disk::Disk;
pub(crate) use event::event;
pub(crate) use faults::Faults;
pub(crate) use guard::Guard;
pub(crate) use objects::Objects;
pub(crate) use ports::free_port;
pub(crate) use process::{COMPLETED, Process};
pub(crate) use proxy::Proxy;
pub(crate) use raw::Raw;
pub(crate) use registry::DockerRegistry;
pub(crate) use scripted_sqs::{Call, ScriptedSqs, partly, refusal};
pub(crate) use stub::{Answer, Request, Stub};
pub(crate) use tls::{Tls, certificate};
pub(crate) use tools::{installed, installed_below, program};
pub(crate) use vitals::{Vitals, process_status};
pub(crate) use watcher::{Seen, exchange, get, request, status, wait_for_tasks};
pub(crate) use wire::Wire;
pub(crate) use world::{Depth, World, keys};

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for something that takes milliseconds, or seconds on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a process is polled.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// Maximum number of polls in a wait.
const LOOKS: u32 = 20_000;

/// Directory for files that tests create, on the same disk as the build.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A file system in memory, if there is one with enough room; otherwise [`scratch`]. For tests that a busy disk must
/// not disturb.
pub(crate) fn memory() -> &'static Path {
    const SHARED_MEMORY: &str = "/dev/shm";
    const ROOM: u64 = 1 << 30;
    let has_room = rustix::fs::statvfs(SHARED_MEMORY).is_ok_and(|at| at.f_bavail * at.f_frsize >= ROOM);
    if has_room { Path::new(SHARED_MEMORY) } else { scratch() }
}

/// The repository's root.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A photograph of the demo.
pub(crate) fn photograph() -> Vec<u8> {
    std::fs::read(repository().join("demo/photographs/coffee cup.jpg")).expect("a photograph")
}

/// The program under test: the one just built, or the one that `WASMRUN_PROGRAM` names, to see a test fail on an older
/// program.
pub(crate) fn wasmrun() -> PathBuf {
    std::env::var_os("WASMRUN_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_wasmrun").into(), PathBuf::from)
}

/// Path of a component that `cargo xtask guests` built.
#[track_caller]
pub(crate) fn guest(name: &str) -> PathBuf {
    // Next to the folder that the program was built to.
    let beside =
        || Path::new(env!("CARGO_BIN_EXE_wasmrun")).ancestors().nth(2).map(|target| target.join("guests"));
    let folder = std::env::var_os("WASMRUN_GUESTS").map(PathBuf::from).or_else(beside).expect("a folder");
    let path = folder.join(name).with_extension("wasm");
    assert!(path.is_file(), "there is no guest {}: run cargo xtask guests", path.display());
    path.canonicalize().expect("the guest's path")
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, holds);
}

/// Waits for up to `time` until a condition holds. The longer the time, the longer the pauses between polls.
#[track_caller]
pub(crate) fn wait_within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < time, "waited in vain until {what}");
        std::thread::sleep(time / LOOKS);
    }
}

/// Prints why a test is skipped. Fails the test if `WASMRUN_SKIP_NOTHING` is set.
#[track_caller]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("WASMRUN_SKIP_NOTHING").is_none(), "nothing may be skipped, but {why}");
    println!("Skipped: {why}.");
}

/// Skips a test that some systems allow only root to run. Fails only for root if `WASMRUN_SKIP_NOTHING` is set.
#[track_caller]
pub(crate) fn skip_unless_root(why: &str) {
    if rustix::process::geteuid().is_root() {
        skip(why);
    } else {
        println!("Skipped, as the user isn't root: {why}.");
    }
}

/// Locks a mutex even if a failed test has poisoned it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
