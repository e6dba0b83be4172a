//! Starts the log.

use crate::output::Output;
use crate::output::failure::Failure;
use crate::settings::log::LogSettings;
use crate::settings::variables::warn_of_unknown_variables;

/// Starts logging, and warns of variables that look like settings but aren't.
pub(crate) fn start(settings: &LogSettings) -> Result<Output, Failure> {
    let output = Output::start(settings.level.as_deref(), settings.format)?;
    warn_of_unknown_variables();
    Ok(output)
}
