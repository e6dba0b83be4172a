//! Merges and validates flags, `WASMRUN_*` variables and the configuration file. Opens no queue and no store.
//!
//! Flags win over variables (clap reads both), and variables over the file. Each group of settings with the same keys
//! in all three is one structure, which clap and serde both read. Settings with a name, such as the grant of an alias,
//! are merged name by name.
//!
//! The modules are listed from the bottom up. Each uses only modules in its own row and the rows above, except that
//! `flags` names the values of `command`, `grants` and `simulate`.
//!
//! | module | owns |
//! |---|---|
//! | `text`, `words`, `range`, `read` | parse values, check their range, read files that a user names |
//! | `source` | where a component is |
//! | `aws`, `deployment`, `engine`, `instances`, `limit_flags`, `log`, `notify`, `queues`, `registry`, `serve`, `usage_size`, `watch`, `worker` | one group of settings each |
//! | `flags` | the commands with their flags and help |
//! | `variables`, `named` | finds and checks the names of variables; merges settings with a name |
//! | `needs`, `environment`, `config_values`, `grants`, `by_key`, `outcome_actions`, `keys`, `budgets`, `command`, `message` | settings with a name; the message of a flag |
//! | `simulate` | the values of `simulate`'s flags, and the plan that they make |
//! | `route_table` | the tables of routes in the configuration file |
//! | `file` | the configuration file |
//! | `project` | the files of a guest's project and of its cases |
//! | `task`, `routes` | merge the settings of tasks into a plan, and those of routes |
//! | `otlp` | where traces and metrics are exported to |
//! | `as_flags` | writes settings as flags of `run` or `serve`, for a container's command |

/// Defines a group of settings that flags, variables and a table of the file share. Each setting is optional, so that
/// groups from two places can be merged. The table of one group may hold the keys of further groups, which follow it, each
/// with the field that it is in.
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
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: Option<$kind:ty>,)*
    } $($(#[$group_meta:meta])* $group:ident: struct $group_name:ident {
        $($(#[$inner_meta:meta])* $inner_visibility:vis $inner:ident: Option<$inner_kind:ty>,)*
    })+) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Args, Deserialize)]
        #[serde(from = "Table")]
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: Option<$kind>,)*
            $(#[command(flatten)] $visibility $group: $group_name,)+
        }

        $(settings! {
            $(#[$group_meta])*
            $visibility struct $group_name {
                $($(#[$inner_meta])* $inner_visibility $inner: Option<$inner_kind>,)*
            }
        }

        impl $crate::settings::SettingsGroup for $group_name {
            const FLAGS: &'static [&'static str] = &[$(stringify!($inner)),*];

            fn first_set(&self) -> Option<String> {
                let set = [$((stringify!($inner), self.$inner.is_some())),*];
                let first = set.into_iter().find(|(_, is_set)| *is_set);
                first.map(|(flag, _)| flag.replace('_', "-"))
            }
        })+

        impl $name {
            /// Takes each setting that isn't set here from `other`.
            pub(crate) fn or(self, other: Self) -> Self {
                Self {
                    $($field: self.$field.or(other.$field),)*
                    $($group: self.$group.or(other.$group),)+
                }
            }
        }

        /// What the file has, in one structure: with `serde(flatten)`, unknown keys would be accepted, and errors would have
        /// no line. `Args` is only there for the attributes of flags.
        #[derive(Default, Args, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        struct Table {
            $($(#[$field_meta])* $field: Option<$kind>,)*
            $($($(#[$inner_meta])* $inner: Option<$inner_kind>,)*)+
        }

        impl From<Table> for $name {
            fn from(table: Table) -> Self {
                Self {
                    $($field: table.$field,)*
                    $($group: $group_name { $($inner: table.$inner,)* },)+
                }
            }
        }
    };
}

/// A group of settings whose keys are in the table of another one.
pub(crate) trait SettingsGroup {
    /// Names of the flags, with underscores.
    const FLAGS: &'static [&'static str];

    /// Returns the first flag that is set.
    fn first_set(&self) -> Option<String>;
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
pub(crate) mod needs;
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
pub(crate) mod words;
pub(crate) mod worker;
