//! Answers of STS and of credential providers, and the worker's requests with their credentials, against a scripted
//! server.

use super::objects::{invoke, s3, takes_uploads};
use crate::harness::{Answer, ScriptedSqs, Stub, World, guest, wait_until};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

const ROLE: &str = "arn:aws:iam::123456789012:role/thumbs";

/// The answer of STS to a caller that may assume a role.
fn assumed(key: &str) -> Answer {
    Answer::new(
        200,
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>assumed-secret</SecretAccessKey><SessionToken>assumed-token</SessionToken><Expiration>{}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>",
            humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(3600))
        ),
    )
}

#[test]
fn a_store_is_used_with_the_rights_of_its_role_and_others_with_the_workers_own() {
    let world = World::new();
    let stub = s3(|request| {
        if request.text().contains("Action=AssumeRole") {
            return Some(assumed("assumed"));
        }
        let found = Answer::new(200, "abc").with("etag", "\"abc\"");
        match &*request.method {
            "GET" if request.target.starts_with("/bucket-in/from/small") => Some(found),
            _ => takes_uploads(request),
        }
    });
    let output = invoke(&world, &stub, "copy small copied", "")
        .args(["--assume-role", &format!("output={ROLE}"), "--log", "trace"])
        .succeeds();
    assert_eq!(output.json()["outcome"], "completed", "{output}");
    let seen = stub.seen();
    let asked: Vec<_> = seen.iter().filter(|request| request.text().contains("Action=AssumeRole")).collect();
    assert!(asked.iter().all(|request| request.access_key() == "own"), "{output}");
    assert!(asked[0].text().contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fthumbs"));
    for request in seen.iter().filter(|request| request.target.starts_with("/bucket")) {
        let expected = if request.target.starts_with("/bucket-out") { "assumed" } else { "own" };
        assert_eq!(request.access_key(), expected, "{} {}", request.method, request.target);
        // A copy within S3 would need one role with both permissions.
        assert_eq!(request.header("x-amz-copy-source"), "");
    }
    for secret in ["own-secret", "assumed-secret", "assumed-token"] {
        assert!(!output.stderr.iter().any(|line| line.contains(secret)), "{output}");
    }
}

#[test]
fn a_role_that_cannot_be_assumed_ends_the_start_with_a_sentence() {
    let world = World::new();
    let stub = s3(|request| {
        let is_asked = request.text().contains("Action=AssumeRole");
        is_asked.then(|| Answer::new(403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"))
    });
    let role = format!("output={ROLE}");
    let denied = invoke(&world, &stub, "ok", "").args(["--assume-role", &role]);
    denied.fails_with(3, "the role arn:aws:iam::123456789012:role/thumbs cannot be assumed");
    let queue = ScriptedSqs::holding(30, [], |_| None);
    let send = invoke(&world, &stub, "ok", "").args(["--send", &format!("other={}", queue.url())]);
    send.args(["--assume-role", &role.replace("output", "other")]).fails_with(3, "cannot be assumed");
    let unknown = invoke(&world, &stub, "ok", "").args(["--assume-role", &role.replace("output", "other")]);
    unknown.fails_with(2, "neither a --store nor a --send has that alias");
    let no_role = invoke(&world, &stub, "ok", "").args(["--assume-role", "output=thumbs"]);
    no_role.fails_with(2, "write its ARN");
    for (setting, said) in [
        ("?encryption=rot13", "one of s3, kms, kms-dsse"),
        ("?regoin=x", "unknown setting"),
        ("/..", "write s3://BUCKET"),
    ] {
        invoke(&world, &stub, "ok", setting).fails_with(2, said);
    }
    let local = world.invoke("misbehave", "ok").args(["--assume-role", &role]);
    local.fails_with(2, "only queues of SQS and stores in S3 know roles");
}

/// Serves credentials that expire within seconds, with a new key each time.
fn short_lived_credentials(authorization: &'static str) -> Stub {
    let handed_out = AtomicUsize::new(0);
    Stub::answering(move |request| {
        if request.header("authorization") != authorization {
            return Answer::new(403, "{}");
        }
        let number = handed_out.fetch_add(1, Ordering::Relaxed);
        // The SDK refreshes credentials ten seconds before they expire.
        let until = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(13));
        let credentials = serde_json::json!({
            "AccessKeyId": format!("key-{number}"),
            "SecretAccessKey": "handed-out-secret",
            "Token": "handed-out-token",
            "Expiration": until.to_string(),
        });
        Answer::new(200, credentials.to_string()).with("content-type", "application/json")
    })
}

#[test]
fn credentials_of_a_container_are_used_and_renewed_before_they_expire() {
    let world = World::new();
    world.write("token", "token-of-eks");
    for in_eks in [false, true] {
        let endpoint = short_lived_credentials(if in_eks { "token-of-eks" } else { "token-of-ecs" });
        let queue = ScriptedSqs::holding(30, [], |_| None);
        let command = world
            .wasmrun(["run", "--queue", &queue.url(), "--on", "rejected=drop", "--log", "trace"])
            .arg(guest("misbehave"))
            .args(World::grants())
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/credentials", endpoint.endpoint()));
        let worker = if in_eks {
            command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", world.path("token"))
        } else {
            command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token-of-ecs")
        };
        let worker = worker.start();
        wait_until("the second key is used", || queue.access_keys().iter().any(|key| key == "key-1"));
        let output = worker.stop();
        let keys = queue.access_keys();
        assert!(keys.is_sorted(), "no old key is used again: {keys:?}");
        for secret in ["handed-out-secret", "handed-out-token", "token-of-e"] {
            assert!(!output.stderr.iter().any(|line| line.contains(secret)), "{secret}: {output}");
        }
    }
}
