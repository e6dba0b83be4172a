//! The command line: what it takes, what it refuses, and how it says so.
//!
//! | module | shows |
//! |---|---|
//! | `bad_components` | files that are no component that could be run |
//! | `bad_input` | everything else that can be wrong before any work is done |
//! | `bad_settings` | every flag and every key with values that make no sense; files without an end |
//! | `components` | where components come from: buckets, and code that was compiled before |
//! | `configuration` | flags, variables and the file |
//! | `help` | what `--help` shows |
//! | `told` | what people are told when something isn't as they think |

mod bad_components;
mod bad_input;
mod bad_settings;
mod components;
mod configuration;
mod help;
mod told;
