//! Code that the benchmarks share. A function panics if a file, a server or this machine isn't as a benchmark needs it.
//!
//! | module | owns |
//! |---|---|
//! | [`run`] | how a benchmark is started: in full, or small as a test |
//! | [`rounds`] | measuring alternatives in alternating rounds; medians, ratios and percentiles |
//! | [`report`] | tables, the pages of the documentation, and their JSON files |
//! | [`plot`] | plots of the same figures |
//! | [`system`] | the machine, and what the system tells about processes |
//! | [`guests`] | the components that tasks run |
//! | [`worker`] | workers in this process, and their queues |
//! | [`podman`] | podman with a storage of its own |
//! | [`program`] | `wasmrun` as a process of its own |
//! | [`bare`] | the engine alone, without wasmrun, to compare with |
//! | [`fauxqs`] | a real server of SQS, and queues on it |
//! | [`packages`] | packages of npm and PyPI that benchmarks compare with |

pub mod bare;
pub mod fauxqs;
pub mod guests;
pub mod packages;
pub mod plot;
pub mod podman;
pub mod program;
pub mod report;
pub mod rounds;
pub mod run;
pub mod system;
pub mod worker;
