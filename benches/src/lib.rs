//! What the benchmarks share.
//!
//! | module | owns |
//! |---|---|
//! | [`run`] | how a benchmark is called: in full, or small and once, as a test |
//! | [`guests`] | the components that tasks run, and how they are loaded |
//! | [`bare`] | the engine alone, without wasmrun, to compare with |
//! | [`fauxqs`] | a real server of SQS, and queues on it |
//! | [`figures`] | percentiles, and the CPU time of this process |
//! | [`machine`] | where and when it is measured |
//! | [`proc`] | what the system says of processes |
//! | [`queues`] | queues with something in them |

pub mod bare;
pub mod fauxqs;
pub mod figures;
pub mod guests;
pub mod machine;
pub mod options;
pub mod proc;
pub mod queues;
pub mod run;
