//! What must hold for any bytes, whoever sends them.
//!
//! Each law is a function of bytes that panics where it doesn't hold. The fuzz targets in `fuzz/` call them with bytes
//! that reach new code; what they found worth keeping is in `fuzz/corpus/`, which an ordinary test replays.
//!
//! | law | whose bytes | what holds |
//! |---|---|---|
//! | [`event()`] | a message's sender | every body is decoded to something; what we announce is what we read |
//! | [`grant()`] | a message's sender | no object is announced that lies outside the grant it's named by |
//! | [`dir()`] | a guest | no key of a directory's store reads, lists, writes or deletes anything outside it |
//! | [`component()`] | a component's author | it's refused or it runs, within the limits |
//! | [`settings()`] | whoever writes a configuration | it's refused with one sentence, or its limits are sane |
//! | [`log()`] | a guest | what it writes is one line for each of its lines, whatever it holds |

mod component;
mod dir;
mod event;
mod grant;
mod log;
mod settings;

pub use component::{component, component_of};
pub use dir::dir;
pub use event::event;
pub use grant::grant;
pub use log::log;
pub use settings::settings;

/// A law by the name of its fuzz target.
pub type Law = (&'static str, fn(&[u8]));

/// All of them.
pub const LAWS: [Law; 6] = [
    ("component", component),
    ("dir", dir),
    ("event", event),
    ("grant", grant),
    ("log", log),
    ("settings", settings),
];

/// The bytes up to a separator, and those after it: all and none if there isn't one.
fn split(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == separator) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// Runs a future to its end; one runtime for each thread, as a fuzzer runs the same law over and over.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}
