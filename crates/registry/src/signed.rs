//! What a signature signs: the two formats in which `cosign sign` names an artefact by the digest of its manifest.
//!
//! | format | what is signed | source |
//! |---|---|---|
//! | simple signing (cosign 1 and 2) | a JSON text that names the digest | cosign, `specs/SIGNATURE_SPEC.md`, "Simple Signing" |
//! | bundle (cosign 3) | an in-toto statement about the digest, in a DSSE envelope; or the manifest itself | sigstore's protobuf-specs, `sigstore_bundle.proto`; `protocol.md` of DSSE 1.0; in-toto's Statement v1; cosign, `pkg/types/predicate.go` |
//!
//! Certificates, entries of the transparency log and timestamps are ignored: with a key, they add nothing that a verifier
//! must have.

use crate::digest::Digest;
use crate::key::{VerifyKeys, from_base64};
use serde::Deserialize;
use std::fmt;

/// Media type of a text of simple signing.
pub(crate) const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// What the text of a signature says that it is.
const SIMPLE_SIGNING_KIND: &str = "cosign container image signature";
/// Media types of bundles: today's, and the older way to write the same version.
pub(crate) const BUNDLES: [&str; 2] =
    ["application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.sigstore.bundle+json;version=0.3"];
/// Payload type of an envelope with a statement.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// Types of statements.
const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// Predicate type of a statement that is a signature. Others attest something else, such as a found vulnerability.
pub(crate) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

/// An artefact that may be signed.
#[derive(Clone, Copy)]
pub(crate) struct Artefact<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) manifest: &'a [u8],
}

/// Why a signature doesn't count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    /// No key made it of this content.
    OtherKey,
    /// It is about another artefact.
    OtherArtefact,
    /// It attests something else.
    OtherKind,
    /// It can't be read.
    Malformed,
    /// It is larger than signatures are.
    TooLarge,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherKey => "made with another key or for other content",
            Self::OtherArtefact => "made for another artefact",
            Self::OtherKind => "an attestation or another text, not the signature of an artefact",
            Self::Malformed => "malformed",
            Self::TooLarge => "too large",
        })
    }
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    /// Capitalised in cosign's specification, but not in what it writes.
    #[serde(rename = "docker-manifest-digest", alias = "Docker-manifest-digest")]
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    message_signature: Option<MessageSignature>,
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
struct MessageSignature {
    signature: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    /// Exactly one, in a bundle.
    signatures: [EnvelopeSignature; 1],
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digests,
}

#[derive(Deserialize)]
struct Digests {
    sha256: Option<String>,
}

/// Checks a text of simple signing and its signature, which is in base64.
pub(crate) fn check_simple(
    keys: &VerifyKeys,
    artefact: Artefact<'_>,
    text: &[u8],
    signature: &str,
) -> Result<(), Flaw> {
    let signature = from_base64(signature.trim()).ok_or(Flaw::Malformed)?;
    if !keys.have_signed(text, &signature) {
        return Err(Flaw::OtherKey);
    }
    let Payload { critical } = serde_json::from_slice(text).map_err(|_| Flaw::OtherKind)?;
    if critical.kind != SIMPLE_SIGNING_KIND {
        return Err(Flaw::OtherKind);
    }
    if critical.image.digest == artefact.digest.to_string() { Ok(()) } else { Err(Flaw::OtherArtefact) }
}

/// Checks a bundle.
pub(crate) fn check_bundle(keys: &VerifyKeys, artefact: Artefact<'_>, bundle: &[u8]) -> Result<(), Flaw> {
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(|_| Flaw::Malformed)?;
    if !BUNDLES.contains(&bundle.media_type.as_str()) {
        return Err(Flaw::Malformed);
    }
    match (bundle.message_signature, bundle.dsse_envelope) {
        (Some(MessageSignature { signature }), None) => {
            let signature = from_base64(&signature).ok_or(Flaw::Malformed)?;
            if keys.have_signed(artefact.manifest, &signature) { Ok(()) } else { Err(Flaw::OtherKey) }
        }
        (None, Some(envelope)) => check_envelope(keys, artefact, &envelope),
        _ => Err(Flaw::Malformed),
    }
}

fn check_envelope(keys: &VerifyKeys, artefact: Artefact<'_>, envelope: &Envelope) -> Result<(), Flaw> {
    let [EnvelopeSignature { sig }] = &envelope.signatures;
    let payload = from_base64(&envelope.payload).ok_or(Flaw::Malformed)?;
    let signature = from_base64(sig).ok_or(Flaw::Malformed)?;
    if envelope.payload_type != STATEMENT {
        return Err(Flaw::OtherKind);
    }
    if !keys.have_signed(&encoded(STATEMENT, &payload), &signature) {
        return Err(Flaw::OtherKey);
    }
    let statement: Statement = serde_json::from_slice(&payload).map_err(|_| Flaw::Malformed)?;
    if !STATEMENTS.contains(&statement.kind.as_str()) || statement.predicate_type != SIGN {
        return Err(Flaw::OtherKind);
    }
    let is_about = |subject: &Subject| subject.digest.sha256.as_deref() == Some(artefact.digest.hex());
    if statement.subject.iter().any(is_about) { Ok(()) } else { Err(Flaw::OtherArtefact) }
}

/// Encodes a payload with its type as DSSE signs them ("PAE").
fn encoded(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}
