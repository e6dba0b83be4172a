#!/usr/bin/env bash
# aws-sdk-s3 1.157.0 (Rust) can't read an object one of whose metadata values isn't UTF-8: the answer, a 200, becomes an error
# without a code, and the content can't be had. botocore 1.40.0 reads the same answer.
#
# HTTP allows bytes beyond ASCII in a header's value, and several servers that stand in for S3 hand out what was put, such as
# "Zo\xEB" in Latin-1. Whoever may write one object can so keep a reader from reading it, and only that one.
#
# Seen: rust  error, status Some(200), code None
#       boto3 b'content' {'author': 'Zoë'}
#
# Needs cargo and python3 with venv. The server is a few lines of Python on the loopback interface, for valid HTTP.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

cat > server.py <<'PYTHON'
import http.server
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: "e"\r\nx-amz-meta-author: Zo\xeb\r\n\r\ncontent')
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
open("port", "w").write(str(server.server_port))
server.serve_forever()
PYTHON
python3 server.py &
server=$!
until [ -s port ]; do sleep 0.1; done
export ENDPOINT="http://127.0.0.1:$(cat port)"

cargo init --quiet --name finding --vcs none
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
aws-sdk-s3 = { version = "=1.157.0", default-features = false, features = ["http-1x", "rt-tokio"] }
aws-smithy-http-client = { version = "1.5", default-features = false, features = ["default-client"] }
tokio = { version = "1", features = ["macros", "rt"] }
TOML
cat > src/main.rs <<'RUST'
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_s3::error::ProvideErrorMetadata;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(std::env::var("ENDPOINT").expect("an endpoint"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .force_path_style(true)
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    match client.get_object().bucket("photos").key("a.jpg").send().await {
        Ok(_) => println!("rust  read"),
        Err(error) => {
            let status = error.raw_response().map(|response| response.status().as_u16());
            println!("rust  error, status {status:?}, code {:?}", error.code());
        }
    }
}
RUST
cargo run --quiet > seen

python3 -m venv venv
venv/bin/pip install --quiet boto3==1.40.0
venv/bin/python - >> seen <<'PYTHON'
import boto3, os
from botocore.config import Config
client = boto3.client("s3", region_name="eu-west-1", endpoint_url=os.environ["ENDPOINT"],
                      aws_access_key_id="test", aws_secret_access_key="test",
                      config=Config(s3={"addressing_style": "path"}))
answer = client.get_object(Bucket="photos", Key="a.jpg")
print("boto3", answer["Body"].read(), answer["Metadata"])
PYTHON

cat seen
diff - seen <<'EXPECTED'
rust  error, status Some(200), code None
boto3 b'content' {'author': 'Zoë'}
EXPECTED
