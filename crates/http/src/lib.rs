//! The HTTP client for guests' requests, and the proxies and certificates that AWS's client takes from the same variables.
//!
//! | module | owns |
//! |---|---|
//! | `client` | sends a request over a connection of its own |
//! | `tunnel` | asks a proxy for a connection |
//! | `proxies`, `certificates` | what the environment names |
//!
//! What a guest may request is decided by the runtime, which also checks the addresses.

mod certificates;
mod client;
mod proxies;
mod tunnel;

pub use self::certificates::certificates;
pub use self::client::Client;
pub use self::proxies::Proxies;
