//! Granted directories: objects that a program reads and writes as files.

use super::{ended, program, said};
use crate::harness::{Answer, Command, Stub, World};
use serde_json::{Value, json};

/// One task of the guest `program` that acts on files.
fn file(world: &World, action: &str) -> Command {
    program(world, &format!("file {action}"), "x")
}

/// The same, with the stores `input` and `output` as directories.
fn granted(world: &World, action: &str) -> Command {
    file(world, action).args(["--dir", "/in=input", "--dir", "/out/deep=output:results/:wo"])
}

#[test]
fn objects_are_read_as_files() {
    let world = World::new();
    world.write("in/a/b.txt", "0123456789");
    world.write("in/c", "");
    world.write("in/large", vec![7; 3_000_000]);
    for (action, expected) in [
        ("read /in/a/b.txt", "0123456789"),
        ("read in/a/../a/./b.txt", "0123456789"),
        ("part /in/a/b.txt 3 4", "34569"),
        ("sum /in/large", "3000000 21000000"),
        ("sum /in/c", "0 0"),
        ("stat /in/a/b.txt", "file 10 true"),
        ("stat /in/a", "directory 0 false"),
        ("stat /out", "directory 0 false"),
        ("list /", "in/ message.json out/"),
        ("list /in", "a/ c large"),
        ("list /in/a", "b.txt"),
        ("list /out", "deep/"),
        ("read /in/none", "error: NotFound"),
        ("list /in/none", "error: NotFound"),
        ("read /in/a", "error: IsADirectory"),
        ("read /etc/passwd", "error: NotFound"),
        ("read /in/../../etc/passwd", "error: PermissionDenied"),
        ("read /in/a/b.txt/c", "error: NotFound"),
        ("list /out/deep", "error: PermissionDenied"),
        ("read /out/deep/x", "error: NotFound"),
    ] {
        assert_eq!(said(granted(&world, action)), expected, "{action}");
    }
    let report = granted(&world, "copy /in/large /out/deep/copy").ends().json();
    let usage = &report["usage"];
    assert_eq!(
        (&usage["bytes_read"], &usage["bytes_written"]),
        (&json!(3_000_000), &json!(3_000_000)),
        "{report}"
    );
}

#[test]
fn a_listing_does_not_read_what_lies_deeper() {
    let world = World::new();
    for number in 0..1000 {
        world.write(&format!("in/deep/{number:04}/x"), "");
    }
    world.write("in/last", "");
    // Two pages, and three calls for the types of the two entries.
    let report = granted(&world, "list /in").ends().json();
    assert_eq!(report["usage"]["stores"]["input"]["calls"].as_u64(), Some(5), "{report}");
    assert_eq!(said(granted(&world, "list /in")), "deep/ last");
    assert!(said(granted(&world, "list /in/deep")).starts_with("0000/ 0001/ 0002/"));
}

#[test]
fn a_prefix_is_all_that_a_directory_shows() {
    let world = World::new();
    world.write("in/a/b/x", "inside");
    world.write("in/a/secret", "outside");
    let of = |action: &str| said(file(&world, action).args(["--dir", "/=input:a/b/"]));
    assert_eq!(of("list /"), "x");
    assert_eq!(of("read /x"), "inside");
    for action in ["read /../secret", "read ../secret"] {
        assert_eq!(of(action), "error: PermissionDenied", "{action}");
    }
    assert_eq!(of("read /secret"), "error: NotFound");
}

#[test]
fn the_message_is_described_in_a_file() {
    let world = World::new();
    let text = said(file(&world, "read /message.json").args(["--attribute", "tenant=a"]));
    let message: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(message["attributes"], json!({"tenant": "a"}));
    assert_eq!(said(file(&world, "write /message.json 1")), "error: ReadOnlyFilesystem");
}

#[test]
fn files_become_objects_when_the_task_completes() {
    let world = World::new();
    world.write("in/a", "content");
    granted(&world, "copy-and-complete /in/a /out/deep/x/y").succeeds();
    granted(&world, "write /out/deep/large 3000000").succeeds();
    granted(&world, "fill /out/deep/many 50").succeeds();
    granted(&world, "make /out/deep/m/n").succeeds();
    assert_eq!(world.read("out/results/x/y"), b"content");
    assert_eq!(world.read("out/results/large"), vec![b'x'; 3_000_000]);
    assert_eq!(world.keys("out/results/many").len(), 50);
    assert_eq!(world.keys("out/results"), ["large", "many", "x"]);
}

#[test]
fn a_task_that_does_not_complete_leaves_no_file() {
    let world = World::new();
    let limits = ["--fuel", "2000000000", "--write-size", "8MiB", "--handles", "20"];
    for (action, outcome, reason) in [
        ("grow-on /out/deep/x", "limit-exceeded", "write-size"),
        ("write-on /out/deep", "limit-exceeded", "handles"),
        ("seek-and-write /out/deep/x", "rejected", "NotSeekable"),
    ] {
        let (seen, why) = ended(granted(&world, action).args(limits));
        assert_eq!(seen, outcome, "{action}: {why}");
        assert!(why.contains(reason), "{action}: {why}");
        assert_eq!(world.keys("out"), [""; 0], "{action}");
    }
}

#[test]
fn nothing_is_completed_if_a_file_could_not_be_written_even_if_the_guest_does_not_care() {
    for action in ["write /out/a 10", "write-whatever-comes /out/a 30000000 /out/b"] {
        let world = World::new();
        let stub = Stub::answering(|request| match &*request.method {
            "PUT" | "POST" if request.target.contains("/to/a") => Answer::s3_error(403, "AccessDenied"),
            _ if request.is_probe() => Answer::no_such_key(),
            _ => Answer::new(200, "").with("etag", "\"e\""),
        });
        let command = file(&world, action)
            .args(["--store", "bucket=s3://bucket/to:wo", "--dir", "/out=bucket:wo"])
            .args(["--output-object", "output:result"]);
        let report = stub.environment(command).ends().exited_with(1).json();
        assert_eq!(report["outcome"], "retry", "{action}: {report}");
        assert!(
            report["reason"].as_str().is_some_and(|reason| reason.contains("refuses access")),
            "{action}: {report}"
        );
        let seen = stub.seen();
        let is_other = |target: &str| target.contains("/to/b");
        assert!(!seen.iter().any(|request| request.method == "PUT" && is_other(&request.target)), "{action}");
        assert_eq!(world.keys("out"), [""; 0], "{action}");
    }
}

#[test]
fn what_a_store_cannot_do_is_refused_and_changes_nothing() {
    let world = World::new();
    world.write("out/a", "kept");
    let of =
        |action: &str| said(file(&world, action).args(["--dir", "/out=output:rw", "--dir", "/in=input"]));
    for (action, expected) in [
        ("write /in/x 1", "error: ReadOnlyFilesystem"),
        ("make /in/x", "error: ReadOnlyFilesystem"),
        ("write /x 1", "error: ReadOnlyFilesystem"),
        ("make /x", "error: ReadOnlyFilesystem"),
        ("make /out/a", "error: AlreadyExists"),
        ("new /out/a", "error: AlreadyExists"),
        ("append /out/a", "error: Unsupported"),
        ("remove /out/a", "error: Unsupported"),
        ("rename /out/a /out/b", "error: Unsupported"),
        ("remove-directory /out", "error: Unsupported"),
        ("write /out 1", "error: IsADirectory"),
        ("write /out/a/ 1", "error: NotADirectory"),
    ] {
        assert_eq!(of(action), expected, "{action}");
    }
    assert_eq!((world.keys("out"), world.read("out/a")), (vec!["a".to_owned()], b"kept".to_vec()));
    file(&world, "write /out/a 3").args(["--dir", "/out=output:rw"]).succeeds();
    assert_eq!(world.read("out/a"), b"xxx");
}

#[test]
fn a_guest_that_holds_files_is_ended_by_its_limit_of_handles() {
    let world = World::new();
    world.write("in/a", vec![1; 500_000]);
    for action in ["open-on /in/a", "stream-on in/a", "list-on in"] {
        let (outcome, reason) = ended(granted(&world, action).args(["--handles", "50"]));
        assert_eq!((&*outcome, reason.contains("handles")), ("limit-exceeded", true), "{action}: {reason}");
    }
    assert!(said(granted(&world, "make-on /out/deep")).starts_with("error: "));
}

#[test]
fn a_directory_that_cannot_be_granted_is_refused_at_the_start() {
    let world = World::new();
    for (flags, said) in [
        (&["--dir", "/in=nowhere"][..], "the store \"nowhere\", which is not granted"),
        (&["--dir", "/in=input:rw"], "grant the store as rw"),
        (&["--dir", "in=input"], "does not begin with a slash"),
        (&["--dir", "/a=input", "--dir", "/a/b=input:x/"], "lies in the directory /a"),
        (&["--dir", "/a=input:../x/"], "`..` segment"),
    ] {
        let command = program(&world, "ok", "x").args(flags);
        command.fails_with(2, said);
    }
}
