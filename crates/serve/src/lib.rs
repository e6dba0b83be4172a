//! Serves a component over HTTP: each request is the task of a worker.
//!
//! The worker is the same as for a queue of messages. [`RequestQueue`] is its queue: it holds the requests that wait for
//! an instance, in memory. [`Server`] puts them there and sends the responses.
//!
//! | module | owns |
//! |---|---|
//! | [`requests`] | the requests that wait, and how their tasks end |
//! | [`server`] | the address, its connections, and their end |
//! | `connection` | one connection: HTTP/1.1 or HTTP/2, and how long it may be idle |
//! | `answer` | one request: its checks, its wait and its response |
//! | `body` | the bodies of a request and of its response |
//!
//! Everything that a client can make the server hold is bounded: connections, requests that wait, heads, and the parts
//! of bodies that wait for the guest or for the client.

mod answer;
mod body;
mod connection;
pub mod requests;
pub mod server;

pub use self::requests::RequestQueue;
pub use self::server::{OnError, ServeOptions, Server};
