//! Exit codes of commands.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The exit code of a command whose task failed and is treated like a trap.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("exited with status {0}")]
pub(crate) struct ExitedWith(pub(crate) i32);

/// What an exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitMeaning {
    /// The task completed.
    Completed,
    /// The message is to be tried again.
    Retry,
    /// The message can never work.
    Rejected,
    /// The program failed, as with a trap.
    Trapped,
}

impl FromStr for ExitMeaning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "completed" => Self::Completed,
            "retry" => Self::Retry,
            "rejected" => Self::Rejected,
            "trapped" => Self::Trapped,
            _ => return Err(format!("unknown outcome {text:?}: use completed, retry, rejected or trapped")),
        })
    }
}

/// The meaning of each exit code. A code that isn't listed means [`ExitMeaning::Trapped`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitCodes(BTreeMap<u8, ExitMeaning>);

/// The defaults: 0 completed, and of the codes of `sysexits.h` 65 (`EX_DATAERR`) rejected and 75 (`EX_TEMPFAIL`) retry.
impl Default for ExitCodes {
    fn default() -> Self {
        Self(BTreeMap::from([
            (0, ExitMeaning::Completed),
            (65, ExitMeaning::Rejected),
            (75, ExitMeaning::Retry),
        ]))
    }
}

impl ExitCodes {
    /// Sets the meaning of a code.
    pub fn set(&mut self, code: u8, meaning: ExitMeaning) {
        self.0.insert(code, meaning);
    }

    pub(crate) fn meaning(&self, code: i32) -> ExitMeaning {
        let code = u8::try_from(code).ok();
        code.and_then(|code| self.0.get(&code)).copied().unwrap_or(ExitMeaning::Trapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_sysexits_have_their_meaning_and_others_are_failures() {
        let mut codes = ExitCodes::default();
        assert_eq!(
            [0, 65, 75].map(|code| codes.meaning(code)),
            [ExitMeaning::Completed, ExitMeaning::Rejected, ExitMeaning::Retry]
        );
        for code in [1, 2, 64, 255, 256, 256 + 75, -1, i32::MIN, i32::MAX] {
            assert_eq!(codes.meaning(code), ExitMeaning::Trapped, "{code}");
        }
        codes.set(1, ExitMeaning::Rejected);
        codes.set(75, ExitMeaning::Trapped);
        assert_eq!([1, 75].map(|code| codes.meaning(code)), [ExitMeaning::Rejected, ExitMeaning::Trapped]);
    }
}
