//! Reads the body and the attributes of a message from flags.

use super::named::name_and_value;
use crate::output::failure::Failure;
use bytesize::ByteSize;
use std::fs::File;
use std::io::Read;
use wasmrun_runtime::model::message::{Attribute, AttributeValue, MAX_MESSAGE_BYTES};

/// Returns the body of a message that `text` names, as [`bytes_from`] does. It must be UTF-8.
pub(crate) fn body_from(text: &str) -> Result<String, Failure> {
    let bytes = bytes_from(text, MAX_MESSAGE_BYTES as u64, "a message")?;
    let place = place(text);
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("the body in {place} cannot be sent: it is not UTF-8 text")))
}

/// Returns the bytes that `text` names: the content of a file for `@FILE`, standard input for `-`, otherwise the text.
///
/// # Errors
///
/// The body can't be read, or has more than `most` bytes, which `bound` sets.
pub(crate) fn bytes_from(text: &str, most: u64, bound: &str) -> Result<Vec<u8>, Failure> {
    let place = place(text);
    let unreadable = |error| Failure::usage(format!("cannot read the body in {place}: {error}"));
    let source: Box<dyn Read> = match text.strip_prefix('@') {
        Some(path) => Box::new(File::open(path).map_err(unreadable)?),
        None if text == "-" => Box::new(std::io::stdin()),
        None => Box::new(text.as_bytes()),
    };
    let mut bytes = Vec::new();
    source.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(Failure::usage(format!(
            "the body in {place} cannot be sent: it is larger than {}, the limit of {bound}",
            ByteSize(most).display().iec()
        )));
    }
    Ok(bytes)
}

/// Returns where a body is.
fn place(text: &str) -> &str {
    match text.strip_prefix('@') {
        Some(path) => path,
        None if text == "-" => "standard input",
        None => "--message",
    }
}

/// Parses attributes of the form `NAME=VALUE`.
pub(crate) fn attributes_from(texts: &[String]) -> Result<Vec<Attribute>, Failure> {
    texts
        .iter()
        .map(|text| {
            let (name, value) = name_and_value("attribute", "NAME=VALUE", text)?;
            Ok(Attribute { name: name.to_owned(), value: AttributeValue::Text(value.to_owned()) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_whole_or_refused_with_the_place_and_the_bound() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (text, bytes) = (format!("@{}", file.path().display()), vec![0xff; MAX_MESSAGE_BYTES + 1]);
        std::fs::write(file.path(), &bytes).expect("written");
        let read = |most| bytes_from(&text, most, "--size").map_err(|failure| failure.to_string());
        let most = bytes.len() as u64;
        assert_eq!(read(u64::MAX), Ok(bytes));
        assert!(read(most).is_ok());
        let error = read(most - 1).expect_err("too large");
        assert!(
            error.contains(&text[1..]) && error.contains("larger than 1.0 MiB, the limit of --size"),
            "{error}"
        );
        assert!(body_from(&text).expect_err("too large").to_string().contains("the limit of a message"));
        assert!(bytes_from("typed", 4, "--size").is_err());
        assert_eq!(body_from("typed").expect("a body"), "typed");
    }

    #[test]
    fn the_body_of_a_message_is_text() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"a\xff").expect("written");
        let error = body_from(&format!("@{}", file.path().display())).expect_err("refused").to_string();
        assert!(error.ends_with("it is not UTF-8 text"), "{error}");
    }
}
