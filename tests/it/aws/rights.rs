//! The permissions that `wasmrun policy` prints are those that a worker needs. With all of them everything works;
//! without any one of them, the error names the missing permission.

use crate::harness::{Amazon, Command, Guard, World, guest, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Arguments of a worker of `misbehave`, for which the policy is printed.
const MISBEHAVE: [&str; 9] = [
    "s3://components/misbehave.wasm",
    "--store",
    "input=s3://bucket-in/from:ro",
    "--store",
    "output=s3://bucket-out/to?encryption=kms&kms-key=arn:aws:kms:eu-west-1:000000000000:key/12345678-1234-1234-1234-123456789012&acl=bucket-owner-full-control:rw",
    "--send",
    "next=",
    "--notify",
    "done=",
];
/// The worker's messages, which together need every permission but one.
const MESSAGES: [&str; 9] = [
    "get known",
    "get unknown",
    "list ",
    "put new text",
    "delete new",
    "copy known copied",
    // Larger than the task may write, so that the upload is aborted.
    "write-on long",
    "retry 1 once more",
    "send 1",
];

/// A server with queues and buckets, and their addresses.
struct Cloud {
    world: World,
    amazon: Amazon,
    jobs: String,
    dead: String,
    next: String,
    done: String,
}

impl Cloud {
    fn start() -> Option<Self> {
        let amazon = Amazon::start()?;
        let jobs = amazon.create_queue("jobs", 30, 3);
        let next = amazon.create_queue("next", 30, 3);
        let done = amazon.create_queue("done", 30, 3);
        let dead = next.replace("/next", "/dead");
        for bucket in ["components", "bucket-in", "bucket-out"] {
            amazon.create_bucket(bucket);
        }
        for name in ["misbehave", "thumbnail"] {
            let bytes = std::fs::read(guest(name)).expect("a component");
            amazon.put("components", &format!("{name}.wasm"), bytes);
        }
        amazon.put("bucket-in", "from/known", "content");
        Some(Self { world: World::new(), amazon, jobs, dead, next, done })
    }

    /// The arguments of `run` and `policy`.
    fn arguments(&self, component: &[&str]) -> Vec<String> {
        let to = |argument: &&str| match *argument {
            "next=" => format!("next={}", self.next),
            "done=" => self.done.clone(),
            argument => argument.to_owned(),
        };
        let queue = ["--queue", &self.jobs].map(str::to_owned);
        component.iter().map(to).chain(queue).collect()
    }

    fn statements(&self, component: &[&str]) -> Vec<Value> {
        // The worker looks up the dead-letter queue and finds its ARN.
        let policy = self.world.wasmrun(["policy", "--dead-letter", &self.dead]);
        let policy = policy.args(self.arguments(component));
        let printed = policy.env("AWS_REGION", "eu-west-1").succeeds().stdout.join("\n");
        let policy: Value = serde_json::from_str(&printed).expect("JSON");
        policy["Statement"].as_array().expect("statements").clone()
    }

    /// A worker with these permissions.
    fn worker(&self, guard: &Guard, component: &[&str]) -> Command {
        let worker = self.world.wasmrun(["run"]).args(self.arguments(component));
        let worker = worker.args(["--write-size", "20MiB", "--on", "limit-exceeded=drop"]);
        self.amazon.environment(worker).env("AWS_ENDPOINT_URL", guard.endpoint())
    }

    fn guard(&self, statements: &[Value]) -> Guard {
        Guard::before(self.amazon.address(), statements.to_vec())
    }
}

fn actions(statements: &[Value]) -> BTreeSet<String> {
    let all = statements.iter().flat_map(|statement| statement["Action"].as_array().expect("actions"));
    all.map(|action| action.as_str().expect("an action").to_owned()).collect()
}

/// The statements without this action on the resource of statement `sid`.
fn without(statements: &[Value], sid: &str, action: &str) -> Vec<Value> {
    let mut statements = statements.to_vec();
    for statement in statements.iter_mut().filter(|statement| statement["Sid"] == sid) {
        let actions = statement["Action"].as_array_mut().expect("actions");
        let before = actions.len();
        actions.retain(|known| *known != action);
        assert_eq!(actions.len(), before - 1, "{action} is no action of {sid}");
    }
    statements
}

#[test]
fn a_worker_with_the_printed_policy_can_do_all_of_its_work_and_uses_all_of_its_rights() {
    let Some(cloud) = Cloud::start() else { return };
    let statements = cloud.statements(&MISBEHAVE);
    let guard = cloud.guard(&statements);
    for message in MESSAGES {
        cloud.amazon.send(&cloud.jobs, message);
    }
    let output = cloud.worker(&guard, &MISBEHAVE).args(["--until-empty"]).succeeds();
    assert_eq!(guard.refused(), BTreeSet::new(), "{output}");
    let outcomes = &output.summary()["outcomes"];
    assert_eq!(outcomes["completed"], 6, "{output}");
    assert_eq!(outcomes["host-failed"], Value::Null, "{output}");
    // Versions are read where events name them: see below.
    let mut used = guard.used();
    used.insert("s3:GetObjectVersion".into());
    assert_eq!(used, actions(&statements));
}

#[test]
fn what_a_worker_lacks_when_it_starts_is_named_in_its_last_sentence() {
    let Some(cloud) = Cloud::start() else { return };
    let all = cloud.statements(&MISBEHAVE);
    for (sid, action) in [
        ("Queue", "sqs:GetQueueAttributes"),
        ("DeadLetters", "sqs:GetQueueAttributes"),
        ("DeadLetters", "sqs:GetQueueUrl"),
        ("Notify", "sqs:GetQueueAttributes"),
        ("Component", "s3:GetObject"),
    ] {
        let guard = cloud.guard(&without(&all, sid, action));
        let output = cloud.worker(&guard, &MISBEHAVE).ends().exited_with(3);
        assert!(output.error().to_lowercase().contains(&action.to_lowercase()), "{sid} {action}: {output}");
    }
}

#[test]
fn what_a_worker_lacks_while_it_works_is_named_in_its_log_and_its_message_is_still_there() {
    let Some(mut cloud) = Cloud::start() else { return };
    for (sid, action, message) in [
        ("Queue", "sqs:ReceiveMessage", "get known"),
        ("Queue", "sqs:DeleteMessage", "get known"),
        ("Queue", "sqs:ChangeMessageVisibility", "retry 1 once more"),
        ("DeadLetters", "sqs:SendMessage", "reject it"),
        ("SendNext", "sqs:SendMessage", "send 1"),
        ("Notify", "sqs:SendMessage", "get known"),
        ("ReadInput", "s3:GetObject", "get known"),
        ("ListInput", "s3:ListBucket", "list "),
        ("WriteOutput", "s3:PutObject", "put new text"),
        ("WriteOutput", "s3:PutObjectAcl", "put new text"),
        ("KeyOutput", "kms:GenerateDataKey", "put new text"),
        ("KeyOutput", "kms:Decrypt", "write-on long"),
        ("WriteOutput", "s3:DeleteObject", "delete new"),
        ("WriteOutput", "s3:AbortMultipartUpload", "write-on long"),
    ] {
        // The last poll of a killed worker would take the next worker's message.
        cloud.jobs = cloud.amazon.create_queue(&format!("{sid}-{}", action.replace(':', "-")), 30, 3);
        let guard = cloud.guard(&without(&cloud.statements(&MISBEHAVE), sid, action));
        let held = || [&cloud.jobs, &cloud.dead].map(|url| cloud.amazon.depth(url).iter().sum::<u64>());
        let [_, before] = held();
        cloud.amazon.send(&cloud.jobs, message);
        let worker = cloud.worker(&guard, &MISBEHAVE).start();
        wait_until(&format!("{sid} {action} is named"), || {
            worker.logged(action) + worker.logged(&action.to_lowercase()) > 0
        });
        assert_eq!(guard.refused(), BTreeSet::from([action.to_owned()]));
        let output = worker.kill();
        // A failed clean-up after a task is no reason to keep its message.
        let is_tidying = action == "s3:AbortMultipartUpload";
        let [jobs, dead] = held();
        assert!(jobs + dead > before || is_tidying, "{sid} {action}: {output}");
    }
}

#[test]
fn a_queue_that_is_none_is_refused_and_a_dead_letter_queue_that_is_not_told_is_asked_for() {
    let world = World::new();
    let policy = |queue: &str| world.wasmrun(["policy", "--queue", queue]);
    policy("https://sqs.eu-west-1.amazonaws.com/jobs").fails_with(2, "unknown queue");
    policy("sqlite:jobs.db").fails_with(2, "no rights are needed");
    let registry = |host: &str| policy("sqlite:jobs.db").arg(format!("oci://{host}/team/thumbnail:1"));
    registry("ghcr.io").fails_with(2, "no rights are needed");
    let pulling = registry("123456789012.dkr.ecr.eu-west-1.amazonaws.com").succeeds().stdout.concat();
    assert!(pulling.contains("arn:aws:ecr:eu-west-1:123456789012:repository/team/thumbnail"), "{pulling}");
    let output = policy("https://sqs.eu-west-1.amazonaws.com/123456789012/jobs").succeeds();
    assert!(output.stderr.concat().contains("add --dead-letter"), "{output}");
}

#[test]
fn a_version_that_an_event_names_needs_a_right_of_its_own() {
    let Some(cloud) = Cloud::start() else { return };
    let component = [
        "s3://components/thumbnail.wasm",
        "--store",
        "input=s3://bucket-in:ro",
        "--store",
        "output=s3://bucket-out:rw",
    ];
    cloud.amazon.keep_versions("bucket-in");
    let version = cloud.amazon.put_version("bucket-in", "text", "not a photograph");
    let event = json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-west-1", "eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-26T12:00:00.000Z",
        "s3": {"bucket": {"name": "bucket-in"}, "object": {"key": "text", "size": 16, "versionId": version}},
    }]});
    cloud.amazon.send(&cloud.jobs, &event.to_string());
    let all = cloud.statements(&component);
    let lacking = cloud.guard(&without(&all, "ReadInput", "s3:GetObjectVersion"));
    let worker = cloud.worker(&lacking, &component).start();
    worker.until_logged("s3:GetObjectVersion");
    worker.kill();

    let guard = cloud.guard(&all);
    let output = cloud.worker(&guard, &component).args(["--until-empty"]).succeeds();
    assert_eq!(guard.refused(), BTreeSet::new(), "{output}");
    assert_eq!(output.summary()["outcomes"]["rejected"], 1, "{output}");
    assert!(guard.used().contains("s3:GetObjectVersion"));
}
