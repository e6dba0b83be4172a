//! Reads the body and the attributes of a message from flags.

use super::named::name_and_value;
use crate::output::failure::Failure;
use std::io::Read;
use wasmrun_runtime::model::message::{Attribute, AttributeValue, MAX_MESSAGE_BYTES};

/// Returns the body that `text` names: the content of a file for `@FILE`, standard input for `-`, otherwise the text.
pub(crate) fn body_from(text: &str) -> Result<String, Failure> {
    let (what, mut source): (String, Box<dyn Read>) = match text.strip_prefix('@') {
        Some(path) => {
            let file = std::fs::File::open(path)
                .map_err(|error| Failure::usage(format!("cannot read the message {path}: {error}")))?;
            (path.to_owned(), Box::new(file))
        }
        None if text == "-" => ("standard input".into(), Box::new(std::io::stdin())),
        None => return Ok(text.to_owned()),
    };
    let mut body = String::new();
    source
        .by_ref()
        .take(MAX_MESSAGE_BYTES as u64 + 1)
        .read_to_string(&mut body)
        .map_err(|error| Failure::usage(format!("cannot read the message from {what}: {error}")))?;
    Ok(body)
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
