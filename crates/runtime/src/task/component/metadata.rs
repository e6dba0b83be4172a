//! Reads from a component's file what its authors say of it, for the annotations of an artefact.
//!
//! Tools write a custom section for each annotation into a component (`wasm-tools metadata add`, the crate
//! `wasm-metadata`), named like the annotations of the OCI image specification.

use super::fits::read_file;
use super::refusal::LoadError;
use std::collections::BTreeMap;
use wasmparser::{Parser, Payload};

/// Custom sections, and the annotations that they become.
const SECTIONS: [(&str, &str); 7] = [
    ("authors", "org.opencontainers.image.authors"),
    ("description", "org.opencontainers.image.description"),
    ("homepage", "org.opencontainers.image.url"),
    ("licenses", "org.opencontainers.image.licenses"),
    ("revision", "org.opencontainers.image.revision"),
    ("source", "org.opencontainers.image.source"),
    ("version", "org.opencontainers.image.version"),
];
/// Maximum length of an annotation, in bytes. Longer ones are left out: registries bound the manifest.
const MAX_VALUE: usize = 4 << 10;

/// What a component's file says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Names of the imports, in the component's order.
    pub imports: Vec<String>,
    /// Names of the exports, in the component's order.
    pub exports: Vec<String>,
    /// Annotations by their names in the OCI image specification.
    pub annotations: BTreeMap<String, String>,
}

/// Reads a component's file, without compiling it.
///
/// # Errors
///
/// The file is no component.
pub fn metadata(bytes: &[u8]) -> Result<Metadata, LoadError> {
    let Some(outline) = read_file(bytes)? else {
        return Err(LoadError::World("this is not a component, or a damaged one".into()));
    };
    let mut depth = 0_usize;
    let mut annotations = BTreeMap::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::Version { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            // Those of the modules in it are of others.
            Ok(Payload::CustomSection(section)) if depth == 1 => {
                let known = SECTIONS.iter().find(|(name, _)| *name == section.name());
                let text = std::str::from_utf8(section.data()).ok();
                let text = text.map(str::trim).filter(|text| !text.is_empty() && text.len() <= MAX_VALUE);
                if let Some(((_, annotation), text)) = known.zip(text) {
                    annotations.insert((*annotation).to_owned(), text.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(Metadata {
        imports: outline.imports.iter().map(|import| import.name.to_owned()).collect(),
        exports: outline.exports.iter().map(|(name, _)| (*name).to_owned()).collect(),
        annotations,
    })
}

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use super::*;

    #[test]
    fn sections_of_the_component_itself_become_annotations() {
        let long = "x".repeat(MAX_VALUE + 1);
        let text = format!(
            r#"(component
                (core module (@custom "source" "https://inner.test"))
                (import "a:b/c" (instance))
                (@custom "source" "https://git.test/thumbs")
                (@custom "licenses" " Apache-2.0 ")
                (@custom "description" "{long}")
                (@custom "revision" "\ff")
                (@custom "version" "")
                (@custom "unknown" "x"))"#
        );
        let found = metadata(&wat::parse_str(text).expect("a component")).expect("metadata");
        let annotations: Vec<_> = found.annotations.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = [
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("org.opencontainers.image.source", "https://git.test/thumbs"),
        ];
        assert_eq!((annotations, found.imports), (expected.to_vec(), vec!["a:b/c".to_owned()]));
    }

    #[test]
    fn what_is_no_component_has_none() {
        let module = wat::parse_str("(module)").expect("a module");
        assert!(metadata(&module).expect_err("a module").to_string().contains("a core module"));
        for bytes in [&b""[..], b"text", &module[..6]] {
            assert!(metadata(bytes).expect_err("no component").to_string().contains("not a component"));
        }
    }
}
