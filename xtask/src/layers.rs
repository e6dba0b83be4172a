//! Compresses the layers of an image anew with libdeflate, whose gzip streams are smaller than Buildah's, which are
//! compressed in blocks on all cores. Every registry and every runtime reads gzip; zstd would take a quarter less.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Compresses the layers of the only image of an OCI layout anew. Returns the image's digest.
///
/// # Errors
///
/// Fails if the layout isn't one of a single image whose layers are compressed with gzip, or larger than 4 GiB.
pub(crate) fn compress(layout: &Path) -> Result<String> {
    let blobs = Blobs(layout.join("blobs/sha256"));
    let place = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&place)?)?;
    let image = &mut index["manifests"][0];
    let old = blobs.path(image)?;
    let mut manifest: Value = serde_json::from_slice(&fs::read(&old)?)?;
    for layer in manifest["layers"].as_array_mut().context("the image has no layers")? {
        let path = blobs.path(layer)?;
        let content = unpacked(&fs::read(&path)?)?;
        fs::remove_file(path)?;
        blobs.put(layer, &packed(&content)?)?;
    }
    fs::remove_file(old)?;
    blobs.put(image, &serde_json::to_vec(&manifest)?)?;
    let digest = image["digest"].as_str().context("the image has no digest")?.to_owned();
    fs::write(place, serde_json::to_vec(&index)?)?;
    Ok(digest)
}

/// Decompresses a gzip stream of one member, whose last four bytes are its content's length.
fn unpacked(compressed: &[u8]) -> Result<Vec<u8>> {
    let length = compressed.last_chunk().context("a layer is empty")?;
    let mut content = vec![0; u32::from_le_bytes(*length).try_into()?];
    let written = Decompressor::new().gzip_decompress(compressed, &mut content)?;
    content.truncate(written);
    Ok(content)
}

/// Compresses bytes to a gzip stream, without a name and a time.
fn packed(content: &[u8]) -> Result<Vec<u8>> {
    let mut compressor = Compressor::new(CompressionLvl::best());
    let mut compressed = vec![0; compressor.gzip_compress_bound(content.len())];
    let written = compressor.gzip_compress(content, &mut compressed)?;
    compressed.truncate(written);
    Ok(compressed)
}

/// The folder of a layout's content.
struct Blobs(PathBuf);

impl Blobs {
    /// Returns the file of a descriptor's content.
    fn path(&self, descriptor: &Value) -> Result<PathBuf> {
        let hex = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
        Ok(self.0.join(hex.context("the layout names no digest")?))
    }

    /// Writes content, and makes a descriptor that of the content.
    fn put(&self, descriptor: &mut Value, content: &[u8]) -> Result<()> {
        descriptor["digest"] = format!("sha256:{:x}", Sha256::digest(content)).into();
        descriptor["size"] = content.len().into();
        Ok(fs::write(self.path(descriptor)?, content)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_layer_has_the_same_content_in_fewer_bytes_and_every_digest_is_right() {
        let layout = std::env::temp_dir().join(format!("wasmrun-layers-{}", std::process::id()));
        let blobs = Blobs(layout.join("blobs/sha256"));
        fs::create_dir_all(&blobs.0).expect("a folder");
        let content: String = (0..20_000).map(|number| format!("{number}\n")).collect();
        let mut compressor = Compressor::new(CompressionLvl::fastest());
        let mut before = vec![0; compressor.gzip_compress_bound(content.len())];
        let length = compressor.gzip_compress(content.as_bytes(), &mut before).expect("compressed");
        before.truncate(length);
        let [mut layer, mut image] = [json!({"mediaType": "layer"}), json!({"mediaType": "image"})];
        blobs.put(&mut layer, &before).expect("written");
        let manifest = json!({"config": {"digest": "sha256:0"}, "layers": [layer]});
        blobs.put(&mut image, manifest.to_string().as_bytes()).expect("written");
        fs::write(layout.join("index.json"), json!({"manifests": [image]}).to_string()).expect("written");

        let digest = compress(&layout).expect("compressed");
        let read = |path: PathBuf| -> Value {
            serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
        };
        let index = read(layout.join("index.json"));
        let image = &index["manifests"][0];
        assert_eq!((&image["digest"], &image["mediaType"]), (&json!(digest), &json!("image")));
        let layer = &read(blobs.path(image).expect("a path"))["layers"][0];
        let after = blobs.path(layer).expect("a path");
        let bytes = fs::read(&after).expect("the layer");
        assert_eq!(layer["size"], bytes.len());
        assert_eq!(layer["digest"], format!("sha256:{:x}", Sha256::digest(&bytes)));
        assert!(bytes.len() < before.len(), "{} {}", bytes.len(), before.len());
        assert_eq!(unpacked(&bytes).expect("gzip"), content.as_bytes());
        assert_eq!(fs::read_dir(&blobs.0).expect("a folder").count(), 2, "nothing of before is left");
        fs::remove_dir_all(layout).expect("removed");
    }
}
