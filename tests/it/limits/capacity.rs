//! The number of concurrent tasks where memory is short.

use crate::harness::{Process, World, guest, skip, skip_unless_root, wait_until};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const MIB: u64 = 1 << 20;

/// A control group with a memory limit, if this user may create one.
struct ControlGroup {
    path: PathBuf,
    version: u8,
}

impl ControlGroup {
    /// Prints that the test is skipped and returns `None` if this user may not create one.
    #[track_caller]
    fn with_memory(bytes: u64) -> Option<Self> {
        // Tests of one process may run at the same time.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmrun-test-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let [v1, v2] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].map(|mount| Path::new(mount).join(&name));
        for (path, version, file) in [(v1, 1, "memory.limit_in_bytes"), (v2, 2, "memory.max")] {
            if fs::create_dir(&path).is_ok() {
                let group = Self { path, version };
                if fs::write(group.path.join(file), bytes.to_string()).is_ok() {
                    // Swap would only delay the effect under test.
                    let _ = fs::write(group.path.join("memory.swap.max"), "0");
                    return Some(group);
                }
            }
        }
        skip_unless_root("this user may make no control group");
        None
    }

    /// Peak memory of the group's processes in bytes, if the kernel reports it.
    fn peak(&self) -> Option<u64> {
        let file = if self.version == 1 { "memory.max_usage_in_bytes" } else { "memory.peak" };
        fs::read_to_string(self.path.join(file)).ok()?.trim().parse().ok()
    }

    /// Number of processes in the group that the kernel killed.
    fn kills(&self) -> u64 {
        let file = if self.version == 1 { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// Starts a worker in the group, so that all its memory counts.
fn start_within(group: &ControlGroup, world: &World, options: &[&str]) -> Process {
    start_guest_within(group, &guest("hoard"), world, options)
}

fn start_guest_within(group: &ControlGroup, guest: &Path, world: &World, options: &[&str]) -> Process {
    world
        .wasmrun_after(&format!("echo $$ > {}/cgroup.procs", group.path.display()))
        .args(["run", "--queue", "sqlite:jobs.db"])
        .arg(guest)
        .args(World::grants())
        .args(options)
        .start()
}

#[test]
fn tasks_that_hold_all_they_may_never_exhaust_the_memory_of_a_container() {
    let Some(group) = ControlGroup::with_memory(512 * MIB) else { return };
    let world = World::with_queue(&["--max-receives", "1"]);
    world.write("in/large", vec![7; 8 << 20]);
    world.send(["8"; 100]);
    let worker = start_within(&group, &world, &["--until-empty", "--instances", "64", "--memory", "24MiB"]);
    let output = worker.finish();
    assert_eq!(group.kills(), 0, "{output}");
    let output = output.succeeded();
    output.has_outcomes(&serde_json::json!({"completed": 100}));
    let ready = &output.logs_of("ready")[0];
    assert_eq!(ready["bounded_by"], "memory", "{ready}");
    let instances = ready["instances"].as_u64().expect("a number");
    assert!((4..64).contains(&instances), "{ready}");
    println!("{instances} tasks at once in 512 MiB; at most {:?} MiB", group.peak().map(|peak| peak / MIB));
}

#[test]
fn calls_that_take_more_of_the_host_than_they_seem_to_never_exhaust_the_memory_of_a_container() {
    let Some(group) = ControlGroup::with_memory(512 * MIB) else { return };
    let world = World::with_queue(&["--max-receives", "1"]);
    let text = include_str!("../../guests/wat/large-calls.wat");
    world.write("large-calls.wasm", wat::parse_str(text).expect("a component"));
    for body in ["latin-1", "short-texts", "reason"] {
        world.send([body; 60]);
    }
    // The last sixty messages are all rejected.
    let options =
        ["--until-empty", "--instances", "64", "--memory", "24MiB", "--max-consecutive-failures", "off"];
    let output = start_guest_within(&group, &world.path("large-calls.wasm"), &world, &options).finish();
    assert_eq!(group.kills(), 0, "{output}");
    let output = output.succeeded();
    output.has_outcomes(&serde_json::json!({"completed": 120, "rejected": 60}));
    let ready = &output.logs_of("ready")[0];
    println!(
        "{} at once in 512 MiB; at most {:?} MiB",
        ready["instances"],
        group.peak().map(|peak| peak / MIB)
    );
}

#[test]
fn what_one_task_opens_leaves_all_others_their_file_descriptors() {
    let world = World::with_queue(&["--max-receives", "1"]);
    for _ in 0..20 {
        world.send(["open-writers 90 never-", "put object text"]);
    }
    let output = world
        .wasmrun_after("ulimit -n 400")
        .args(["run", "--queue", "sqlite:jobs.db", "--until-empty", "--instances", "16"])
        .arg(guest("misbehave"))
        .args(World::grants())
        .succeeds();
    let ready = &output.logs_of("ready")[0];
    assert_eq!((&ready["instances"], &ready["bounded_by"]), (&9.into(), &"files".into()));
    output.has_outcomes(&serde_json::json!({"completed": 20, "limit-exceeded": 20}));
    assert_eq!(output.summary()["limits"], serde_json::json!({"handles": 20}), "{output}");
}

#[test]
fn a_container_that_is_too_small_for_one_task_is_told_at_the_start() {
    let Some(group) = ControlGroup::with_memory(200 * MIB) else { return };
    let world = World::with_queue(&[]);
    let output = start_within(&group, &world, &["--until-empty"]).finish();
    let output = output.failed_with(2, "lower --memory");
    assert!(output.error().contains("200.0 MiB"), "{output}");
}

#[test]
fn where_memory_is_plenty_the_users_number_stands() {
    let world = World::with_queue(&[]);
    let output = world.run("misbehave").args(["--until-empty", "--instances", "3"]).succeeds();
    let ready = &output.logs_of("ready")[0];
    assert_eq!((&ready["instances"], &ready["bounded_by"]), (&3.into(), &"user".into()));
}

/// The processor time of a process, in hundredths of a second: proc_pid_stat(5).
fn ticks(process: &Process) -> u64 {
    let stat = fs::read_to_string(process.proc().join("stat")).expect("its state");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[test]
fn a_thousand_tasks_that_wait_take_less_than_300_mebibytes() {
    let world = World::with_queue(&["--visibility-timeout", "5m"]);
    for _ in 0..4 {
        world.send(["hold-empty"; 250]);
    }
    let worker = world
        .run("workload")
        .args(["--instances", "1000", "--memory", "2MiB", "--object-size", "64KiB", "--timeout", "5m"])
        .args(["--core-instances", "6", "--stop-timeout", "1s"])
        .start();
    worker.until_logged("ready");
    if worker.logged("\"bounded_by\":\"memory\"") > 0 {
        skip("this machine's memory does not bear a thousand tasks at once");
        return;
    }
    wait_until("all of them are received", || world.depth().in_flight == 1000);
    // Tasks that compute take CPU time.
    let (mut before, mut looks) = (0, 0);
    wait_until("all of them wait", || {
        let now = ticks(&worker);
        (before, looks) = if now > before + 1 { (now, 0) } else { (before, looks + 1) };
        looks > 100
    });
    let status = fs::read_to_string(worker.proc().join("status")).expect("its status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line").trim();
    println!("a thousand tasks at once: {resident} resident");
    let kib: u64 = resident.trim_end_matches("kB").trim().parse().expect("a number");
    assert!(kib < 300 << 10, "{resident}");
}
