//! The operator's settings, from the task's environment.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use picture::{Bounds, Chroma, Encoding, Excess, Format, Refusal, Truncated};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The thumbnail's longest side, in pixels. A smaller picture keeps its size.
    pub(crate) max_side: u32,
    /// The quality of a JPEG, 1 to 100.
    pub(crate) quality: u8,
    pub(crate) format: Format,
    /// What a picture may cost.
    pub(crate) bounds: Bounds,
}

/// The longest side that both formats can hold.
const MAX_SIDE: RangeInclusive<u32> = 1..=16_383;

impl Settings {
    /// Reads the environment variables through `env`. A variable that is absent or empty has its default.
    pub(crate) fn read(env: impl Copy + Fn(&str) -> Option<String>) -> Result<Self, String> {
        let env = |key: &str| env(key).filter(|value| !value.is_empty());
        let task_memory_mib = number(env, "TASK_MEMORY_MIB", 256, 16..=4096)?;
        Ok(Settings {
            max_side: number(env, "MAX_SIDE", 320, MAX_SIDE)?,
            quality: number(env, "QUALITY", 80, 1..=100)?,
            format: match env("FORMAT").as_deref() {
                None | Some("jpeg") => Format::Jpeg,
                Some("webp") => Format::WebP,
                Some(other) => return Err(format!("FORMAT is {other:?}: it must be jpeg or webp")),
            },
            bounds: Bounds {
                pixels: number(env, "MAX_PIXELS", 100_000_000, 1..=u64::MAX)?,
                side: number(env, "MAX_SOURCE_SIDE", 65_535, 1..=u32::MAX)?,
                // A long and thin picture makes a small thumbnail.
                ratio: u32::MAX,
                // An eighth of the task's memory is for the code's own data, its stack, and gaps between allocations.
                memory: (task_memory_mib << 20) / 8 * 7,
                truncated: match env("ON_TRUNCATED").as_deref() {
                    None | Some("reject") => Truncated::Reject,
                    Some("keep") => Truncated::Keep,
                    Some(other) => {
                        return Err(format!("ON_TRUNCATED is {other:?}: it must be reject or keep"));
                    }
                },
            },
        })
    }

    pub(crate) fn encoding(&self) -> Encoding {
        let chroma = if self.quality < 90 { Chroma::Half } else { Chroma::Full };
        Encoding { format: self.format, quality: self.quality, progressive: false, chroma, rights: None }
    }
}

/// Returns why there is no thumbnail, in one sentence, with the environment variable that decided it.
pub(crate) fn reason(key: &str, refusal: &Refusal) -> String {
    let setting = match refusal {
        Refusal::TooLarge(Excess::Pixels { .. }) => " by MAX_PIXELS",
        Refusal::TooLarge(Excess::Side { .. }) => " by MAX_SOURCE_SIDE",
        Refusal::TooLarge(Excess::Memory { .. }) => " by TASK_MEMORY_MIB",
        Refusal::TooLarge(Excess::Ratio { .. }) => "",
        Refusal::NotSupported(_) | Refusal::CutShort(_) | Refusal::Damaged(..) => "",
    };
    format!("cannot make a thumbnail of {key}: {refusal}{setting}")
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

    fn read(key: &str, value: &str) -> Result<Settings, String> {
        Settings::read(|asked| (asked == key).then(|| value.to_owned()))
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let settings = Settings::read(|_| None).expect("the defaults are valid");
        assert_eq!((settings.max_side, settings.quality, settings.format), (320, 80, Format::Jpeg));
        assert_eq!(settings.bounds.memory, 224 << 20);
        assert_eq!(read("MAX_SIDE", ""), Ok(settings));
    }

    #[test]
    fn a_wrong_value_is_named() {
        assert_eq!(
            read("MAX_SIDE", "0"),
            Err("MAX_SIDE is \"0\": it must be a whole number from 1 to 16383".to_owned())
        );
        assert_eq!(
            read("QUALITY", "good"),
            Err("QUALITY is \"good\": it must be a whole number from 1 to 100".to_owned())
        );
        assert_eq!(read("FORMAT", "gif"), Err("FORMAT is \"gif\": it must be jpeg or webp".to_owned()));
        assert_eq!(
            read("ON_TRUNCATED", "no"),
            Err("ON_TRUNCATED is \"no\": it must be reject or keep".to_owned())
        );
    }

    #[test]
    fn a_reason_is_one_sentence_that_names_the_setting() {
        let settings = Settings::read(|_| None).expect("the defaults are valid");
        let refusal = picture::decode(b"\0\0\0\x18ftypheic\0\0\0\0heic".to_vec(), 320, &settings.bounds)
            .expect_err("it can't be read");
        assert_eq!(
            reason("a.heic", &refusal),
            "cannot make a thumbnail of a.heic: it is a HEIC picture, which is not supported"
        );
        for (excess, expected) in [
            (
                Excess::Pixels { width: 9, height: 8, bound: 70 },
                "it has 9 x 8 pixels, and 70 are allowed by MAX_PIXELS",
            ),
            (
                Excess::Side { width: 9, height: 8, bound: 7 },
                "it has 9 x 8 pixels, and a side of 7 is allowed by MAX_SOURCE_SIDE",
            ),
            (
                Excess::Memory { needed: 3 << 20, bound: 2 << 20 },
                "it needs 3 MiB of memory, and 2 are allowed by TASK_MEMORY_MIB",
            ),
        ] {
            let reason = reason("a", &Refusal::TooLarge(excess));
            assert_eq!(reason, format!("cannot make a thumbnail of a: {expected}"));
        }
    }
}
