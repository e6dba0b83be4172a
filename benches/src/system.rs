//! Facts about this machine and its processes, read from `/proc`.

use rustix::thread::CpuSet;
use rustix::time::ClockId;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// The unit of `/proc/*/stat`, on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Processor, cores, memory and kernel of this machine.
pub fn machine() -> String {
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or(std::env::consts::ARCH, |rest| rest.trim_start_matches([' ', '\t', ':']));
    let gibibytes = size(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default() as f64 / f64::from(1 << 30);
    let virtual_machine = if cpuinfo.contains(" hypervisor") { ", virtual machine" } else { "" };
    // The suffix of a distribution's kernel says nothing about performance.
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{model}, {} cores{virtual_machine}, {gibibytes:.0} GiB, Linux {kernel}", cores())
}

/// The number of cores that this program may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// CPU time of this process so far, on all threads.
pub fn process_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// CPU time of this thread so far.
pub fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(id);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// CPU time of a process so far, in user space and in the kernel; zero if it has ended.
pub fn cpu_of(pid: u32) -> Duration {
    // Fields 14 and 15 of proc_pid_stat(5). The state, which follows the name, is field 3.
    cpu_from(&format!("/proc/{pid}/stat"), 14 - 3)
}

/// CPU time of the children of this process that have ended, and of their children.
pub fn children_cpu() -> Duration {
    // Fields 16 and 17.
    cpu_from("/proc/self/stat", 16 - 3)
}

fn cpu_from(path: &str, first: usize) -> Duration {
    let stat = read(path);
    let ticks: u64 =
        after_name(&stat).iter().skip(first).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// The fields of a process's `stat` that follow its name, which may hold any character.
pub fn after_name(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
}

/// Bytes from a line `NAME  123 kB` of `status`, `smaps_rollup` or `meminfo`. `name` includes the colon.
pub fn size(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes << 10)
}

/// A line of a process's `smaps_rollup` in bytes, such as `Rss:`; `None` if the process has ended.
pub fn memory_of(pid: u32, name: &str) -> Option<u64> {
    size(&read(&format!("/proc/{pid}/smaps_rollup")), name)
}

/// Begins a new measurement of [`peak_of`].
pub fn reset_peak(pid: u32) {
    // proc_pid_clear_refs(5). Where it can't be written, the peak is that since the process's start.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// The most resident memory of a process since [`reset_peak`], in bytes; `None` if the process has ended.
pub fn peak_of(pid: u32) -> Option<u64> {
    size(&read(&format!("/proc/{pid}/status")), "VmHWM:")
}

/// Starts processes that stay on one core, the last that this program may use.
pub fn on_one_core<T>(start: impl FnOnce() -> T) -> T {
    // Processes and threads inherit the cores of the thread that starts them.
    let all = rustix::thread::sched_getaffinity(None).expect("this thread's cores");
    let last = (0..CpuSet::MAX_CPU).rfind(|&core| all.is_set(core)).expect("a core");
    let mut one = CpuSet::new();
    one.set(last);
    rustix::thread::sched_setaffinity(None, &one).expect("one of this thread's cores");
    let started = start();
    rustix::thread::sched_setaffinity(None, &all).expect("this thread's cores");
    started
}

/// The content of a file, or nothing if it can't be read.
pub fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Runs a command and returns its standard output.
///
/// # Errors
///
/// The last line of its standard error, or why it doesn't start.
pub fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(std::process::Stdio::null()).output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{program} isn't installed"),
        _ => format!("{program}: {error}"),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    Err(last.map_or_else(|| format!("{program}: {}", output.status), |line| line.trim().to_owned()))
}
