//! Reads bundles of certificates, and the roots that requests of guests and to registries trust.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Largest certificate bundle, in bytes: ten times the size of the usual system bundles.
const MAX_BUNDLE: u64 = 4 << 20;
const CERTIFICATE: [&str; 2] = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"];

/// Loads the trusted root certificates: those of the system, which the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` may
/// replace.
pub(crate) fn roots(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<RootCertStore, String> {
    if let Some(path) = variable("SSL_CERT_FILE").filter(|path| !path.as_os_str().is_empty()) {
        // A file without a certificate is an error here, and not with the first request.
        certificates("SSL_CERT_FILE", &path)?;
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, unusable) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        tracing::warn!(
            unusable,
            "no trusted root certificate: HTTPS requests will fail; install the package ca-certificates"
        );
    }
    Ok(roots)
}

/// Reads the certificates of a bundle as PEM blocks, and leaves out those that can't be parsed. `variable` names the
/// bundle.
///
/// # Errors
///
/// The bundle can't be read, or holds no certificate.
pub fn certificates(variable: &str, path: &Path) -> Result<Vec<String>, String> {
    let bundle = || format!("the certificate bundle {} ({variable})", path.display());
    let mut text = Vec::new();
    // Opening a pipe would block until a process writes to it.
    let is_file = std::fs::metadata(path).map(|metadata| metadata.is_file());
    let unreadable = |error| format!("{} cannot be read: {error}", bundle());
    if !is_file.map_err(unreadable)? {
        return Err(format!("{} is not a file", bundle()));
    }
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BUNDLE + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_BUNDLE {
        return Err(format!("{} is larger than {} MiB", bundle(), MAX_BUNDLE >> 20));
    }
    let text = String::from_utf8_lossy(&text);
    let [begin, end] = CERTIFICATE;
    let blocks = text.split(begin).skip(1).filter_map(|block| block.split_once(end));
    let blocks: Vec<_> = blocks.map(|(content, _)| format!("{begin}{content}{end}\n")).collect();
    let all = blocks.len();
    let usable: Vec<_> = blocks.into_iter().filter(|block| is_certificate(block)).collect();
    if usable.is_empty() {
        return Err(format!("{} holds no certificate in PEM form", bundle()));
    }
    if usable.len() < all {
        tracing::warn!(
            bundle = %path.display(),
            certificates = all - usable.len(),
            "ignored unreadable certificates of the bundle"
        );
    }
    Ok(usable)
}

fn is_certificate(text: &str) -> bool {
    let certificate = CertificateDer::from_pem_slice(text.as_bytes()).ok();
    certificate.is_some_and(|certificate| RootCertStore::empty().add(certificate).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        let refused = |path: &str| certificates("AWS_CA_BUNDLE", Path::new(path)).expect_err("refused");
        assert!(refused("/no/such/file").contains("cannot be read"));
        assert!(refused("/dev/zero").contains("is not a file"));
        assert!(refused("/").contains("is not a file"));
        assert!(refused("Cargo.toml").contains("holds no certificate"));
        let broken = format!("{}\nAAAA\n{}", CERTIFICATE[0], CERTIFICATE[1]);
        assert!(!is_certificate(&broken));
    }
}
