//! Components that were built for other runtimes, with the crates that their own examples use.

use crate::harness::{Wire, World, guest};
use serde_json::{Value, json};

/// Each guest, and what it greets with.
const PEERS: [(&str, &str); 3] = [
    ("peer_spin", "Hello from Spin\n"),
    ("peer_wasmcloud", "Hello from wasmCloud\n"),
    ("peer_wasmtime", "Hello from WASI\n"),
];

#[test]
fn components_for_other_runtimes_answer_unchanged() {
    // More than a part, and no multiple of one.
    let body: Vec<u8> = (0..200_001_u32).map(|index| (index % 251) as u8).collect();
    for (peer, greeting) in PEERS {
        let world = World::new();
        let process = world.wasmrun(["serve", "--listen", "0"]).arg(guest(peer)).start();
        let mut client = Wire::to(process.serves_at());
        let response = client.get("/");
        assert_eq!((response.status(), &*response.text()), (200, greeting), "{peer}: {response:?}");
        let sized = client.post("/echo", &[], &body);
        assert_eq!((sized.status(), sized.is_whole), (200, true), "{peer}");
        assert!(sized.body == body, "{peer} changed the body");
        client.send_head("POST", "/echo", &[("transfer-encoding", "chunked")]);
        ["first ", "second", ""].into_iter().for_each(|part| client.send_chunk(part));
        assert_eq!(client.response().text(), "first second", "{peer}");
        assert_eq!(client.get("/elsewhere").status(), 404, "{peer}");
        let summary = process.stop().summary();
        assert_eq!(summary["outcomes"], json!({"completed": 4}), "{peer}");
    }
}

#[test]
fn inspect_names_their_world_and_they_import_nothing_but_wasi() {
    let world = World::new();
    for (peer, _) in PEERS {
        let json = world.wasmrun(["inspect", "--json"]).arg(guest(peer)).succeeds().json();
        assert_eq!(
            (&json["world"], &json["misfit"]),
            (&json!("wasi:http/proxy@0.2"), &json!(null)),
            "{peer}"
        );
        let imports = json["imports"].as_array().expect("imports");
        let is_of_wasi = |import: &Value| import.as_str().is_some_and(|name| name.starts_with("wasi:"));
        assert!(imports.iter().all(is_of_wasi), "{peer}: {imports:?}");
        let needs = json["needs"].as_object().expect("grants");
        assert!(needs.values().all(|needed| needed == false), "{peer}: {needs:?}");
    }
}

#[test]
fn a_handler_of_wasi_0_3_is_told_which_version_to_build_for() {
    let world = World::new();
    let text = r#"(component (instance $handler) (export "wasi:http/handler@0.3.0" (instance $handler)))"#;
    world.write("newer.wasm", wat::parse_str(text).expect("a component"));
    for command in [
        world.wasmrun(["serve", "newer.wasm", "--listen", "0"]),
        world.wasmrun(["invoke", "newer.wasm", "--http", "GET /"]),
        world.wasmrun(["inspect", "newer.wasm"]),
    ] {
        let says = "exports wasi:http/handler@0.3.0, with async functions: build it for WASI 0.2";
        command.args(["--cache", "off"]).fails_with(2, says);
    }
}
