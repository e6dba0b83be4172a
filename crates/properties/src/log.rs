//! Output of a guest to standard output and standard error.

use serde_json::Value;
use wasmrun_runtime::model::text::{OneLine, is_unsafe};
use wasmrun_runtime::write_as_guest;

/// Length beyond which a line is cut into several.
const MAX_LINE_BYTES: usize = 8 << 10;

/// Writes the bytes as a guest does. The first byte chooses the format and the size limit, and the second is the length
/// of the message's id, which follows. Each byte 0xFF in the rest ends a piece. The pieces go to standard output and
/// standard error in turn.
pub fn log(bytes: &[u8]) {
    let [flags, id_length, rest @ ..] = bytes else { return };
    let json = flags & 1 == 0;
    let max_bytes = if flags & 2 == 0 { 1 << 16 } else { usize::from(flags >> 2) };
    let (id, rest) = rest.split_at(usize::from(*id_length).min(rest.len()));
    let id = String::from_utf8_lossy(id);
    let streams = ["stdout", "stderr"].into_iter().cycle();
    let pieces: Vec<(&'static str, &[u8])> = streams.zip(rest.split(|&byte| byte == 0xff)).collect();

    let mut last_words = None;
    let written = wasmrun_cli::fuzzing::lines(json, || last_words = write_as_guest(&id, max_bytes, &pieces));
    let written = String::from_utf8(written).expect("text");
    assert!(written.is_empty() || written.ends_with('\n'));

    let line_ends: usize = rest.iter().filter(|&&byte| byte == b'\n').count();
    // In addition to the line ends of the guest: those of cut lines, of a last line without an end on each of the two
    // streams, and of the note about dropped bytes.
    let most = line_ends + rest.len() / MAX_LINE_BYTES + 3;
    assert!(written.lines().count() <= most, "{most} lines at most, and there are more: {written}");
    for line in written.lines() {
        assert!(!line.contains(is_unsafe), "{line:?} could move the cursor or forge a line");
        if json {
            is_our_own(line, &id);
        } else {
            // The time comes first, and the guest can't influence it.
            assert!(line.as_bytes()[0].is_ascii_digit(), "{line:?} is forged");
        }
    }
    if let Some(words) = last_words {
        assert!(!OneLine(&words).to_string().contains(is_unsafe));
    }
}

/// Checks that a line of JSON has only the fields and messages of the worker itself.
fn is_our_own(line: &str, id: &str) {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    let fields = value.as_object().expect("an object");
    let ours = ["timestamp", "level", "message", "message_id", "stream", "text", "target", "dropped_bytes"];
    assert!(fields.keys().all(|name| ours.contains(&name.as_str())), "{line} has fields of the guest's");
    assert_eq!(fields["message_id"], id);
    let said = fields["message"].as_str().expect("a text");
    assert!(
        ["Guest", "dropped guest log lines beyond the log size limit"].contains(&said),
        "{line} is forged"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_writes_arrives() {
        for (json, field) in [(true, r#""text":"hello""#), (false, r#"text="hello""#)] {
            let written = wasmrun_cli::fuzzing::lines(json, || {
                write_as_guest("m", 100, &[("stderr", b"hello")]);
            });
            let written = String::from_utf8(written).expect("text");
            assert!(written.contains(field) && written.lines().count() == 1, "{written}");
        }
    }
}
