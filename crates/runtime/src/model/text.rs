//! Escaping of untrusted text that is shown to people, and bytes as text.

use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Shows a text on one line. Control characters, line ends, terminal commands and bidirectional controls are escaped,
/// so that text of a guest or a message can't forge a line or move the cursor.
#[derive(Clone, Copy, Debug)]
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if is_unsafe(c) {
                write!(f, "{}", c.escape_default())?;
            } else {
                fmt::Write::write_char(f, c)?;
            }
        }
        Ok(())
    }
}

/// Returns whether a character could forge a line, move the cursor or change the direction of writing.
pub fn is_unsafe(c: char) -> bool {
    let separator = matches!(c, '\u{2028}' | '\u{2029}');
    let direction =
        matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    c.is_control() || separator || direction
}

/// Replaces the user and password in every URL of a text with `…`, as in `https://…@host`, so that logs don't show
/// passwords that were written into a URL.
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    const SCHEME_END: &str = "://";
    // True for nearly all texts.
    if !(text.contains('@') && text.contains(SCHEME_END)) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        let found = word.find(SCHEME_END).map(|at| word.split_at(at + SCHEME_END.len()));
        match found.and_then(|(before, rest)| Some((before, &rest[password_end(before, rest)?..]))) {
            Some((before, rest)) => shown.extend([before, "…", rest]),
            None => shown.push_str(word),
        }
    }
    if shown == text { text.into() } else { shown.into() }
}

/// Returns the position of the `@` after a user and password in the part of a URL that follows the scheme.
fn password_end(scheme: &str, rest: &str) -> Option<usize> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some(at) = authority.rfind('@') {
        return Some(at);
    }
    // The password may hold an unescaped slash. In `s3://` URLs an `@` may belong to the key.
    let (_, port) = authority.split_once(':')?;
    let is_host = port.bytes().all(|byte| byte.is_ascii_digit()) || authority.starts_with('[');
    if is_host || scheme.ends_with("s3://") { None } else { rest.rfind('@') }
}

/// Escapes characters of a log line that JSON lets through: C1 controls, which some terminals obey, line separators,
/// and bidirectional controls. They can occur only within a JSON string, so they may be escaped anywhere in the line.
pub fn tamed(line: &[u8]) -> Cow<'_, [u8]> {
    // JSON escapes the control characters below U+007F. In human-readable lines they are our own: line ends and
    // colours.
    let is_wild = |c: char| c >= '\u{7f}' && is_unsafe(c);
    // True for nearly all lines.
    if line.iter().all(|byte| *byte < 0x7f) {
        return line.into();
    }
    match std::str::from_utf8(line).map(|text| escaped(text, is_wild)) {
        Ok(Cow::Owned(tamed)) => tamed.into_bytes().into(),
        _ => line.into(),
    }
}

/// Escapes the characters for which `is_wild` holds as JSON does, so that JSON strings keep their meaning. None of them
/// may be above U+FFFF, which would take two escapes.
pub fn escaped(text: &str, is_wild: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_wild) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_wild(c) {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped.into()
}

/// Serializes a value as JSON in the characters that every queue takes. Those that could forge a line are escaped, too.
/// Returns an empty text if the value has no form in JSON.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    let is_wild = |c: char| c >= '\u{7f}' && is_unsafe(c) || matches!(c, '\u{fffe}' | '\u{ffff}');
    match escaped(&text, is_wild) {
        Cow::Owned(escaped) => escaped,
        Cow::Borrowed(_) => text,
    }
}

/// Formats bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns the first `most` characters of a text, with `…` in place of the rest.
pub fn first_chars(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns a name for the thing at a path: the path's last part, or as many more parts before it as tell it apart from all
/// other paths, such as `a/q.db` next to `b/q.db`. Names of different paths differ.
pub fn distinct_end<'a>(path: &'a str, all: &[&str]) -> &'a str {
    let is_its_own = |end: &&str| all.iter().all(|it| *it == path || ends(it).all(|other| other != *end));
    ends(path).find(is_its_own).unwrap_or(path)
}

/// Returns the ends of a path that begin behind a slash, from the shortest to the whole path.
fn ends(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[at + 1..]).chain([path])
}

/// Formats the first `max_bytes` bytes of a text and stops there. The names of a guest's functions have no bound on
/// their length.
pub(crate) fn beginning(text: fmt::Arguments<'_>, max_bytes: usize) -> String {
    struct Beginning {
        text: String,
        left: usize,
    }
    impl fmt::Write for Beginning {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let taken = &text[..text.floor_char_boundary(self.left)];
            self.text.push_str(taken);
            self.left -= taken.len();
            if taken.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
        }
    }
    let mut beginning = Beginning { text: String::new(), left: max_bytes };
    if fmt::write(&mut beginning, text).is_err() {
        beginning.text.push('…');
    }
    beginning.text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_only_the_beginning_is_made() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("aü")?;
                }
            }
        }
        assert_eq!(beginning(format_args!("{Endless}"), 8), "aüaüa…");
        assert_eq!(beginning(format_args!("{}", "short"), 5), "short");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(first_chars("üüü", 2), "üü…");
        assert_eq!(first_chars("üüü", 3), "üüü");
    }

    #[test]
    fn what_could_forge_a_line_is_escaped_and_the_rest_is_as_it_was() {
        let shown = OneLine("a\nb\x1b[2Jc\r\u{9b}ü \"q\" 'p'\u{202e}\u{2028}").to_string();
        assert_eq!(shown, "a\\nb\\u{1b}[2Jc\\r\\u{9b}ü \"q\" 'p'\\u{202e}\\u{2028}");
    }

    #[test]
    fn no_url_shows_a_password_and_the_rest_is_as_it_was() {
        for (text, shown) in [
            ("the queue https://me:secret@host/1/q: no", "the queue https://…@host/1/q: no"),
            ("unknown \"http://secret@host:1\"", "unknown \"http://…@host:1\""),
            ("--store a=https://me:se@cret@host, b", "--store a=https://…@host, b"),
            ("https://me:sec/ret@host/a", "https://…@host/a"),
            ("s3://me:secret@photos/a@b", "s3://…@photos/a@b"),
            ("a http://a:secret@b\nc https://d:secret@e", "a http://…@b\nc https://…@e"),
        ] {
            assert_eq!(without_passwords(text), shown);
        }
        for text in [
            "s3://photos/a:b@c",
            "https://host:80/a@b",
            "https://[::1]:80/a@b",
            "https://host/a@b",
            "sqlite:a:b@c",
            "wasi:io/streams@0.2.0 is not granted",
            "see https://host/a and mail a@b",
            "",
        ] {
            assert!(matches!(without_passwords(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_json_lets_pass_and_terminals_obey_is_escaped() {
        let line = "{\"text\":\"a\u{9b}2Jb\u{2028}\u{202e}\u{7f}ü\"}";
        let tamed = tamed(line.as_bytes()).into_owned();
        assert_eq!(tamed, br#"{"text":"a\u009b2Jb\u2028\u202e\u007f"#.iter().copied().chain("ü\"}".bytes()).collect::<Vec<_>>());
        let read = |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).expect("JSON");
        assert_eq!(read(&tamed), read(line.as_bytes()));
    }
}
