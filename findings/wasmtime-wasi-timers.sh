#!/usr/bin/env bash
# wasmtime-wasi 48.0.8: a clock that the host sets (WasiCtxBuilder::monotonic_clock) tells guests the time, and doesn't drive
# their timers. monotonic-clock.subscribe-duration always sleeps in tokio's real time.
#
# So a guest whose clock is virtual, for replays or tests, still waits in real time, and its timers fire at another virtual time
# in each run: a guest that polls a timer counts a different number of turns each time.
#
# Seen: the clock went two hours on: a timer of one hour is ready: false
#       the clock stood still for 100 ms: a timer of 50 ms is ready: true
#
# Needs cargo. The host functions are called as a guest's import calls them; no component is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cargo init --quiet --name finding --vcs none
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
tokio = { version = "1", features = ["macros", "rt", "time"] }
wasmtime = { version = "=48.0.8", default-features = false, features = ["async", "component-model", "runtime", "std"] }
wasmtime-wasi = { version = "=48.0.8", default-features = false, features = ["p2"] }
TOML
cat > src/main.rs <<'RUST'
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::clocks::WasiClocksView;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::Host as _;
use wasmtime_wasi::p2::bindings::io::poll::HostPollable as _;
use wasmtime_wasi::{HostMonotonicClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Nanoseconds that only the host moves.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

const HOUR: u64 = 3_600_000_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let clock = Clock::default();
    let wasi = WasiCtxBuilder::new().monotonic_clock(clock.clone()).build();
    let mut state = State { wasi, table: ResourceTable::new() };

    let timer = state.clocks().subscribe_duration(HOUR).expect("a timer");
    clock.0.fetch_add(2 * HOUR, Ordering::Relaxed);
    let ready = state.table.ready(timer).await.expect("an answer");
    println!("the clock went two hours on: a timer of one hour is ready: {ready}");

    let timer = state.clocks().subscribe_duration(50_000_000).expect("a timer");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ready = state.table.ready(timer).await.expect("an answer");
    println!("the clock stood still for 100 ms: a timer of 50 ms is ready: {ready}");
}
RUST
cargo run --quiet > seen

cat seen
diff - seen <<'EXPECTED'
the clock went two hours on: a timer of one hour is ready: false
the clock stood still for 100 ms: a timer of 50 ms is ready: true
EXPECTED
