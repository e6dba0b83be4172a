//! Commands: programs with `main`, run as tasks.

mod messages;
mod objects;
mod outputs;
