//! An object that is larger than the memory.

use crate::harness::{World, scratch};
use rustix::process::Signal;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::time::Duration;

const SIZE: u64 = 2 << 30;
/// The copy isn't a sparse file.
const FREE_DISK: u64 = SIZE + (1 << 30);
const HOST_MEMORY: u64 = 200 << 20;

#[test]
fn two_gibibytes_go_through_a_task_of_four_mebibytes_and_a_host_of_less_than_200() {
    let disk = rustix::fs::statvfs(scratch()).expect("the disk's state");
    let free = disk.f_bavail * disk.f_frsize;
    assert!(free > FREE_DISK, "this test needs 3 GiB of free disk in {}", scratch().display());
    let world = World::with_queue(&[]);
    write_sparse(&world);
    world.announce();
    // Compiles the guest in a separate process.
    let compiled = world.wasmrun(["inspect"]).arg(crate::harness::guest("copy"));
    compiled.succeeds();

    let worker = world
        .run("copy")
        .args(["--memory", "4MiB", "--timeout", "10m"])
        .within(Duration::from_secs(300))
        .start();
    worker.until_logged("\"ready\"");
    worker.until_logged_at_last("\"task completed\"");
    let peak = worker.vitals().peak;
    worker.signal(Signal::TERM);
    let summary = worker.finish().succeeded().summary();
    println!("the host's memory peaked at {} KiB", peak >> 10);
    assert!(peak < HOST_MEMORY, "{peak}");
    assert_eq!(summary["bytes_written"], SIZE);
    let task_peak = summary["peak_memory_bytes"].as_u64().expect("a number");
    assert!(task_peak <= 4 << 20, "{task_peak}");
    assert!(same(&world), "the copy differs");
}

/// Writes holes, which read as zeros, and random blocks among them, the last at the very end.
fn write_sparse(world: &World) {
    let file = File::create(world.path("in/large")).expect("a file");
    file.set_len(SIZE).expect("a size");
    let mut random = fastrand::Rng::with_seed(4);
    let mut block = vec![0; 1 << 20];
    let last = SIZE - block.len() as u64;
    let places: Vec<u64> = (0..15).map(|_| random.u64(..last)).chain([last]).collect();
    for place in places {
        random.fill(&mut block);
        file.write_all_at(&block, place).expect("written");
    }
}

fn same(world: &World) -> bool {
    let open = |path| BufReader::with_capacity(1 << 20, File::open(world.path(path)).expect(path));
    let (mut original, mut copy) = (open("in/large"), open("out/large"));
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for _ in 0..SIZE >> 20 {
        original.read_exact(&mut left).expect("read");
        if copy.read_exact(&mut right).is_err() || left != right {
            return false;
        }
    }
    copy.read(&mut right).expect("read") == 0
}
