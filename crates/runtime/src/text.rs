//! Text from outside, shown to people.

use std::fmt;

/// Shows a text on one line: control characters, line ends, a terminal's commands, and marks that turn the direction
/// of writing are escaped. Nothing that comes from a guest or a message can forge a line or move the cursor.
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

/// Whether a character could forge a line, move the cursor or turn the direction of writing.
pub fn is_unsafe(c: char) -> bool {
    let separator = matches!(c, '\u{2028}' | '\u{2029}');
    let direction =
        matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    c.is_control() || separator || direction
}

/// The beginning of what something says, at most so many bytes; what would follow isn't even made. The names of a
/// guest's functions are as long as its maker likes.
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
    fn what_could_forge_a_line_is_escaped_and_the_rest_is_as_it_was() {
        let shown = OneLine("a\nb\x1b[2Jc\r\u{9b}ü \"q\" 'p'\u{202e}\u{2028}").to_string();
        assert_eq!(shown, "a\\nb\\u{1b}[2Jc\\r\\u{9b}ü \"q\" 'p'\\u{202e}\\u{2028}");
    }
}
