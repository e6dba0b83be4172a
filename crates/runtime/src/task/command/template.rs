//! Names of the objects on a command's standard streams: a store, and a key with placeholders.

use crate::model::limits::MAX_KEY_BYTES;
use std::str::FromStr;

/// An object of a store, whose key depends on the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectTemplate {
    /// Alias of the store.
    pub store: String,
    /// The key.
    pub key: KeyTemplate,
}

/// A key with placeholders: `{key}`, `{dir}`, `{name}`, `{stem}` and `{ext}` of the announced object, and `{id}` of the
/// message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The key of the announced object.
    Key,
    /// The key up to its last slash, without it.
    Dir,
    /// The key after its last slash.
    Name,
    /// The name without its extension.
    Stem,
    /// The extension, without its dot.
    Ext,
    /// The message's ID.
    Id,
}

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// Key of the announced object, if there is one.
    pub(crate) key: Option<&'a str>,
    /// The message's ID.
    pub(crate) id: &'a str,
}

/// Parses `STORE:KEY-TEMPLATE`.
impl FromStr for ObjectTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((store, key)) if !store.is_empty() => {
                Ok(Self { store: store.to_owned(), key: key.parse()? })
            }
            _ => Err("expected STORE:KEY, such as output:{stem}.txt".into()),
        }
    }
}

impl FromStr for KeyTemplate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_KEY_BYTES {
            return Err("a key has 1 to 1,024 bytes".into());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a { in the key has no }")?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name {
                "key" => Part::Key,
                "dir" => Part::Dir,
                "name" => Part::Name,
                "stem" => Part::Stem,
                "ext" => Part::Ext,
                "id" => Part::Id,
                _ => {
                    return Err(format!(
                        "unknown placeholder {{{name}}}: use {{key}}, {{dir}}, {{name}}, {{stem}}, {{ext}} or {{id}}"
                    ));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

impl KeyTemplate {
    /// Returns the key for a message. The caller checks it: a key or an ID may hold anything.
    ///
    /// # Errors
    ///
    /// The key needs an announced object, and there is none.
    pub(super) fn expand(&self, names: Names<'_>) -> Result<String, String> {
        let mut key = String::new();
        // The slash after an empty directory would begin the key, or follow another slash.
        let mut skips_slash = false;
        for part in &self.0 {
            let object = || {
                names.key.ok_or(
                    "the key of its object is made from an announced object, and the message announces none",
                )
            };
            let text = match part {
                Part::Text(text) => text.strip_prefix('/').filter(|_| skips_slash).unwrap_or(text),
                Part::Key => object()?,
                Part::Dir => split(object()?).0,
                Part::Name => split(object()?).1,
                Part::Stem => split_name(split(object()?).1).0,
                Part::Ext => split_name(split(object()?).1).1,
                Part::Id => names.id,
            };
            key.push_str(text);
            skips_slash = *part == Part::Dir && text.is_empty() && (key.is_empty() || key.ends_with('/'));
        }
        Ok(key)
    }
}

/// Splits a key at its last slash.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('/').unwrap_or(("", key))
}

/// Splits a name at the dot before its extension. A dot at the beginning begins a name.
fn split_name(name: &str) -> (&str, &str) {
    name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).unwrap_or((name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(template: &str, key: Option<&str>) -> Result<String, String> {
        template.parse::<KeyTemplate>()?.expand(Names { key, id: "7" })
    }

    #[test]
    fn placeholders_are_parts_of_the_announced_key() {
        for (template, key, expected) in [
            ("{key}", "a/b.tar.gz", "a/b.tar.gz"),
            ("{dir}/{stem}-x.{ext}", "a/b/c.tar.gz", "a/b/c.tar-x.gz"),
            ("{dir}/{stem}.txt", "c.md", "c.txt"),
            ("x{dir}/{stem}.txt", "c.md", "x/c.txt"),
            ("x/{dir}/{stem}.txt", "c.md", "x/c.txt"),
            ("x/{dir}/{stem}.txt", "a/b/c.md", "x/a/b/c.txt"),
            ("{name}", "a/.hidden", ".hidden"),
            ("{stem}|{ext}", "a/.hidden", ".hidden|"),
            ("{stem}|{ext}", "a/none", "none|"),
            ("{id}/{name}", "a/b", "7/b"),
            ("fixed}", "a", "fixed}"),
        ] {
            assert_eq!(expanded(template, Some(key)).as_deref(), Ok(expected), "{template} of {key}");
        }
        assert_eq!(expanded("{id}.txt", None).as_deref(), Ok("7.txt"));
        assert!(expanded("{stem}.txt", None).expect_err("no object").contains("announces none"));
    }

    #[test]
    fn a_wrong_template_is_refused_with_what_may_be_written() {
        for (template, said) in [
            ("{stam}", "unknown placeholder {stam}"),
            ("{", "no }"),
            ("", "1 to 1,024"),
            ("{{key}}", "unknown"),
        ] {
            let error = template.parse::<KeyTemplate>().expect_err(template);
            assert!(error.contains(said), "{error}");
        }
        assert!("{key}".repeat(300).parse::<KeyTemplate>().is_err());
        for object in ["out", ":x", "out:"] {
            assert!(object.parse::<ObjectTemplate>().is_err(), "{object}");
        }
    }
}
