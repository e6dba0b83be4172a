//! Finds the signatures of an artefact in its repository, and checks that one of them is valid.
//!
//! | layout | where signatures are | source |
//! |---|---|---|
//! | bundle (cosign 3) | in the layer of each manifest that refers to the artefact; the registry lists these, or an index with the tag `sha256-DIGEST` | cosign, `specs/BUNDLE_SPEC.md`; OCI distribution 1.1, "Listing Referrers" and "Referrers Tag Schema" |
//! | tag (cosign 1 and 2) | in the layers of the manifest with the tag `sha256-DIGEST.sig` | cosign, `specs/SIGNATURE_SPEC.md`, "Tag-based Discovery" |
//!
//! One valid signature is enough. Whatever can't be read is passed over, because anybody who may push can put it there: only
//! without any valid signature does it matter.

use crate::RegistryError;
use crate::digest::Digest;
use crate::key::VerifyKeys;
use crate::manifest::{INDEX, Layer, MANIFEST};
use crate::pull::{MAX_MANIFEST, content, read_manifest, whole};
use crate::session::{Ask, Session};
use crate::signed::{Artefact, BUNDLES, Flaw, SIGN, SIMPLE_SIGNING, check_bundle, check_simple};
use crate::transport::describe;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Maximum number of signatures that are looked at in each layout, and of manifests with bundles.
const MAX_SIGNATURES: usize = 64;
/// Maximum size of a signature with what it signs, and of the manifest of a bundle, in bytes. Those of cosign have up to
/// 20 KiB.
const MAX_SIGNED: u64 = 256 << 10;
/// Maximum number of pages of a list of referrers.
const MAX_PAGES: usize = 8;
/// Artefact types of manifests with signatures besides those of [`BUNDLES`]: cosign 2 with referrers, and tools that list
/// the media type of the configuration instead.
const OTHER_TYPES: [&str; 3] =
    ["application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.oci.empty.v1+json", ""];

/// A manifest with signatures in its layers, or an index of such manifests.
#[derive(Deserialize)]
struct List {
    #[serde(default)]
    manifests: Vec<Entry>,
    #[serde(default)]
    layers: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    digest: String,
    size: u64,
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "dev.cosignproject.cosign/signature")]
    signature: Option<String>,
    /// What a bundle says, according to whoever put it there.
    #[serde(rename = "dev.sigstore.bundle.predicateType")]
    predicate_type: Option<String>,
}

impl Entry {
    /// Returns what it names. `None` if that has another kind of digest.
    fn layer(&self) -> Option<Layer> {
        Some(Layer { digest: self.digest.parse().ok()?, size: self.size })
    }
}

/// What was found out about the signatures so far.
#[derive(Default)]
struct Found {
    /// Number of signatures that were looked at.
    looked_at: usize,
    /// Number of signatures with each flaw.
    flaws: BTreeMap<Flaw, usize>,
    /// Whether there are more than are looked at.
    has_more: bool,
    /// Why something couldn't be read.
    failed: Option<RegistryError>,
}

impl Found {
    /// Keeps the first error.
    fn kept<T>(&mut self, read: Result<T, RegistryError>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    /// Counts a signature. Returns whether it is valid.
    fn judge(&mut self, judged: Result<(), Flaw>) -> bool {
        if let Err(flaw) = judged {
            *self.flaws.entry(flaw).or_default() += 1;
        }
        judged.is_ok()
    }

    /// Counts a signature that is to be looked at. Returns `false` if no more of them are.
    fn may_look(&mut self) -> bool {
        let may_look = self.looked_at < MAX_SIGNATURES;
        self.looked_at += usize::from(may_look);
        self.has_more |= !may_look;
        may_look
    }

    /// Describes an artefact without a valid signature.
    fn refusal(self, artefact: &Digest) -> RegistryError {
        if let Some(RegistryError::Unfit(why) | RegistryError::Unavailable(why)) = self.failed {
            return RegistryError::Unavailable(format!(
                "cannot find out whether {artefact} is signed: {why}"
            ));
        }
        let more = if self.has_more { "; it has more than are looked at" } else { "" };
        if self.flaws.is_empty() {
            return RegistryError::Unfit(format!("{artefact} is not signed{more}"));
        }
        let flaws: Vec<_> = self.flaws.iter().map(|(flaw, count)| format!("{count} {flaw}")).collect();
        let flaws = flaws.join(", ");
        RegistryError::Unfit(format!(
            "{artefact} is not signed by a key of --verify-key: of its signatures, {flaws}{more}"
        ))
    }
}

/// Checks that an artefact has a signature by one of the keys.
///
/// # Errors
///
/// [`RegistryError::Unfit`] if it has none, and [`RegistryError::Unavailable`] if some couldn't be read and the others aren't
/// valid.
pub(crate) async fn check(
    session: &mut Session<'_>,
    artefact: Artefact<'_>,
    keys: &VerifyKeys,
) -> Result<(), RegistryError> {
    let mut found = Found::default();
    for referrer in referrers(session, artefact.digest, &mut found).await {
        let version = referrer.digest.to_string();
        if look_into(session, &version, MAX_SIGNED as usize, artefact, keys, &mut found).await {
            return Ok(());
        }
    }
    found.looked_at = 0;
    let tag = format!("sha256-{}.sig", artefact.digest.hex());
    if look_into(session, &tag, MAX_MANIFEST, artefact, keys, &mut found).await {
        return Ok(());
    }
    Err(found.refusal(artefact.digest))
}

/// Returns whether a manifest, if there is one by this tag or digest, has a layer that is a valid signature.
async fn look_into(
    session: &mut Session<'_>,
    version: &str,
    most_bytes: usize,
    artefact: Artefact<'_>,
    keys: &VerifyKeys,
    found: &mut Found,
) -> bool {
    let manifest = read_manifest(session, version, most_bytes).await;
    let Some(Ok((_, manifest))) = found.kept(manifest) else { return false };
    let Ok(List { layers, .. }) = serde_json::from_slice(&manifest) else {
        return found.judge(Err(Flaw::Malformed));
    };
    for entry in layers {
        let is_bundle = BUNDLES.contains(&entry.media_type.as_str());
        if !is_bundle && entry.media_type != SIMPLE_SIGNING {
            continue;
        }
        if !found.may_look() {
            return false;
        }
        let signature = entry.annotations.as_ref().and_then(|annotations| annotations.signature.as_deref());
        let judged = match (entry.layer(), signature) {
            (Some(layer), _) if layer.size > MAX_SIGNED => Err(Flaw::TooLarge),
            (Some(layer), signature) if is_bundle || signature.is_some() => {
                let read = content(session, &layer, "a signature").await;
                let Some(read) = found.kept(read) else { continue };
                match signature {
                    Some(signature) if !is_bundle => check_simple(keys, artefact, &read, signature),
                    _ => check_bundle(keys, artefact, &read),
                }
            }
            _ => Err(Flaw::Malformed),
        };
        if found.judge(judged) {
            return true;
        }
    }
    false
}

/// Returns the manifests that refer to an artefact and may have signatures, in the order in which it is probable.
async fn referrers(session: &mut Session<'_>, artefact: &Digest, found: &mut Found) -> Vec<Layer> {
    let pages = read_referrers(session, artefact).await;
    let mut candidates: Vec<(u8, Layer)> = Vec::new();
    for page in found.kept(pages).unwrap_or_default() {
        let Ok(List { manifests, .. }) = serde_json::from_slice(&page) else {
            found.judge(Err(Flaw::Malformed));
            continue;
        };
        candidates.extend(manifests.iter().filter_map(|entry| {
            let kind = entry.artifact_type.as_str();
            let is_bundle = BUNDLES.contains(&kind);
            let may_be_signature = entry.media_type == MANIFEST && entry.size <= MAX_SIGNED;
            let layer =
                entry.layer().filter(|_| may_be_signature && (is_bundle || OTHER_TYPES.contains(&kind)));
            let said = entry.annotations.as_ref().and_then(|said| said.predicate_type.as_deref());
            let order = match said {
                Some(SIGN) => 0,
                _ if is_bundle => 1,
                _ => 2,
            };
            Some((order, layer?))
        }));
    }
    candidates.sort_by_key(|(order, _)| *order);
    found.has_more |= candidates.len() > MAX_SIGNATURES;
    candidates.truncate(MAX_SIGNATURES);
    candidates.into_iter().map(|(_, layer)| layer).collect()
}

/// Reads the lists of manifests that refer to an artefact: that of the registry, page by page, or that of the tag, if the
/// registry keeps none.
async fn read_referrers(session: &mut Session<'_>, artefact: &Digest) -> Result<Vec<Vec<u8>>, RegistryError> {
    let path = session.path(&format!("referrers/{artefact}"));
    let ask = Ask { accept: Some(INDEX), ..Ask::new(Method::GET, path) };
    let mut response = session.ask(&ask).await?;
    let mut pages = Vec::new();
    loop {
        match response.status {
            StatusCode::OK if response.header("content-type").is_some_and(|kind| kind.starts_with(INDEX)) => {
            }
            // What registries answer that don't know the path, some of them with a page for people.
            StatusCode::OK
            | StatusCode::NOT_FOUND
            | StatusCode::BAD_REQUEST
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE
            | StatusCode::NOT_IMPLEMENTED
                if pages.is_empty() =>
            {
                let tag = format!("sha256-{}", artefact.hex());
                let index = read_manifest(session, &tag, MAX_MANIFEST).await?;
                return Ok(index.map(|(_, index)| index).into_iter().collect());
            }
            _ => {
                let server = session.server();
                let said = describe(response).await;
                return Err(RegistryError::Unavailable(format!(
                    "{server} lists no signatures: it answered {said}"
                )));
            }
        }
        let next = response.header("link").and_then(next_page).map(str::to_owned);
        pages.push(whole(session.server(), &mut response, "list of signatures", MAX_MANIFEST).await?);
        match next {
            Some(next) if pages.len() < MAX_PAGES => response = session.ask_where(&next, &ask).await?,
            _ => return Ok(pages),
        }
    }
}

/// Returns the URL of the next page from a header `Link` (RFC 8288).
fn next_page(link: &str) -> Option<&str> {
    let (url, parameters) = link.split_once('<')?.1.split_once('>')?;
    let is_next =
        parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=next" | "rel=\"next\""));
    is_next.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_where_the_registry_says() {
        let url = "/v2/a/referrers/sha256:1?n=10&last=x";
        assert_eq!(next_page(&format!("<{url}>; rel=\"next\"")), Some(url));
        assert_eq!(next_page(&format!("<{url}>;rel=next")), Some(url));
        for link in ["", url, "<x>", "<x>; rel=\"prev\"", "<x; rel=\"next\""] {
            assert_eq!(next_page(link), None, "{link}");
        }
    }
}
