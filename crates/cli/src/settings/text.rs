//! Values that are texts in the configuration file, and read as flags read them.

use serde::{Deserialize, Deserializer, de};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

pub(crate) fn from_text<'de, D: Deserializer<'de>, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr,
    T::Err: Display,
{
    String::deserialize(deserializer)?.parse().map(Some).map_err(de::Error::custom)
}

/// A number may be written as one.
pub(crate) fn from_number_or_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
) -> Result<Option<T>, D::Error>
where
    T: FromStr,
    T::Err: Display,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    let text = match Written::deserialize(deserializer)? {
        Written::Number(number) => number.to_string(),
        Written::Text(text) => text,
    };
    text.parse().map(Some).map_err(de::Error::custom)
}

pub(crate) fn from_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    humantime::parse_duration(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}
