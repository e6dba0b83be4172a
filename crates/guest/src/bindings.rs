//! The bindings of the world `task`, generated from the WIT package. The rest of the crate is built on them. A guest
//! needs them only for features that the SDK leaves out.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "generated code: its documentation is the WIT's, and calling the host is unsafe by nature"
)]

wit_bindgen::generate!({
    path: "wit",
    world: "task",
    additional_derives: [PartialEq, Eq],
    // The macro behind `handler!`. It exports the handler and puts the world's type into the guest's own crate.
    pub_export_macro: true,
});
