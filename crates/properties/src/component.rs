//! Bytes as a component's file.

use crate::block_on;
use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use wasmrun_runtime::engine::Allocator;
use wasmrun_runtime::engine::compile::Compiler;
use wasmrun_runtime::engine::threads::GuestThreads;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::Message;
use wasmrun_runtime::task::component::{Component, LoadOptions, inspect};

/// Valid components that the bytes change, since arbitrary bytes hardly ever form a component.
static SEEDS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    [include_str!("seeds/task.wat"), include_str!("seeds/parts.wat")]
        .map(|text| wat::parse_str(text).expect("a component"))
});

/// Loads the bytes as a file if they begin like one, or else as changes to a valid file.
pub fn component(bytes: &[u8]) {
    is_refused_or_runs(&component_of(bytes));
}

/// Returns the file that the bytes stand for.
pub fn component_of(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [] | [0, b'a', b's', b'm', ..] => bytes.to_vec(),
        [seed, changes @ ..] => changed(usize::from(*seed), changes),
    }
}

/// Applies changes to a seed. Each change has four bytes: the place (two bytes), the kind and a value.
fn changed(seed: usize, changes: &[u8]) -> Vec<u8> {
    let mut bytes = SEEDS[seed % SEEDS.len()].clone();
    for change in changes.chunks_exact(4) {
        let &[high, low, what, value] = change else { continue };
        let place = usize::from(u16::from_be_bytes([high, low])) % bytes.len();
        match what % 4 {
            0 => bytes[place] = value,
            1 => bytes.insert(place, value),
            2 if bytes.len() > 1 => drop(bytes.remove(place)),
            _ => {
                let end = bytes.len().min(place + usize::from(value));
                let again = bytes[place..end].to_vec();
                bytes.splice(place..place, again);
            }
        }
    }
    bytes
}

fn is_refused_or_runs(bytes: &[u8]) {
    let compiler = Compiler::in_process();
    block_on(async {
        let interfaces = match inspect(bytes, &compiler, &Limits::default()).await {
            Ok(interfaces) => interfaces,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        if interfaces.fits.is_err() {
            return;
        }
        let threads = Arc::new(GuestThreads::start(NonZeroUsize::MIN).expect("a thread"));
        let options = LoadOptions {
            limits: Limits {
                fuel: 10_000_000,
                memory_bytes: 16 << 20,
                timeout: Duration::from_secs(10),
                ..Limits::default()
            },
            allocator: Allocator::OnDemand,
            deterministic: bytes.len() % 2 == 1,
            ..LoadOptions::new("component", threads)
        };
        let loaded = match Component::load(bytes, &compiler, options).await {
            Ok(loaded) => Arc::new(loaded),
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        let message = Message::new("m", "hello");
        let task = loaded.clone();
        let report = loaded
            .threads()
            .handle()
            .spawn(async move { task.run(Arc::new(message), None, pending()).await });
        let report = report.await.expect("a task never panics");
        assert!(report.usage.fuel <= 10_000_000 && report.usage.peak_memory_bytes <= 16 << 20, "{report:?}");
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmrun_runtime::task::world::World;

    /// Checks the seeds: a fuzzer should not change files that are refused anyway.
    #[test]
    fn the_first_seed_is_a_task_and_the_second_a_component() {
        let look = |seed: usize| {
            block_on(inspect(&SEEDS[seed], &Compiler::in_process(), &Limits::default())).expect("a component")
        };
        assert_eq!(look(0).fits, Ok(World::Task));
        assert!(look(1).fits.is_err_and(|misfit| misfit.contains("handler")));
        assert_eq!(changed(0, &[]), SEEDS[0]);
        assert_ne!(changed(0, &[0, 99, 3, 9]), SEEDS[0]);
    }
}
