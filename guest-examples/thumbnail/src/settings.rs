//! The operator's settings, from the task's environment.

use std::ops::RangeInclusive;

use picture::{Bounds, Chroma, Encoding, Format};
use picture_guest::Variables;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The thumbnail's longest side, in pixels. A smaller picture keeps its size.
    pub(crate) max_side: u32,
    /// The quality of a JPEG, 1 to 100.
    pub(crate) quality: u8,
    pub(crate) format: Format,
    /// `Cache-Control` of the output.
    pub(crate) cache_control: Option<String>,
    /// What a picture may cost.
    pub(crate) bounds: Bounds,
}

/// The longest side that both formats can hold.
const MAX_SIDE: RangeInclusive<u32> = 1..=16_383;

impl Settings {
    /// Reads the environment variables through `env`. A variable that is absent or empty has its default.
    pub(crate) fn read(env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variables = Variables(env);
        let memory = variables.memory()?;
        Ok(Settings {
            max_side: variables.number("MAX_SIDE", 320, MAX_SIDE)?,
            quality: variables.number("QUALITY", 80, 1..=100)?,
            format: variables.choice("FORMAT", [("jpeg", Format::Jpeg), ("webp", Format::WebP)])?,
            cache_control: variables.cache_control()?,
            bounds: variables.bounds(memory)?,
        })
    }

    pub(crate) fn encoding(&self) -> Encoding {
        let chroma = if self.quality < 90 { Chroma::Half } else { Chroma::Full };
        Encoding { format: self.format, quality: self.quality, progressive: false, chroma, rights: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason;
    use picture::{Excess, Refusal};

    fn read(key: &str, value: &str) -> Result<Settings, String> {
        Settings::read(|asked| (asked == key).then(|| value.to_owned()))
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let settings = Settings::read(|_| None).expect("the defaults are valid");
        assert_eq!((settings.max_side, settings.quality, settings.format), (320, 80, Format::Jpeg));
        assert_eq!((settings.bounds.memory, &settings.cache_control), (224 << 20, &None));
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
        for value in [" no-store", "no-store\r\nx: y", "größe"] {
            let expected = format!(
                "CACHE_CONTROL is {value:?}: it must be 1 to 256 printable ASCII characters without spaces around them, such \
                 as public, max-age=3600"
            );
            assert_eq!(read("CACHE_CONTROL", value), Err(expected));
        }
        assert!(read("CACHE_CONTROL", &"x".repeat(256)).is_ok());
        assert!(read("CACHE_CONTROL", &"x".repeat(257)).is_err());
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
