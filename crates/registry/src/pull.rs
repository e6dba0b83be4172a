//! Reads an artefact: its manifest, and the layer that is the component.

use crate::digest::Digest;
use crate::manifest::{ACCEPTED, Layer, component_of};
use crate::reference::Reference;
use crate::session::{Access, Ask, Session};
use crate::signatures::check;
use crate::signed::Artefact;
use crate::transport::describe;
use crate::{Registry, RegistryError};
use hyper::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::time::timeout;
use wasmrun_http::{Response, SLOWEST_BYTES_PER_SECOND, Server};
use wasmrun_runtime::engine::cache::Cache;

/// Maximum size of a manifest, in bytes: what the distribution specification asks registries to accept.
pub(crate) const MAX_MANIFEST: usize = 4 << 20;
/// Time for the manifest, with credentials and retries.
const FOR_MANIFEST: Duration = Duration::from_secs(60);
/// Time for all signatures.
const FOR_SIGNATURES: Duration = Duration::from_secs(60);
/// Time for the content in addition to its size divided by [`SLOWEST_BYTES_PER_SECOND`].
const FOR_CONTENT: Duration = Duration::from_secs(30);

/// A component from a registry.
#[derive(Debug)]
pub struct Pulled {
    /// The component.
    pub component: Vec<u8>,
    /// Digest of the artefact's manifest, which names the artefact.
    pub digest: Digest,
    /// Whether the component comes from the cache.
    pub was_cached: bool,
}

impl Registry {
    /// Returns the digest of the artefact that a name stands for now.
    ///
    /// # Errors
    ///
    /// See [`RegistryError`].
    pub async fn resolve(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        if let Some(digest) = reference.digest() {
            return Ok(digest.clone());
        }
        let mut session = Session::new(self, reference, Access::Pull);
        let late = |_| RegistryError::Unavailable(format!("{} does not answer in time", reference.host()));
        let manifest = timeout(FOR_MANIFEST, manifest(&mut session, reference, None)).await;
        Ok(manifest.map_err(late)??.digest)
    }

    /// Pulls the component of an artefact, or takes it from the cache. A tag is looked up in any case, a digest only if the
    /// cache doesn't have it, and signatures whenever there are keys. Fails without reading a component of more than `most`
    /// bytes, or one that no key signed.
    ///
    /// # Errors
    ///
    /// See [`RegistryError`].
    pub async fn pull(
        &self,
        reference: &Reference,
        most: u64,
        cache: Option<&Cache>,
    ) -> Result<Pulled, RegistryError> {
        let mut session = Session::new(self, reference, Access::Pull);
        let late = || RegistryError::Unavailable(format!("{} does not answer in time", reference.host()));
        let manifest = timeout(FOR_MANIFEST, manifest(&mut session, reference, cache)).await;
        let ReadManifest { digest, content: manifest, was_cached } = manifest.map_err(|_| late())??;
        let layer = component_of(&manifest)?;
        if layer.size > most {
            let size = layer.size;
            return Err(RegistryError::Unfit(format!("it has {size} bytes, and {most} bytes are allowed")));
        }
        if let Some(keys) = &self.keys {
            let artefact = Artefact { digest: &digest, manifest: &manifest };
            let checked = timeout(FOR_SIGNATURES, check(&mut session, artefact, keys)).await;
            checked.map_err(|_| late())??;
        }
        if let Some(cache) = cache.filter(|_| !was_cached) {
            cache.keep_blob(digest.hex(), &manifest);
        }
        if let Some(component) = cache.and_then(|cache| cache.blob(layer.digest.hex(), most)) {
            return Ok(Pulled { component, digest, was_cached: true });
        }
        let patience = FOR_CONTENT + Duration::from_secs(layer.size / SLOWEST_BYTES_PER_SECOND);
        let component = timeout(patience, content(&mut session, &layer, "the component")).await;
        let component = component.map_err(|_| late())??;
        if let Some(cache) = cache {
            cache.keep_blob(layer.digest.hex(), &component);
        }
        Ok(Pulled { component, digest, was_cached: false })
    }
}

/// A manifest that was read.
struct ReadManifest {
    digest: Digest,
    content: Vec<u8>,
    was_cached: bool,
}

/// Reads the manifest, and checks its digest.
async fn manifest(
    session: &mut Session<'_>,
    reference: &Reference,
    cache: Option<&Cache>,
) -> Result<ReadManifest, RegistryError> {
    if let Some(digest) = reference.digest()
        && let Some(known) = cache.and_then(|cache| cache.blob(digest.hex(), MAX_MANIFEST as u64))
    {
        return Ok(ReadManifest { digest: digest.clone(), content: known, was_cached: true });
    }
    let found = read_manifest(session, &reference.version(), MAX_MANIFEST).await?;
    let server = session.server();
    let (digest, content) = found.map_err(|said| {
        RegistryError::Unfit(format!("there is no such artefact: {server} answered {said}"))
    })?;
    Ok(ReadManifest { digest, content, was_cached: false })
}

/// Asks for a manifest by its tag or digest, and checks its digest. If there is none, the inner error is the answer.
pub(crate) async fn read_manifest(
    session: &mut Session<'_>,
    version: &str,
    most_bytes: usize,
) -> Result<Result<(Digest, Vec<u8>), String>, RegistryError> {
    let path = session.path(&format!("manifests/{version}"));
    let ask = Ask { accept: Some(ACCEPTED), ..Ask::new(Method::GET, path) };
    let mut response = session.ask(&ask).await?;
    let server = session.server();
    match response.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(Err(describe(response).await)),
        _ => {
            let said = describe(response).await;
            return Err(RegistryError::Unavailable(format!("{server} answered {said}")));
        }
    }
    let stated = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
    let content = whole(server, &mut response, "manifest", most_bytes).await?;
    let digest = Digest::of(&content);
    let wanted = version.parse().ok().or(stated);
    if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
        return Err(RegistryError::Unavailable(format!(
            "{server} sends a manifest with the digest {digest} instead of {wanted}"
        )));
    }
    Ok(Ok((digest, content)))
}

/// Reads the whole body of a response. `what` names it in errors.
pub(crate) async fn whole(
    server: &Server,
    response: &mut Response,
    what: &str,
    most_bytes: usize,
) -> Result<Vec<u8>, RegistryError> {
    let content = response.read(most_bytes).await.map_err(|error| {
        RegistryError::Unavailable(format!("{server} does not send the whole {what}: {error}"))
    })?;
    content.ok_or_else(|| RegistryError::Unfit(format!("its {what} is larger than {most_bytes} bytes")))
}

/// Reads a layer, and checks its size and digest while it arrives. `what` names it in errors, such as "the component".
pub(crate) async fn content(
    session: &mut Session<'_>,
    layer: &Layer,
    what: &str,
) -> Result<Vec<u8>, RegistryError> {
    let Layer { digest, size } = layer;
    let ask = Ask::new(Method::GET, session.path(&format!("blobs/{digest}")));
    let mut response = session.ask(&ask).await?;
    let server = session.server();
    let refuse = |why: String| Err(RegistryError::Unavailable(why));
    if response.status != StatusCode::OK {
        let said = describe(response).await;
        return refuse(format!("{server} does not have {what} {digest}: it answered {said}"));
    }
    let length = response.header("content-length").and_then(|length| length.parse::<u64>().ok());
    if let Some(length) = length.filter(|length| length != size) {
        return refuse(format!(
            "{server} sends {length} bytes instead of the {size} that the manifest states"
        ));
    }
    let (mut content, mut hash) = (Vec::with_capacity(*size as usize), Sha256::new());
    loop {
        let piece = response.next().await;
        let Some(piece) = piece.map_err(|error| {
            let received = content.len();
            RegistryError::Unavailable(format!(
                "{server} sends only {received} of the {size} bytes of {what}: {error}"
            ))
        })?
        else {
            break;
        };
        if content.len() as u64 + piece.len() as u64 > *size {
            return refuse(format!("{server} sends more than the {size} bytes that the manifest states"));
        }
        hash.update(&piece);
        content.extend_from_slice(&piece);
    }
    if content.len() as u64 != *size {
        let received = content.len();
        return refuse(format!("{server} sends only {received} of the {size} bytes of {what}"));
    }
    let found = Digest::from_hash(&hash.finalize());
    if found != *digest {
        return refuse(format!("{server} sends {what} with the digest {found} instead of {digest}"));
    }
    Ok(content)
}
