//! The hostile suite: guests whose makers know our source. Whatever they try, five things hold for each of them, in
//! [`siege`]: its task ends as it must, with the limit named; a neighbour that started in the same moment completes
//! with its normal result; the worker's heartbeats and timers go on, told by the queue's own count of renewals; what
//! the process held for it is given back; and what lies around its stores is as it was.
//!
//! `cargo xtask hostile` runs this module alone, on all cores and on one.

mod bare;
mod components;
mod ends;
mod frame;
mod misbehave;
mod outside;
mod siege;
