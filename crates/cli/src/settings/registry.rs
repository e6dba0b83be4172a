//! Settings of registries.

use super::read::read_text;
use super::source::Source;
use super::text::{Written, typed, written};
use crate::output::failure::Failure;
use clap::Args;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use wasmrun_registry::VerifyKeys;

/// Maximum size of a file with keys.
const MAX_KEY_BYTES: u64 = 64 << 10;

settings! {
    /// How the registry of a component is asked.
    pub(crate) struct RegistrySettings {
        /// Send requests to a component's registry without TLS [default: only if the registry is on a loopback
        /// address]
        #[arg(long = "registry-plain-http", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_REGISTRY_PLAIN_HTTP")]
        pub(crate) plain_http: Option<bool>,
        /// Run only components in a registry that cosign signed with one of these keys: a file of public keys in PEM,
        /// such as cosign.pub, or the keys themselves [default: no signature is needed]
        // A key begins with hyphens.
        #[arg(long, value_name = "FILE", allow_hyphen_values = true, env = "WASMRUN_VERIFY_KEY", value_parser = typed::<VerifyKeySetting>)]
        #[serde(deserialize_with = "written")]
        pub(crate) verify_key: Option<VerifyKeySetting>,
    }
}

/// Where the keys are.
#[derive(Clone, Debug)]
pub(crate) enum VerifyKeySetting {
    /// In a file.
    File(PathBuf),
    /// In the setting itself, such as in a container that has no file of its own.
    Text(VerifyKeys),
}

impl Written for VerifyKeySetting {
    const FORM: &'static str = "a file with public keys, or public keys in PEM";

    fn read(text: &str) -> Result<Self, String> {
        if text.contains("-----BEGIN ") {
            return VerifyKeys::from_pem(text).map(Self::Text);
        }
        match text {
            "" => Err("expected a file with public keys".into()),
            // Most likely the next flag.
            flag if flag.starts_with('-') => {
                Err(format!("expected a file with public keys; write ./{flag} for a file of this name"))
            }
            path => Ok(Self::File(path.into())),
        }
    }
}

impl VerifyKeySetting {
    /// Returns the file.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text(_) => None,
        }
    }

    /// Returns the keys, from the file if they are in one.
    pub(crate) fn keys(&self) -> Result<VerifyKeys, Failure> {
        match self {
            Self::File(path) => Ok(read_keys(path)?.1),
            Self::Text(keys) => Ok(keys.clone()),
        }
    }
}

impl RegistrySettings {
    /// Refuses a component whose signatures can't be found.
    pub(crate) fn check(&self, component: &Source) -> Result<(), Failure> {
        match component {
            Source::Artefact(_) => Ok(()),
            Source::File(_) | Source::Object(_) if self.verify_key.is_none() => Ok(()),
            Source::File(_) | Source::Object(_) => Err(Failure::usage(format!(
                "cannot use the component {component} with --verify-key: signatures are found only in a registry, so name it as oci://HOST/REPOSITORY:TAG, or leave the key out"
            ))),
        }
    }
}

/// Reads a file with keys. Returns its text as well.
pub(crate) fn read_keys(path: &Path) -> Result<(String, VerifyKeys), Failure> {
    let shown = format!("the file {} of --verify-key", path.display());
    let text = read_text(path, &shown, MAX_KEY_BYTES)?;
    let keys = VerifyKeys::from_pem(&text);
    let keys = keys.map_err(|why| Failure::usage(format!("cannot use {shown}: {why}")))?;
    Ok((text, keys))
}
