#!/usr/bin/env bash
# hyper 1.12.0 (Rust) leaves the body out of its response to HEAD over HTTP/1.1, and sends it over HTTP/2, from one and the same
# service. hyper's own client then gets no response to read: it ends the stream with PROTOCOL_ERROR.
#
# RFC 9110, 9.3.2: a server must not send content in a response to HEAD. A service that answers HEAD as GET, and trusts the server
# as its tests with HTTP/1.1 taught it, breaks where a load balancer speaks HTTP/2 to it. Errors are hit first, as they are answered
# by a layer that doesn't look at the method.
#
# wasmrun's services answer through hyper: they give responses to HEAD no body, a guest's and their own, and keep the length.
#
# Seen: HTTP/1.1: GET 5 bytes; HEAD 0 bytes, content-length 5
#       HTTP/2: GET 5 bytes; HEAD stream error detected: unspecific protocol error detected
#
# Needs cargo.
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
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["client", "http1", "http2", "server"] }
hyper-util = { version = "0.1", features = ["tokio"] }
tokio = { version = "1", features = ["io-util", "macros", "rt"] }
TOML
cat > src/main.rs <<'RUST'
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::error::Error;

/// Answers any method in the same way.
async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

fn request(method: &str) -> Request<Empty<Bytes>> {
    Request::builder().method(method).uri("http://service.test/").header("host", "service.test").body(Empty::new()).unwrap()
}

async fn told(response: hyper::Result<Response<Incoming>>) -> String {
    let read = async {
        let (head, body) = response?.into_parts();
        let length = head.headers["content-length"].to_str().unwrap().to_owned();
        Ok::<_, hyper::Error>(format!("{} bytes, content-length {length}", body.collect().await?.to_bytes().len()))
    };
    read.await.unwrap_or_else(|error| {
        let mut cause: &dyn Error = &error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        cause.to_string()
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service_fn(answer)));
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    for method in ["GET", "HEAD"] {
        println!("HTTP/1.1 {method} {}", told(sender.send_request(request(method)).await).await);
    }
    let (near, far) = tokio::io::duplex(1 << 16);
    let served = server::conn::http2::Builder::new(TokioExecutor::new());
    tokio::spawn(served.serve_connection(TokioIo::new(far), service_fn(answer)));
    let (mut sender, connection) = client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    for method in ["GET", "HEAD"] {
        println!("HTTP/2 {method} {}", told(sender.send_request(request(method)).await).await);
    }
}
RUST
cargo run --quiet > seen
cat seen
diff seen - <<'SEEN'
HTTP/1.1 GET 5 bytes, content-length 5
HTTP/1.1 HEAD 0 bytes, content-length 5
HTTP/2 GET 5 bytes, content-length 5
HTTP/2 HEAD stream error detected: unspecific protocol error detected
SEEN
echo "as described"
