//! What a client sees of a handler that fails: a status without details, and never half of a response as if it were whole.

use super::{Service, USAGE};
use crate::harness::{field, wait_until};
use std::io::ErrorKind;

/// A text in the guest that no client may see.
const SECRET: &str = "the secret of the guest";
const LIMITS: [&str; 6] = ["--fuel", "100000000", "--memory", "16MiB", "--timeout", "1s"];

/// The path, the status, the outcome, and the limit or the reason in the log.
const FAILURES: [(&str, u16, &str, &str); 10] = [
    ("/panic", 500, "trapped", SECRET),
    ("/exit/0", 500, "trapped", ""),
    ("/exit/1", 500, "trapped", ""),
    ("/none", 500, "rejected", "without a response"),
    ("/error", 500, "rejected", SECRET),
    // An intermediary could take the first for the beginning of another protocol.
    ("/status/101", 500, "rejected", "no final status"),
    ("/status/103", 500, "rejected", "no final status"),
    ("/spin", 500, "limit-exceeded", "fuel"),
    ("/allocate", 500, "limit-exceeded", "memory"),
    ("/sleep/60000", 504, "timed-out", ""),
];

#[test]
fn a_failure_has_a_status_and_an_id_whose_details_are_in_the_log() {
    let service = Service::start(&LIMITS);
    let mut ids = Vec::new();
    for (path, status, ..) in FAILURES {
        let mut client = service.connect();
        let response = client.get(path);
        assert_eq!(response.status(), status, "{path}: {response:?}");
        assert!(response.is_whole, "{path}");
        let text = response.text();
        let (line, id) = text.trim_end().split_once("\nrequest ").unwrap_or_else(|| panic!("no ID: {text}"));
        assert!(line.starts_with(&status.to_string()) && line.len() < 30, "{text}");
        assert!(response.head.headers.iter().all(|(_, value)| !value.contains("wasm")), "{response:?}");
        ids.push(id.to_owned());
        // The connection is as good as before.
        assert_eq!(client.get("/hello").status(), 200, "{path}");
    }
    let (output, usage) = service.stop();
    let failed = output.logs_of("task did not complete");
    for ((path, _, outcome, reason), id) in FAILURES.into_iter().zip(&ids) {
        let task = usage.iter().find(|task| task["message_id"] == **id).expect("its usage");
        assert_eq!(task["outcome"], outcome, "{path}");
        let log = failed.iter().find(|log| log["message_id"] == **id).expect("its log line");
        assert_eq!(log["outcome"], outcome, "{path}");
        assert!(log.to_string().contains(reason), "{path}: {log}");
    }
    assert_eq!(output.summary()["outcomes"]["completed"], FAILURES.len());
}

#[test]
fn a_client_has_no_whole_response_before_the_files_of_its_task_are_stored() {
    let service = Service::start(&["--dir", "/out=output:rw"]);
    service.go("at-once");
    let mut client = service.connect();
    let response = client.get("/file/kept/at-once");
    assert_eq!((response.status(), &*response.text(), response.is_whole), (201, "saved\n", true));
    assert_eq!(service.world.read("out/kept"), b"content");

    client.send_head("GET", "/file/lost/later", &[]);
    let writing = service.world.path("out/.wasmrun/tmp");
    wait_until("the file is being written", || {
        std::fs::read_dir(&writing).is_ok_and(|mut all| all.next().is_some())
    });
    // A directory with objects is in its place.
    service.world.write("out/lost/other", "other");
    service.go("later");
    assert_eq!(client.response().status(), 500);
    let (_, usage) = service.stop();
    assert_eq!(usage.last().expect("a task")["outcome"], "rejected", "{usage:?}");
}

#[test]
fn a_response_whose_handler_fails_halfway_is_cut_off() {
    let service = Service::start(&LIMITS);
    for how in ["panic", "spin", "allocate", "exit", "drop"] {
        let mut client = service.ask(&format!("/half/{how}/{how}-1"));
        let head = client.head();
        assert_eq!((head.status, head.header("transfer-encoding")), (200, "chunked"), "{how}");
        assert_eq!(client.chunk().expect("a chunk"), Some(b"half of it ".to_vec()), "{how}");
        service.go(&format!("{how}-1"));
        assert_eq!(client.until_closed(), b"", "{how}: no last chunk");

        let mut client = service.ask(&format!("/half-sized/{how}/{how}-2"));
        let head = client.head();
        assert_eq!((head.status, head.header("content-length")), (200, "1000"), "{how}");
        service.go(&format!("{how}-2"));
        let response = client.rest(head).expect("the beginning of a body");
        assert_eq!((&*response.text(), response.is_whole), ("half of it ", false), "{how}");
        assert_eq!(client.until_closed(), b"", "{how}");
    }
    service.is_well();
    let (_, usage) = service.stop();
    let failed = usage.iter().filter(|task| task["outcome"] != "completed");
    assert_eq!(failed.count(), 10, "{usage:?}");
}

/// The guest fails before anything of its response was sent: the client may get an error instead, and nothing that looks
/// whole.
#[test]
fn a_response_whose_handler_fails_at_once_is_never_taken_for_a_whole_one() {
    let service = Service::start(&LIMITS);
    for path in ["/half", "/half-sized"] {
        for how in ["panic", "spin", "allocate", "exit", "drop"] {
            match service.ask(&format!("{path}/{how}")).try_response() {
                Ok(response) if response.status() == 500 => assert!(response.is_whole),
                Ok(response) => assert!(!response.is_whole, "{path} {how}: {response:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{path} {how}"),
            }
        }
    }
    service.is_well();
}

/// The handler says that its body is whole, and it's shorter than it had said.
#[test]
fn a_response_that_is_shorter_than_it_says_is_cut_off() {
    let service = Service::start(&LIMITS);
    let mut client = service.ask("/half-sized/finish/go");
    let head = client.head();
    assert_eq!((head.status, head.header("content-length")), (200, "1000"));
    service.go("go");
    let response = client.rest(head).expect("the beginning of a body");
    assert_eq!((&*response.text(), response.is_whole), ("half of it ", false), "{response:?}");
    assert_eq!(client.until_closed(), b"");
    service.is_well();
}

#[test]
fn a_failure_after_the_whole_response_is_the_operators_alone_to_see() {
    let service = Service::start(&LIMITS);
    let response = service.connect().get("/full-then-panic/go");
    service.go("go");
    assert_eq!((response.status(), &*response.text(), response.is_whole), (200, "all of it\n", true));
    wait_until("the task has ended", || !service.world.read(USAGE).is_empty());
    let (output, usage) = service.stop();
    assert_eq!((&usage[0]["outcome"], &usage[0]["http"]["status"]), (&"trapped".into(), &200.into()));
    let log = &output.logs_of("task did not complete")[0];
    assert!(field(log, "reason").contains(SECRET), "{log}");
}

#[test]
fn a_response_that_is_larger_than_the_limit_is_cut_off_and_a_larger_request_is_refused() {
    let service =
        Service::start(&["--http-sent-size", "1MiB", "--http-received-size", "1MiB", "--memory", "16MiB"]);
    let response = service.connect().get("/large/2000000");
    assert!(!response.is_whole && response.body.len() <= 1 << 20, "{}", response.body.len());
    let response = service.connect().get("/head/20000");
    assert_eq!(
        (response.status(), response.header("x-long")),
        (500, ""),
        "a header that is larger than allowed"
    );

    // Of a body in chunks, nobody knows the size before.
    let mut client = service.connect();
    client.send_head("POST", "/length", &[("transfer-encoding", "chunked")]);
    for _ in 0..20 {
        if client.try_send([&b"10000\r\n"[..], &[b'x'; 1 << 16], b"\r\n"].concat()).is_err() {
            break;
        }
    }
    assert_eq!(client.response().status(), 413);
    service.is_well();
    let (_, usage) = service.stop();
    let limits: Vec<_> = usage.iter().filter_map(|task| task["limit"].as_str()).collect();
    assert!(limits.contains(&"http-sent-size") && limits.contains(&"http-received-size"), "{limits:?}");
}
