//! Components of other runtimes' worlds, built from the published WIT: they run unchanged as tasks.

mod spin;
