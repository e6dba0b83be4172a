//! The command line: what it accepts and refuses, and its error messages.
//!
//! | module | shows |
//! |---|---|
//! | `bad_components` | files that aren't runnable components |
//! | `bad_input` | everything else that can be wrong before any task starts |
//! | `bad_settings` | invalid values for every flag and key |
//! | `components` | where components come from: buckets and precompiled code |
//! | `configuration` | flags, environment variables and the configuration file |
//! | `files` | files that aren't regular, such as pipes |
//! | `help` | the output of `--help` |
//! | `inspecting` | what `inspect` shows, and what is refused before it is compiled |
//! | `simulate` | fleets in virtual time |
//! | `told` | messages to users about surprising situations |

mod bad_components;
mod bad_input;
mod bad_settings;
mod components;
mod configuration;
mod files;
mod help;
mod inspecting;
pub(crate) mod simulate;
mod told;
