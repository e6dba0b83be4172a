//! Components in OCI registries: `oci://HOST/REPOSITORY:TAG` and `oci://HOST/REPOSITORY@sha256:…`.
//!
//! | module | owns |
//! |---|---|
//! | `reference` | parses the name of an artefact |
//! | `digest` | a digest, and the check that content has it |
//! | `manifest` | which layer of an artefact is the component |
//! | `pull`, `push` | read and write an artefact |
//! | `key`, `signed`, `signatures` | public keys, what a signature signs, and the signatures of an artefact |
//! | `session` | requests to one repository: credentials, redirects, retries |
//! | `challenge`, `token` | which credentials a registry asks for, and the tokens of its realm |
//! | `docker` | credentials in Docker's configuration and its helpers |
//! | `transport` | one request, bounded in bytes and time |
//!
//! Sources: the OCI distribution and image specifications 1.1, the Wasm OCI artefact layout of the CNCF's TAG Runtime,
//! Docker's token authentication specification, and cosign's specifications of signatures. A registry is trusted with nothing: each answer is bounded, and content
//! counts only if it has the digest that the name or the manifest states.

mod challenge;
mod digest;
pub mod docker;
mod key;
mod manifest;
mod pull;
mod push;
mod reference;
mod session;
mod signatures;
mod signed;
mod token;
mod transport;

pub use self::digest::Digest;
pub use self::key::VerifyKeys;
pub use self::pull::Pulled;
pub use self::push::Artefact;
pub use self::reference::{Reference, SCHEME, is_reference};

use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Arc;

/// A client of registries.
pub struct Registry {
    client: Arc<wasmrun_http::Client>,
    /// Whether to send requests without TLS. `None` means only to the host itself.
    plain_http: Option<bool>,
    /// Keys of which one must have signed an artefact that is pulled.
    keys: Option<VerifyKeys>,
    credentials: FindCredential,
}

/// Finds the credential for the host of a registry. It is called only if the registry asks for one. The error is a
/// sentence without a full stop.
pub type FindCredential =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Option<Credential>, String>> + Send + Sync>;

impl Registry {
    /// Creates a client. `plain_http` says whether requests are sent without TLS; `None` means only to a loopback address.
    /// With `keys`, only artefacts that one of them signed are pulled.
    pub fn new(
        client: Arc<wasmrun_http::Client>,
        plain_http: Option<bool>,
        keys: Option<VerifyKeys>,
        credentials: FindCredential,
    ) -> Self {
        Self { client, plain_http, keys, credentials }
    }
}

/// A credential for a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password, or a token in the password's place.
    Password {
        /// Name of the user.
        user: String,
        /// Password of the user.
        password: String,
    },
    /// A token that the realm exchanges for tokens of a repository.
    Identity(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// Why an artefact can't be pulled or pushed. The texts are sentences without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The name is wrong, or the artefact is missing or isn't a component. Another try doesn't help.
    #[error("{0}")]
    Unfit(String),
    /// The registry can't be used, or doesn't answer as it should.
    #[error("{0}")]
    Unavailable(String),
}

impl RegistryError {
    fn unfit(why: impl Into<String>) -> Self {
        Self::Unfit(why.into())
    }

    fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable(why.into())
    }
}
