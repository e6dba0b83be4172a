//! Answers of S3, and the worker's requests to it, against a scripted server.

use crate::harness::{Answer, Command, Request, Stub, World};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An empty S3 server whose answers a test may override.
pub(super) fn s3(answer: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Stub {
    Stub::answering(move |request| answer(request).unwrap_or_else(Answer::no_such_key))
}

/// A program whose environment contains only the endpoints of the services.
fn at(stub: &Stub, command: Command) -> Command {
    command
        .env("AWS_ENDPOINT_URL", stub.endpoint())
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
}

/// One task of `misbehave` that reads from one bucket and writes to another, with these settings.
pub(super) fn invoke(world: &World, stub: &Stub, message: &str, settings: &str) -> Command {
    let command = world
        .wasmrun(["invoke", "--json", "--message", message])
        .misbehaving("s3://bucket-in/from:ro", &format!("s3://bucket-out/to{settings}:rw"));
    at(stub, command).env("AWS_ACCESS_KEY_ID", "own").env("AWS_SECRET_ACCESS_KEY", "own-secret")
}

/// Whether the request is this operation on an object that a message could name.
fn is(request: &Request, method: &str, path: &str) -> bool {
    request.method == method && request.target.split('?').next() == Some(path)
}

/// Holds the object `small` of 3 bytes.
fn holds_small(request: &Request) -> Option<Answer> {
    let answer = match &*request.method {
        _ if !is(request, &request.method, "/bucket-in/from/small") => return None,
        "HEAD" => Answer::new(200, "").with("content-length", 3),
        "GET" => Answer::new(206, "x").with("content-range", "bytes 0-0/3"),
        _ => return None,
    };
    Some(answer.with("etag", "\"abc\""))
}

/// Accepts uploads in one part or several.
pub(super) fn takes_uploads(request: &Request) -> Option<Answer> {
    let is_query = |name: &str| request.target.split(['?', '&']).skip(1).any(|part| part.starts_with(name));
    let copied = !request.header("x-amz-copy-source").is_empty();
    let answer = match &*request.method {
        "POST" if is_query("uploads") => Answer::new(
            200,
            "<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>",
        ),
        "POST" if is_query("uploadId") => Answer::new(
            200,
            "<CompleteMultipartUploadResult><ETag>\"done\"</ETag></CompleteMultipartUploadResult>",
        ),
        "PUT" if copied && is_query("partNumber") => {
            Answer::new(200, "<CopyPartResult><ETag>\"part\"</ETag></CopyPartResult>")
        }
        "PUT" if copied => Answer::new(200, "<CopyObjectResult><ETag>\"copy\"</ETag></CopyObjectResult>"),
        "PUT" => Answer::new(200, "").with("etag", "\"put\""),
        "DELETE" => Answer::new(204, ""),
        _ => return None,
    };
    Some(answer)
}

#[test]
fn an_object_too_large_for_one_copy_is_copied_in_parts() {
    const SIZE: u64 = (6 << 30) + 1;
    let world = World::new();
    let stub = s3(|request| {
        let found = Answer::new(200, "").with("content-length", SIZE).with("etag", "\"abc\"");
        let found = found.with("content-type", "image/x").with("x-amz-meta-by", "somebody");
        if is(request, "HEAD", "/bucket-in/from/big") { Some(found) } else { takes_uploads(request) }
    });
    let output = invoke(&world, &stub, "copy big copied", "?encryption=s3")
        .args(["--read-size", "8GiB", "--write-size", "8GiB"])
        .succeeds();
    assert_eq!(output.json()["outcome"], "completed", "{output}");
    let limited = invoke(&world, &stub, "copy big copied", "").ends().exited_with(1);
    assert!(limited.json()["reason"].as_str().expect("text").contains("read-size"), "{limited}");
    let seen = stub.seen();
    let begins = seen.iter().filter(|request| request.target.contains("uploads")).count();
    assert_eq!(begins, 1, "what is more than may be read is not begun");
    let begun = seen.iter().find(|request| request.target.contains("uploads")).expect("an upload");
    assert_eq!((begun.header("content-type"), begun.header("x-amz-meta-by")), ("image/x", "somebody"));
    assert_eq!(begun.header("x-amz-server-side-encryption"), "AES256");
    let parts: Vec<_> =
        seen.iter().filter(|request| !request.header("x-amz-copy-source-range").is_empty()).collect();
    assert_eq!(parts.len(), 13, "of 512 MiB each, and one of a byte");
    let mut parts = parts;
    let start_of = |part: &&&Request| {
        let (start, _) = part.header("x-amz-copy-source-range")["bytes=".len()..].split_once('-')?;
        start.parse::<u64>().ok()
    };
    parts.sort_by_key(|part| start_of(&part));
    let mut next = 0;
    for part in &parts {
        assert_eq!(part.header("x-amz-copy-source"), "bucket-in/from/big");
        assert_eq!(part.header("x-amz-copy-source-if-match"), "\"abc\"");
        let (start, end) =
            part.header("x-amz-copy-source-range")["bytes=".len()..].split_once('-').expect("a range");
        assert_eq!(start.parse::<u64>(), Ok(next));
        next = end.parse::<u64>().expect("a number") + 1;
    }
    assert_eq!(next, SIZE);
    let completed = seen.iter().rfind(|request| request.method == "POST").expect("its end");
    assert_eq!(completed.text().matches("<Part>").count(), 13);
}

#[test]
fn an_object_that_changes_while_it_is_copied_is_not_copied_by_halves() {
    let world = World::new();
    let stub = s3(|request| {
        if is(request, "HEAD", "/bucket-in/from/big") {
            return Some(Answer::new(200, "").with("content-length", 6_u64 << 30).with("etag", "\"abc\""));
        }
        let is_third = request.target.contains("partNumber=3");
        let is_changed = is_third || !request.header("if-match").is_empty();
        if is_changed { Some(Answer::s3_error(412, "PreconditionFailed")) } else { takes_uploads(request) }
    });
    let copy = invoke(&world, &stub, "copy big copied", "");
    let output = copy.args(["--read-size", "8GiB", "--write-size", "8GiB"]).ends().exited_with(1);
    // It counts like any other try, because a writer of objects could cause it again and again.
    assert_eq!(output.json()["outcome"], "retry", "{output}");
    let says = |line: &String| line.contains("changed while it was copied");
    assert!(output.stderr.iter().any(says), "{output}");
    let seen = stub.seen();
    assert!(
        seen.iter().any(|request| request.method == "DELETE" && request.target.contains("uploadId=upload"))
    );
    assert!(!seen.iter().any(|request| request.method == "POST" && request.target.contains("uploadId")));
}

#[test]
fn an_error_that_comes_with_a_good_status_is_an_error() {
    let world = World::new();
    let stub = s3(|request| {
        let is_copy = !request.header("x-amz-copy-source").is_empty();
        holds_small(request).or_else(|| is_copy.then(|| Answer::s3_error(200, "PreconditionFailed")))
    });
    let output = invoke(&world, &stub, "copy small copied", "").ends().exited_with(1);
    assert_eq!(output.json()["reason"], "precondition-failed", "{output}");
}

#[test]
fn a_store_whose_key_or_acl_cannot_be_used_is_the_hosts_failure_and_no_messages() {
    let world = World::new();
    for (status, code) in [(400, "KMS.DisabledException"), (400, "AccessControlListNotSupported")] {
        let stub = s3(move |request| (request.method == "PUT").then(|| Answer::s3_error(status, code)));
        let output = invoke(&world, &stub, "put small x", "?encryption=kms").ends().exited_with(1);
        assert_eq!(output.json()["outcome"], "host-failed", "{code}: {output}");
        assert!(output.json()["reason"].as_str().expect("text").contains(code), "{output}");
    }
}

/// The answer to a HEAD has only a status, and most statuses can be the fault of a message, an object or a token alike.
#[test]
fn what_a_head_is_refused_for_is_the_objects_matter_or_the_workers() {
    let world = World::new();
    for (code, outcome) in [
        // An invalid version; a key that the object's writer withholds; an expired token.
        ("InvalidArgument", "rejected"),
        ("InvalidRequest", "rejected"),
        ("ExpiredToken", "host-failed"),
        ("", "host-failed"),
    ] {
        for message in ["head x", "copy x copied", "range 4 4 x"] {
            let stub = s3(move |request| match &*request.method {
                "HEAD" => Some(Answer::new(400, "")),
                "GET" if !is(request, "GET", "/bucket-in/from/x") => None,
                "GET" if code.is_empty() => Some(Answer::new(206, "x").with("content-range", "bytes 0-0/1")),
                _ => Some(Answer::s3_error(400, code)),
            });
            let output = invoke(&world, &stub, message, "").ends().exited_with(1);
            assert_eq!(output.json()["outcome"], outcome, "{message} {code}: {output}");
        }
    }
}

#[test]
fn a_copy_that_is_refused_is_the_failure_of_the_store_that_refuses_alone() {
    let world = World::new();
    for (status, code, of_source, of_destination) in [
        (403, "AccessDenied", "rejected", "rejected"),
        (400, "KMS.DisabledException", "rejected", "host-failed"),
    ] {
        for (failed, outcome) in [("input", of_source), ("output", of_destination)] {
            let stub = s3(move |request| {
                let is_copy = !request.header("x-amz-copy-source").is_empty();
                let is_refused = is_copy || failed == "input" && is(request, "GET", "/bucket-in/from/small");
                if is_refused { Some(Answer::s3_error(status, code)) } else { holds_small(request) }
            });
            let output = invoke(&world, &stub, "copy small copied", "").ends().exited_with(1);
            assert_eq!(output.json()["outcome"], outcome, "{failed} {code}: {output}");
            assert_eq!(output.logs_of("a host call failed")[0]["alias"], failed, "{code}: {output}");
        }
    }
}

#[test]
fn a_write_that_meets_others_each_time_is_no_failure_of_the_store() {
    let world = World::new();
    let stub =
        s3(|request| (request.method == "PUT").then(|| Answer::s3_error(409, "ConditionalRequestConflict")));
    let output = invoke(&world, &stub, "put-new new x", "").ends().exited_with(1);
    assert_eq!(output.json()["outcome"], "retry", "{output}");
}

#[test]
fn a_write_that_meets_another_one_is_tried_again() {
    let world = World::new();
    let conflicts = AtomicUsize::new(0);
    let stub = s3(move |request| {
        let is_put = is(request, "PUT", "/bucket-out/to/new");
        if is_put && conflicts.fetch_add(1, Ordering::Relaxed) < 2 {
            return Some(Answer::s3_error(409, "ConditionalRequestConflict"));
        }
        takes_uploads(request)
    });
    let output = invoke(&world, &stub, "put-new new x", "").succeeds();
    assert_eq!(output.json()["outcome"], "completed", "{output}");
    let puts: Vec<_> = stub.seen().into_iter().filter(|request| request.method == "PUT").collect();
    assert_eq!(puts.len(), 3, "{output}");
    assert!(puts.iter().all(|put| put.header("if-none-match") == "*"));
}

#[test]
fn objects_are_encrypted_and_owned_as_their_grant_says_however_they_are_written() {
    let world = World::new();
    let settings = "?encryption=kms&kms-key=alias/thumbs&acl=bucket-owner-full-control";
    for (message, operation) in
        [("put small x", "PUT"), ("write-bytes 9000000 large", "POST"), ("copy small copied", "PUT")]
    {
        let stub = s3(|request| {
            let found = Answer::new(200, "").with("content-length", 3).with("etag", "\"abc\"");
            if request.method == "HEAD" { Some(found) } else { takes_uploads(request) }
        });
        let output = invoke(&world, &stub, message, settings).succeeds();
        assert_eq!(output.json()["outcome"], "completed", "{output}");
        let seen = stub.seen();
        let first = seen.iter().find(|request| request.method == operation).expect("a write");
        assert_eq!(first.header("x-amz-server-side-encryption"), "aws:kms", "{message}");
        assert_eq!(first.header("x-amz-server-side-encryption-aws-kms-key-id"), "alias/thumbs");
        assert_eq!(first.header("x-amz-acl"), "bucket-owner-full-control");
    }
}

#[test]
fn a_content_that_breaks_off_is_read_on_from_there_and_only_if_it_is_still_the_same() {
    let world = World::new();
    let stub = s3(|request| {
        if !is(request, "GET", "/bucket-in/from/text") {
            return None;
        }
        Some(match request.header("range") {
            "" => Answer::new(200, "hello ").with("content-length", 11).with("etag", "\"abc\""),
            "bytes=6-10" if request.header("if-match") == "\"abc\"" => {
                Answer::new(206, "world").with("content-range", "bytes 6-10/11").with("etag", "\"abc\"")
            }
            _ => Answer::s3_error(412, "PreconditionFailed"),
        })
    });
    let output = invoke(&world, &stub, "get text", "").succeeds();
    assert!(output.stderr.iter().any(|line| line.contains("hello world")), "{output}");
}

#[test]
fn a_server_that_ignores_ranges_is_not_believed() {
    let world = World::new();
    let stub = s3(|request| {
        let content = Answer::new(200, "0123456789").with("etag", "\"abc\"");
        is(request, "GET", "/bucket-in/from/text").then_some(content)
    });
    let output = invoke(&world, &stub, "range 4 6 text", "").ends().exited_with(1);
    assert_eq!(output.json()["outcome"], "host-failed", "{output}");
    assert!(output.json()["reason"].as_str().expect("text").contains("another part"), "{output}");
}

#[test]
fn what_a_server_says_of_objects_is_bounded_and_never_leads_out_of_the_grant() {
    let world = World::new();
    let stub = s3(|request| {
        if request.method == "HEAD" {
            let found = Answer::new(200, "").with("content-length", 3);
            let found = found.with("etag", format!("\"{}\"", "e".repeat(8000)));
            return Some(found.with("x-amz-version-id", "v".repeat(8000)).with("x-amz-meta-a", "\u{fc}"));
        }
        if !request.target.contains("list-type=2") {
            return None;
        }
        let object = |key: &str| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>");
        let page = |keys: &[&str], truncated: bool| {
            let keys: String = keys.iter().map(|key| object(key)).collect();
            Answer::new(
                200,
                format!(
                    "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>{keys}</ListBucketResult>"
                ),
            )
        };
        Some(match request.target.contains("start-after=") {
            // A page that contains only the folder itself, with more pages to come.
            false => page(&["from/"], true),
            true => page(&["from/a", "secret/b", "from/%FF", "from/c"], false),
        })
    });
    let output = invoke(&world, &stub, "list ", "").succeeds();
    assert!(output.stderr.iter().any(|line| line.contains("listed 2: a c")), "{output}");
    assert!(!output.stderr.iter().any(|line| line.contains("secret")), "{output}");
    let output = invoke(&world, &stub, "head x", "").succeeds();
    assert!(output.stderr.iter().any(|line| line.contains("found x of 3 bytes")), "{output}");
    let absurd = s3(|request| {
        (request.method == "HEAD").then(|| Answer::new(200, "").with("content-length", u64::MAX))
    });
    let output = invoke(&world, &absurd, "head x", "").ends().exited_with(1);
    assert_eq!(output.json()["outcome"], "host-failed", "{output}");
}
