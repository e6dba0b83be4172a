//! Whether the scaler finds the concurrency limit, and how fast it follows a burst.
//!
//!     cargo xtask bench scale                              # writes docs/src/benchmarks/scale.md
//!     cargo xtask bench scale -- --quick                   # seconds, to see that it works
//!
//! *Sweep*: tasks that compute and tasks that wait are worked off with `--instances auto` and with each of some fixed
//! limits, in turns. The ramp from one instance upwards is part of what `auto` achieves. *Burst*: messages arrive at an idle
//! worker that may run between 0 and 64 tasks, once in this process, and once at the program on a real server of SQS
//! (fauxqs), whose resident memory is read before and after.

mod burst;
mod sweep;

use crate::shared::Packages;
use tokio::runtime::Runtime;
use wasmrun_benches::{Arguments, Report};

pub(crate) fn measure(arguments: &Arguments) {
    let runtime = Runtime::new().expect("threads");
    let mut report = Report::new("scale", arguments, "");
    for workload in sweep::WORKLOADS {
        sweep::measure(&mut report, &runtime, &workload);
    }
    burst::in_memory(&mut report, &runtime);
    if let Some(packages) = Packages::find("scale") {
        burst::on_sqs(&mut report, &packages);
        report.write();
    }
}
