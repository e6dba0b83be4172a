//! Properties that must hold for any bytes, from any sender.
//!
//! Each property is a function of bytes that panics where the property doesn't hold. The fuzz targets in `fuzz/` call
//! these functions with bytes that reach new code. `fuzz/corpus/` keeps the most useful bytes, which an ordinary test
//! replays.
//!
//! | property | source of the bytes | what must hold |
//! |---|---|---|
//! | [`event()`] | a message's sender | every body is decoded to something; wasmrun reads back the events that it writes |
//! | [`grant()`] | a message's sender | no object is announced that lies outside the grant it's named by |
//! | [`dir()`] | a guest | no key of a directory's store reads, lists, writes or deletes anything outside it |
//! | [`component()`] | a component's author | the component is refused, or runs within the limits |
//! | [`settings()`] | the author of a configuration | it is refused with one sentence, or its limits are sane |
//! | [`log()`] | a guest | each line of its output becomes a log line (a long one several), whatever it contains |

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

/// A property, with the name of its fuzz target.
pub type Property = (&'static str, fn(&[u8]));

/// All properties.
pub const PROPERTIES: [Property; 6] = [
    ("component", component),
    ("dir", dir),
    ("event", event),
    ("grant", grant),
    ("log", log),
    ("settings", settings),
];

/// Returns the bytes before the first separator and those after it. Without a separator, all bytes come before it.
fn split(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|&byte| byte == separator) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// Runs a future to its end. Each thread has one runtime, as a fuzzer runs the same property over and over.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}
