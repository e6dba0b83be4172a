//! The SDK that a Rust guest of wasmrun depends on
