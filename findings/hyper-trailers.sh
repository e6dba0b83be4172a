#!/usr/bin/env bash
# hyper 1.12.0 (Rust) drops the trailers of an HTTP/1.1 response, without an error, unless the request has `TE: trailers`, the
# response names them in `Trailer`, and the length of its body isn't known. Over HTTP/2 it sends them in each of these cases.
#
# The third condition meets another crate: a body of known length that got trailers by http-body-util 0.1.5's `with_trailers` still
# has that length, so hyper sends Content-Length, which leaves no place for trailers. So a checksum or a status after the body
# passes a test with HTTP/2, and never reaches a client that takes HTTP/1.1. Only a log at level debug tells.
#
# wasmrun's services answer through hyper. wasmrun gives a response with trailers no length, and lets a guest name them; the client
# has to ask for them.
#
# Seen: trailers of the same service:
#       HTTP/1.1: none; with TE none; with Trailer none; with both x-sum; with both, known length none
#       HTTP/2: x-sum; known length x-sum
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
bytes = "1"
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["client", "http1", "http2", "server"] }
hyper-util = { version = "0.1", features = ["tokio"] }
tokio = { version = "1", features = ["io-util", "macros", "rt"] }
TOML
cat > src/main.rs <<'RUST'
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue, TE, TRAILER};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A body that doesn't tell its length.
struct Stream<B>(B);

impl<B: Body + Unpin> Body for Stream<B> {
    type Data = B::Data;
    type Error = B::Error;
    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let body = Full::from("hello").with_trailers(ready(Some(Ok(trailers))));
    let path = request.uri().path();
    let mut response = Response::new(if path.contains("known") { body.boxed() } else { Stream(body).boxed() });
    if path.contains("named") {
        response.headers_mut().insert(TRAILER, HeaderValue::from_static("x-sum"));
    }
    Ok(response)
}

fn request(path: &str, asks: bool) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = format!("http://localhost/{path}").parse().expect("a URI");
    if asks {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    request
}

async fn print(name: &str, response: Response<Incoming>) {
    let whole = response.into_body().collect().await.expect("a whole body");
    let trailers: Vec<_> = whole.trailers().into_iter().flat_map(HeaderMap::keys).cloned().collect();
    println!("{name}: {:?}, trailers {trailers:?}", String::from_utf8_lossy(&whole.to_bytes()));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for (name, path, asks) in [
        ("HTTP/1.1", "", false),
        ("HTTP/1.1, TE", "", true),
        ("HTTP/1.1, Trailer", "named", false),
        ("HTTP/1.1, TE and Trailer", "named", true),
        ("HTTP/1.1, TE and Trailer, known length", "named-known", true),
    ] {
        let (near, far) = tokio::io::duplex(4096);
        let server = server::conn::http1::Builder::new();
        tokio::spawn(server.serve_connection(TokioIo::new(far), service_fn(answer)));
        let (mut sender, connection) =
            client::conn::http1::handshake(TokioIo::new(near)).await.expect("a connection");
        tokio::spawn(connection);
        print(name, sender.send_request(request(path, asks)).await.expect("a response")).await;
    }
    for (name, path) in [("HTTP/2", ""), ("HTTP/2, known length", "known")] {
        let (near, far) = tokio::io::duplex(4096);
        let server = server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(far), service_fn(answer)));
        let handshake = client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(near));
        let (mut sender, connection) = handshake.await.expect("a connection");
        tokio::spawn(connection);
        print(name, sender.send_request(request(path, false)).await.expect("a response")).await;
    }
}
RUST
cargo run --quiet > seen

cat seen
diff - seen <<'EXPECTED'
HTTP/1.1: "hello", trailers []
HTTP/1.1, TE: "hello", trailers []
HTTP/1.1, Trailer: "hello", trailers []
HTTP/1.1, TE and Trailer: "hello", trailers ["x-sum"]
HTTP/1.1, TE and Trailer, known length: "hello", trailers []
HTTP/2: "hello", trailers ["x-sum"]
HTTP/2, known length: "hello", trailers ["x-sum"]
EXPECTED
