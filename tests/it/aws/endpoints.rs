//! Where requests go: the settings that name an endpoint, the way a request names its bucket, and access points.

use crate::harness::{Answer, Command, Request, Stub, World, event, guest, signed};
use serde_json::json;

const ACCESS_POINT: &str = "arn:aws:s3:eu-west-1:123456789012:accesspoint/photos";

/// An S3 server on which every object exists.
fn s3() -> Stub {
    Stub::answering(|request| {
        let found = Answer::new(200, "hello").with("etag", "\"abc\"");
        match &*request.method {
            "HEAD" => Answer::new(200, "").with("content-length", 5).with("etag", "\"abc\""),
            "PUT" if request.header("x-amz-copy-source").is_empty() => found,
            "PUT" => Answer::new(200, "<CopyObjectResult><ETag>\"copy\"</ETag></CopyObjectResult>"),
            _ if request.target.contains("list-type=2") => Answer::new(
                200,
                "<ListBucketResult><Contents><Key>new/a</Key><Size>5</Size></Contents></ListBucketResult>",
            ),
            _ if request.is_probe() => Answer::no_such_key(),
            _ => found,
        }
    })
}

/// One task of `misbehave` with this message and store.
fn invoke(world: &World, message: &str, store: &str) -> Command {
    let command = world.wasmrun(["invoke", "--json", "--message", message]);
    signed(command.misbehaving(&format!("{store}:ro"), "dir:out:rw"))
}

/// The requests so far, except probes of a store.
fn seen(stub: &Stub) -> Vec<Request> {
    stub.seen().into_iter().filter(|request| !request.target.contains(".wasmrun-probe")).collect()
}

fn targets(stub: &Stub) -> Vec<String> {
    seen(stub).into_iter().map(|request| request.target).collect()
}

/// Writes a profile file with this content.
fn profile(world: &World, text: &str) -> String {
    world.write("aws-config", text);
    world.path("aws-config").to_string_lossy().into_owned()
}

/// Yields a command for each setting that may name the endpoint, with that setting's name.
fn from_each_place(
    world: &World,
    endpoint: &str,
    service: &str,
    command: impl Fn() -> Command,
) -> Vec<(String, Command)> {
    let of_service = format!("AWS_ENDPOINT_URL_{}", service.to_uppercase());
    let general = profile(world, &format!("[default]\nendpoint_url = {endpoint}\n"));
    let mut commands = vec![
        ("--endpoint-url".to_owned(), command().args(["--endpoint-url", endpoint])),
        ("AWS_ENDPOINT_URL".to_owned(), command().env("AWS_ENDPOINT_URL", endpoint)),
        (of_service.clone(), command().env(&of_service, endpoint)),
        ("the profile".to_owned(), command().env("AWS_CONFIG_FILE", general)),
    ];
    world.write(
        "aws-services",
        format!("[default]\nservices = mine\n[services mine]\n{service} =\n  endpoint_url = {endpoint}\n"),
    );
    let services = world.path("aws-services");
    commands.push(("its services section".to_owned(), command().env("AWS_CONFIG_FILE", services)));
    commands
}

#[test]
fn an_endpoint_with_a_path_is_used_as_it_is_wherever_it_comes_from() {
    let world = World::new();
    for slash in ["", "/"] {
        let stub = s3();
        let endpoint = format!("{}/storage/v1/s3{slash}", stub.endpoint());
        let invoke = || invoke(&world, "get known", "s3://bucket-in/from");
        for (place, command) in from_each_place(&world, &endpoint, "s3", invoke) {
            let before = seen(&stub).len();
            let output = command.succeeds();
            assert_eq!(output.json()["outcome"], "completed", "{place}: {output}");
            let seen = &targets(&stub)[before..];
            let expected = "/storage/v1/s3/bucket-in/from/known";
            assert!(
                !seen.is_empty()
                    && seen.iter().all(|target| target.split('?').next().expect("a path") == expected),
                "{place}: {seen:?}"
            );
        }
    }
}

#[test]
fn an_endpoint_with_a_path_is_used_for_queues_and_roles_as_well() {
    let world = World::new();
    let stub = Stub::answering(|_| {
        Answer::new(400, json!({"__type": "x", "message": "said by the test"}).to_string())
    });
    let endpoint = format!("{}/storage/v1/all", stub.endpoint());
    let stats =
        || signed(world.wasmrun(["queue", "stats", "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"]));
    for (place, command) in from_each_place(&world, &endpoint, "sqs", stats) {
        let before = seen(&stub).len();
        command.ends().exited_with(3);
        let seen = &targets(&stub)[before..];
        assert!(
            !seen.is_empty() && seen.iter().all(|target| target == "/storage/v1/all/"),
            "{place}: {seen:?}"
        );
    }
    let role = ["--assume-role", "input=arn:aws:iam::123456789012:role/thumbs"];
    let assume = || invoke(&world, "ok", "s3://bucket-in").args(role);
    for (place, command) in from_each_place(&world, &endpoint, "sts", assume) {
        let before = seen(&stub).len();
        command.fails_with(3, "cannot be assumed");
        let seen = &targets(&stub)[before..];
        assert!(
            !seen.is_empty() && seen.iter().all(|target| target == "/storage/v1/all/"),
            "{place}: {seen:?}"
        );
    }
}

#[test]
fn an_endpoint_that_is_no_url_is_refused() {
    let world = World::new();
    let store = invoke(&world, "ok", "s3://bucket-in").env("AWS_ENDPOINT_URL_S3", "localhost:4566");
    store.fails_with(2, "the endpoint \"localhost:4566\" of S3 is not a URL: write http://HOST:PORT");
    let queue =
        signed(world.wasmrun(["queue", "stats", "jobs"])).env("AWS_ENDPOINT_URL_SQS", "localhost:4566");
    queue.fails_with(3, "the endpoint \"localhost:4566\" of SQS is not a URL");
}

#[test]
fn a_store_says_where_requests_name_its_bucket() {
    let world = World::new();
    // Used as a proxy, so that no name needs to be resolved.
    let stub = s3();
    let get = |setting: &str| {
        let before = seen(&stub).len();
        let command = invoke(&world, "get known", &format!("s3://bucket-in/from{setting}"));
        let command = command.env("HTTP_PROXY", stub.endpoint());
        let output = command.env("AWS_ENDPOINT_URL", "http://storage.test:9000/s3").succeeds();
        assert_eq!(output.json()["outcome"], "completed", "{output}");
        let target = targets(&stub)[before].clone();
        target.split('?').next().expect("a URL").to_owned()
    };
    assert_eq!(get(""), "http://storage.test:9000/s3/bucket-in/from/known");
    assert_eq!(get("?addressing=path"), "http://storage.test:9000/s3/bucket-in/from/known");
    assert_eq!(get("?addressing=virtual"), "http://bucket-in.storage.test:9000/s3/from/known");
    invoke(&world, "ok", "s3://bucket-in?addressing=virtual")
        .env("AWS_ENDPOINT_URL", stub.endpoint())
        .fails_with(2, "addressing=virtual needs an endpoint with a name");
    invoke(&world, "ok", "s3://bucket-in?addressing=host").fails_with(2, "one of path, virtual");
}

#[test]
fn an_access_point_is_read_listed_and_copied_from_and_its_buckets_events_are_found() {
    let world = World::new();
    let stub = s3();
    let at = |message: &str, store: &str| {
        let before = seen(&stub).len();
        let command = invoke(&world, message, store).env("HTTP_PROXY", stub.endpoint());
        let output = command.env("AWS_ENDPOINT_URL", "http://storage.test").succeeds();
        assert_eq!(output.json()["outcome"], "completed", "{message}: {output}");
        seen(&stub).split_off(before)
    };
    let store = format!("s3://{ACCESS_POINT}/new");
    let host = "http://photos-123456789012.storage.test/";
    let read = at("get a", &store);
    assert!(read[0].target.starts_with(&format!("{host}new/a")), "{read:?}");
    let listed = at("list ", &store);
    assert!(listed[0].target.starts_with(&format!("{host}?")), "{listed:?}");
    assert!(listed[0].target.contains("prefix=new%2F"), "{listed:?}");
    // The event names the bucket behind the access point.
    let event = event("photos-in", &[json!({"key": "new/a"})]);
    let announced = world.wasmrun(["invoke", "--json", "--message", &event.to_string()]).arg(guest("copy"));
    let announced = signed(announced)
        .args(["--store", &format!("input={store}?bucket=photos-in:ro"), "--store", "output=dir:out:rw"])
        .env("HTTP_PROXY", stub.endpoint())
        .env("AWS_ENDPOINT_URL", "http://storage.test");
    let output = announced.succeeds();
    assert_eq!(output.json()["outcome"], "completed", "{output}");
    assert_eq!(world.read("out/a"), b"hello");
    let both = signed(world.wasmrun(["invoke", "--json", "--message", "copy a b"]))
        .misbehaving(&format!("{store}:ro"), &format!("{store}/to:rw"))
        .env("HTTP_PROXY", stub.endpoint())
        .env("AWS_ENDPOINT_URL", "http://storage.test");
    let output = both.succeeds();
    assert_eq!(output.json()["outcome"], "completed", "{output}");
    let seen = seen(&stub);
    let copy: &Request = seen.iter().find(|request| request.method == "PUT").expect("a copy");
    assert!(copy.target.starts_with(&format!("{host}new/to/b")), "{copy:?}");
    let source = copy.header("x-amz-copy-source");
    assert_eq!(source, "arn%3Aaws%3As3%3Aeu-west-1%3A123456789012%3Aaccesspoint/photos/object/new/a");
}

#[test]
fn what_cannot_be_a_store_is_refused_by_its_name_and_by_policy_with_what_to_write() {
    let world = World::new();
    for (store, said) in [
        (
            "s3://arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
            "multi-region access points are not supported",
        ),
        (
            "s3://arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/a",
            "Outposts are not supported",
        ),
        ("s3://arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/a", "Object Lambda"),
        ("s3://photos?bucket=photos-in", "this store is a bucket"),
    ] {
        invoke(&world, "ok", store).fails_with(2, said);
    }
    let policy = |store: &str| {
        let store = format!("input={store}:ro");
        world.wasmrun(["policy", "--store", &store]).env("AWS_REGION", "eu-west-1")
    };
    policy("s3://photos-abcdef123-s3alias")
        .fails_with(2, "write s3://arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME in its place");
    let directory = policy("s3://photos--euw1-az1--x-s3/new").succeeds().stdout.join("");
    assert!(
        directory.contains("s3express:CreateSession") && !directory.contains("s3:GetObject"),
        "{directory}"
    );
    assert!(directory.contains("arn:aws:s3express:eu-west-1:*:bucket/photos--euw1-az1--x-s3"), "{directory}");
    let point = policy(&format!("s3://{ACCESS_POINT}/new")).succeeds().stdout.join("");
    assert!(point.contains(&format!("\"{ACCESS_POINT}/object/new/*\"")), "{point}");
}
