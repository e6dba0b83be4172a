//! Encodes and decodes text beyond ASCII in headers, as "encoded words" of RFC 2047: `=?UTF-8?B?Wm/Dqw==?=`. S3 sends
//! metadata in this form ("Working with object metadata" in its user guide), and accepts it.

use aws_smithy_types::base64;
use std::borrow::Cow;

/// Content of a word in bytes. A word has at most 75 characters, of which 12 surround the content: 60 characters of
/// base64 hold 45 bytes.
const WORD_BYTES: usize = 45;

/// Decodes the words in a text. Returns `None` if there are none or they can't be decoded.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let (mut rest, mut words, mut is_after_word) = (text, 0, false);
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let word = word(from);
        // White space between two words only separates them.
        if !(is_after_word && word.is_some() && before.trim().is_empty()) {
            decoded.extend_from_slice(before.as_bytes());
        }
        match word {
            Some((content, after)) => {
                decoded.extend_from_slice(&content);
                (rest, words, is_after_word) = (after, words + 1, true);
            }
            None => {
                let (no_word, after) = from.split_at("=?".len());
                decoded.extend_from_slice(no_word.as_bytes());
                (rest, is_after_word) = (after, false);
            }
        }
    }
    decoded.extend_from_slice(rest.as_bytes());
    // A character may be split across two words.
    if words > 0 { String::from_utf8(decoded).ok() } else { None }
}

/// Decodes a word at the start of a text. Returns its content in UTF-8 and the text after it.
fn word(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut parts = text.strip_prefix("=?")?.splitn(4, '?');
    let (charset, encoding, content, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let content = match encoding {
        "B" | "b" => base64::decode(content).ok()?,
        "Q" | "q" => unquoted(content)?,
        _ => return None,
    };
    // A language may follow the charset (RFC 2231).
    let charset = charset.split('*').next()?.to_ascii_lowercase();
    let content = match &*charset {
        "utf-8" | "us-ascii" => content,
        "iso-8859-1" => content.into_iter().map(char::from).collect::<String>().into_bytes(),
        _ => return None,
    };
    Some((content, rest.strip_prefix('=')?))
}

/// Decodes the Q encoding: `_` is a space, and `=XX` a byte.
fn unquoted(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut content = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        content.push(match byte {
            b'_' => b' ',
            b'=' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    Some(content)
}

/// Encodes a text for a header, so that [`decode`] returns the same text.
pub(super) fn encode(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && decode(text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut words: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (content, after) = rest.split_at(rest.floor_char_boundary(WORD_BYTES));
        words.push(format!("=?UTF-8?B?{}?=", base64::encode(content)));
        rest = after;
    }
    Cow::Owned(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_decoded_as_the_rfc_has_it() {
        for (text, decoded) in [
            ("=?UTF-8?B?w4PChE1sam/Dqw==?=", "Ã\u{84}Mljoë"),
            ("=?utf-8?q?Zo=C3=AB_x?=", "Zoë x"),
            ("=?ISO-8859-1?Q?Zo=EB?=", "Zoë"),
            ("=?UTF-8*nl?Q?Zo=C3=AB?= and more", "Zoë and more"),
            ("=?UTF-8?Q?a?= =?UTF-8?Q?b?=", "ab"),
            ("=?UTF-8?Q?=C3?= =?UTF-8?Q?=AB?=", "ë"),
            ("a =?UTF-8?Q?b?= =? c", "a b =? c"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(decoded), "{text}");
        }
    }

    #[test]
    fn what_is_no_word_stays_as_it_is() {
        for text in [
            "",
            "plain",
            "=?",
            "=?UTF-8?B?",
            "=?UTF-8?B?*?=",
            "=?UTF-8?Q?=X?=",
            "=?UTF-8?Q?=FF?=",
            "=?x?Q?a?=",
            "=?UTF-8?X?a?=",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_ascii_and_decodes_to_itself(text in "\\PC{0,200}|(=\\?UTF-8\\?Q\\?a\\?=){1,3}") {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            prop_assert!(encoded.split(' ').all(|word| word.len() <= 75) || encoded == text);
            prop_assert_eq!(decode(&encoded).unwrap_or_else(|| encoded.to_string()), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            decode(&text);
        }
    }
}
