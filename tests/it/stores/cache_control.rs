//! `Cache-Control` of objects: what a guest sets arrives, and stays with a copy.

use crate::harness::{Amazon, World};
use serde_json::Value;

/// One task of `misbehave` that reads from one store and writes to another.
fn invoke(amazon: &Amazon, world: &World, message: &str, [input, output]: [&str; 2]) -> Value {
    let command = world.wasmrun(["invoke", "--json", "--message", message]);
    let command = command.misbehaving(&format!("{input}:ro"), &format!("{output}:rw"));
    amazon.environment(command).ends().json()
}

const IN: &str = "s3://bucket-in";
const OUT: &str = "s3://bucket-out";
const DIRECTORY: &str = "dir:out";

/// Writes below and above the size from which S3 is sent an object in parts.
#[test]
fn cache_control_arrives_on_a_server_and_stays_with_copies() {
    const VALUE: &str = "public, max-age=31536000, immutable";
    for server in [Amazon::start, Amazon::moto, Amazon::seaweed] {
        let Some(amazon) = server() else { return };
        amazon.create_buckets();
        let world = World::new();
        let completes = |message: &str, stores| {
            let report = invoke(&amazon, &world, message, stores);
            assert_eq!(report["outcome"], "completed", "{message}: {report}");
        };
        completes(&format!("write-cached 5 small {VALUE}"), [DIRECTORY, IN]);
        completes(&format!("write-cached 9000000 large {VALUE}"), [DIRECTORY, IN]);
        completes("write-bytes 5 plain", [DIRECTORY, IN]);
        for key in ["small", "large", "plain"] {
            completes(&format!("copy {key} {key}"), [IN, OUT]);
            completes(&format!("put-like {key} like-{key}"), [IN, OUT]);
            completes(&format!("copy {key} {key}"), [IN, DIRECTORY]);
            completes(&format!("copy {key} back-{key}"), [DIRECTORY, OUT]);
        }
        let expected = |key: &str| (!key.ends_with("plain")).then_some(VALUE);
        for (bucket, count) in [("bucket-in", 3), ("bucket-out", 9)] {
            let keys = amazon.keys(bucket);
            assert_eq!(keys.len(), count, "{keys:?}");
            for key in &keys {
                let head = amazon.wait(amazon.s3.head_object().bucket(bucket).key(key).send());
                let head = head.expect("an object");
                assert_eq!(head.cache_control(), expected(key), "{bucket}/{key}");
            }
        }
    }
}

#[test]
fn a_cache_control_that_no_header_can_carry_writes_nothing() {
    let world = World::new();
    for value in ["no-store\r\nx-amz-acl: public-read", "größe", " ", &"x".repeat(257)] {
        let (outcome, reason) = world.outcome(&format!("write-cached 5 a {value}"));
        assert_eq!(outcome, "rejected", "{value:?}: {reason}");
        let expected =
            "other: a cache control is 1 to 256 printable ASCII characters, without spaces around them";
        assert!(reason.contains(expected), "{value:?}: {reason}");
    }
    assert_eq!(world.outcome(&format!("write-cached 5 b {}", "x".repeat(256))).0, "completed");
    let (_, reason) = world.outcome("get @output a");
    assert_eq!(reason, "not-found");
}
