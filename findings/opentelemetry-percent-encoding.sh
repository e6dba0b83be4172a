#!/usr/bin/env bash
# opentelemetry-otlp 0.33.1 (Rust) percent-decodes header values that code gives to `with_headers` of its HTTP exporter, and
# opentelemetry_sdk 0.33.1 doesn't percent-decode OTEL_RESOURCE_ATTRIBUTES, where a comma or an equals sign must be encoded.
# opentelemetry-sdk 1.45.2 (Python) does neither: it sends headers as they are given, and decodes the attributes.
#
# So a key that has % and two hexadecimal digits in it arrives as another key, and the collector refuses it, while a value that
# can't be decoded, such as 100%, arrives as it is. And services that share the variable have two names for the same team.
#
# wasmrun reads its headers itself, from the variable, where they are encoded, and decodes the attributes that the SDK reads.
#
# Seen: rust   header a%2Cb sent as a,b; 100% as 100%; attribute a%2Cb is a%2Cb
#       python header a%2Cb sent as a%2Cb; 100% as 100%; attribute a%2Cb is a,b
#
# Needs cargo, and python3 with venv.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export OTEL_RESOURCE_ATTRIBUTES=team=a%2Cb

cargo init --quiet --name finding --vcs none
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
async-trait = "0.1"
bytes = "1"
futures-executor = "0.3"
http = "1"
opentelemetry = { version = "=0.33.1", default-features = false }
opentelemetry-http = { version = "=0.33.1", default-features = false }
opentelemetry-otlp = { version = "=0.33.1", default-features = false, features = ["http-proto", "trace"] }
opentelemetry_sdk = { version = "=0.33.1", default-features = false, features = ["trace"] }
TOML
cat > src/main.rs <<'RUST'
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::Key;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;

/// Prints the headers instead of sending the request.
#[derive(Debug)]
struct Printer;

#[async_trait::async_trait]
impl HttpClient for Printer {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        for name in ["x-key", "x-share"] {
            println!("rust {name} {}", request.headers()[name].to_str()?);
        }
        Ok(Response::new(Bytes::new()))
    }
}

fn main() {
    let headers = [("x-key", "a%2Cb"), ("x-share", "100%")].map(|(name, value)| (name.into(), value.into()));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Printer)
        .with_headers(headers.into())
        .build()
        .expect("an exporter");
    futures_executor::block_on(exporter.export(Vec::new())).expect("a response");
    println!("rust team {}", Resource::builder().build().get(&Key::new("team")).expect("the attribute"));
}
RUST
cargo run --quiet > seen

python3 -m venv venv
venv/bin/pip install --quiet opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2
cat > finding.py <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        for name in ("x-key", "x-share"):
            print("python", name, self.headers[name])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
OTLPSpanExporter(endpoint=endpoint, headers={"x-key": "a%2Cb", "x-share": "100%"}).export([])
print("python team", Resource.create().attributes["team"])
PYTHON
venv/bin/python finding.py >> seen

cat seen
diff - seen <<'EXPECTED'
rust x-key a,b
rust x-share 100%
rust team a%2Cb
python x-key a%2Cb
python x-share 100%
python team a,b
EXPECTED
