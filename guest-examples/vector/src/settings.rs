//! The operator's settings, from the task's environment.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use picture::Format;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The picture's longest side, in pixels.
    pub(crate) max_side: u32,
    pub(crate) format: Format,
    /// The size of a file.
    pub(crate) max_bytes: u64,
    /// The number of elements, each counted as often as it is drawn.
    pub(crate) max_elements: u64,
    /// Memory for the file, its elements, and its pixels, in bytes.
    pub(crate) memory: u64,
    /// Leave out what can't be drawn, instead of refusing the file.
    pub(crate) ignores: bool,
}

impl Settings {
    /// Reads the environment variables through `env`. A variable that is absent or empty has its default.
    pub(crate) fn read(env: impl Copy + Fn(&str) -> Option<String>) -> Result<Self, String> {
        let env = |key: &str| env(key).filter(|value| !value.is_empty());
        let task_memory_mib = number(env, "TASK_MEMORY_MIB", 256, 16..=4096)?;
        Ok(Settings {
            max_side: number(env, "MAX_SIDE", 320, 1..=8192)?,
            format: match env("FORMAT").as_deref() {
                None | Some("png") => Format::Png,
                Some("webp") => Format::WebP,
                Some(other) => return Err(format!("FORMAT is {other:?}: it must be png or webp")),
            },
            max_bytes: number(env, "MAX_BYTES", 4 << 20, 1..=256 << 20)?,
            max_elements: number(env, "MAX_ELEMENTS", 50_000, 1..=10_000_000)?,
            // An eighth of the task's memory is for the code's own data, its stack, and gaps between allocations.
            memory: (task_memory_mib << 20) / 8 * 7,
            ignores: match env("ON_UNSUPPORTED").as_deref() {
                None | Some("reject") => false,
                Some("ignore") => true,
                Some(other) => {
                    return Err(format!("ON_UNSUPPORTED is {other:?}: it must be reject or ignore"));
                }
            },
        })
    }
}

fn number<T: FromStr + PartialOrd + Display>(
    env: impl Fn(&str) -> Option<String>,
    key: &str,
    default: T,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let Some(value) = env(key) else {
        return Ok(default);
    };
    value.trim().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        format!("{key} is {value:?}: it must be a whole number from {} to {}", range.start(), range.end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_defaults_and_wrong_ones_are_named() {
        let defaults = Settings::read(|_| None).expect("there are defaults");
        assert_eq!((defaults.max_side, defaults.format, defaults.ignores), (320, Format::Png, false));
        let wrong = [
            ("MAX_SIDE", "0"),
            ("FORMAT", "jpeg"),
            ("MAX_BYTES", "x"),
            ("MAX_ELEMENTS", "0"),
            ("TASK_MEMORY_MIB", "1"),
            ("ON_UNSUPPORTED", "no"),
        ];
        for (key, value) in wrong {
            let error = Settings::read(|name| (name == key).then(|| value.to_owned()));
            assert!(error.is_err_and(|error| error.starts_with(&format!("{key} is \"{value}\""))));
        }
    }
}
