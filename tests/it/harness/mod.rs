//! The harness: a [`World`] is a directory with stores and queues, a [`Command`] runs the real program in it, and what
//! comes of that is a [`Process`] or an [`Output`].
//!
//! Nothing here sleeps for a time that "should be enough": tests wait for what they want to see, for [`PATIENCE`] at
//! most. Whatever a test starts ends with it.

mod amazon;
mod command;
mod disk;
mod guard;
pub(crate) mod png;
mod process;
mod proxy;
mod scripted_sqs;
mod stub;
mod vitals;
mod watcher;
mod world;

pub(crate) use amazon::{ACCOUNT, Amazon, Faults, arn, installed, program, signed};
pub(crate) use command::{Command, Output, field};
pub(crate) use disk::Disk;
pub(crate) use guard::Guard;
pub(crate) use process::Process;
pub(crate) use proxy::Proxy;
pub(crate) use scripted_sqs::{Call, ScriptedSqs, partly, refusal};
pub(crate) use stub::{Answer, Request, Stub};
pub(crate) use vitals::Vitals;
pub(crate) use watcher::{Seen, exchange, get, request, status, wait_for_tasks};
pub(crate) use world::{Depth, World, keys};

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for something that takes milliseconds, or seconds on a machine that does other things too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// So often it looks at most.
const LOOKS: u32 = 20_000;

/// Where the tests keep what they make: on the disk that the build is on.
pub(crate) fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A file system in memory, where there is one with room: for what a disk that others keep busy must not disturb.
pub(crate) fn memory() -> &'static Path {
    const SHARED_MEMORY: &str = "/dev/shm";
    const ROOM: u64 = 1 << 30;
    let has_room = rustix::fs::statvfs(SHARED_MEMORY).is_ok_and(|at| at.f_bavail * at.f_frsize >= ROOM);
    if has_room { Path::new(SHARED_MEMORY) } else { scratch() }
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test: the one just built, or the one that `WASMRUN_PROGRAM` names, to see a test fail on an older one.
pub(crate) fn wasmrun() -> PathBuf {
    std::env::var_os("WASMRUN_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_wasmrun").into(), PathBuf::from)
}

/// A component that `cargo xtask guests` built.
#[track_caller]
pub(crate) fn guest(name: &str) -> PathBuf {
    // Beside the folder that the program was built to.
    let beside =
        || Path::new(env!("CARGO_BIN_EXE_wasmrun")).ancestors().nth(2).map(|target| target.join("guests"));
    let folder = std::env::var_os("WASMRUN_GUESTS").map(PathBuf::from).or_else(beside).expect("a folder");
    let path = folder.join(name).with_extension("wasm");
    assert!(path.is_file(), "there is no guest {}: run cargo xtask guests", path.display());
    path.canonicalize().expect("the guest's path")
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, holds);
}

/// Waits for what takes its time; the longer it may take, the less often this looks.
#[track_caller]
pub(crate) fn wait_within(time: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < time, "waited in vain until {what}");
        std::thread::sleep(time / LOOKS);
    }
}

/// Says why a test is skipped. Where nothing may be, the test fails.
#[track_caller]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("WASMRUN_SKIP_NOTHING").is_none(), "nothing may be skipped, but {why}");
    println!("Skipped: {why}.");
}

/// The same for what a system may allow nobody but root: others are let off anywhere.
#[track_caller]
pub(crate) fn skip_unless_root(why: &str) {
    if rustix::process::geteuid().is_root() {
        skip(why);
    } else {
        println!("Skipped, as the user isn't root: {why}.");
    }
}

/// Whatever a test that failed has left behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
