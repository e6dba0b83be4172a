//! Flags, `WASMRUN_*` variables and the configuration file, merged and validated. No queue and no store is opened here.
//!
//! Flags win over variables (clap knows both), and these over the file. The groups of settings that have the same
//! shape in all three are one structure each, which clap and serde both read; what is given to a name, such as a grant to
//! its alias, is merged name by name.
//!
//! From the bottom up: no module knows one below its own line.
//!
//! | module | owns |
//! |---|---|
//! | `text`, `range`, `read` | values as they are written; those that are allowed; files that a user names |
//! | `aws`, `engine`, `instances`, `limit_flags`, `log`, `usage_size`, `watch`, `worker` | groups of settings |
//! | `flags` | what can be typed, and how it's explained |
//! | `variables` | the names of variables |
//! | `named`, `environment`, `grants`, `outcome_actions`, `message` | what is given to a name; what is sent |
//! | `file` | the configuration file |
//! | `task` | all that a task is to be |

/// Defines a group of settings that flags, variables and a table of the file share. Each setting is optional, so that groups
/// from two places can be merged.
macro_rules! settings {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: Option<$kind:ty>,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Args, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: Option<$kind>,)*
        }

        impl $name {
            /// Takes each setting that isn't set here from `other`.
            pub(crate) fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }
        }
    };
}

pub(crate) mod aws;
pub(crate) mod engine;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod flags;
pub(crate) mod grants;
mod instances;
pub(crate) mod limit_flags;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod named;
pub(crate) mod outcome_actions;
mod range;
pub(crate) mod read;
pub(crate) mod task;
pub(crate) mod text;
pub(crate) mod usage_size;
pub(crate) mod variables;
pub(crate) mod watch;
pub(crate) mod worker;
