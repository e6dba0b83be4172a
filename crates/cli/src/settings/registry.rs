//! Settings of registries.

use clap::Args;
use serde::Deserialize;

settings! {
    /// How the registry of a component is asked.
    pub(crate) struct RegistrySettings {
        /// Send requests to a component's registry without TLS [default: only if the registry is on a loopback
        /// address]
        #[arg(long = "registry-plain-http", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", env = "WASMRUN_REGISTRY_PLAIN_HTTP")]
        pub(crate) plain_http: Option<bool>,
    }
}
