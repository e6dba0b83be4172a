//! All behaviour of wasmrun: the engine, isolation, host interfaces and the worker. Depends on no AWS library and no
//! command line.
//!
//! The crate has five rooms, here from the top down. Each uses only the rooms below it; a test checks that.
//!
//! | room | owns |
//! |---|---|
//! | [`worker`] | many tasks: receive, process, settle; permits, leases, the circuit breaker, the scaler |
//! | [`task`] | one task: its component, its store, what a guest may call and touch. **Isolation is audited here** |
//! | [`engine`] | the engine's configuration, compiling, the cache of compiled code, threads, capacity |
//! | [`ports`] | what a backend implements: queues and object stores; doubles for tests and benchmarks |
//! | [`model`] | messages, events, outcomes, limits, usage: plain data, without the engine and without tokio |
//!
//! # Embedding
//!
//! A program that runs a worker inside itself builds [`Grants`](task::grant::Grants), loads a
//! [`Component`](task::component::Component) with a [`Compiler`](engine::compile::Compiler), and gives it to a
//! [`Worker`](worker::Worker) with a [`Queue`](ports::queue::Queue). `examples/embed.rs` does so in a hundred lines;
//! the guide "Embed the worker in your program" explains it.

pub mod engine;
pub mod model;
pub mod ports;
pub mod task;
pub mod worker;

#[doc(hidden)]
pub use task::log::write_as_guest;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// The rooms, from the bottom up.
    const ROOMS: [&str; 5] = ["model", "ports", "engine", "task", "worker"];

    /// Collects the lines of a room's code, without comments, that contain one of `words`.
    fn lines_with(folder: &Path, words: &[String], found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                lines_with(&path, words, found);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let lines = code.filter(|line| words.iter().any(|word| line.contains(word)));
            found.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }

    fn lines_of(room: &str, words: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        lines_with(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), words, &mut found);
        found
    }

    #[test]
    fn no_room_knows_one_above_it() {
        for (floor, room) in ROOMS.iter().enumerate() {
            let above: Vec<_> = ROOMS[floor + 1..].iter().map(|above| format!("crate::{above}::")).collect();
            assert_eq!(lines_of(room, &above), Vec::<String>::new());
        }
        assert!(!lines_of("worker", &["crate::task::".into()]).is_empty(), "it looks at the files");
    }

    #[test]
    fn the_model_is_plain_data() {
        assert_eq!(lines_of("model", &["wasmtime".into(), "tokio".into()]), Vec::<String>::new());
    }
}
