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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_a_line_is_escaped_and_the_rest_is_as_it_was() {
        let shown = OneLine("a\nb\x1b[2Jc\r\u{9b}ü \"q\" 'p'\u{202e}\u{2028}").to_string();
        assert_eq!(shown, "a\\nb\\u{1b}[2Jc\\r\\u{9b}ü \"q\" 'p'\\u{202e}\\u{2028}");
    }
}
