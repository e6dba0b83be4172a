//! What a guest receives of servers that answer badly or not at all: an error, and never a fault of the host.

use super::{fetch, got};
use crate::harness::{Answer, Raw, Stub, World};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Pause of a server that drips, much shorter than the timeouts.
const DRIP: Duration = Duration::from_millis(20);

/// A server for each way to answer, by the path of the request.
fn bad() -> Raw {
    Raw::serving(|request, client| {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let _ = answer(&path, client);
    })
}

fn answer(path: &str, client: &mut TcpStream) -> std::io::Result<()> {
    let mut head = |text: &str| client.write_all(format!("HTTP/1.1 200 OK\r\n{text}\r\n").as_bytes());
    match path {
        "/close" => client.shutdown(Shutdown::Both),
        "/garbage" => client.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        "/long-header" => head(&format!("x: {}\r\n", "x".repeat(1 << 20))),
        "/many-headers" => head(&"x: y\r\n".repeat(1000)),
        "/endless-header" => {
            client.write_all(b"HTTP/1.1 200 OK\r\nx: ")?;
            loop {
                client.write_all(&[b'x'; 4096])?;
            }
        }
        // Informational heads without end, each a small one.
        "/endless-informational" => loop {
            client
                .write_all(format!("HTTP/1.1 100 Continue\r\nx: {}\r\n\r\n", "x".repeat(4096)).as_bytes())?;
        },
        // A head that never ends, byte by byte.
        "/drip" => {
            client.write_all(b"HTTP/1.1 200 OK\r\nx: ")?;
            loop {
                client.write_all(b"x")?;
                std::thread::sleep(DRIP);
            }
        }
        "/half" => {
            head("content-length: 10\r\n")?;
            client.write_all(b"hello")
        }
        "/endless" => {
            head("")?;
            loop {
                client.write_all(&[b'x'; 4096])?;
            }
        }
        "/then-silent" => {
            head("content-length: 10\r\n")?;
            client.write_all(b"hello")?;
            wait(client)
        }
        "/two-lengths" => head("content-length: 1\r\ncontent-length: 2\r\n"),
        "/bad-chunk" => {
            head("transfer-encoding: chunked\r\n")?;
            client.write_all(b"fffffffffffffffff\r\nx")
        }
        _ => wait(client),
    }
}

/// Says nothing until the client disconnects.
fn wait(client: &mut TcpStream) -> std::io::Result<()> {
    while client.read(&mut [0; 64])? > 0 {}
    Ok(())
}

#[test]
fn a_server_that_answers_badly_is_the_guests_business() {
    let world = World::new();
    let server = bad();
    let url = server.endpoint();
    for (path, reason) in [
        ("close", "ErrorCode::ConnectionTerminated"),
        ("garbage", "ErrorCode::HttpProtocolError"),
        ("long-header", "ErrorCode::HttpResponseHeaderSectionSize"),
        ("endless-header", "ErrorCode::HttpResponseHeaderSectionSize"),
        ("endless-informational", "ErrorCode::HttpResponseHeaderSectionSize"),
        ("many-headers", "ErrorCode::HttpResponseHeaderSectionSize"),
        ("half", "200 failed after 5"),
        ("two-lengths", "ErrorCode::HttpProtocolError"),
        ("bad-chunk", "200 failed after 0"),
    ] {
        let output = fetch(&world, &format!("get {url}/{path}")).args(["--allow-http", &url]).ends();
        assert_eq!(output.outcome(), ("rejected".into(), reason.into()), "{path}: {output}");
        assert!(output.json()["host_error"].is_null(), "{path}: {output}");
    }
    // Nobody listens here.
    let closed = "http://127.0.0.1:1";
    assert_eq!(
        got(fetch(&world, &format!("get {closed}/")).args(["--allow-http", closed])),
        "ErrorCode::ConnectionRefused"
    );
    let unknown = "http://no-such-host.invalid";
    assert_eq!(
        got(fetch(&world, &format!("get {unknown}/")).args(["--allow-http", unknown])),
        "ErrorCode::DnsError"
    );
}

#[test]
fn a_silent_server_ends_in_the_guests_timeout_or_the_workers() {
    let world = World::new();
    let server = bad();
    let url = server.endpoint();
    for (path, reason) in [
        ("silent", "ErrorCode::HttpResponseTimeout"),
        ("drip", "ErrorCode::HttpResponseTimeout"),
        ("then-silent", "200 failed after 5"),
    ] {
        let with = |command: &str| fetch(&world, command).args(["--allow-http", &url]);
        assert_eq!(got(with(&format!("impatient {url}/{path} 200"))), reason, "{path}");
        assert_eq!(
            got(with(&format!("get {url}/{path}")).args(["--http-timeout", "200ms"])),
            reason,
            "{path}"
        );
    }
    // The task's own timeout comes first, and the task is to blame.
    let command =
        fetch(&world, &format!("get {url}/silent")).args(["--allow-http", &url, "--timeout", "500ms"]);
    assert_eq!(command.ends().outcome().0, "timed-out");
}

#[test]
fn limits_of_requests_and_bytes_end_the_task_by_name() {
    let world = World::new();
    let (server, fine) = (bad(), Stub::answering(|_| Answer::new(200, "fine")));
    let (url, fine_url) = (server.endpoint(), fine.endpoint());
    for (command, flags, limit) in [
        (format!("get {url}/endless"), &["--http-received-size", "1MiB"][..], "http-received-size"),
        (format!("post {url}/silent 100000000"), &["--http-sent-size", "1MiB"], "http-sent-size"),
        (format!("drop {fine_url}/ 10000"), &["--http-requests", "20"], "http-requests"),
        ("drop http://other.test/ 10000".into(), &["--http-requests", "20"], "http-requests"),
        (format!("hold {fine_url}/ 10000"), &[], "handles"),
    ] {
        let command =
            fetch(&world, &command).args(["--allow-http", &url, "--allow-http", &fine_url]).args(flags);
        assert_eq!(command.ends().outcome(), ("limit-exceeded".into(), limit.into()));
    }
}

#[test]
fn requests_beyond_the_connections_wait_and_the_end_of_the_task_closes_all() {
    let world = World::new();
    let fine = Stub::answering(|_| Answer::new(200, "x"));
    let url = fine.endpoint();
    let with = |command: &str| fetch(&world, command).args(["--allow-http", &url, "--http-connections", "2"]);
    assert_eq!(got(with(&format!("all {url}/ 10"))), ["200 x"; 10].join(","));
    // Two connections stay open for as long as the task holds them.
    let (ended, closed) = std::sync::mpsc::channel();
    let silent = Raw::serving(move |_, client| {
        let _ = wait(client);
        let _ = ended.send(());
    });
    let url = silent.endpoint();
    let flags = ["--allow-http", &url, "--http-connections", "2", "--timeout", "1s"];
    assert_eq!(fetch(&world, &format!("all {url}/ 10")).args(flags).ends().outcome().0, "timed-out");
    // Requests that waited for the two never connect, also not while the two are being closed at the end.
    assert_eq!(silent.connections(), 2);
    for _ in 0..2 {
        closed.recv().expect("the connection ended");
    }
}

#[test]
fn what_a_guest_builds_of_requests_is_bounded_with_a_grant_and_without() {
    let world = World::new();
    for grant in [&["--allow-http", "api.test"][..], &[]] {
        let long = |length: usize| got(fetch(&world, &format!("long {length}")).args(grant));
        assert_eq!(long(200), "[true, true, true]");
        assert_eq!(long(10_000), "[false, false, false]");
        assert_eq!(long(10_000_000), "[false, false, false]");
        assert_eq!(got(fetch(&world, "headers 50").args(grant)), "50 fit");
        let exceeding = fetch(&world, "headers 100000").args(grant).ends().outcome();
        assert_eq!(exceeding, ("limit-exceeded".into(), "http-header-size".into()));
    }
}
