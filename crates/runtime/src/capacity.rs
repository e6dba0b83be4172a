//! How many tasks may run at once: no more than the user wants, and no more than the host's memory bears.
//!
//! A task within its limits can make the process hold [`Limits::task_bytes`]. If all of them did so at once, the memory
//! must still suffice: what the kernel kills for want of memory is the whole process, with every task in it.

use crate::limits::Limits;
use bytesize::ByteSize;
use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

/// What the process takes beside its tasks: code, connections, messages on their way in and out (twenty that wait for
/// their dead letter take 60 MiB).
const RESERVE_BYTES: u64 = 64 << 20;
/// And this part of the memory: page tables, the kernel's own buffers, what the allocator can't use.
const RESERVE_SHARE: u64 = 16;

/// The memory that this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostMemory {
    /// All of it, in bytes.
    pub bytes: u64,
    /// Who says so.
    pub source: MemorySource,
}

/// Where a bound on memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySource {
    /// The limit of a control group that the process is in: a container's, usually.
    Cgroup,
    /// What the machine has.
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

impl HostMemory {
    /// Asks the system; `None`: it doesn't tell, as `/proc` isn't there.
    pub fn find() -> Option<Self> {
        Self::find_below(Path::new("/"))
    }

    /// The same, or what ECS says if that is less: the limit of a task isn't that of a control group on each kind of host.
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

/// The line `MemTotal:       24689084 kB` of `/proc/meminfo`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit of a control group and those above it. `line` is one of `/proc/self/cgroup`: `ID:CONTROLLERS:PATH`,
/// where version 2 has the ID 0 and names no controllers (cgroups(7)).
///
/// In a container the path may be the host's, and what is mounted is the container's own group as the root: a group that
/// isn't there says nothing, and the one at the root is asked in any case.
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
        // Version 2 says "max" where there is no limit, version 1 a number that no machine has.
        .filter_map(|group| fs::read_to_string(mount.join(group).join(file)).ok()?.trim().parse().ok())
        .min()
}

/// How many tasks may run at once, and why not more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The most tasks at once.
    pub instances: NonZeroUsize,
    /// What decided it.
    pub bounded_by: BoundedBy,
}

/// What decided how many tasks may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundedBy {
    /// The number that the user gave, or the number of cores.
    User,
    /// The memory of the host.
    Memory,
}

impl fmt::Display for BoundedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Memory => "memory",
        })
    }
}

/// Not even one task fits into the host's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a task may take {} of memory within its limits, and this {} has {}, of which wasmrun itself keeps {}: lower --memory and --object-size, or give it more",
    ByteSize(*task_bytes).display().iec(),
    match memory.source { MemorySource::Cgroup => "control group (container)", MemorySource::Machine => "machine", MemorySource::Ecs => "ECS task" },
    ByteSize(memory.bytes).display().iec(),
    ByteSize(reserve(*memory)).display().iec()
)]
pub struct TooSmall {
    /// What one task may take.
    pub task_bytes: u64,
    /// What there is.
    pub memory: HostMemory,
}

/// Decides how many tasks may run at once. Where the host's memory isn't known the user's word stands.
///
/// # Errors
///
/// Not even one task fits.
pub fn capacity(
    wanted: NonZeroUsize,
    limits: &Limits,
    memory: Option<HostMemory>,
) -> Result<Capacity, TooSmall> {
    let by_user = Capacity { instances: wanted, bounded_by: BoundedBy::User };
    let Some(memory) = memory else { return Ok(by_user) };
    let task_bytes = limits.task_bytes();
    let fit = memory.bytes.saturating_sub(reserve(memory)) / task_bytes.max(1);
    let fit = NonZeroUsize::new(usize::try_from(fit).unwrap_or(usize::MAX));
    let fit = fit.ok_or(TooSmall { task_bytes, memory })?;
    Ok(if fit < wanted { Capacity { instances: fit, bounded_by: BoundedBy::Memory } } else { by_user })
}

fn reserve(memory: HostMemory) -> u64 {
    RESERVE_BYTES + memory.bytes / RESERVE_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A system of which only these files are there.
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

    #[test]
    fn the_smaller_of_the_users_number_and_what_fits_wins_and_is_named() {
        let limits = Limits::default();
        let wanted = NonZeroUsize::new(4).expect("not zero");
        let with = |mib| capacity(wanted, &limits, cgroup(mib));
        assert_eq!(with(100_000), Ok(Capacity { instances: wanted, bounded_by: BoundedBy::User }));
        let bounded = with(1024).expect("some fit");
        assert_eq!(bounded.bounded_by, BoundedBy::Memory);
        assert!((1..4).contains(&bounded.instances.get()), "{bounded:?}");
        let error = with(256).expect_err("none fits").to_string();
        assert!(error.contains("--memory") && error.contains("256.0 MiB"), "{error}");
        assert_eq!(capacity(wanted, &limits, None).map(|capacity| capacity.instances), Ok(wanted));
    }

    #[test]
    fn all_tasks_at_their_limits_fit_beside_the_reserve() {
        for mib in [512, 1024, 4096, 30_720] {
            let memory = cgroup(mib);
            let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
            let Ok(capacity) = capacity(NonZeroUsize::MAX, &limits, memory) else { continue };
            let most = capacity.instances.get() as u64 * limits.task_bytes();
            assert!(most + RESERVE_BYTES + mib * MIB / RESERVE_SHARE <= mib * MIB);
        }
    }
}
