//! Messages that announce objects, in the formats of their senders.

use crate::harness::{Depth, World, event};
use serde_json::{Value, json};

/// A notification with one record, for an object of the store `in`.
fn notification(world: &World, source: &str, event_name: &str, key: &str) -> Value {
    let mut event = event(&world.bucket("in"), &[json!({"key": key, "size": 1})]);
    event["Records"][0]["eventSource"] = source.into();
    event["Records"][0]["eventName"] = event_name.into();
    event
}

/// Outcome and reason of the task for this event.
fn task(world: &World, component: &str, event: &Value, options: &[&str]) -> (String, String) {
    world.invoke(component, &event.to_string()).args(options).ends().outcome()
}

#[test]
fn each_service_names_its_objects_in_its_own_way() {
    let world = World::new();
    for (source, event_name, key, name) in [
        ("aws:s3", "ObjectCreated:Put", "of+s3/a%2Bb+%C3%BC", "of s3/a+b ü"),
        ("minio:s3", "s3:ObjectCreated:Put", "of+minio%2Fa%2Bb+%C3%BC", "of minio/a+b ü"),
        ("ceph:s3", "ObjectCreated:Put", "of ceph/a+b%20ü", "of ceph/a+b%20ü"),
    ] {
        world.write(&format!("in/{name}"), "x");
        let mut event = notification(&world, source, event_name, key);
        if source == "minio:s3" {
            event["EventName"] = event_name.into();
            event["Key"] = format!("in/{name}").into();
        }
        let (outcome, reason) = task(&world, "misbehave", &event, &[]);
        assert_eq!(outcome, "completed", "{source}: {reason}");
        assert!(!world.read(&format!("out/{name}")).is_empty());
    }
}

/// A guest that handles created objects must not be told to read a deleted one.
#[test]
fn an_object_that_a_lifecycle_rule_removed_is_removed_whoever_tells_of_it() {
    let world = World::new();
    for (source, event_name) in [
        ("aws:s3", "LifecycleExpiration:Delete"),
        ("aws:s3", "LifecycleExpiration:DeleteMarkerCreated"),
        ("minio:s3", "s3:LifecycleDelMarkerExpiration:Delete"),
        ("ceph:s3", "s3:ObjectLifecycle:Expiration:Current"),
    ] {
        let event = notification(&world, source, event_name, "gone");
        let (outcome, reason) = task(&world, "misbehave", &event, &[]);
        assert_eq!(outcome, "completed", "{event_name}: {reason}");
    }
    let bucket = format!("dir:{}", world.path("in").display());
    let event = json!({"source": "aws.s3", "detail-type": "Object Deleted", "detail": {
        "bucket": {"name": bucket}, "object": {"key": "gone"}, "reason": "Lifecycle Expiration"}});
    assert_eq!(task(&world, "misbehave", &event, &[]).0, "completed");
}

/// A guest that took the event for a plain message would find nothing to do, and the message would be lost.
#[test]
fn an_event_that_cannot_be_understood_is_rejected_by_name_and_never_run() {
    let world = World::with_queue(&[]);
    let unknown = notification(&world, "acme:s3", "ObjectCreated:Put", "k");
    let mut later = notification(&world, "aws:s3", "ObjectCreated:Put", "k");
    later["Records"][0]["eventVersion"] = "3.0".into();
    let wrapped = json!({"Type": "Notification", "Message": unknown.to_string()});
    let whole_bucket = notification(&world, "minio:s3", "s3:BucketCreated:*", "");
    let events = [
        (&unknown, "acme:s3"),
        (&wrapped, "acme:s3"),
        (&later, "major version"),
        (&whole_bucket, "no object"),
    ];
    for (event, says) in events {
        let (outcome, reason) = task(&world, "empty", event, &[]);
        assert_eq!(outcome, "rejected", "{event}");
        assert!(reason.contains(says), "{reason}");
        // A guest that asks for the raw body can inspect it.
        assert_eq!(task(&world, "empty", event, &["--raw-body"]).0, "completed", "{event}");
    }
    world.send([unknown.to_string()]);
    world.run("empty").args(["--until-empty"]).succeeds();
    assert_eq!(world.dead(), Depth::visible(1));
    let letter = &world.dead_letters()[0];
    assert!(letter.to_string().contains("acme:s3"), "{letter}");

    // Records of other services, and CloudTrail's events about S3, are ordinary messages.
    let trail = json!({"source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": {}});
    for plain in
        [json!({"Records": [{"eventSource": "acme:s3", "s3": "b/k"}]}), json!({"Records": [1]}), trail]
    {
        assert_eq!(task(&world, "empty", &plain, &[]).0, "completed", "{plain}");
    }
}
