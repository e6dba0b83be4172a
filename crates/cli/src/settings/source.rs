//! Where a component is: in a file, in a bucket or in a registry.

use crate::output::failure::Failure;
use std::fmt;
use std::path::{Path, PathBuf};
use wasmrun_aws::is_object;
use wasmrun_registry::{Reference, is_reference};
use wasmrun_runtime::model::text::distinct_end;

/// Where a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// An object in S3, by its URL.
    Object(String),
    /// An artefact in a registry.
    Artefact(Reference),
}

impl Source {
    /// Tells the sources apart by their schemes, and parses the name of an artefact.
    pub(crate) fn of(component: &Path) -> Result<Self, Failure> {
        match component.to_str() {
            Some(text) if is_object(text) => Ok(Self::Object(text.to_owned())),
            Some(text) if is_reference(text) => Ok(Self::Artefact(reference(text)?)),
            _ => Ok(Self::File(component.to_owned())),
        }
    }

    /// Returns the name of the component: of its file, or the last part of its key or repository.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()),
            Self::Object(url) => {
                url.split('?').next().and_then(|place| place.rsplit('/').next()).map(Into::into)
            }
            Self::Artefact(reference) => Some(reference.name().to_owned()),
        }
        .unwrap_or_default()
    }

    /// Returns the name of the component among all components of a worker: with as much of its place before it as tells it
    /// apart from the others, such as `a/x.wasm` next to `b/x.wasm`.
    pub(crate) fn name_among(&self, all: &[Self]) -> String {
        let (place, places): (_, Vec<String>) = (self.place(), all.iter().map(Self::place).collect());
        match self {
            // Another version of the same object.
            Self::Object(url) if all.iter().zip(&places).any(|(it, at)| it != self && *at == place) => {
                url.clone()
            }
            _ => distinct_end(&place, &places.iter().map(String::as_str).collect::<Vec<_>>()).to_owned(),
        }
    }

    /// Returns where the component is, whatever its version.
    fn place(&self) -> String {
        match self {
            Self::File(path) => path.to_string_lossy().into_owned(),
            Self::Object(url) => url.split('?').next().unwrap_or_default().to_owned(),
            Self::Artefact(reference) => format!("{}/{}", reference.host(), reference.repository()),
        }
    }
}

/// Parses the name of an artefact.
pub(crate) fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|why| Failure::usage(format!("cannot use the component {text}: {why}")))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object(url) => f.write_str(url),
            Self::Artefact(reference) => reference.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_by_its_scheme_and_gives_the_component_its_name() {
        for (text, name) in [
            ("a/b.wasm", "b.wasm"),
            ("s3://components/a/b.wasm?version=1", "b.wasm"),
            ("oci://r.test/a/b:1.2", "b"),
            ("oci:x.wasm", "oci:x.wasm"),
        ] {
            let source = Source::of(Path::new(text)).expect(text);
            assert_eq!((source.name().as_str(), source.to_string().as_str()), (name, text));
        }
        let error = Source::of(Path::new("oci://r.test/a")).expect_err("refused").to_string();
        assert!(error.contains("oci://r.test/a: it has neither"), "{error}");
    }

    #[test]
    fn components_of_the_same_name_have_what_tells_them_apart_before_it() {
        let named = |places: &[&str], names: &[&str]| {
            let all: Vec<Source> = places.iter().map(|it| Source::of(Path::new(it)).expect(it)).collect();
            assert_eq!(all.iter().map(|source| source.name_among(&all)).collect::<Vec<_>>(), names);
        };
        named(&["a/x.wasm"], &["x.wasm"]);
        named(&["a/x.wasm", "a/x.wasm"], &["x.wasm", "x.wasm"]);
        named(&["/srv/a/x.wasm", "/srv/b/x.wasm", "y.wasm"], &["a/x.wasm", "b/x.wasm", "y.wasm"]);
        named(&["x.wasm", "s3://c/x.wasm?version=1"], &["x.wasm", "c/x.wasm"]);
        let versions = ["s3://c/x.wasm?version=1", "s3://c/x.wasm?version=2"];
        named(&versions, &versions);
        // Tags and digests follow these names.
        named(&["oci://r.test/a/x:1", "oci://r.test/b/x:1", "oci://r.test/b/x:2"], &["a/x", "b/x", "b/x"]);
    }
}
