//! Signatures in both layouts, as cosign 2 and 3 write them.

use crate::harness::DockerRegistry;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
/// Predicate type of a signature.
pub(super) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// Beginning of a public key of P-256 in DER.
const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";

/// A key that signs.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub(super) fn new() -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
        Self(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).expect("a key"))
    }

    /// The public key, as `cosign generate-key-pair` writes it.
    pub(super) fn pem(&self) -> String {
        let point = STANDARD.encode(&self.0.public_key().as_ref()[1..]);
        format!("-----BEGIN PUBLIC KEY-----\n{P256}{point}\n-----END PUBLIC KEY-----\n")
    }

    pub(super) fn sign(&self, content: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), content).expect("a signature"))
    }

    /// A bundle with a statement about an artefact.
    pub(super) fn bundle(&self, artefact: &str, predicate: &str) -> Value {
        let (_, hex) = artefact.split_once(':').expect("a digest");
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": predicate,
            "subject": [{"digest": {"sha256": hex}, "annotations": {}}], "predicate": {}});
        let statement = statement.to_string();
        let signed = format!("DSSEv1 {} {STATEMENT} {} {statement}", STATEMENT.len(), statement.len());
        let envelope = json!({"payload": STANDARD.encode(statement), "payloadType": STATEMENT,
            "signatures": [{"sig": self.sign(signed.as_bytes())}]});
        json!({"mediaType": BUNDLE, "dsseEnvelope": envelope,
            "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": [{"logIndex": "1"}]}})
    }

    /// A bundle with a signature of the manifest itself.
    pub(super) fn message_bundle(&self, manifest: &[u8]) -> Value {
        let message = json!({"messageDigest": {"algorithm": "SHA2_256",
            "digest": STANDARD.encode(Sha256::digest(manifest))}, "signature": self.sign(manifest)});
        json!({"mediaType": BUNDLE, "messageSignature": message,
            "verificationMaterial": {"publicKey": {"hint": "x"}}})
    }
}

/// A text of simple signing about an artefact.
pub(super) fn payload(artefact: &str) -> String {
    let image = json!({"docker-manifest-digest": artefact});
    let kind = "cosign container image signature";
    let critical = json!({"identity": {"docker-reference": "r.test/a"}, "image": image, "type": kind});
    json!({"critical": critical, "optional": null}).to_string()
}

pub(super) fn digest(content: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(content))
}

pub(super) fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

/// The layer of a text of simple signing.
pub(super) fn simple_layer(text: &str, signature: &str) -> Value {
    let mut layer = descriptor(SIMPLE_SIGNING, text.as_bytes());
    layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature,
        "dev.sigstore.cosign/bundle": "{\"SignedEntryTimestamp\":\"\"}"});
    layer
}

/// A manifest with these layers.
pub(super) fn manifest(artefact: &str, layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": layers,
        "subject": {"mediaType": MANIFEST, "digest": artefact, "size": 1}})
}

/// An index that lists manifests.
pub(super) fn index(manifests: &[String], artefact_type: &str) -> String {
    let entries: Vec<_> = manifests
        .iter()
        .map(|manifest| {
            let mut entry = descriptor(MANIFEST, manifest.as_bytes());
            entry["artifactType"] = artefact_type.into();
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string()
}

/// Puts texts and their signatures in the layout of a tag, in place of those that are there.
pub(super) fn put_tag(registry: &DockerRegistry, artefact: &str, signatures: &[(String, String)]) {
    registry.put_blob("a", b"{}");
    let layers: Vec<_> = signatures
        .iter()
        .map(|(text, signature)| {
            registry.put_blob("a", text.as_bytes());
            simple_layer(text, signature)
        })
        .collect();
    let tag = format!("{}.sig", artefact.replace(':', "-"));
    let mut manifest = manifest(artefact, &layers);
    manifest.as_object_mut().expect("an object").retain(|key, _| key != "artifactType" && key != "subject");
    registry.put_manifest("a", &tag, MANIFEST, &manifest.to_string());
}

/// Puts bundles and the index of them, in place of those that are there: the registry has no list of referrers.
pub(super) fn put_bundles(registry: &DockerRegistry, artefact: &str, bundles: &[String]) {
    registry.put_blob("a", b"{}");
    let manifests: Vec<_> = bundles
        .iter()
        .map(|bundle| {
            registry.put_blob("a", bundle.as_bytes());
            let manifest = manifest(artefact, &[descriptor(BUNDLE, bundle.as_bytes())]).to_string();
            registry.put_manifest("a", &digest(manifest.as_bytes()), MANIFEST, &manifest);
            manifest
        })
        .collect();
    registry.put_manifest("a", &artefact.replace(':', "-"), INDEX, &index(&manifests, BUNDLE));
}
