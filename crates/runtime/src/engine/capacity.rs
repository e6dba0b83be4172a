//! Capacity: how many tasks may run at once, bounded by the user, the host's memory and the process's file descriptors.
//!
//! A task within its limits can make the process hold [`Limits::task_bytes`]. The memory must suffice even if all tasks
//! do so at once, as the kernel's OOM killer ends the whole process with all its tasks. File descriptors are divided
//! among the tasks, so that one task can't take those of another.

use crate::model::limits::Limits;
use bytesize::ByteSize;
use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

/// Memory of the process without its tasks: code, connections, messages in transit (twenty messages that wait to be
/// dead-lettered take 60 MiB).
const RESERVE_BYTES: u64 = 64 << 20;
/// Divisor: an additional 1/16 of the memory is reserved for page tables, kernel buffers and fragmentation.
const RESERVE_SHARE: u64 = 16;

/// Memory for each byte of a component while it's read, compiled or loaded, or loaded again after a burst: a component
/// with 100 MiB of data took 431 MiB at the start.
const COMPONENT_COPIES: u64 = 4;
/// File descriptors of the process without its tasks: queues, their connections, observers.
const RESERVE_FILES: u64 = 256;
/// Minimum number of file descriptors of a task: enough for four writers to a directory and a call.
const FEWEST_FILES: u64 = 16;

/// Resources of the host that tasks share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The memory; `None` if it's unknown.
    pub memory: Option<HostMemory>,
    /// Maximum number of file descriptors of the process; `None` if unlimited.
    pub files: Option<u64>,
}

/// Memory that this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMemory {
    /// Size in bytes.
    pub bytes: u64,
    /// Origin of the size.
    pub source: MemorySource,
}

/// Origin of a bound on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// The limit of a control group of the process, usually a container's.
    Cgroup,
    /// The memory of the machine.
    Machine,
    /// The limit of an ECS task, or of the container in it.
    Ecs,
}

impl fmt::Display for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgroup => "cgroup",
            Self::Machine => "machine",
            Self::Ecs => "ecs",
        })
    }
}

impl Host {
    /// Returns the host without memory that the process itself needs.
    pub fn without(self, bytes: usize) -> Self {
        let left =
            |memory: HostMemory| HostMemory { bytes: memory.bytes.saturating_sub(bytes as u64), ..memory };
        Self { memory: self.memory.map(left), ..self }
    }
}

impl HostMemory {
    /// Reads the memory from the system. Returns `None` if `/proc` isn't mounted.
    pub fn find() -> Option<Self> {
        Self::find_below(Path::new("/"))
    }

    /// Applies ECS's limit if it is lower. On some kinds of host the limit of an ECS task isn't set as a control
    /// group's limit.
    pub fn at_most(self, ecs_bytes: Option<u64>) -> Self {
        match ecs_bytes {
            Some(bytes) if bytes < self.bytes => Self { bytes, source: MemorySource::Ecs },
            _ => self,
        }
    }

    fn find_below(root: &Path) -> Option<Self> {
        let machine = machine_bytes(&fs::read_to_string(root.join("proc/meminfo")).ok()?)?;
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let limit = groups.lines().filter_map(|line| cgroup_bytes(root, line)).min();
        Some(match limit {
            Some(bytes) if bytes < machine => Self { bytes, source: MemorySource::Cgroup },
            _ => Self { bytes: machine, source: MemorySource::Machine },
        })
    }
}

/// Parses the line `MemTotal:       24689084 kB` of `/proc/meminfo`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the lowest limit of a control group and its ancestors. `line` is a line of `/proc/self/cgroup`, in the form
/// `ID:CONTROLLERS:PATH`; version 2 has the ID 0 and names no controllers (cgroups(7)).
///
/// In a container the path may be the host's, while the container's own group is mounted as the root. Groups that don't
/// exist are skipped, and the root is always read.
fn cgroup_bytes(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, file) = if id == "0" && controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    let mount = root.join(mount);
    Path::new(path.trim_start_matches('/'))
        .ancestors()
        // Without a limit, version 2 says "max", and version 1 a number beyond any machine's memory.
        .filter_map(|group| fs::read_to_string(mount.join(group).join(file)).ok()?.trim().parse().ok())
        .min()
}

/// How many tasks may run at once, and what bounds the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Maximum number of concurrent tasks.
    pub instances: NonZeroUsize,
    /// The bound that applied.
    pub bounded_by: BoundedBy,
    /// [`Limits::files`] of each task.
    pub files: usize,
}

/// The bound that determined the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BoundedBy {
    /// The user's number, or the highest useful number.
    User,
    /// The memory of the host.
    Memory,
    /// The file descriptors that the process may have.
    Files,
}

impl fmt::Display for BoundedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Memory => "memory",
            Self::Files => "files",
        })
    }
}

/// Error: not even one task fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooSmall {
    /// It doesn't fit into the host's memory.
    #[error(
        "a task may take {} of memory within its limits, and this {} has {}, of which wasmrun itself and the component keep {}: lower --memory and --object-size, or give it more",
        ByteSize(*task_bytes).display().iec(),
        match memory.source { MemorySource::Cgroup => "control group (container)", MemorySource::Machine => "machine", MemorySource::Ecs => "ECS task" },
        ByteSize(memory.bytes).display().iec(),
        ByteSize(*kept_bytes).display().iec()
    )]
    Memory {
        /// Maximum number of bytes that one task may take.
        task_bytes: u64,
        /// Memory of the host.
        memory: HostMemory,
        /// The part of the memory that isn't for tasks.
        kept_bytes: u64,
    },
    /// It doesn't fit into the process's file descriptors.
    #[error(
        "the process may have {files} file descriptors, of which wasmrun itself keeps {RESERVE_FILES}, and a task needs {FEWEST_FILES}: raise the hard limit (ulimit -Hn, or nofile of the container)"
    )]
    Files {
        /// Number of file descriptors that the process may have.
        files: u64,
    },
}

/// Computes how many tasks may run at once. If the host's memory is unknown, it doesn't bound the number.
/// `component_bytes` is the size of the component's file or of its compiled code, whichever is larger.
///
/// # Errors
///
/// Not even one task fits.
pub fn capacity(
    wanted: NonZeroUsize,
    limits: &Limits,
    host: &Host,
    component_bytes: u64,
) -> Result<Capacity, TooSmall> {
    let number = |fit: u64| NonZeroUsize::new(usize::try_from(fit).unwrap_or(usize::MAX));
    let mut bound = (wanted, BoundedBy::User);
    if let Some(memory) = host.memory {
        let (task_bytes, kept_bytes) = (limits.task_bytes(), reserve(memory, component_bytes));
        let fit = number(memory.bytes.saturating_sub(kept_bytes) / task_bytes.max(1));
        let fit = fit.ok_or(TooSmall::Memory { task_bytes, memory, kept_bytes })?;
        bound = bound.min((fit, BoundedBy::Memory));
    }
    let mut files = usize::MAX;
    if let Some(all) = host.files {
        let shared = all.saturating_sub(RESERVE_FILES);
        let fit = number(shared / FEWEST_FILES).ok_or(TooSmall::Files { files: all })?;
        bound = bound.min((fit, BoundedBy::Files));
        files = usize::try_from(shared).unwrap_or(usize::MAX) / bound.0;
    }
    let (instances, bounded_by) = bound;
    Ok(Capacity { instances, bounded_by, files })
}

fn reserve(memory: HostMemory, component_bytes: u64) -> u64 {
    let component = component_bytes.saturating_mul(COMPONENT_COPIES);
    RESERVE_BYTES.saturating_add(memory.bytes / RESERVE_SHARE).saturating_add(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A system on which only these files exist.
    fn system(files: &[(&str, &str)]) -> Option<HostMemory> {
        let root = tempfile::tempdir().expect("a directory");
        let meminfo = ("proc/meminfo", "MemTotal:        1048576 kB\nMemFree:          12 kB\n");
        for (path, content) in files.iter().chain([&meminfo]) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, content).expect("written");
        }
        HostMemory::find_below(root.path())
    }

    fn cgroup(mib: u64) -> Option<HostMemory> {
        Some(HostMemory { bytes: mib * MIB, source: MemorySource::Cgroup })
    }

    const MACHINE: Option<HostMemory> = Some(HostMemory { bytes: 1024 * MIB, source: MemorySource::Machine });

    #[test]
    fn the_lowest_limit_of_the_groups_above_counts_in_version_2() {
        let groups = ("proc/self/cgroup", "0::/a/b\n");
        let (outer, inner) = ("sys/fs/cgroup/a/memory.max", "sys/fs/cgroup/a/b/memory.max");
        assert_eq!(system(&[groups, (outer, "268435456\n"), (inner, "max\n")]), cgroup(256));
        assert_eq!(system(&[groups, (outer, "max\n"), (inner, "134217728\n")]), cgroup(128));
        assert_eq!(system(&[groups, (outer, "max\n"), (inner, "max\n")]), MACHINE);
    }

    #[test]
    fn version_1_and_hybrid_systems_are_understood() {
        let groups = ("proc/self/cgroup", "9:name=systemd:/x\n4:cpu,memory:/a\n0::/x\n");
        let limit = "sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        assert_eq!(system(&[groups, (limit, "268435456\n")]), cgroup(256));
        assert_eq!(system(&[groups, (limit, "9223372036854771712\n")]), MACHINE);
    }

    #[test]
    fn a_container_that_sees_the_hosts_path_and_its_own_group_as_the_root_is_understood() {
        let v1 = ("proc/self/cgroup", "4:memory:/docker/0123\n");
        assert_eq!(system(&[v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912")]), cgroup(512));
        let v2 = ("proc/self/cgroup", "0::/../../docker/0123\n");
        assert_eq!(system(&[v2, ("sys/fs/cgroup/memory.max", "536870912")]), cgroup(512));
    }

    #[test]
    fn what_makes_no_sense_is_no_limit() {
        for groups in ["", "nonsense\n", "4:memory\n", "0::\n", "::::\n", "4:memory:/a\n"] {
            let files = [
                ("proc/self/cgroup", groups),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "a lot"),
                ("sys/fs/cgroup/memory.max", "-1"),
            ];
            assert_eq!(system(&files), MACHINE, "{groups:?}");
        }
        assert!(HostMemory::find().is_some(), "this very machine");
    }

    fn host(memory: Option<HostMemory>) -> Host {
        Host { memory, ..Host::default() }
    }

    #[test]
    fn the_smaller_of_the_users_number_and_what_fits_wins_and_is_named() {
        let limits = Limits::default();
        let wanted = NonZeroUsize::new(4).expect("not zero");
        let with = |mib| {
            let capacity = capacity(wanted, &limits, &host(cgroup(mib)), 0)?;
            Ok::<_, TooSmall>((capacity.instances.get(), capacity.bounded_by))
        };
        assert_eq!(with(100_000), Ok((4, BoundedBy::User)));
        let (instances, bounded_by) = with(1024).expect("some fit");
        assert_eq!(bounded_by, BoundedBy::Memory);
        assert!((1..4).contains(&instances), "{instances}");
        let error = with(256).expect_err("none fits").to_string();
        assert!(error.contains("--memory") && error.contains("256.0 MiB"), "{error}");
        let unknown = capacity(wanted, &limits, &Host::default(), 0);
        assert_eq!(unknown.map(|capacity| capacity.instances), Ok(wanted));
    }

    #[test]
    fn a_large_component_leaves_room_for_fewer_tasks() {
        let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
        let with = |component_bytes| {
            let capacity = capacity(NonZeroUsize::MAX, &limits, &host(cgroup(4096)), component_bytes);
            capacity.expect("some fit").instances.get()
        };
        let task = limits.task_bytes();
        assert_eq!(with(10 * task / COMPONENT_COPIES), with(0) - 10);
    }

    #[test]
    fn file_descriptors_are_shared_out_and_bound_the_number_where_they_are_few() {
        let limits = Limits::default();
        let with = |wanted, files| {
            let host = Host { files: Some(files), ..Host::default() };
            let Capacity { instances, bounded_by, files } =
                capacity(NonZeroUsize::new(wanted).expect("not zero"), &limits, &host, 0)?;
            Ok::<_, TooSmall>((instances.get(), bounded_by, files))
        };
        assert_eq!(with(4, 1024), Ok((4, BoundedBy::User, 192)));
        assert_eq!(with(100, 1024), Ok((48, BoundedBy::Files, 16)));
        assert!(with(1, 256).expect_err("none is left").to_string().contains("ulimit"));
        assert_eq!(with(1, u64::MAX).map(|(instances, ..)| instances), Ok(1));
    }

    #[test]
    fn all_tasks_at_their_limits_fit_beside_the_reserve() {
        for mib in [512, 1024, 4096, 30_720] {
            let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
            let host = host(cgroup(mib));
            let Ok(capacity) = capacity(NonZeroUsize::MAX, &limits, &host, 0) else { continue };
            let most = capacity.instances.get() as u64 * limits.task_bytes();
            assert!(most + RESERVE_BYTES + mib * MIB / RESERVE_SHARE <= mib * MIB);
        }
    }
}
