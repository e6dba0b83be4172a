//! Parses values, which have the same form in flags, variables and the configuration file, and words the errors.

use bytesize::ByteSize;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Maximum of a duration: with longer ones, clocks would overflow.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A value that is written as text.
pub(crate) trait Written: Sized {
    /// Expected form of the value, as shown in errors: "a size such as 64MiB".
    const FORM: &'static str;
    /// Whether the file may hold the value as a whole number, without quotes.
    const MAY_BE_NUMBER: bool = false;

    /// Parses the value.
    ///
    /// # Errors
    ///
    /// Says what is wrong, without the text itself: the caller adds the text.
    fn read(text: &str) -> Result<Self, String>;
}

/// Returns the error for a value that doesn't have the expected form.
pub(crate) fn expected<T: Written>() -> String {
    format!("expected {}", T::FORM)
}

/// Reads the value of a flag or a variable.
pub(crate) fn typed<T: Written>(text: &str) -> Result<T, String> {
    T::read(text)
}

/// Reads a list of the configuration file whose values word their own errors.
pub(crate) fn parsed_list<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(de::Error::custom)).collect()
}

/// Reads a value of the configuration file.
pub(crate) fn written<'de, D: Deserializer<'de>, T: Written>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Reader<T>(PhantomData<T>);

    impl<T: Written> Reader<T> {
        fn number<E: de::Error>(number: impl Display) -> Result<T, E> {
            let read = if T::MAY_BE_NUMBER { T::read(&number.to_string()) } else { Err(expected::<T>()) };
            read.map_err(E::custom)
        }
    }

    impl<T: Written> Visitor<'_> for Reader<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(T::FORM)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            T::read(text).map_err(E::custom)
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
            Self::number(number)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            Self::number(number)
        }

        fn visit_i128<E: de::Error>(self, number: i128) -> Result<T, E> {
            Self::number(number)
        }

        fn visit_u128<E: de::Error>(self, number: u128) -> Result<T, E> {
            Self::number(number)
        }
    }

    deserializer.deserialize_any(Reader(PhantomData)).map(Some)
}

/// Reads a text of the configuration file, or a list of texts. `form`: what errors call it.
pub(crate) fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
    form: &'static str,
) -> Result<Vec<String>, D::Error> {
    struct Texts(&'static str);

    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = list.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }

    deserializer.deserialize_any(Texts(form))
}

/// Reads a table of the configuration file whose keys the user chooses. `check` refuses a wrong key or value.
pub(crate) fn named_texts<'de, D: Deserializer<'de>>(
    deserializer: D,
    check: fn(&str, &str) -> Result<(), String>,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Table(fn(&str, &str) -> Result<(), String>);
    struct Text<'a>(&'a str, fn(&str, &str) -> Result<(), String>);

    impl<'de> Visitor<'de> for Table {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut texts = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                let value = map.next_value_seed(Text(&key, self.0))?;
                texts.insert(key, value);
            }
            Ok(texts)
        }
    }

    impl<'de> DeserializeSeed<'de> for Text<'_> {
        type Value = String;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
            deserializer.deserialize_any(self)
        }
    }

    impl Visitor<'_> for Text<'_> {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(String::FORM)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
            (self.1)(self.0, text).map_err(E::custom)?;
            Ok(text.to_owned())
        }
    }

    deserializer.deserialize_any(Table(check))
}

/// Rewords an error of the TOML parser for the user, who doesn't know the Rust types that it names.
pub(super) fn in_users_words(message: &str) -> String {
    let message = message.trim_end().replace('\n', ": ");
    if let Some(expected) = ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .find_map(|complaint| Some(message.strip_prefix(complaint)?.rsplit_once(", expected ")?.1))
    {
        return format!("expected {}", kind(expected));
    }
    if let Some(rest) = message.strip_prefix("unknown field `") {
        // The backticks separate names from other words, so every second part is a name.
        let mut names = rest.split('`').step_by(2);
        let unknown = names.next().unwrap_or_default();
        let known: Vec<&str> = names.collect();
        return match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("unknown key {unknown}: did you mean {near}?"),
            None => format!("unknown key {unknown}: the keys here are {}", known.join(", ")),
        };
    }
    if let Some(name) = message.strip_prefix("missing field `") {
        return format!("the key {} is missing", name.trim_end_matches('`'));
    }
    message
}

/// Translates serde's name of a kind of value.
fn kind(expected: &str) -> &str {
    match expected {
        "a string" | "path string" => String::FORM,
        "a boolean" => "true or false",
        "a map" => "a table",
        "a sequence" => "a list",
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => u64::FORM,
        structure if structure.starts_with("struct ") => "a table",
        ours => ours,
    }
}

/// Returns the known word that the user probably meant. Returns `None` if no known word is near.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let far = |known: &str| strsim::damerau_levenshtein(word, known);
    // At most a third of the letters may be wrong.
    let near = known.into_iter().map(|known| (far(known), known)).min()?;
    (near.0 <= word.chars().count() / 3).then_some(near.1)
}

fn whole<T: FromStr + Written>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_zero = text.bytes().all(|byte| byte == b'0');
        if is_number && !is_zero { "the number is too large".into() } else { expected::<T>() }
    })
}

macro_rules! whole_numbers {
    ($($kind:ty => $form:literal,)*) => {
        $(impl Written for $kind {
            const FORM: &'static str = $form;
            const MAY_BE_NUMBER: bool = true;

            fn read(text: &str) -> Result<Self, String> {
                whole(text)
            }
        })*
    };
}

whole_numbers! {
    u32 => "a whole number",
    u64 => "a whole number",
    usize => "a whole number",
    NonZeroU32 => "a whole number above zero",
    NonZeroUsize => "a whole number above zero",
}

impl Written for ByteSize {
    const FORM: &'static str = "a size such as 64MiB";
    const MAY_BE_NUMBER: bool = true;

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| expected::<Self>())
    }
}

impl Written for Duration {
    const FORM: &'static str = "a duration such as 500ms, 30s or 5m";

    fn read(text: &str) -> Result<Self, String> {
        match humantime::parse_duration(text) {
            Ok(time) if time <= LONGEST => Ok(time),
            Ok(_) | Err(humantime::DurationError::NumberOverflow) => {
                Err("it is too long: at most 100 years".into())
            }
            Err(_) => Err(expected::<Self>()),
        }
    }
}

impl Written for String {
    const FORM: &'static str = "text in quotes";

    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Written for PathBuf {
    const FORM: &'static str = "a path in quotes";

    fn read(text: &str) -> Result<Self, String> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[test]
    fn what_a_reader_of_types_says_is_said_in_the_users_words() {
        for (said, shown) in [
            ("invalid type: integer `5`, expected a string", "expected text in quotes"),
            ("invalid type: map, expected usize", "expected a whole number"),
            ("invalid value: integer `-1`, expected u32", "expected a whole number"),
            ("invalid type: integer `5`, expected struct LimitSettings", "expected a table"),
            (
                "unknown field `fule`, expected one of `fuel`, `memory`",
                "unknown key fule: did you mean fuel?",
            ),
            ("unknown field `x`, expected `a` or `b`", "unknown key x: the keys here are a, b"),
            ("missing field `region`", "the key region is missing"),
            ("duplicate key", "duplicate key"),
        ] {
            assert_eq!(in_users_words(said), shown);
        }
    }

    /// The error texts come from other crates, which may change them.
    #[test]
    fn each_text_that_is_recognised_is_one_that_the_reader_of_toml_says() {
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Table {
            text: String,
            path: PathBuf,
            truth: bool,
            map: BTreeMap<String, u8>,
            list: Vec<u8>,
            pair: [u8; 2],
            number: f64,
            whole: u64,
            table: Option<Inner>,
        }

        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "the test reads only wrong values")]
        struct Inner {
            needed: u8,
        }

        for (toml, shown) in [
            ("text = 5", "expected text in quotes"),
            ("path = 5", "expected text in quotes"),
            ("truth = 5", "expected true or false"),
            ("map = 5", "expected a table"),
            ("list = 5", "expected a list"),
            ("pair = [1]", "expected an array of length 2"),
            ("number = 'x'", "expected a number"),
            ("whole = -1", "expected a whole number"),
            ("whole = 'x'", "expected a whole number"),
            ("table = 5", "expected a table"),
            ("table = {}", "the key needed is missing"),
            ("hole = 5", "unknown key hole: did you mean whole?"),
        ] {
            let error = toml::from_str::<Table>(toml).expect_err(toml);
            assert_eq!(in_users_words(error.message()), shown, "{toml}: {}", error.message());
        }
    }

    #[test]
    fn a_number_that_is_none_or_too_large_is_told_apart() {
        assert_eq!(u32::read("4294967296"), Err("the number is too large".into()));
        assert_eq!(NonZeroU32::read("00"), Err("expected a whole number above zero".into()));
        for text in ["", "-1", "1.5", "x", " 1"] {
            assert_eq!(u32::read(text), Err("expected a whole number".into()), "{text:?}");
        }
        assert_eq!(Duration::read("101years"), Err("it is too long: at most 100 years".into()));
    }
}
