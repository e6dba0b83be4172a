//! Merges and validates flags, `WASMRUN_*` variables and the configuration file. Opens no queue and no store.
//!
//! Flags win over variables (clap reads both), and variables over the file. Each group of settings with the same keys
//! in all three is one structure, which clap and serde both read. Settings with a name, such as the grant of an alias,
//! are merged name by name.
//!
//! The modules are listed from the bottom up. Each uses only modules in its own row and the rows above.
//!
//! | module | owns |
//! |---|---|
//! | `text`, `range`, `read` | parse values, check their range, read files that a user names |
//! | `source` | where a component is |
//! | `aws`, `deployment`, `engine`, `instances`, `limit_flags`, `log`, `notify`, `queues`, `registry`, `serve`, `usage_size`, `watch`, `worker` | one group of settings each |
//! | `flags` | the commands with their flags and help |
//! | `variables`, `named` | finds and checks the names of variables; merges settings with a name |
//! | `environment`, `config_values`, `grants`, `by_key`, `outcome_actions`, `keys`, `budgets`, `command`, `message` | settings with a name; the message of a flag |
//! | `route_table` | the tables of routes in the configuration file |
//! | `file` | the configuration file |
//! | `project` | the files of a guest's project and of its cases |
//! | `task`, `routes` | merge the settings of tasks into a plan, and those of routes |
//! | `otlp` | where traces and metrics are exported to |
//! | `as_flags` | writes settings as flags of `run`, for a container's command |

/// Defines a group of settings that flags, variables and a table of the file share. Each setting is optional, so that
/// groups from two places can be merged.
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

pub(crate) mod as_flags;
pub(crate) mod aws;
pub(crate) mod budgets;
pub(crate) mod by_key;
pub(crate) mod command;
pub(crate) mod config_values;
pub(crate) mod deployment;
pub(crate) mod engine;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod flags;
pub(crate) mod grants;
mod instances;
pub(crate) mod keys;
pub(crate) mod limit_flags;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod named;
pub(crate) mod notify;
pub(crate) mod otlp;
pub(crate) mod outcome_actions;
pub(crate) mod project;
pub(crate) mod queues;
mod range;
pub(crate) mod read;
pub(crate) mod registry;
pub(crate) mod route_table;
pub(crate) mod routes;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod source;
pub(crate) mod task;
pub(crate) mod text;
pub(crate) mod usage_size;
pub(crate) mod variables;
pub(crate) mod watch;
pub(crate) mod worker;
