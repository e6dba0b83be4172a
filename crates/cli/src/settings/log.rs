//! Settings of the log.

use super::text::{Written, expected, written};
use crate::output::log_lines::LogFormat;
use clap::{Args, ValueEnum};
use serde::Deserialize;

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

impl Written for LogFormat {
    const FORM: &'static str = "text or json";

    fn read(text: &str) -> Result<Self, String> {
        Self::from_str(text, false).map_err(|_| expected::<Self>())
    }
}
