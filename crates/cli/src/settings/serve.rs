//! Settings of a service.

use super::text::{typed, written};
use super::watch::Listen;
use crate::output::failure::Failure;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

/// Port of a service, unless it's set.
const PORT: u16 = 8080;
/// Time for which a request waits for an instance, unless it's set.
const QUEUE_TIME: Duration = Duration::from_secs(5);
/// Maximum number of connections, unless it's set: an idle one takes some ten kilobytes and a file descriptor.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
/// Number of requests that may wait for an instance, unless it's set. A request that waits holds at most 128 KiB.
const QUEUE_LENGTH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(999);

settings! {
    /// How requests are served: a field for each key of the table `serve`.
    pub(crate) struct ServeSettings {
        /// Serve requests at this address; a port alone means 127.0.0.1 [default: 8080]
        #[arg(long, value_name = "[ADDRESS:]PORT", env = "WASMRUN_LISTEN", value_parser = typed::<Listen>)]
        #[serde(deserialize_with = "written")]
        listen: Option<Listen>,
        /// How long a request may wait for an instance before it's answered with 503 [default: 5s]
        #[arg(long, value_name = "DURATION", env = "WASMRUN_QUEUE_TIME", value_parser = typed::<Duration>)]
        #[serde(deserialize_with = "written")]
        queue_time: Option<Duration>,
        /// Number of requests that may wait for an instance; more are answered with 503 [default: 1000]
        #[arg(long, value_name = "N", env = "WASMRUN_QUEUE_LENGTH", value_parser = typed::<NonZeroUsize>)]
        #[serde(deserialize_with = "written")]
        queue_length: Option<NonZeroUsize>,
        /// Maximum number of connections; a further one closes the one that was idle for longest [default: 10000, or half of the
        /// file descriptors]
        #[arg(long, value_name = "N", env = "WASMRUN_CONNECTIONS", value_parser = typed::<NonZeroUsize>)]
        #[serde(deserialize_with = "written")]
        connections: Option<NonZeroUsize>,
    }
}

/// A service, with all that is set of it.
#[derive(Clone, Debug)]
pub(crate) struct ServePlan {
    pub(crate) listen: SocketAddr,
    pub(crate) queue_time: Duration,
    pub(crate) queue_length: NonZeroUsize,
    /// `None`: as many as the defaults allow.
    pub(crate) connections: Option<NonZeroUsize>,
}

impl ServeSettings {
    /// Returns the settings of variables alone, for a command that has no flags for them.
    ///
    /// # Errors
    ///
    /// A variable's value isn't valid.
    pub(crate) fn of_variables() -> Result<(Self, ArgMatches), Failure> {
        let wrong = |error: clap::Error| Failure::usage(error.to_string());
        let matches =
            Self::augment_args(Command::new("serve")).try_get_matches_from(["serve"]).map_err(wrong)?;
        Ok((Self::from_arg_matches(&matches).map_err(wrong)?, matches))
    }

    /// Returns the service, with the defaults of what isn't set.
    pub(crate) fn plan(self) -> ServePlan {
        ServePlan {
            listen: self.listen.map_or((Ipv4Addr::LOCALHOST, PORT).into(), |Listen(address)| address),
            queue_time: self.queue_time.unwrap_or(QUEUE_TIME),
            queue_length: self.queue_length.unwrap_or(QUEUE_LENGTH),
            connections: self.connections,
        }
    }
}

impl ServePlan {
    /// Returns the maximum number of connections for a process with this number of file descriptors.
    pub(crate) fn connections(&self, files: Option<u64>) -> usize {
        let half = files.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX));
        self.connections.map_or(CONNECTIONS.get().min(half), NonZeroUsize::get).max(1)
    }
}
