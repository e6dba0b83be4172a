//! An object that is larger than the memory of its task and of the host.

use super::{COMPLETED, World, guest, scratch};
use serde_json::Value;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// What the host may hold meanwhile.
const HOST_MEMORY: u64 = 200 << 20;
/// Free disk besides the copy, which isn't a sparse file.
const SPARE_DISK: u64 = 1 << 30;

/// Lets a worker copy an object of `size` bytes from `in/large` to the file `copy`, with tasks of `mebibytes` of memory.
/// Asserts that the copy is the same and that neither the task nor the host held more than it may. Returns the worker's
/// summary.
#[track_caller]
pub(crate) fn copied(component: &str, arguments: &[&str], copy: &str, size: u64, mebibytes: u64) -> Value {
    let disk = rustix::fs::statvfs(scratch()).expect("the disk's state");
    let (free, needed) = (disk.f_bavail * disk.f_frsize, size + SPARE_DISK);
    assert!(free > needed, "this test needs {} GiB of free disk in {}", needed >> 30, scratch().display());
    let world = World::with_queue(&[]);
    let (original, copy) = (world.path("in/large"), world.path(copy));
    write_sparse(&original, size);
    world.announce();
    // Compiles the guest in a separate process.
    world.wasmrun(["inspect"]).arg(guest(component)).succeeds();

    let worker = world
        .run(component)
        .args(arguments)
        .args(["--memory", &format!("{mebibytes}MiB"), "--timeout", "10m"])
        .within(Duration::from_secs(300))
        .start_ready();
    worker.until_logged_at_last(COMPLETED);
    let peak = worker.vitals().peak;
    let summary = worker.stop().summary();
    println!("the host's memory peaked at {} KiB, {summary}", peak >> 10);
    assert!(peak < HOST_MEMORY, "{peak}");
    assert_eq!(summary["bytes_written"], size);
    let task_peak = summary["peak_memory_bytes"].as_u64().expect("a number");
    assert!(task_peak <= mebibytes << 20, "{task_peak}");
    assert!(same(&original, &copy, size), "the copy differs");
    summary
}

/// Writes holes, which read as zeros, and random blocks among them, the last at the very end.
fn write_sparse(path: &Path, size: u64) {
    let file = File::create(path).expect("a file");
    file.set_len(size).expect("a size");
    let mut random = fastrand::Rng::with_seed(4);
    let mut block = vec![0; 1 << 20];
    let last = size - block.len() as u64;
    let places: Vec<u64> = (0..15).map(|_| random.u64(..last)).chain([last]).collect();
    for place in places {
        random.fill(&mut block);
        file.write_all_at(&block, place).expect("written");
    }
}

fn same(original: &Path, copy: &Path, size: u64) -> bool {
    let open = |path| BufReader::with_capacity(1 << 20, File::open(path).expect("a file"));
    let (mut original, mut copy) = (open(original), open(copy));
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for _ in 0..size >> 20 {
        original.read_exact(&mut left).expect("read");
        if copy.read_exact(&mut right).is_err() || left != right {
            return false;
        }
    }
    copy.read(&mut right).expect("read") == 0
}
