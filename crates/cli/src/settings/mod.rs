//! Flags, `WASMRUN_*` variables and the configuration file, merged and validated.
//!
//! Flags win over variables (clap knows both), and these over the file. The groups of settings that have the same
//! shape in all three are one structure each, which clap and serde both read; what is given to a name, such as a grant to
//! its alias, is merged name by name.

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

mod engine;
mod environment;
pub(crate) mod flags;
mod grants;
mod instances;
pub(crate) mod limits;
mod named;
mod policy;
mod read;
mod text;
mod worker;

pub(crate) use self::engine::EngineSettings;
pub(crate) use self::environment::environment;
pub(crate) use self::grants::{StoreSetting, roles, sends, stores};
pub(crate) use self::named::{check_alias, not_utf8, warn_of_unknown_variables};
pub(crate) use self::policy::{PolicySetting, policy};
pub(crate) use self::read::{MAX_TOML_BYTES, read_file, read_text};
pub(crate) use self::text::{Written, expected, typed, written};
pub(crate) use self::worker::WorkerSettings;

use self::environment::EnvValue;
use self::limits::LimitSettings;
use crate::output::failure::Failure;
use crate::wiring::watch::{Listen, Namespace};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use serde::{Deserialize, de};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The lines of some hundred thousand tasks.
const USAGE_SIZE: ByteSize = ByteSize(64 << 20);
/// Some hundred: less would be lost before anybody has looked at it.
const MIN_USAGE_SIZE: ByteSize = ByteSize(64 << 10);

settings! {
    /// Where Amazon's services are.
    pub(crate) struct AwsSettings {
        /// Endpoint of SQS and S3 [default: AWS_ENDPOINT_URL and its like, else Amazon's endpoints]
        #[arg(long, global = true, value_name = "URL", env = "WASMRUN_ENDPOINT_URL")]
        #[serde(deserialize_with = "written")]
        pub(crate) endpoint_url: Option<String>,
    }
}

settings! {
    /// What is logged, and how.
    pub(crate) struct LogSettings {
        /// Log level: error, warn, info, debug or trace; or a filter such as `info,guest=debug` [default:
        /// info]
        #[arg(long = "log", value_name = "LEVEL", env = "WASMRUN_LOG")]
        #[serde(deserialize_with = "written")]
        pub(crate) level: Option<String>,
        /// Log format [default: text on a terminal, else json]
        #[arg(long = "log-format", value_name = "FORMAT", env = "WASMRUN_LOG_FORMAT")]
        #[serde(deserialize_with = "written")]
        pub(crate) format: Option<LogFormat>,
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Written for LogFormat {
    const FORM: &'static str = "text or json";

    fn read(text: &str) -> Result<Self, String> {
        Self::from_str(text, false).map_err(|_| expected::<Self>())
    }
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct File {
    #[serde(deserialize_with = "written")]
    pub(crate) component: Option<PathBuf>,
    #[serde(deserialize_with = "written")]
    pub(crate) queue: Option<String>,
    pub(crate) raw_body: Option<bool>,
    pub(crate) deterministic: Option<bool>,
    #[serde(deserialize_with = "written")]
    pub(crate) usage: Option<PathBuf>,
    #[serde(deserialize_with = "written")]
    pub(crate) usage_size: Option<ByteSize>,
    #[serde(deserialize_with = "written")]
    pub(crate) listen: Option<Listen>,
    #[serde(deserialize_with = "written")]
    pub(crate) emf: Option<Namespace>,
    #[serde(deserialize_with = "written")]
    pub(crate) service: Option<String>,
    #[serde(deserialize_with = "grants::stores_of_file")]
    pub(crate) store: BTreeMap<String, String>,
    #[serde(deserialize_with = "grants::sends_of_file")]
    pub(crate) send: BTreeMap<String, String>,
    #[serde(deserialize_with = "grants::roles_of_file")]
    pub(crate) assume_role: BTreeMap<String, String>,
    pub(crate) env: BTreeMap<String, EnvValue>,
    #[serde(deserialize_with = "policy::actions_of_file")]
    pub(crate) on: BTreeMap<String, String>,
    pub(crate) limits: LimitSettings,
    pub(crate) worker: WorkerSettings,
    pub(crate) engine: EngineSettings,
    pub(crate) aws: AwsSettings,
    pub(crate) log: LogSettings,
}

impl File {
    /// Reads it, if there is one.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self::read_with_text(path)?.0)
    }

    /// Reads it elsewhere than on this thread: a pipe may keep who reads it waiting.
    pub(crate) async fn read_aside(path: Option<PathBuf>) -> Result<(Self, String), Failure> {
        let reading = tokio::task::spawn_blocking(move || Self::read_with_text(path.as_deref()));
        reading
            .await
            .map_err(|error| Failure::backend(format!("the configuration can't be read: {error}")))?
    }

    fn read_with_text(path: Option<&Path>) -> Result<(Self, String), Failure> {
        let Some(path) = path else { return Ok(Default::default()) };
        let shown = path.display();
        let text = read_text(path, &format!("the configuration {shown}"), MAX_TOML_BYTES)?;
        Ok((Self::parse(&text, &shown)?, text))
    }

    /// `shown` names the file in errors.
    pub(crate) fn parse(text: &str, shown: &dyn Display) -> Result<Self, Failure> {
        toml_from(text, &format!("the configuration {shown}"))
    }
}

/// Reads TOML; what is wrong is said with its place.
pub(crate) fn toml_from<T: de::DeserializeOwned>(text: &str, shown: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        // The line, and what in it is meant.
        let place = error.span().map_or_else(String::new, |span| {
            let before = text.get(..span.start).unwrap_or_default();
            let part = text.get(span).and_then(|part| part.lines().next()).unwrap_or_default();
            format!(", line {}, at {part:.60}", 1 + before.matches('\n').count())
        });
        let what = text::in_users_words(error.message());
        Failure::usage(format!("in {shown}{place}: {what}"))
    })
}

fn at_most(number: NonZeroUsize, most: usize, flag: &str) -> Result<NonZeroUsize, Failure> {
    if number.get() > most {
        return Err(Failure::usage(format!("--{flag} {number} is too many: at most {most}")));
    }
    Ok(number)
}

/// The size at which a usage file is rotated.
pub(crate) fn usage_bytes(size: Option<ByteSize>) -> Result<u64, Failure> {
    let size = size.unwrap_or(USAGE_SIZE);
    limits::check(size, "usage-size", MIN_USAGE_SIZE..=ByteSize(u64::MAX))?;
    Ok(size.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file() {
        let file: File = toml::from_str("[store]\nin = 'dir:x:ro'\nout = 'dir:y:rw'").expect("valid");
        let stores = stores(&["in=dir:z:rw".into()], file.store).expect("valid");
        assert_eq!(stores.iter().map(|s| s.url.as_str()).collect::<Vec<_>>(), ["dir:z", "dir:y"]);
    }

    #[test]
    fn a_typo_in_the_file_is_named_with_its_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("wasmrun.toml");
        std::fs::write(&path, "queue = 'sqlite:x'\n\n[limits]\nfule = 5\n").expect("written");
        let error = File::read(Some(&path)).expect_err("invalid").to_string();
        assert!(error.contains("line 4") && error.contains("fule"), "{error}");
    }
}
