//! Requests and responses of HTTP/1.1.

use super::Service;
use crate::harness::{PATIENCE, Wire};
use std::io;
use std::time::Duration;

const MIB: usize = 1 << 20;

#[test]
fn each_request_of_a_kept_connection_has_an_instance_of_its_own() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    for _ in 0..3 {
        let response = client.get("/count");
        assert_eq!((response.status(), &*response.text()), (200, "1"), "{response:?}");
        assert_eq!((response.header("content-length"), response.header("content-type")), ("1", "text/plain"));
        assert_ne!(response.header("date"), "");
    }
    assert_eq!(client.get("/status/418").status(), 418);
    // Of HTTP/1.0, a connection ends with its response.
    let mut old = service.connect();
    old.send("GET /hello HTTP/1.0\r\nhost: old.test\r\n\r\n");
    assert!(old.response().is_whole);
    assert_eq!(old.until_closed(), b"");
}

#[test]
fn a_request_of_an_old_client_that_names_no_host_is_for_the_server_itself() {
    let service = Service::start(&[]);
    let mut old = service.connect();
    old.send("GET /headers HTTP/1.0\r\n\r\n");
    let response = old.response();
    let text = response.text();
    assert_eq!(text.lines().nth(2), Some(&*service.address.to_string()), "{text}");
    let mut client = service.connect();
    client.send("GET /headers HTTP/1.1\r\n\r\n");
    assert_eq!(client.response().status(), 400);
}

#[test]
fn a_handler_sees_a_request_as_it_was_sent() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    let headers = [
        ("x-forwarded-for", "203.0.113.7, 10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=203.0.113.7"),
        ("accept", "text/html"),
        ("x-twice", "one"),
        ("x-twice", "two"),
    ];
    client.send_head("PATCH", "/headers/a%2Fb?q=1&r=%20", &headers);
    let response = client.response();
    let text = response.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["Method::Patch", "/headers/a%2Fb?q=1&r=%20", "service.test"], "{text}");
    for (name, value) in headers {
        assert!(lines.contains(&&*format!("{name}: {value}")), "{name} in {text}");
    }
    // A method that nobody knows is the handler's to judge.
    client.send_head("BREW", "/headers", &[]);
    assert!(client.response().text().starts_with("Method::Other(\"BREW\")"));
}

#[test]
fn a_response_to_head_has_no_body_and_the_connection_is_kept() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    client.send_head("HEAD", "/hello", &[]);
    let head = client.head();
    assert_eq!((head.status, head.header("content-length")), (200, "6"));
    // What follows is the next response.
    assert_eq!(client.get("/hello").text(), "hello\n");
    let (_, usage) = service.stop();
    assert!(usage.iter().all(|task| task["outcome"] == "completed"), "{usage:?}");
}

#[test]
fn bodies_are_framed_by_length_or_in_chunks_as_each_side_wishes() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    let sized = client.post("/echo-sized", &[("content-type", "image/x-test")], "abc");
    assert_eq!((sized.header("content-length"), sized.header("transfer-encoding")), ("3", ""));
    assert_eq!((&*sized.text(), sized.header("content-type"), sized.is_whole), ("abc", "image/x-test", true));

    client.send_head("POST", "/echo", &[("transfer-encoding", "chunked")]);
    for part in ["first ", "second ", "third", ""] {
        client.send_chunk(part);
    }
    let chunked = client.response();
    // A small response that is there as a whole says its length.
    assert_eq!((chunked.header("content-length"), chunked.header("transfer-encoding")), ("18", ""));
    assert_eq!((&*chunked.text(), chunked.is_whole), ("first second third", true));
    let slow = client.get("/slow/2/20");
    assert_eq!((slow.header("content-length"), slow.header("transfer-encoding")), ("", "chunked"));
    assert_eq!((&*slow.text(), slow.is_whole), ("part\npart\n", true));

    let empty = client.post("/echo-sized", &[], "");
    assert_eq!((&*empty.text(), empty.header("content-length"), empty.is_whole), ("", "0", true));
    assert_eq!(client.get("/length").text(), "0");
}

#[test]
fn a_client_that_expects_100_is_told_to_continue_when_the_handler_reads() {
    let service = Service::start(&[]);
    let expects = [("expect", "100-continue"), ("content-length", "5")];
    let mut client = service.connect();
    client.send_head("POST", "/length", &expects);
    assert_eq!(client.head().status, 100);
    client.send("12345");
    assert_eq!(client.response().text(), "5");
    // A handler that doesn't read the body never asks for it.
    client.send_head("POST", "/status/403", &expects);
    assert_eq!(client.response().status(), 403);
}

#[test]
fn trailers_travel_both_ways() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    client.send_head("GET", "/trailers", &[("te", "trailers")]);
    let response = client.response();
    assert!(response.is_whole, "{response:?}");
    assert_eq!(response.trailers, [("x-sum".to_owned(), "42".to_owned())]);
    // Those of a request reach the handler, and are no part of its body.
    client.send_head("POST", "/echo", &[("transfer-encoding", "chunked"), ("trailer", "x-sum")]);
    client.send_chunk("content");
    client.send("0\r\nx-sum: 7\r\n\r\n");
    assert_eq!(client.response().text(), "content");
}

#[test]
fn a_response_arrives_while_its_handler_goes_on() {
    let service = Service::start(&[]);
    let mut client = service.ask("/stream/go");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.chunk().expect("a chunk"), Some(b"first ".to_vec()));
    service.go("go");
    assert_eq!(client.chunk().expect("a chunk"), Some(b"last".to_vec()));
    assert_eq!(client.chunk().expect("a chunk"), Some(Vec::new()));
}

#[test]
fn a_hundred_mebibytes_travel_both_ways_in_little_memory() {
    const TOTAL: usize = 100 * MIB;
    let service = Service::start(&["--memory", "8MiB", "--timeout", "10m"]);
    service.is_well();
    let before = service.process.vitals().resident;
    service.process.forget_peak();
    let mut client = service.connect();
    client.send_head(
        "POST",
        "/echo",
        &[("content-length", &*TOTAL.to_string()), ("content-type", "text/plain")],
    );
    let mut sender = client.twin();
    let sending = std::thread::spawn(move || {
        for part in 0..TOTAL / MIB {
            sender.send(vec![part as u8; MIB]);
        }
    });
    let response = client.response();
    sending.join().expect("sent");
    assert!(response.is_whole);
    assert_eq!(response.body.len(), TOTAL);
    assert!(
        response.body.chunks(MIB).enumerate().all(|(part, bytes)| bytes.iter().all(|b| *b == part as u8))
    );
    let held = service.process.vitals().peak - before;
    println!("the service held {} KiB more", held >> 10);
    assert!(held < 24 << 20, "{held}");
}

/// The client can't send more than the buffers on the way hold while it reads nothing.
#[test]
fn a_client_that_does_not_read_is_held_up() {
    let service = Service::start(&["--memory", "8MiB", "--timeout", "10m"]);
    service.is_well();
    let before = service.process.vitals().resident;
    let mut client = service.connect();
    client.send_head("POST", "/echo", &[("content-length", &*(200 * MIB).to_string())]);
    client.stalls_within(Duration::from_secs(2));
    let mut sent = 0;
    let error = loop {
        match client.try_send(vec![b'x'; MIB]) {
            Ok(()) => sent += MIB,
            Err(error) => break error,
        }
        assert!(sent < 100 * MIB, "nothing holds it up");
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
    let held = service.process.vitals().resident.saturating_sub(before);
    println!("the client sent {} MiB, and the service held {} KiB more", sent / MIB, held >> 10);
    assert!(held < 24 << 20, "{held}");
    drop(client);
    service.process.until_logged(super::GONE);
}

#[test]
fn what_no_handler_can_be_asked_is_refused_without_a_task() {
    let service = Service::start(&["--http-received-size", "1MiB"]);
    let refused = |request: &str| {
        let mut client = service.connect();
        client.send(request);
        client.response().status()
    };
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a/b@c d\r\n\r\n", 400),
        ("GET http://a.test/ HTTP/1.1\r\n\r\n", 400),
        ("GET http://a.test/ HTTP/1.1\r\nhost: a.test\r\nhost: b.test\r\n\r\n", 400),
        ("GET http://user@a.test/ HTTP/1.1\r\nhost: a.test\r\n\r\n", 400),
        ("GET ftp://a.test/ HTTP/1.1\r\nhost: a.test\r\n\r\n", 400),
        ("GET a.test:80 HTTP/1.1\r\nhost: a.test\r\n\r\n", 400),
        ("POST /length HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test\r\n\r\n", 405),
        ("POST /length HTTP/1.1\r\nhost: a.test\r\ncontent-length: 1048577\r\n\r\n", 413),
        ("POST /length HTTP/1.1\r\nhost: a.test\r\ncontent-length: 99999999999999999999\r\n\r\n", 400),
    ] {
        assert_eq!(refused(request), status, "{request:?}");
    }
    service.is_well();
    let (_, usage) = service.stop();
    assert_eq!(usage.len(), 1, "only the last one ran");
}

/// Requests that are sent before the responses to earlier ones are answered in their order.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    let requests: String = (200..210)
        .map(|status| format!("GET /status/{status} HTTP/1.1\r\nhost: service.test\r\n\r\n"))
        .collect();
    client.send(requests);
    // 204 and 205 have no body.
    let statuses: Vec<_> = [200, 201, 202, 203].map(|_| client.response().status()).to_vec();
    assert_eq!(statuses, [200, 201, 202, 203]);
}

#[test]
fn a_connection_is_used_for_many_requests_in_turn() {
    let service = Service::start(&[]);
    let mut client: Wire = service.connect();
    let began = std::time::Instant::now();
    for size in (0..200).map(|step| step * 997) {
        let response = client.get(&format!("/large/{size}"));
        assert_eq!((response.body.len(), response.is_whole), (size, true));
        let response = client.post("/length", &[], vec![b'x'; size]);
        assert_eq!(response.text(), size.to_string());
    }
    assert!(began.elapsed() < PATIENCE);
    let (output, usage) = service.stop();
    assert_eq!(usage.len(), 400);
    assert_eq!(output.summary()["outcomes"]["completed"], 400);
}
