#!/usr/bin/env bash
# aws-sdk-s3 1.157.0 (Rust) glues the bucket to an endpoint whose URL has a path and no final slash.
#
# Servers that speak S3 below a path give their users such an endpoint: http://HOST/storage/v1/s3. With path-style addressing
# one expects /storage/v1/s3/BUCKET/KEY, as botocore sends it. The Rust SDK sends /storage/v1/s3BUCKET/KEY, and the server says
# that there is no such thing. With a final slash both send the same.
#
# Seen: rust  http://127.0.0.1:9/storage/v1/s3photos/a.jpg
#       rust/ http://127.0.0.1:9/storage/v1/s3/photos/a.jpg
#       boto3 http://127.0.0.1:9/storage/v1/s3/photos/a.jpg
#
# Needs cargo and python3 with venv. Nothing is sent: the SDKs are asked for the request that they would send.
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
aws-sdk-s3 = { version = "=1.157.0", default-features = false, features = ["http-1x", "rt-tokio"] }
tokio = { version = "1", features = ["macros", "rt"] }
TOML
cat > src/main.rs <<'RUST'
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use std::time::Duration;

async fn address(endpoint: &str) -> String {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let lifetime = PresigningConfig::expires_in(Duration::from_secs(60)).expect("a time");
    let request = client.get_object().bucket("photos").key("a.jpg").presigned(lifetime).await.expect("a request");
    request.uri().split('?').next().unwrap_or_default().to_owned()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("rust  {}", address("http://127.0.0.1:9/storage/v1/s3").await);
    println!("rust/ {}", address("http://127.0.0.1:9/storage/v1/s3/").await);
}
RUST
cargo run --quiet > seen

python3 -m venv venv
venv/bin/pip install --quiet boto3==1.40.0
venv/bin/python - >> seen <<'PYTHON'
import boto3
from botocore.config import Config
client = boto3.client("s3", region_name="eu-west-1", endpoint_url="http://127.0.0.1:9/storage/v1/s3",
                      aws_access_key_id="test", aws_secret_access_key="test",
                      config=Config(s3={"addressing_style": "path"}))
url = client.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "a.jpg"})
print("boto3", url.split("?")[0])
PYTHON

cat seen
diff - seen <<'EXPECTED'
rust  http://127.0.0.1:9/storage/v1/s3photos/a.jpg
rust/ http://127.0.0.1:9/storage/v1/s3/photos/a.jpg
boto3 http://127.0.0.1:9/storage/v1/s3/photos/a.jpg
EXPECTED
