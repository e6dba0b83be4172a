//! The sizes of tasks that Fargate has.

use super::plan::Plan;
use crate::output::failure::Failure;
use crate::settings::deployment::{Memory, Vcpu};
use crate::settings::flags::EcsArgs;

/// Returns the CPU units and MiB of the task: those of the worker's container, or in a sidecar those of both containers
/// together.
///
/// # Errors
///
/// Fails if Fargate has no tasks of this size, or if a sidecar leaves nothing for its application.
pub(super) fn size(args: &EcsArgs, plan: &Plan) -> Result<(u64, u64), Failure> {
    let (cpu, memory) = (units(plan.container.cpu), plan.container.memory.0);
    if args.sidecar.is_none() {
        return fitting(cpu, memory, "container");
    }
    let task_cpu = args.task_cpu.map_or(2 * cpu, units);
    let task_memory = args.task_memory.map_or(2 * memory, |Memory(mib)| mib);
    if task_cpu <= cpu || task_memory <= memory {
        return Err(Failure::usage(
            "nothing is left for the application: --task-cpu must be more than --container-cpu, and --task-memory more than --container-memory",
        ));
    }
    fitting(task_cpu, task_memory, "task")
}

/// Returns vCPUs in the units of ECS.
pub(super) fn units(Vcpu(thousandths): Vcpu) -> u64 {
    thousandths * 1024 / 1000
}

/// Returns the size, if Fargate has it ("Task CPU and memory" in the developer guide of ECS). `of` begins the names of
/// the flags that set it.
fn fitting(cpu: u64, memory: u64, of: &str) -> Result<(u64, u64), Failure> {
    let (least, most, step) = match cpu {
        256 => (512, 2048, 512),
        512 => (1024, 4096, 1024),
        1024 => (2048, 8192, 1024),
        2048 => (4096, 16_384, 1024),
        4096 => (8192, 30_720, 1024),
        8192 => (16_384, 61_440, 4096),
        16_384 => (32_768, 122_880, 8192),
        _ => {
            return Err(Failure::usage(format!(
                "Fargate has no tasks with this --{of}-cpu: 0.25, 0.5, 1, 2, 4, 8 or 16"
            )));
        }
    };
    // A quarter of a vCPU has 512, 1024 or 2048 MiB.
    if (least..=most).contains(&memory) && memory.is_multiple_of(step) && (cpu, memory) != (256, 1536) {
        return Ok((cpu, memory));
    }
    Err(Failure::usage(format!(
        "Fargate has no tasks with --{of}-memory {memory}MiB and this --{of}-cpu: {least}MiB to {most}MiB, in steps of {step}MiB"
    )))
}
