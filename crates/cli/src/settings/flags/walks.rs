//! Flags of the commands that walk over a queue: `queue list`, `show`, `redrive` and `drop`.

use crate::settings::text::{Written, expected, typed};
use clap::Args;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::ports::walk::{Filter, WalkBounds};

/// Longest time of a walk. Its messages are invisible for a minute more, and for twelve hours at most.
const LONGEST: Duration = Duration::from_secs(11 * 60 * 60);

/// Which messages a command works on.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct SelectArgs {
    /// Only the message with this ID; may be given several times
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// Only dead letters with this outcome, such as rejected
    #[arg(long, value_name = "OUTCOME", value_parser = typed::<OutcomeKind>)]
    outcome: Option<OutcomeKind>,
    /// Only dead letters whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only dead letters of this component, by its name in `queue list`
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    /// Only dead letters of messages with this key, of a worker with `run --key`
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only messages sent to the queue since this time: a duration before now, or a time such as 2026-11-24T15:00:00Z
    #[arg(long, value_name = "TIME", value_parser = typed::<Since>)]
    since: Option<Since>,
}

/// Bounds of a walk over a queue of SQS.
#[derive(Clone, Debug, Args)]
pub(crate) struct WalkArgs {
    /// SQS: maximum number of messages to look at
    #[arg(long, value_name = "N", default_value = "20000", value_parser = typed::<NonZeroUsize>)]
    max_messages: NonZeroUsize,
    /// SQS: longest time for looking at messages, at most 11h; they are invisible to others meanwhile
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = typed::<WalkTime>)]
    max_time: WalkTime,
    /// SQS: look at messages even if the queue's redrive policy counts the receives
    #[arg(long)]
    pub(crate) allow_receives: bool,
}

/// The earliest sent time of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Since(SystemTime);

impl Written for Since {
    const FORM: &'static str = "a duration such as 24h, or a time such as 2026-11-24T15:00:00Z";

    fn read(text: &str) -> Result<Self, String> {
        let before_now = Duration::read(text).ok().and_then(|age| SystemTime::now().checked_sub(age));
        let time = || humantime::parse_rfc3339_weak(text).map_err(|_| expected::<Self>());
        before_now.map_or_else(time, Ok).map(Self)
    }
}

/// Longest time of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WalkTime(Duration);

impl Written for WalkTime {
    const FORM: &'static str = "a duration of 1s to 11h, such as 5m";

    fn read(text: &str) -> Result<Self, String> {
        let time = Duration::read(text)?;
        let fits = (Duration::from_secs(1)..=LONGEST).contains(&time);
        fits.then_some(Self(time)).ok_or_else(expected::<Self>)
    }
}

impl SelectArgs {
    pub(crate) fn filter(self) -> Filter {
        let Self { id, outcome, reason, component, key, since } = self;
        Filter { ids: id, outcome, reason, component, key, since: since.map(|Since(time)| time) }
    }
}

impl WalkArgs {
    pub(crate) fn bounds(&self) -> WalkBounds {
        WalkBounds { messages: self.max_messages.get(), time: self.max_time.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_duration_or_a_time() {
        let Since(time) = Since::read("2026-11-24T15:00:00Z").expect("a time");
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        assert_eq!(since_1970.as_secs(), 1_795_532_400);
        let Since(hour_ago) = Since::read("1h").expect("a duration");
        assert!(hour_ago < SystemTime::now() && hour_ago > SystemTime::now() - Duration::from_secs(7200));
        for wrong in ["", "yesterday", "24", "-1h", "99999999999999999999h"] {
            assert!(Since::read(wrong).is_err(), "{wrong}");
        }
        assert!(
            WalkTime::read("12h").is_err() && WalkTime::read("0s").is_err() && WalkTime::read("11h").is_ok()
        );
    }
}
