//! What a guest can reach.
//!
//! | module | shows |
//! |---|---|
//! | `deterministic` | what a guest sees that is the same on each run |
//! | `reach` | what a guest can see and touch |

mod deterministic;
mod reach;
