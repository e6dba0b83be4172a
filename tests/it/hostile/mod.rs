//! The hostile suite: guests whose makers know our source. Whatever they try, four things hold for each of them, in
//! [`siege`]: its task ends as it must, with the limit named; a neighbour that started in the same moment completes
//! with its normal result; the worker's heartbeats and timers go on, told by the queue's own count of renewals; and
//! what the process held for it is given back.
//!
//! `cargo xtask hostile` runs this module alone, on all cores and on one.

mod bare;
mod components;
mod misbehave;
mod siege;
