#!/usr/bin/env bash
# wasmtime-wasi-http 48.0.8: the body of a guest's response ends well when the guest is gone, however little it has written.
#
# A handler that traps after half of its response leaves a `HostOutgoingBody` behind that nobody has finished or aborted. It is
# dropped with the guest's store, and the other half, which the HTTP server sends, then ends like a whole body: a client that gets
# it in chunks can't tell. Only the host function that drops a body explicitly makes it an error.
#
# An embedder has to note by itself whether the guest has failed. wasmrun's task passes on the response, part by part, and an
# end that isn't the guest's cuts the connection off (crates/runtime/src/task/service.rs).
#
# Seen: finished: "half of it", then its end
#       aborted: "half of it", then an error
#       dropped: "half of it", then its end
#
# Needs cargo and a C compiler; compiles Wasmtime's runtime for some minutes.
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
bytes = "1"
http-body-util = "0.1"
tokio = { version = "1", features = ["macros", "rt"] }
wasmtime-wasi = { version = "=48.0.8", default-features = false, features = ["p2"] }
wasmtime-wasi-http = { version = "=48.0.8", default-features = false, features = ["p2"] }
TOML
cat > src/main.rs <<'RUST'
use bytes::Bytes;
use http_body_util::BodyExt;
use wasmtime_wasi::p2::OutputStream;
use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let ends: [(&str, fn(HostOutgoingBody)); 3] = [
        ("finished", |body| body.finish(None).unwrap()),
        ("aborted", HostOutgoingBody::abort),
        ("dropped", drop),
    ];
    for (name, end) in ends {
        let (mut guests, mut servers) = HostOutgoingBody::new(StreamContext::Response, None, 1, 1024);
        let mut stream = guests.take_output_stream().unwrap();
        stream.write(Bytes::from_static(b"half of it")).unwrap();
        drop(stream);
        end(guests);
        let part = servers.frame().await.unwrap().unwrap().into_data().unwrap();
        let then = match servers.frame().await {
            None => "its end",
            Some(Ok(_)) => "more",
            Some(Err(_)) => "an error",
        };
        println!("{name}: {:?}, then {then}", String::from_utf8_lossy(&part));
    }
}
RUST
cargo run --quiet > seen
cat seen
diff - seen <<'EXPECTED'
finished: "half of it", then its end
aborted: "half of it", then an error
dropped: "half of it", then its end
EXPECTED
