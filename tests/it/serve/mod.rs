//! Services: `wasmrun serve`, as its clients and its operators see it. The guest `web` (tests/guests) does what the path of
//! a request says.
//!
//! | module | shows |
//! |---|---|
//! | `requests` | requests and responses of HTTP/1.1: framing, streams, what a handler sees |
//! | `http2` | the same with HTTP/2 |
//! | `outcomes` | what a client sees of a handler that fails |
//! | `waiting` | more requests than instances, handlers that compute, clients that leave |
//! | `hostile` | clients that flood, dawdle, break off or speak no HTTP |
//! | `stopping` | signals, and a restart under load |
//! | `settings` | what is refused at the start |
//! | `watching` | usage, metrics, status and traces |
//! | `uploading` | the example `upload` with the example `thumbnail` |
//! | `peers` | components that were built for other runtimes |

mod hostile;
mod http2;
mod outcomes;
mod peers;
mod requests;
mod settings;
mod stopping;
mod uploading;
mod waiting;
mod watching;

use crate::harness::{Command, Output, Process, Wire, World, guest};
use serde_json::Value;
use std::net::SocketAddr;

/// The lines that tests read: how tasks ended, and what happened to connections.
const LOG: &str = "info,wasmrun_runtime=debug,wasmrun_serve=debug";
const USAGE: &str = "usage.jsonl";
/// The log line of a task whose client didn't wait for it.
const GONE: &str = "\"message\":\"the client has gone\"";
/// Enough fuel and time that a handler runs for as long as its client waits.
const UNLIMITED: [&str; 4] = ["--fuel", "1000000000000000", "--timeout", "10m"];

/// A service of the guest `web`, in a world of its own.
struct Service {
    world: World,
    process: Process,
    address: SocketAddr,
}

/// A service on any free port, with all grants that the guest needs.
fn serve(world: &World) -> Command {
    let command = world.wasmrun(["serve", "--listen", "0", "--usage", USAGE]).env("WASMRUN_LOG", LOG);
    command.arg(guest("web")).args(World::grants())
}

impl Service {
    #[track_caller]
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(World::new(), arguments)
    }

    #[track_caller]
    fn start_in(world: World, arguments: &[&str]) -> Self {
        let process = serve(&world).args(arguments).start();
        let address = process.serves_at();
        Self { world, process, address }
    }

    #[track_caller]
    fn connect(&self) -> Wire {
        Wire::to(self.address)
    }

    /// Sends a request for this path on a connection of its own.
    #[track_caller]
    fn ask(&self, path: &str) -> Wire {
        let mut client = self.connect();
        client.send_head("GET", path, &[]);
        client
    }

    /// Asserts that a request is answered as if nothing had happened.
    #[track_caller]
    fn is_well(&self) {
        let response = self.connect().get("/hello");
        assert_eq!((response.status(), &*response.text()), (200, "hello\n"), "{response:?}");
        assert!(response.is_whole);
    }

    /// Lets the handlers go on that wait for this object.
    fn go(&self, key: &str) {
        self.world.write(&format!("in/{key}"), "go");
    }

    /// Stops the service. Returns its output, and the usage of its tasks in the order of their ends.
    #[track_caller]
    fn stop(self) -> (Output, Vec<Value>) {
        let output = self.process.stop();
        (output, self.world.usage())
    }
}
