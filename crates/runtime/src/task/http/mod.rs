//! The grant of HTTP: which requests a task may send, and which addresses they may reach.
//! `task::host::http` checks each request against it.
//!
//! | module | owns |
//! |---|---|
//! | `rule` | one rule: scheme, host, port and path |
//! | `path` | compares paths, whatever their encoding |
//! | `address` | which addresses are refused |

mod address;
mod path;
mod rule;

pub use self::address::{AddressRule, is_public};
pub use self::rule::HttpRule;
pub(crate) use self::rule::Target;

use crate::ports::http::HttpClient;
use std::net::IpAddr;
use std::sync::Arc;

/// What the tasks of a component may request over HTTP.
#[derive(Clone)]
pub struct HttpGrant {
    /// A request must match one of these.
    pub rules: Vec<HttpRule>,
    /// Addresses that may be reached though they aren't public.
    pub addresses: Vec<AddressRule>,
    /// Sends the requests.
    pub client: Arc<dyn HttpClient>,
}

impl HttpGrant {
    /// Returns whether a request to this target is granted.
    pub(crate) fn allows(&self, target: &Target) -> bool {
        self.rules.iter().any(|rule| rule.matches(target))
    }

    /// Returns whether a connection to an address is allowed. An address that a rule names as its host was named by the
    /// operator, so a request to that host may reach it.
    pub(crate) fn may_reach(&self, target: &Target, address: IpAddr) -> bool {
        is_public(address)
            || target.address().is_some_and(|named| named == address)
            || self.addresses.iter().any(|rule| rule.allows(address))
    }
}
