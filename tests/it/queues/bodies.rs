//! Bodies that an extended client stored in a bucket.

use crate::harness::{Amazon, Collector, Command, World, attribute, field, guest};
use serde_json::{Value, json};
use std::collections::HashMap;

const CLASS: &str = "software.amazon.payloadoffloading.PayloadS3Pointer";

/// A queue whose bodies may be in the bucket `bodies`, and a worker that sends its messages on.
struct Extended {
    world: World,
    amazon: Amazon,
    queue: String,
}

impl Extended {
    fn start() -> Option<Self> {
        let amazon = Amazon::start()?;
        let queue = amazon.create_queue("jobs", 30, 3);
        amazon.create_bucket("bodies");
        amazon.wait(amazon.sqs.create_queue().queue_name("next").send()).expect("a queue");
        Some(Self { world: World::new(), amazon, queue })
    }

    /// Sends a body with the attribute that an extended client sets, if one is named.
    fn send(&self, body: &Value, attribute: &str) {
        let size = [(attribute, "Number", "300000")];
        let attributes = if attribute.is_empty() { &[][..] } else { &size };
        self.amazon.send_with(&self.queue, &body.to_string(), attributes);
    }

    fn run(&self) -> Command {
        let next = format!("next={}", self.queue.replace("/jobs", "/next"));
        let command = self.world.wasmrun(["run", "--queue", &self.queue, "--until-empty"]);
        self.amazon.environment(command.arg(guest("forward")).args(["--send", &next]))
    }

    fn received(&self, queue: &str) -> Vec<(String, HashMap<String, String>)> {
        self.amazon.receive(&self.amazon.url(queue))
    }
}

#[test]
fn a_pointer_of_any_extended_client_is_followed() {
    let Some(cloud) = Extended::start() else { return };
    let place = |key: &str| json!({"s3BucketName": "bodies", "s3Key": key});
    let wrapped = |pointer: Value, attribute: &str| {
        json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": pointer.to_string(),
               "MessageAttributes": {attribute: {"Type": "Number", "Value": "300000"}}})
    };
    for key in ["array", "object", "sns"] {
        cloud.amazon.put("bodies", &format!("large/{key}"), format!("the body of {key:?}"));
    }
    cloud.send(&json!([CLASS, place("large/array")]), "ExtendedPayloadSize");
    cloud.send(&place("large/object"), "SQSLargePayloadSize");
    cloud.send(&wrapped(json!([CLASS, place("large/sns")]), "ExtendedPayloadSize"), "");
    // Elsewhere, and none at all.
    cloud.send(&place("other/two"), "ExtendedPayloadSize");
    cloud.send(&wrapped(place("other/two"), "SQSLargePayloadSize"), "");
    cloud.send(&json!({"bucket": "bodies"}), "ExtendedPayloadSize");
    let output = cloud.run().args(["--body-store", "s3://bodies/large"]).succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 3, "{output}");
    assert_eq!(output.summary()["outcomes"]["rejected"], 3, "{output}");

    let mut bodies = cloud.received("next");
    bodies.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(bodies[0].0, r#"the body of "array""#);
    assert_eq!(bodies[1].0, r#"the body of "object""#);
    let envelope: Value = serde_json::from_str(&bodies[2].0).expect("an envelope");
    assert_eq!(envelope["Message"], r#"the body of "sns""#);
    assert_eq!(envelope["TopicArn"], "arn:aws:sns:eu-west-1:1:t");
    assert!(bodies.iter().all(|(_, attributes)| attributes.is_empty()), "{bodies:?}");

    let letters = cloud.received("dead");
    let why =
        |says: &str| letters.iter().filter(|(_, attributes)| attributes["wasmrun"].contains(says)).count();
    assert_eq!(
        (letters.len(), why("outside of the body store"), why("ExtendedPayloadSize")),
        (3, 2, 1),
        "{letters:?}"
    );
}

#[test]
fn without_a_body_store_a_pointer_is_the_body_and_a_warning_says_so() {
    let Some(cloud) = Extended::start() else { return };
    let pointer = json!({"s3BucketName": "bodies", "s3Key": "k"});
    for _ in 0..2 {
        cloud.send(&pointer, "ExtendedPayloadSize");
    }
    let output = cloud.run().succeeds();
    assert_eq!(output.summary()["outcomes"]["completed"], 2, "{output}");
    let warnings: Vec<_> = output
        .logs()
        .into_iter()
        .filter(|line| line["level"] == "WARN" && field(line, "message").contains("--body-store"))
        .collect();
    assert_eq!(warnings.len(), 1, "{output}");
    let bodies = cloud.received("next");
    let as_sent = pointer.to_string();
    assert!(bodies.len() == 2 && bodies.iter().all(|(body, _)| *body == as_sent), "{bodies:?}");
}

#[test]
fn the_fetch_of_a_body_is_a_span_of_its_task() {
    let Some(cloud) = Extended::start() else { return };
    let collector = Collector::start();
    cloud.amazon.put("bodies", "large/there", "the body");
    for key in ["there", "gone"] {
        let place = json!({"s3BucketName": "bodies", "s3Key": format!("large/{key}")});
        cloud.send(&json!([CLASS, place]), "ExtendedPayloadSize");
    }
    cloud.run().args(["--body-store", "s3://bodies/large", "--otlp", &collector.endpoint()]).succeeds();
    let spans = collector.spans();
    let named = |name: &str| spans.iter().map(|(_, span)| span).filter(|span| span.name == name).collect();
    let (tasks, fetches): (Vec<_>, Vec<_>) = (named("process jobs"), named("get body store"));
    assert_eq!((tasks.len(), fetches.len()), (2, 2), "{spans:#?}");
    for fetch in fetches {
        let task = tasks.iter().find(|task| task.span_id == fetch.parent_span_id).expect("its task");
        assert!(task.start_time_unix_nano <= fetch.start_time_unix_nano, "{spans:#?}");
        assert!(fetch.end_time_unix_nano <= task.end_time_unix_nano, "{spans:#?}");
        let failed = attribute(&task.attributes, "error.type");
        let expected = if failed.is_empty() { "" } else { "not-found" };
        assert_eq!(attribute(&fetch.attributes, "error.type"), expected, "{spans:#?}");
        let start = spans
            .iter()
            .map(|(_, span)| span)
            .find(|span| span.name == "instantiate" && span.parent_span_id == task.span_id);
        assert_eq!(start.is_some(), failed.is_empty(), "{spans:#?}");
        // A start after the fetch: the clocks of both are the task's.
        assert!(
            start.is_none_or(|start| start.start_time_unix_nano >= fetch.end_time_unix_nano),
            "{spans:#?}"
        );
    }
}
