//! The keys and values of a rendition, and what is wrong with them.

use std::ops::RangeInclusive;

use picture_guest::{CACHE_CONTROL, is_cache_control};

use crate::table::Scalar;
use crate::template::{Field, Template};

const DEFAULT_KEY: &str = "{key}.{name}.{ext}";

const KEYS: [&str; 19] = [
    "background",
    "blur",
    "cache_control",
    "chroma",
    "enlarge",
    "fit",
    "flip",
    "flop",
    "format",
    "gravity",
    "grayscale",
    "height",
    "key",
    "linear",
    "progressive",
    "quality",
    "rotate",
    "sharpen",
    "width",
];

/// The keys and values of a rendition.
pub(crate) struct Entries<'a> {
    pub(crate) name: &'a str,
    pub(crate) entries: &'a [(String, Scalar)],
}

impl Entries<'_> {
    fn get(&self, key: &str) -> Option<&Scalar> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    pub(crate) fn error(&self, key: &str, reason: &str) -> String {
        let value = self.get(key).map(Scalar::to_string).unwrap_or_default();
        // Each may be as long as the whole setting.
        let short = |text: &str| text.chars().take(100).collect::<String>();
        format!("has {} = {} in rendition {:?}: {reason}", short(key), short(&value), self.name)
    }

    pub(crate) fn have_known_keys(&self) -> Result<(), String> {
        match self.entries.iter().find(|(key, _)| !KEYS.contains(&key.as_str())) {
            Some((key, _)) => Err(self.error(key, &format!("the keys are {}", KEYS.join(", ")))),
            None => Ok(()),
        }
    }

    pub(crate) fn is_not_set(&self, key: &str, reason: &str) -> Result<(), String> {
        self.get(key).map_or(Ok(()), |_| Err(self.error(key, reason)))
    }

    pub(crate) fn whole(&self, key: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, String> {
        let read = |value: &Scalar| match value {
            Scalar::Whole(number) => u32::try_from(*number).ok().filter(|number| range.contains(number)),
            _ => None,
        };
        let expected = || format!("it must be a whole number from {} to {}", range.start(), range.end());
        self.value(key, read, expected)
    }

    pub(crate) fn decimal(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f32>, String> {
        let read = |value: &Scalar| match value {
            Scalar::Whole(number) => Some(*number as f64),
            Scalar::Decimal(number) => Some(*number),
            _ => None,
        };
        let within =
            |value: &Scalar| read(value).filter(|number| range.contains(number)).map(|number| number as f32);
        self.value(key, within, || format!("it must be a number from {} to {}", range.start(), range.end()))
    }

    pub(crate) fn flag(&self, key: &str) -> Result<bool, String> {
        let read = |value: &Scalar| match value {
            Scalar::Flag(flag) => Some(*flag),
            _ => None,
        };
        Ok(self.value(key, read, || "it must be true or false".to_owned())?.unwrap_or(false))
    }

    pub(crate) fn one_of<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, String> {
        let read = |value: &Scalar| {
            let value = match value {
                Scalar::Text(text) => text.clone(),
                other => other.to_string(),
            };
            choices.iter().find(|(name, _)| *name == value).map(|(_, choice)| *choice)
        };
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        self.value(key, read, || format!("it must be one of {}", names()))
    }

    /// Reads a colour such as `#ff8000`, or `#ff800080` with alpha.
    pub(crate) fn colour(&self, key: &str) -> Result<Option<[u8; 4]>, String> {
        let read = |value: &Scalar| match value {
            Scalar::Text(text) => colour(text),
            _ => None,
        };
        self.value(key, read, || "it must be a colour such as #ff8000, or #ff800080 with alpha".to_owned())
    }

    pub(crate) fn cache_control(&self, key: &str) -> Result<Option<String>, String> {
        let read = |value: &Scalar| match value {
            Scalar::Text(text) => Some(text.clone()).filter(|text| is_cache_control(text)),
            _ => None,
        };
        self.value(key, read, || CACHE_CONTROL.to_owned())
    }

    pub(crate) fn template(
        &self,
        key: &str,
        (width, height): (Option<u32>, Option<u32>),
    ) -> Result<Template, String> {
        let text = match self.get(key) {
            None => DEFAULT_KEY,
            Some(Scalar::Text(text)) => text,
            Some(_) => return Err(self.error(key, "it must be text")),
        };
        let template = Template::parse(text, |_| true).map_err(|reason| self.error(key, &reason))?;
        for (field, name, side) in [(Field::Width, "width", width), (Field::Height, "height", height)] {
            if side.is_none() && template.uses(field) {
                return Err(self.error(key, &format!("the rendition has no {name}")));
            }
        }
        Ok(template)
    }

    fn value<T>(
        &self,
        key: &str,
        read: impl Fn(&Scalar) -> Option<T>,
        expected: impl Fn() -> String,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| self.error(key, &expected()))
    }
}

fn colour(text: &str) -> Option<[u8; 4]> {
    let digits = text.strip_prefix('#')?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(digits, 16).ok()?;
    match digits.len() {
        6 => Some((number << 8 | 0xff).to_be_bytes()),
        8 => Some(number.to_be_bytes()),
        _ => None,
    }
}
