//! A document with keys in the order of their writing, printed as JSON or YAML.
//!
//! The YAML is written here because the maintained crates that write YAML bring a parser with them, and none writes the
//! comments that a manifest needs. Only a small part of the language is used: block mappings and sequences, and three
//! forms of text. Whatever a parser could take for anything but text is in double quotes.

use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt::Write as _;

/// A node of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Map(Vec<(String, Tree)>),
    List(Vec<Tree>),
    Text(String),
    Number(u64),
    Bool(bool),
}

/// Builds a mapping.
pub(crate) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Tree)>) -> Tree {
    Tree::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Builds a sequence.
pub(crate) fn list(items: impl IntoIterator<Item = Tree>) -> Tree {
    Tree::List(items.into_iter().collect())
}

/// Builds a sequence of texts.
pub(crate) fn texts<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Tree {
    list(items.into_iter().map(|text| Tree::Text(text.into())))
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Tree {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Tree {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl Tree {
    /// Adds an entry to a mapping.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Self>) -> Self {
        if let Self::Map(entries) = &mut self {
            entries.push((key.to_owned(), value.into()));
        }
        self
    }

    /// Adds an entry to a mapping, if there is a value.
    pub(crate) fn with_some(self, key: &str, value: Option<impl Into<Self>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Writes the node as a YAML document.
    pub(crate) fn to_yaml(&self) -> String {
        let mut text = String::new();
        match self {
            Self::Map(entries) if !entries.is_empty() => write_map(&mut text, entries, 0, false),
            Self::List(items) if !items.is_empty() => write_list(&mut text, items, 0),
            scalar => write_value(&mut text, scalar, 0),
        }
        text.trim_start().to_owned()
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
            Self::List(items) => items.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
        }
    }
}

/// Writes the entries of a mapping. The first entry of a mapping in a sequence follows the dash of its item.
fn write_map(out: &mut String, entries: &[(String, Tree)], indent: usize, follows_dash: bool) {
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 || !follows_dash {
            let _ = write!(out, "{:indent$}", "");
        }
        let _ = write!(out, "{}:", scalar(key));
        write_value(out, value, indent);
    }
}

fn write_list(out: &mut String, items: &[Tree], indent: usize) {
    for item in items {
        let _ = write!(out, "{:indent$}-", "");
        match item {
            Tree::Map(entries) if !entries.is_empty() => {
                out.push(' ');
                write_map(out, entries, indent + 2, true);
            }
            item => write_value(out, item, indent),
        }
    }
}

/// Writes a value after its key or its dash, with the end of the line.
fn write_value(out: &mut String, value: &Tree, indent: usize) {
    match value {
        Tree::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Tree::Map(entries) => {
            out.push('\n');
            write_map(out, entries, indent + 2, false);
        }
        Tree::List(items) if items.is_empty() => out.push_str(" []\n"),
        Tree::List(items) => {
            out.push('\n');
            write_list(out, items, indent + 2);
        }
        Tree::Number(number) => {
            let _ = writeln!(out, " {number}");
        }
        Tree::Bool(value) => {
            let _ = writeln!(out, " {value}");
        }
        Tree::Text(text) if is_block(text) => {
            let indent = indent + 2;
            out.push_str(" |\n");
            for line in text.lines() {
                match line {
                    "" => out.push('\n'),
                    line => {
                        let _ = writeln!(out, "{:indent$}{line}", "");
                    }
                }
            }
        }
        Tree::Text(text) => {
            let _ = writeln!(out, " {}", scalar(text));
        }
    }
}

/// Returns whether a text can be a literal block: several lines that end in exactly one line break, where no parser
/// changes a character or takes the first line's blanks for indentation.
fn is_block(text: &str) -> bool {
    let Some(lines) = text.strip_suffix('\n') else { return false };
    !lines.is_empty()
        && !lines.ends_with('\n')
        && !lines.starts_with([' ', '\n', '\t'])
        && lines.chars().all(|c| c == '\n' || is_printable(c))
        && lines.split('\n').all(|line| line.is_empty() || !line.trim().is_empty())
}

/// Returns whether YAML 1.1 and 1.2 allow a character in a text as it is, and an editor shows it.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Line breaks of YAML 1.1, marks of direction, which make a line look like another one, and the byte order
        // mark.
        '\u{85}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{feff}' => false,
        '\u{fff0}'..='\u{ffff}' => false,
        c => !c.is_control() && c > '\u{9f}',
    }
}

/// Writes a text in one line: as it is if every parser takes it for this text, or else in double quotes.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if is_printable(c) => quoted.push(c),
            c => {
                let _ = match u32::from(c) {
                    code @ ..=0xff => write!(quoted, "\\x{code:02x}"),
                    code @ ..=0xffff => write!(quoted, "\\u{code:04x}"),
                    code => write!(quoted, "\\U{code:08x}"),
                };
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Words that YAML 1.1 or 1.2 takes for another type, in lower case.
const WORDS: [&str; 11] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"];

fn is_plain(text: &str) -> bool {
    let begins_like_text = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let has_no_indicator = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:@=".contains(&b));
    begins_like_text
        && has_no_indicator
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_a_parser_could_take_for_something_else_are_quoted() {
        for text in ["v1", "/healthz", "s3://bucket/key.wasm", "arn:aws:iam::1:role/x", "a=b"] {
            assert_eq!(scalar(text), text);
        }
        for text in
            ["", "true", "No", "on", "y", "null", "NaN", "1", "1.5", "0x10", "1:20", "2026-11-29", "~", "-"]
        {
            assert_eq!(scalar(text), format!("\"{text}\""));
        }
        for text in [
            "a: b", "a:", "a #b", "#a", "- a", "*a", "&a", "!a", "%a", "@a", "`a", "{a}", "[a]", "{{ a }}",
            "${A}",
        ] {
            assert_eq!(scalar(text), format!("\"{text}\""));
        }
        assert_eq!(scalar("a\"b\\c\nd\te\r"), r#""a\"b\\c\nd\te\x0d""#);
        assert_eq!(scalar("\u{85}\u{2028}\u{202e}\u{7f}\u{feff}"), r#""\x85\u2028\u202e\x7f\ufeff""#);
        assert_eq!(scalar("ü 😀"), "\"ü 😀\"");
    }

    #[test]
    fn only_text_that_a_block_keeps_is_a_block() {
        for text in ["a\n", "a\nb\n", "a\n\n  b # c\n"] {
            assert!(is_block(text), "{text:?}");
        }
        for text in ["", "a", "\n", "a\n\n", " a\n", "\na\n", "a\r\n", "a\n \nb\n", "a\tb\n", "a\u{2028}\n"] {
            assert!(!is_block(text), "{text:?}");
        }
    }

    #[test]
    fn keys_keep_their_order_in_both_forms() {
        let inner = map([("name", "x".into()), ("args", texts(["run", "-1"]))]);
        let tree = map([
            ("kind", "Pod".into()),
            ("a", list([inner, list([Tree::Number(1)]), map([])])),
            ("text", "b: c\nd\n".into()),
            ("none", list([])),
        ]);
        let yaml = "kind: Pod\na:\n  - name: x\n    args:\n      - run\n      - \"-1\"\n  -\n    - 1\n  - {}\ntext: |\n  b: c\n  d\nnone: []\n";
        assert_eq!(tree.to_yaml(), yaml);
        let json =
            r#"{"kind":"Pod","a":[{"name":"x","args":["run","-1"]},[1],{}],"text":"b: c\nd\n","none":[]}"#;
        assert_eq!(serde_json::to_string(&tree).expect("JSON"), json);
    }
}
