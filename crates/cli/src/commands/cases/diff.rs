//! Shows how two contents differ, in a few lines.

use std::ops::Range;
use wasmrun_runtime::model::text::first_chars;

/// Number of equal lines that are shown before and after a difference.
const CONTEXT: usize = 2;
/// Maximum number of lines that are shown of each side.
const MAX_LINES: usize = 20;
/// Maximum number of characters that are shown of a line.
const MAX_CHARS: usize = 200;
/// Number of bytes that are shown of contents that aren't text.
const SHOWN_BYTES: usize = 16;

/// Returns lines that show where `seen` differs from `expected`: `-` for what was expected, `+` for what was seen.
pub(super) fn difference(expected: &[u8], seen: &[u8]) -> Vec<String> {
    match (text(expected), text(seen)) {
        (Some(expected), Some(seen)) => of_lines(expected, seen),
        _ => of_bytes(expected, seen),
    }
}

/// Shortens a text to be shown.
pub(super) fn short(text: &str) -> String {
    first_chars(text, MAX_CHARS)
}

fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn of_lines(expected: &str, seen: &str) -> Vec<String> {
    // With its end, a line that lacks it differs from one that has it.
    let (expected, seen): (Vec<&str>, Vec<&str>) =
        (expected.split_inclusive('\n').collect(), seen.split_inclusive('\n').collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = expected.iter().zip(&seen).take_while(same).count();
    let tail = expected[head..].iter().rev().zip(seen[head..].iter().rev()).take_while(same).count();
    let has_end = |lines: &[&str]| lines.last().is_none_or(|line| line.ends_with('\n'));
    let ends_differ = has_end(&expected) != has_end(&seen);
    let mut shown = vec![format!("line {}:", head + 1)];
    let mut add = |mark: &str, lines: &[&str], range: Range<usize>| {
        let hidden = range.len().saturating_sub(MAX_LINES);
        for line in &lines[range.start..range.end - hidden] {
            let without_end = line.strip_suffix('\n');
            let end = if ends_differ && without_end.is_none() { " (no line end)" } else { "" };
            shown.push(format!("{mark}{}{end}", short(without_end.unwrap_or(line))));
        }
        if hidden > 0 {
            shown.push(format!("{mark}… {hidden} more lines"));
        }
    };
    add("  ", &expected, head.saturating_sub(CONTEXT)..head);
    add("- ", &expected, head..expected.len() - tail);
    add("+ ", &seen, head..seen.len() - tail);
    add("  ", &seen, seen.len() - tail..seen.len() - tail + tail.min(CONTEXT));
    shown
}

fn of_bytes(expected: &[u8], seen: &[u8]) -> Vec<String> {
    let at = expected.iter().zip(seen).take_while(|(a, b)| a == b).count();
    let hex = |bytes: &[u8]| {
        let from = &bytes[at.min(bytes.len())..];
        let shown: Vec<String> = from.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
        if shown.is_empty() { "(the end)".into() } else { shown.join(" ") }
    };
    vec![
        format!("{} bytes expected, {} seen; from byte {at}:", expected.len(), seen.len()),
        format!("- {}", hex(expected)),
        format!("+ {}", hex(seen)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_with_what_surrounds_them() {
        let shown = difference(b"a\nb\nc\nd\ne\n", b"a\nb\nC\nd\ne\n");
        assert_eq!(shown, ["line 3:", "  a", "  b", "- c", "+ C", "  d", "  e"]);
        assert_eq!(difference(b"", b"x\n"), ["line 1:", "+ x"]);
        assert_eq!(difference(b"x\n", b"x"), ["line 1:", "- x", "+ x (no line end)"]);
        assert_eq!(difference(b"x", b"y"), ["line 1:", "- x", "+ y"]);
        assert_eq!(difference(b"a\na\n", b"a\n"), ["line 2:", "  a", "- a"]);
    }

    #[test]
    fn what_is_no_text_is_shown_as_bytes() {
        let shown = difference(b"\x00ab", b"\x00ac\xff");
        assert_eq!(shown, ["3 bytes expected, 4 seen; from byte 2:", "- 62", "+ 63 ff"]);
        assert_eq!(difference(b"\xff", b"")[1..], ["- ff", "+ (the end)"]);
    }

    #[test]
    fn a_long_difference_is_cut() {
        let (old, new) = ("x\n".repeat(5000), "y\n".repeat(5000));
        let shown = difference(old.as_bytes(), new.as_bytes());
        assert!(shown.len() < 50 && shown.contains(&"+ … 4980 more lines".into()), "{shown:?}");
        let line = difference(b"", &b"x".repeat(1 << 20));
        assert!(line[1].chars().count() < 250);
    }
}
