//! Checks the range of a setting's value.

use crate::output::failure::Failure;
use bytesize::ByteSize;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Unit in which a setting is written.
pub(crate) trait Unit: Copy + PartialOrd {
    /// Name of the value in the help.
    const VALUE_NAME: &'static str;
    /// Describes a value below the minimum in errors.
    const TOO_LITTLE: &'static str = "too small";

    fn shown(self) -> String;
}

impl Unit for u64 {
    const VALUE_NAME: &'static str = "N";

    fn shown(self) -> String {
        self.to_string()
    }
}

impl Unit for usize {
    const VALUE_NAME: &'static str = "N";

    fn shown(self) -> String {
        self.to_string()
    }
}

impl Unit for ByteSize {
    const VALUE_NAME: &'static str = "SIZE";

    /// Shows the exact size: rounded, one byte more than 4 GiB would read as 4 GiB.
    fn shown(self) -> String {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("{} {name}", self.0 / unit),
            None => format!("{} bytes", self.0),
        }
    }
}

impl Unit for Duration {
    const VALUE_NAME: &'static str = "DURATION";
    const TOO_LITTLE: &'static str = "too short";

    fn shown(self) -> String {
        humantime::format_duration(self).to_string()
    }
}

/// Refuses a value of a flag that is outside the allowed range.
pub(crate) fn check<U: Unit>(value: U, flag: &str, allowed: RangeInclusive<U>) -> Result<(), Failure> {
    let (least, most) = allowed.into_inner();
    let wrong = if value < least {
        format!("{}: at least {}", U::TOO_LITTLE, least.shown())
    } else if value > most {
        format!("too large: at most {}", most.shown())
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!("--{flag} {} is {wrong}", value.shown())))
}

/// Refuses a number of a flag that is larger than `most`.
pub(super) fn at_most(number: NonZeroUsize, most: usize, flag: &str) -> Result<NonZeroUsize, Failure> {
    if number.get() > most {
        return Err(Failure::usage(format!("--{flag} {number} is too many: at most {most}")));
    }
    Ok(number)
}
