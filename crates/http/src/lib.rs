//! The HTTP client for the requests of guests and of the worker itself, and the proxies and certificates that AWS's client takes from the same variables.
//!
//! | module | owns |
//! |---|---|
//! | `client` | sends a request over a connection of its own |
//! | `request` | the worker's own requests, and their answers |
//! | `post` | notifications as requests |
//! | `tunnel` | asks a proxy for a connection |
//! | `proxies`, `certificates` | what the environment names |
//!
//! What a guest may request is decided by the runtime, which also checks the addresses.

mod certificates;
mod client;
mod post;
mod proxies;
mod request;
mod tunnel;

pub use self::certificates::certificates;
pub use self::client::Client;
pub use self::post::PostRecipient;
pub use self::proxies::Proxies;
pub use self::request::{Response, SLOWEST_BYTES_PER_SECOND, Server, send, send_within};
