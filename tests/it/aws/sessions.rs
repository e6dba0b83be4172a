//! Roles of stores by key: each key has a session of its own, with the key as its tag.

use crate::harness::{Answer, Command, Request, Stub, World};
use serde_json::json;
use std::time::{Duration, SystemTime};

const ROLE: &str = "arn:aws:iam::123456789012:role/tenants";
const TAG: &str = "Tags.member.1.Key=wasmrun-key&Tags.member.1.Value=";

/// The answer of STS: credentials named after the key, valid for some seconds.
pub(super) fn session(key: &str, seconds: u64) -> Answer {
    let until = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(seconds));
    Answer::new(
        200,
        format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult><Credentials><AccessKeyId>session-{key}</AccessKeyId><SecretAccessKey>session-secret</SecretAccessKey><SessionToken>session-token</SessionToken><Expiration>{until}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        ),
    )
}

pub(super) fn denied() -> Answer {
    Answer::new(
        403,
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not this key</Message></Error></ErrorResponse>",
    )
}

/// The key for which a request asks STS for a session.
pub(super) fn key_of(request: &Request) -> Option<String> {
    let text = request.text();
    let (_, rest) = text.contains("Action=AssumeRole").then(|| text.split_once(TAG)).flatten()?;
    Some(rest.split('&').next().unwrap_or_default().to_owned())
}

/// STS and S3, where each part of the bucket has the object `in/small`. `answer`: the answer of STS for a key.
fn server(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Stub {
    Stub::answering(move |request| {
        if let Some(key) = key_of(request) {
            return answer(&key);
        }
        match &*request.method {
            "GET" if request.target.split('?').next().is_some_and(|path| path.ends_with("/in/small")) => {
                Answer::new(200, "abc").with("etag", "\"abc\"")
            }
            "PUT" => Answer::new(200, "").with("etag", "\"put\""),
            _ => Answer::no_such_key(),
        }
    })
}

pub(super) fn worker(world: &World, stub: &Stub) -> Command {
    world
        .wasmrun(["run", "--queue", "sqlite:jobs.db", "--until-empty", "--key", "group", "--instances", "1"])
        .logging_tasks()
        .misbehaving("s3://bucket/t/{key}/in:ro", "s3://bucket/t/{key}/out:rw")
        .args(["--assume-role", &format!("input={ROLE}"), "--assume-role", &format!("output={ROLE}")])
        .env("AWS_ENDPOINT_URL", stub.endpoint())
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", "own")
        .env("AWS_SECRET_ACCESS_KEY", "own-secret")
}

#[test]
fn each_key_has_a_session_of_its_own_which_is_asked_for_once() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let stub = server(|key| session(key, 3600));
    for key in ["acme", "beta"] {
        world.send_with(&["--group", key], ["get small", "put new x", "get small", "put newer x"]);
    }
    let output = worker(&world, &stub).succeeds();
    output.has_outcomes(&json!({"completed": 8}));
    let seen = stub.seen();
    for key in ["acme", "beta"] {
        let own: Vec<_> =
            seen.iter().filter(|request| request.target.starts_with(&format!("/bucket/t/{key}/"))).collect();
        assert_eq!(own.len(), 4, "{output}");
        assert!(own.iter().all(|request| request.access_key() == format!("session-{key}")), "{output}");
        // Once for each store.
        let asked = seen.iter().filter(|request| key_of(request).as_deref() == Some(key));
        assert_eq!(asked.clone().count(), 2, "{output}");
        assert!(asked.into_iter().all(|request| request.access_key() == "own"));
    }
    // The start has no key, and no part has this one.
    assert!(seen.iter().any(|request| key_of(request).as_deref() == Some("-")), "{output}");
    for secret in ["own-secret", "session-secret", "session-token"] {
        assert!(!output.stderr.iter().any(|line| line.contains(secret)), "{output}");
    }
}

#[test]
fn a_session_is_renewed_before_it_ends() {
    let world = World::with_queue(&["--max-receives", "1"]);
    // The SDK renews credentials that end within seconds for each call.
    let stub = server(|key| session(key, if key == "-" { 3600 } else { 2 }));
    world.send_with(&["--group", "acme"], ["get small", "get small", "get small"]);
    let output = worker(&world, &stub).succeeds();
    output.has_outcomes(&json!({"completed": 3}));
    let asked = stub.seen().iter().filter(|request| key_of(request).as_deref() == Some("acme")).count();
    assert!(asked >= 3, "{asked}: {output}");
}

#[test]
fn a_key_that_sts_refuses_does_not_stop_others() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let stub = server(|key| if key == "evil" { denied() } else { session(key, 3600) });
    world.send_with(&["--group", "evil"], ["get small", "put new x"]);
    world.send_with(&["--group", "acme"], ["get small", "get small", "get small"]);
    let output = worker(&world, &stub).succeeds();
    // The sender is to blame, before and after others show that the store works.
    output.has_outcomes(&json!({"completed": 3, "rejected": 2}));
    assert_eq!(world.dead().visible, 2, "{output}");
    assert_eq!(output.logs_of("paused receiving: a store or a queue fails").len(), 0, "{output}");
    let said = output.logs_of("a host call failed");
    assert!(said.iter().any(|line| line.to_string().contains("sts:TagSession")), "{output}");
}

#[test]
fn a_role_that_takes_no_tags_ends_the_start_with_a_sentence() {
    let world = World::with_queue(&[]);
    let stub = server(|_| denied());
    worker(&world, &stub).fails_with(3, "needs sts:AssumeRole and sts:TagSession on it");
}
