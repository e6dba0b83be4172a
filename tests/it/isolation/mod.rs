//! What a guest can reach.
//!
//! | module | shows |
//! |---|---|
//! | `by_key` | that a task reaches only its key's part of a store |
//! | `deterministic` | what a guest sees that is the same on each run |
//! | `reach` | what a guest can see and touch |
//! | `snapshot` | that each task finds the component's snapshot as it was built |
//! | `tenants` | that hostile tenants harm no other on the same queue |

mod by_key;
mod deterministic;
mod reach;
mod snapshot;
mod tenants;
