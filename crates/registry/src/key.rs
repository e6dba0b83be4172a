//! Public keys, and the check that one of them signed content.
//!
//! The scheme is the one that cosign's specification requires of all implementations: ECDSA on the curve P-256 with
//! SHA-256 (`specs/SIGNATURE_SPEC.md`, "Signature Schemes"). The signature doesn't say its scheme: the key does.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ring::agreement::{self, ECDH_P256, EphemeralPrivateKey, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

/// Maximum number of keys.
const MAX_KEYS: usize = 16;
/// Beginning of a public key of P-256 in DER (RFC 5480, section 2): its algorithm, its curve, and the length of the point.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Length of an uncompressed point in bytes, and its first byte (SEC 1, section 2.3.3).
const POINT: (usize, u8) = (65, 4);
/// Maximum number of characters of a label that are shown.
const SHOWN: usize = 40;
/// What belongs into the file.
const FORM: &str = "it needs the public key of `cosign generate-key-pair`, such as cosign.pub";

/// Public keys. An artefact must be signed by one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyKeys(Vec<Vec<u8>>);

impl VerifyKeys {
    /// Reads public keys of ECDSA P-256 in PEM (RFC 7468), as `cosign generate-key-pair` writes one into `cosign.pub`.
    /// Text between them is ignored.
    ///
    /// # Errors
    ///
    /// There is no key, there are more than 16, or one of them is of another kind. The error completes a sentence.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
            let damaged = || format!("a PEM block has no end: {FORM}");
            let (label, body) = begun.split_once("-----").ok_or_else(damaged)?;
            let (body, after) = body.split_once(&format!("-----END {label}-----")).ok_or_else(damaged)?;
            if label.contains("PRIVATE KEY") {
                return Err(format!("it holds a private key, which has no place on a worker: {FORM}"));
            }
            if label != "PUBLIC KEY" {
                let label: String = label.chars().take(SHOWN).collect();
                return Err(format!("it holds something else than public keys, {label:?}: {FORM}"));
            }
            if keys.len() == MAX_KEYS {
                return Err(format!("it holds more than {MAX_KEYS} keys"));
            }
            keys.push(
                point(body)
                    .ok_or_else(|| format!("its key {} is not of ECDSA P-256: {FORM}", keys.len() + 1))?,
            );
            rest = after;
        }
        if keys.is_empty() { Err(format!("it holds no public key in PEM: {FORM}")) } else { Ok(Self(keys)) }
    }

    /// Returns whether one of the keys made a signature of content. The signature is in DER, as in RFC 3279.
    pub(crate) fn have_signed(&self, content: &[u8], signature: &[u8]) -> bool {
        self.0.iter().any(|point| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(content, signature).is_ok()
        })
    }
}

/// Returns the point of a public key, if it is one of P-256.
fn point(body: &str) -> Option<Vec<u8>> {
    let body: String = body.split_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    let point = der.strip_prefix(&P256[..])?;
    ((point.len(), *point.first()?) == POINT && is_on_curve(point)).then(|| point.to_owned())
}

/// Returns whether a point is on the curve. Only an agreement of keys tells: verifying finds every signature wrong.
fn is_on_curve(point: &[u8]) -> bool {
    let own = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new());
    let point = agreement::UnparsedPublicKey::new(&ECDH_P256, point);
    own.is_ok_and(|own| agree_ephemeral(own, &point, |_| ()).is_ok())
}

/// Decodes base64 in one of the alphabets that DSSE's protocol allows.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and the signature of a test of sigstore-rs, which cosign made.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENptdY/l3nB0yqkXLBWkZWQwo6+cu
OSWS1X9vPavpiQOoTTGC0xX57OojUadxF1cdQmrsiReWg2Wn4FneJfa8xw==
-----END PUBLIC KEY-----
";
    const SIGNATURE: &str =
        "MEUCIQD6q/COgzOyW0YH1Dk+CCYSt4uAhm3FDHUwvPI55zwnlwIgE0ZK58ZOWpZw8YVmBapJhBqCfdPekIknimuO0xH8Jh8=";
    const PAYLOAD: &str = r#"{"critical":{"identity":{"docker-reference":"registry-testing.svc.lan/busybox"},"image":{"docker-manifest-digest":"sha256:f3cfc9d0dbf931d3db4685ec659b7ac68e2a578219da4aae65427886e649b06b"},"type":"cosign container image signature"},"optional":null}"#;

    #[test]
    fn a_signature_that_cosign_made_is_valid_for_its_key_and_its_content() {
        let keys = VerifyKeys::from_pem(KEY).expect("a key");
        let signature = from_base64(SIGNATURE).expect("base64");
        assert!(keys.have_signed(PAYLOAD.as_bytes(), &signature));
        assert!(!keys.have_signed(&PAYLOAD.as_bytes()[1..], &signature));
        assert!(!keys.have_signed(PAYLOAD.as_bytes(), &signature[1..]));
        assert!(!keys.have_signed(PAYLOAD.as_bytes(), &[]));
    }

    #[test]
    fn a_file_may_hold_several_keys_with_text_between_them_and_lines_of_any_length() {
        let one = VerifyKeys::from_pem(KEY).expect("a key");
        assert_eq!(VerifyKeys::from_pem(&KEY.replace('\n', "\r\n")), Ok(one.clone()));
        assert_eq!(VerifyKeys::from_pem(&KEY.replace('\n', " ")), Ok(one));
        let three = format!("# until June\n{KEY}# from May\n{KEY}{KEY}");
        assert_eq!(VerifyKeys::from_pem(&three).expect("keys").0.len(), 3);
    }

    #[test]
    fn a_file_with_anything_else_than_keys_of_p256_is_refused() {
        let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        let off_curve = KEY.replace("Jfa8xw", "Jfa8xQ");
        for (text, said) in [
            ("", "no public key"),
            ("cosign.pub", "no public key"),
            (&KEY[..100], "has no end"),
            ("-----BEGIN ", "has no end"),
            (&KEY.replace("MFkw", "MFk!"), "its key 1 is not of ECDSA P-256"),
            (&KEY.replace("MFkw", ""), "its key 1 is not of ECDSA P-256"),
            (&off_curve, "its key 1 is not of ECDSA P-256"),
            (&format!("{KEY}{ed25519}"), "its key 2 is not of ECDSA P-256"),
            (&KEY.replace("PUBLIC", "ENCRYPTED SIGSTORE PRIVATE"), "a private key"),
            (&format!("{KEY}{}", KEY.replace("PUBLIC KEY", "CERTIFICATE")), "\"CERTIFICATE\""),
            (&KEY.repeat(17), "more than 16 keys"),
        ] {
            let error = VerifyKeys::from_pem(text).expect_err(said);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn both_alphabets_of_base64_are_read() {
        assert_eq!(from_base64("-_8="), from_base64("+/8="));
        assert_eq!(from_base64("+/8="), Some(vec![0xfb, 0xff]));
        assert_eq!(from_base64("+_8="), None);
        assert_eq!(from_base64("a b="), None);
    }
}
