//! The example `upload` with the example `thumbnail`: a picture that is sent over HTTP becomes a thumbnail.

use crate::harness::{Amazon, Command, Depth, Process, Wire, World, guest, photograph, wait_until};
use std::net::SocketAddr;

fn serve(world: &World) -> Command {
    let command = world.wasmrun(["serve", "--listen", "0", "--usage", "usage.jsonl"]);
    command.arg(guest("upload"))
}

/// A service that stores uploads in `in`.
fn local(world: &World) -> (Process, SocketAddr) {
    let bucket = format!("BUCKET=dir:{}", world.path("in").display());
    let process = serve(world)
        .args(["--store", "uploads=dir:in:wo", "--send", "jobs=sqlite:jobs.db", "--env", &bucket])
        .start();
    let address = process.serves_at();
    (process, address)
}

#[test]
fn an_upload_becomes_an_object_a_message_and_a_thumbnail() {
    let world = World::with_queue(&[]);
    let (service, address) = local(&world);
    let mut client = Wire::to(address);
    let picture = photograph();
    let response = client.post("/2026/cup.jpg", &[("content-type", "image/jpeg")], &picture);
    assert_eq!((response.status(), response.header("location")), (201, "/2026/cup.jpg"), "{response:?}");
    assert_eq!(world.read("in/2026/cup.jpg"), picture);
    client.send_head("PUT", "/tea.jpg", &[("transfer-encoding", "chunked")]);
    picture.chunks(100_000).for_each(|part| client.send_chunk(part));
    client.send_chunk("");
    assert_eq!(client.response().status(), 201);
    assert_eq!(world.depth(), Depth::visible(2));
    service.stop();

    world.run("thumbnail").arg("--until-empty").succeeds().each_ran_once(2);
    for thumbnail in ["out/2026/cup.jpg.jpg", "out/tea.jpg.jpg"] {
        assert!(world.read(thumbnail).starts_with(b"\xff\xd8\xff"), "{thumbnail}");
    }
}

#[test]
fn a_file_of_any_bytes_is_uploaded_by_hand_as_a_whole_or_refused() {
    let world = World::with_queue(&[]);
    let bytes: Vec<u8> = (0..3 << 19).map(|number| (number % 251) as u8).collect();
    world.write("bytes", &bytes);
    let grants = ["--store", "uploads=dir:in:wo", "--send", "jobs=sqlite:jobs.db", "--env", "BUCKET=dir:in"];
    let invoke = || world.wasmrun(["invoke", "--http", "PUT /whole", "--message", "@bytes"]).args(grants);
    invoke()
        .args(["--http-received-size", "1MiB"])
        .arg(guest("upload"))
        .fails_with(2, "--http-received-size");
    assert!(!world.path("in/whole").exists());
    invoke().arg(guest("upload")).succeeds();
    assert!(world.read("in/whole") == bytes, "it is cut");
}

#[test]
fn an_upload_to_sqs_and_s3_becomes_an_object_with_its_content_type_and_a_thumbnail() {
    let Some((world, amazon, queue)) = Amazon::with_jobs(30, 3) else { return };
    let command = serve(&world)
        .args(["--store", "uploads=s3://bucket-in/new:wo", "--send", &format!("jobs={queue}")])
        .args(["--env", "BUCKET=s3://bucket-in/new"]);
    let service = amazon.environment(command).start();
    let picture = photograph();
    let mut client = Wire::to(service.serves_at());
    let response = client.post("/cup.jpg", &[("content-type", "image/jpeg")], &picture);
    assert_eq!(response.status(), 201, "{response:?}");
    assert_eq!(amazon.get("bucket-in", "new/cup.jpg"), Some((picture, Some("image/jpeg".into()))));
    wait_until("the message is there", || amazon.depth(&queue)[0] == 1);
    service.stop();

    let worker = world.wasmrun(["run", "--queue", &queue, "--until-empty"]).arg(guest("thumbnail")).args([
        "--store",
        "input=s3://bucket-in:ro",
        "--store",
        "output=s3://bucket-out:rw",
    ]);
    amazon.environment(worker).succeeds().each_ran_once(1);
    assert_eq!(amazon.keys("bucket-out"), ["new/cup.jpg.jpg"]);
}

#[test]
fn a_wrong_name_or_method_is_answered_with_what_is_right() {
    let world = World::with_queue(&[]);
    let (service, address) = local(&world);
    let mut client = Wire::to(address);
    for path in ["/", "/a//b", "/../in/a", "/a/./b", "/a%2Fb", "/%41", "/a+b", "/a/", "/tea%20cup.jpg"] {
        let response = client.post(path, &[], "content");
        assert_eq!((response.status(), response.text().lines().count()), (400, 1), "{path}: {response:?}");
    }
    for method in ["GET", "DELETE", "BREW"] {
        client.send_head(method, "/a.jpg", &[]);
        let response = client.response();
        assert_eq!((response.status(), response.header("allow")), (405, "PUT, POST"), "{method}");
    }
    assert_eq!((world.keys("in").len(), world.depth()), (0, Depth::EMPTY));
    service.stop();
}

/// A status of 500 would tell the operator of an error that isn't the service's.
#[test]
fn a_name_or_content_type_that_no_store_keeps_is_answered_as_the_clients_mistake() {
    let world = World::with_queue(&[]);
    let (service, address) = local(&world);
    let mut client = Wire::to(address);
    assert_eq!(client.post("/taken", &[], "content").status(), 201);
    let (long, long_part) = (format!("/{}", ["a"; 513].join("/")), format!("/{}", "a".repeat(256)));
    let long_type = format!("image/{}", "x".repeat(251));
    for (path, content_type) in [
        ("/a.jpg", "image/jp\u{e9}g"),
        ("/a.jpg", &*long_type),
        ("/a.jpg", "image/jpeg;\ta=b"),
        (&*long, "image/jpeg"),
        (&*long_part, "image/jpeg"),
        ("/taken/below", "image/jpeg"),
    ] {
        let response = client.post(path, &[("content-type", content_type)], "content");
        let said = (response.status(), response.text().contains("at most 1,024 characters"));
        assert_eq!(said, (400, true), "{path} {content_type}: {response:?}");
    }
    assert_eq!((world.keys("in"), world.depth()), (vec!["taken".to_owned()], Depth::visible(1)));
    service.stop();
}

/// Whether the client has sent little or much of it, and whether it had said how much would come.
#[test]
fn an_upload_that_breaks_off_leaves_no_object_and_no_message() {
    let world = World::with_queue(&[]);
    let (service, address) = local(&world);
    for sent in [10, 200_000] {
        let mut sized = Wire::to(address);
        sized.send_head("PUT", "/sized.jpg", &[("content-length", "1000000")]);
        sized.send(vec![b'x'; sent]);
        let mut chunked = Wire::to(address);
        chunked.send_head("PUT", "/chunked.jpg", &[("transfer-encoding", "chunked")]);
        chunked.send_chunk(vec![b'x'; sent]);
    }
    // Those that had begun have ended before this one, or are about to.
    let response = Wire::to(address).post("/whole.jpg", &[], "whole");
    assert_eq!(response.status(), 201);
    service.stop();
    assert_eq!(world.keys("in"), ["whole.jpg"]);
    assert_eq!(world.depth(), Depth::visible(1));
}

#[test]
fn an_upload_that_cannot_be_announced_is_answered_with_an_error() {
    let world = World::with_queue(&[]);
    let process =
        serve(&world).args(["--store", "uploads=dir:in:wo", "--send", "jobs=sqlite:jobs.db"]).start();
    // The operator has forgotten to name the bucket.
    let response = Wire::to(process.serves_at()).post("/a.jpg", &[], "content");
    assert_eq!(response.status(), 500);
    assert!(!response.text().contains("BUCKET"), "{response:?}");
    process.stop();
    assert_eq!((world.keys("in").len(), world.depth()), (0, Depth::EMPTY));
}
