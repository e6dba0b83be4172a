//! Reads tables of tables from JSON or TOML. The values are text, numbers, true and false.

use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// The largest number of entries of a table.
pub(crate) const MAX_ENTRIES: usize = 32;

/// The longest text in bytes. It bounds names and values as well.
pub(crate) const MAX_BYTES: usize = 64 << 10;

/// Names and values in the order in which they were written, or by name. No name occurs twice.
#[derive(Debug, PartialEq)]
pub(crate) struct Table<V>(pub(crate) Vec<(String, V)>);

/// A value that contains no others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Flag(bool),
    Whole(i64),
    Decimal(f64),
    Text(String),
}

impl Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Flag(flag) => flag.fmt(f),
            Scalar::Whole(number) => number.fmt(f),
            Scalar::Decimal(number) => number.fmt(f),
            Scalar::Text(text) => fmt::Debug::fmt(text, f),
        }
    }
}

/// Reads a table of tables. A text that begins with a brace is JSON, as TOML never does.
///
/// # Errors
///
/// When the text is neither JSON nor TOML, or has another shape: what is wrong, and on which line.
pub(crate) fn read(text: &str) -> Result<Table<Table<Scalar>>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("has {} bytes: at most {MAX_BYTES} are allowed", text.len()));
    }
    let text = text.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"));
    }
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("is not valid TOML: {} on line {line}", error.message().replace('\n', ", "))
    })
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Table<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

struct TableVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for TableVisitor<V> {
    type Value = Table<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(String, V)> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if entries.len() == MAX_ENTRIES {
                return Err(A::Error::custom(format!("a table has more than {MAX_ENTRIES} entries")));
            }
            if entries.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom(format!("{name:?} occurs twice")));
            }
            entries.push((name, map.next_value()?));
        }
        Ok(Table(entries))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true or false")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Scalar, E> {
        Ok(Scalar::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        Ok(i64::try_from(number).map_or(Scalar::Decimal(number as f64), Scalar::Whole))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Decimal(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_toml_say_the_same() {
        let json = r#" {"a": {"width": 320, "blur": 0.5}, "b": {"enlarge": true, "fit": "cover"}}"#;
        let toml = "[a]\nwidth = 320\nblur = 0.5\n[b]\nenlarge = true\nfit = 'cover'";
        let table = read(json).expect("valid");
        let sorted = |Table(entries): Table<Table<Scalar>>| {
            let mut all: Vec<_> = entries
                .into_iter()
                .flat_map(|(table, Table(entries))| {
                    entries.into_iter().map(move |(name, value)| (table.clone(), name, value.to_string()))
                })
                .collect();
            all.sort();
            all
        };
        let expected = [("a", "blur", "0.5"), ("a", "width", "320"), ("b", "enlarge", "true")];
        let expected = expected.map(|(table, name, value)| (table.into(), name.into(), value.into()));
        let table = sorted(table);
        assert_eq!(table[..3], expected);
        assert_eq!(table, sorted(read(toml).expect("valid")));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let reason = |text: &str| read(text).expect_err("it is not valid");
        assert_eq!(
            reason(r#"{"a": {"x": 1, "x": 2}}"#),
            "is not valid JSON: \"x\" occurs twice at line 1 column 18"
        );
        assert!(reason("{\"a\": {\"x\": []}}").contains("expected text, a number, true or false"));
        assert!(reason("[a]\nx = [1]").contains("expected text, a number, true or false on line 2"));
        assert!(reason("[a]\n[a]").ends_with("on line 2"), "{}", reason("[a]\n[a]"));
        assert!(reason("a = 1").contains("expected a table"));
        assert!(reason("[a]\ntaken = 2026-11-28").starts_with("is not valid TOML"));
        assert!(reason("small").starts_with("is not valid TOML"));
        assert!(reason(&"#".repeat(MAX_BYTES + 1)).contains("at most 65536"));
        let many: String = (0..=MAX_ENTRIES).map(|number| format!("[a{number}]\n")).collect();
        assert!(reason(&many).contains("more than 32 entries"));
        // Nesting has a bound as well.
        assert!(reason(&"{\"a\":".repeat(10_000)).starts_with("is not valid JSON"));
        assert!(reason(&format!("a = {}", "[".repeat(10_000))).starts_with("is not valid TOML"));
    }
}
