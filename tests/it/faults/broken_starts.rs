//! A worker that can't start prints the reason in one sentence and exits with the documented exit code, within seconds
//! because its user waits. A container with less memory than a task may use is in `capacity`.

use crate::harness::{Answer, Command, Output, Stub, World, guest};
use std::ffi::OsStr;
use std::time::Duration;

/// In a container nobody sees more than the last lines, and after that long a deployment isn't what waits.
const SOON: Duration = Duration::from_secs(10);
const QUEUE: &str = "http://localhost:1/123456789012/jobs";

/// A worker on an SQS queue with stores in S3, all on the stub.
fn worker(world: &World, stub: &Stub) -> Command {
    worker_of(world, stub, guest("misbehave"))
}

/// The same worker with another component.
fn worker_of(world: &World, stub: &Stub, component: impl AsRef<OsStr>) -> Command {
    let command = world.wasmrun(["run", "--queue", QUEUE]).arg(component);
    let command = command.args(["--store", "input=s3://photos:ro", "--send", "next=sqlite:next.db"]);
    stub.environment(command).within(SOON)
}

/// A working SQS, and an S3 that answers as the test says.
fn services(s3: impl Fn() -> Answer + Send + Sync + 'static) -> Stub {
    Stub::answering(move |request| match request.header("x-amz-target") {
        "" => s3(),
        target if target.ends_with("GetQueueAttributes") => {
            Answer::new(200, r#"{"Attributes": {"VisibilityTimeout": "30"}}"#)
        }
        _ => Answer::new(200, "{}"),
    })
}

fn refused(status: u16, code: &'static str, said: &'static str) -> Stub {
    Stub::answering(move |_| {
        Answer::new(status, format!(r#"{{"__type": "com.amazonaws.sqs#{code}", "message": "{said}"}}"#))
    })
}

#[track_caller]
fn says(output: &Output, text: &str) {
    assert!(output.error().contains(text), "{output}");
}

#[test]
fn without_credentials() {
    let (world, stub) = (World::new(), services(|| Answer::new(404, "")));
    let nobody =
        |command: Command| command.without_env("AWS_ACCESS_KEY_ID").without_env("AWS_SECRET_ACCESS_KEY");
    let output = nobody(worker(&world, &stub)).ends().exited_with(3);
    says(&output, "credentials");
    // The service that would provide credentials doesn't answer, as on a machine outside AWS.
    let silent = Stub::answering(|_| Answer::Never);
    let output = nobody(worker(&world, &stub))
        .without_env("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.endpoint())
        .ends()
        .exited_with(3);
    says(&output, "credentials");
}

#[test]
fn on_a_queue_that_is_in_another_region_or_account() {
    let world = World::new();
    let elsewhere = refused(400, "QueueDoesNotExist", "The specified queue does not exist.");
    let output = worker(&world, &elsewhere).ends().exited_with(3);
    says(&output, "there is no such queue");
    says(&output, QUEUE);
    let others = refused(403, "AccessDeniedException", "Access to the resource is denied.");
    let output = worker(&world, &others).ends().exited_with(3);
    says(&output, "the right to sqs:GetQueueAttributes is missing");
}

#[test]
fn with_a_bucket_that_is_in_another_region_or_is_none() {
    let world = World::new();
    let redirect = "<Error><Code>PermanentRedirect</Code><Message>The bucket you are attempting to access must be addressed using the specified endpoint.</Message></Error>";
    let redirecting = services(move || Answer::new(301, redirect).with("x-amz-bucket-region", "us-east-2"));
    says(&worker(&world, &redirecting).ends().exited_with(3), "another region");
    let none = services(|| Answer::s3_error(404, "NoSuchBucket"));
    says(&worker(&world, &none).ends().exited_with(3), "there is no such bucket");
}

#[test]
fn with_a_component_that_is_not_in_its_bucket() {
    let (world, stub) = (World::new(), services(Answer::no_such_key));
    let output = worker_of(&world, &stub, "s3://components/gone.wasm").ends().exited_with(2);
    says(&output, "s3://components/gone.wasm");
    says(&output, "there is no such object");
}

#[test]
fn with_a_component_in_a_store_that_does_not_answer() {
    let world = World::new();
    let silent = Stub::answering(|request| match request.header("x-amz-target") {
        "" => Answer::Never,
        _ => Answer::new(200, r#"{"Attributes": {"VisibilityTimeout": "30"}}"#),
    });
    // The program waits for eight seconds; the rest allows for a busy machine.
    let run = worker_of(&world, &silent, "s3://components/slow.wasm").within(Duration::from_secs(30));
    says(&run.ends().exited_with(3), "does not answer in time");
}

#[test]
fn with_a_cache_that_cannot_be_written_to() {
    let (world, stub) = (World::new(), services(Answer::no_such_key));
    let output = worker(&world, &stub).args(["--cache", "/proc/cache"]).ends().exited_with(3);
    says(&output, "the cache directory /proc/cache cannot be created");
}
