//! Components with async functions (WASI 0.3): each is refused before any message is received, and nothing of it runs.
//!
//! The cases are named after Wasmtime's advisories of 2026 on async functions and WASI 0.3. Each has the way in that the
//! advisory's title names. What such a guest can still do to the engine is in the runtime's `task::async_tests`.

use super::components::refused;

/// A component with a handler whose function is async. `body` is the module's function `run`, and `callback` its
/// callback; both may call what `functions` define, by their names.
fn component(functions: &[(&str, &str, &str)], start: &str, body: &str, callback: &str) -> Vec<u8> {
    let each = |text: fn(&(&str, &str, &str)) -> String| functions.iter().map(text).collect::<String>();
    let definitions = each(|(name, canon, _)| format!("(core func ${name} (canon {canon}))"));
    let imports = each(|(name, _, ty)| format!(r#"(import "host" "{name}" (func ${name} {ty}))"#));
    let exports = each(|(name, _, _)| format!(r#"(export "{name}" (func ${name}))"#));
    let text = format!(
        r#"(component
            (type $bytes (stream u8))
            (core module $memory (memory (export "memory") 1))
            (core instance $memory (instantiate $memory))
            (alias core export $memory "memory" (core memory $memory))
            {definitions}
            (core module $guest
                {imports}
                {start}
                (func (export "run") (result i32) (local $ends i64) {body})
                (func (export "callback") (param i32 i32 i32) {callback}))
            (core instance $guest (instantiate $guest (with "host" (instance {exports}))))
            (func $handle async
                (canon lift (core func $guest "run") async (callback (core func $guest "callback"))))
            (instance $handler (export "handle" (func $handle)))
            (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#
    );
    wat::parse_str(text).expect("a component")
}

const NEW: (&str, &str, &str) = ("new", "stream.new $bytes", "(result i64)");
const WRITE: (&str, &str, &str) =
    ("write", "stream.write $bytes async (memory $memory)", "(param i32 i32 i32) (result i32)");
const CANCEL_READ: (&str, &str, &str) =
    ("cancel-read", "stream.cancel-read $bytes", "(param i32) (result i32)");
const SET: (&str, &str, &str) = ("set", "waitable-set.new", "(result i32)");
const YIELD: (&str, &str, &str) = ("yield", "thread.yield", "(result i32)");
/// Never called: the component is refused before.
const CALLBACK: &str = "(result i32) unreachable";
const WRITABLE: &str = "(i32.wrap_i64 (i64.shr_u (local.get $ends) (i64.const 32)))";
/// Exit code of a callback function.
const EXIT: &str = "(i32.const 0)";

#[test]
fn components_with_async_functions_are_refused_whatever_they_would_do() {
    // Waits for ever on an empty set: bit 1 says to wait, the rest is the set.
    let wait = "(i32.or (i32.const 2) (i32.shl (call $set) (i32.const 4)))";
    let write = |end: &str, address: &str, count: &str| {
        format!("(local.set $ends (call $new)) (drop (call $write {end} {address} {count}))")
    };
    let cases = [
        // GHSA-32h6-97mm-8q3c: "async-lifted callback result count is unvalidated, causing a native stack buffer
        // overflow".
        component(&[], "", EXIT, &format!("(result {}) unreachable", "i64 ".repeat(1_000))),
        // GHSA-93g3-36p8-x2gc: "Out-of-bounds zero-length stream writes can panic".
        component(&[NEW, WRITE], "", &(write(WRITABLE, "(i32.const -1)", "(i32.const 0)") + EXIT), CALLBACK),
        // GHSA-xrvr-8678-5wp8: "Panic when a component cancels a stream or future copy on the wrong end".
        component(
            &[NEW, WRITE, CANCEL_READ],
            "",
            &(write(WRITABLE, "(i32.const 0)", "(i32.const 4)")
                + &format!("(drop (call $cancel-read {WRITABLE})) {EXIT}")),
            CALLBACK,
        ),
        // GHSA-5hhx-4wrr-3j9g: "Yielding in a component start function can lead to a host panic".
        component(&[YIELD], "(func $start (drop (call $yield))) (start $start)", EXIT, CALLBACK),
        // GHSA-3r89-v5mq-j5xf: "Host panic when component call_async is cancelled under some conditions".
        component(&[SET], "", wait, CALLBACK),
        // GHSA-m6w2-jwq2-cv2c: "Panic when invoking an async-lifted function via call".
        component(&[], "", EXIT, CALLBACK),
        // GHSA-hmwq-g22x-qjw5: "Panic when pending calls are run after a trap".
        component(&[SET], "", "(drop (call $set)) unreachable", CALLBACK),
    ];
    for case in cases {
        refused(&case, &[], "uses async functions (WASI 0.3)");
    }
}

#[test]
fn components_that_import_interfaces_of_wasi_0_3_are_refused_by_the_interface() {
    let cases = [
        // GHSA-x84v-gj2h-g759: "Guest controlled-size host heap allocation through WASIp3 streams".
        ("wasi:cli/stdout@0.3.0", r#"(export "write-via-stream" (func (param "data" (stream u8))))"#),
        // GHSA-mr2v-56j5-cmfc: "Guest can panic host through filesystem timestamp before the epoch on wasip3".
        ("wasi:filesystem/types@0.3.0", r#"(export "set-times" (func async))"#),
        // GHSA-jxcf-8qw5-5c33: "wasi-http p3: forwarded trailers aren't checked against is_forbidden_header hook".
        ("wasi:http/client@0.3.0", r#"(export "send" (func async))"#),
    ];
    for (interface, exports) in cases {
        let text = format!(
            r#"(component (import "{interface}" (instance {exports}))
                (instance $handler)
                (export "wasmrun:task/handler@0.1.0" (instance $handler)))"#
        );
        refused(&wat::parse_str(text).expect("a component"), &[], interface);
    }
}
