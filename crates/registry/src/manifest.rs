//! Which layer of an artefact is the component.

use crate::RegistryError;
use crate::digest::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Media type of a manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of the configuration of a Wasm artefact.
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of the layer with the component.
pub(crate) const WASM: &str = "application/wasm";
/// Media type of an index.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media types that manifests are asked for by. Those of an index are among them, so that it can be named in the error.
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// Media types of layers of a component: today's, and those of older tools.
const OF_COMPONENTS: [&str; 5] = [
    WASM,
    // wasm-to-oci, Krustlet and Spin
    "application/vnd.wasm.content.layer.v1+wasm",
    // wasmCloud
    "application/vnd.module.wasm.content.layer.v1+wasm",
    // runwasi
    "application/vnd.bytecodealliance.component.layer.v0+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];
/// Media types of the configuration of a container image.
const OF_IMAGES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Maximum number of characters of a media type that are shown.
const SHOWN: usize = 80;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u64,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    /// Only an index has them.
    manifests: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

/// The layer that is the component.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) digest: Digest,
    /// Size in bytes.
    pub(crate) size: u64,
}

/// Returns the layer that is the component.
///
/// # Errors
///
/// The manifest is none, or not that of one component.
pub(crate) fn component_of(manifest: &[u8]) -> Result<Layer, RegistryError> {
    let parsed: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| RegistryError::Unfit(format!("its manifest cannot be read: {error}")))?;
    let refuse = |why: String| Err(RegistryError::Unfit(why));
    if parsed.manifests.is_some() {
        return refuse("it is an index of several artefacts: name one of them by its digest".into());
    }
    if parsed.schema_version != 2 {
        return refuse("its manifest is of an old version".into());
    }
    let config = parsed.config.map(|config| config.media_type).unwrap_or_default();
    let mut components =
        parsed.layers.iter().filter(|layer| OF_COMPONENTS.contains(&layer.media_type.as_str()));
    match (components.next(), components.count()) {
        (Some(layer), 0) => {
            let digest = layer.digest.parse();
            let digest =
                digest.map_err(|why| RegistryError::Unfit(format!("its manifest is wrong: {why}")))?;
            Ok(Layer { digest, size: layer.size })
        }
        (Some(_), others) => refuse(format!("it holds {} components, not one", others + 1)),
        (None, _) if OF_IMAGES.contains(&config.as_str()) => {
            refuse("it is a container image, not a component".into())
        }
        (None, _) => {
            let kind = parsed.layers.first().map_or(config.as_str(), |layer| &layer.media_type);
            let kind: String = kind.chars().take(SHOWN).collect();
            refuse(format!("it holds no component, but {kind:?}: a component's layer is {WASM}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":1}}"#, Digest::of(b"x"))
    }

    fn of(config: &str, layers: &[String]) -> Result<Layer, String> {
        let text =
            format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, layer(config), layers.join(","));
        component_of(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_one_wasm_layer_is_the_component() {
        let expected = Ok(Layer { digest: Digest::of(b"x"), size: 1 });
        for media_type in OF_COMPONENTS {
            assert_eq!(of(WASM_CONFIG, &[layer(media_type)]), expected, "{media_type}");
        }
        let config = "application/vnd.unknown.config.v1+json";
        assert_eq!(of(config, &[layer("text/markdown"), layer(WASM)]), expected);
        assert_eq!(of(OF_IMAGES[0], &[layer(OF_COMPONENTS[4])]), expected);
    }

    #[test]
    fn what_is_not_one_component_is_refused_by_name() {
        let tar = layer("application/vnd.oci.image.layer.v1.tar+gzip");
        for (config, layers, said) in [
            (OF_IMAGES[0], vec![tar.clone()], "a container image"),
            (OF_IMAGES[1], vec![], "a container image"),
            (WASM_CONFIG, vec![], "holds no component, but \"application/vnd.wasm.config"),
            ("application/x", vec![tar], "holds no component, but \"application/vnd.oci.image.layer"),
            (WASM_CONFIG, vec![layer(WASM), layer(WASM)], "holds 2 components"),
        ] {
            let error = of(config, &layers).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
        for (text, said) in [
            ("", "cannot be read"),
            ("{", "cannot be read"),
            ("[]", "cannot be read"),
            ("{\"schemaVersion\":1,\"fsLayers\":[]}", "old version"),
            ("{\"schemaVersion\":2,\"manifests\":[]}", "an index"),
            (
                "{\"schemaVersion\":2,\"layers\":[{\"mediaType\":\"application/wasm\",\"digest\":\"md5:1\",\"size\":1}]}",
                "64 digits",
            ),
            (
                "{\"schemaVersion\":2,\"layers\":[{\"mediaType\":\"application/wasm\",\"digest\":\"\",\"size\":-1}]}",
                "cannot be read",
            ),
        ] {
            let error = component_of(text.as_bytes()).expect_err(said).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(component_of("[".repeat(1 << 20).as_bytes()).is_err(), "nothing is nested too deep");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = component_of(&bytes);
        }
    }
}
