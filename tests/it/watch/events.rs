//! The stream of events that the page reads, and who may read the page and the other endpoints.

use super::page::watched;
use crate::harness::{Browser, World, exchange, get, status, wait_for_tasks, wait_until};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn a_site_whose_name_leads_to_this_host_reads_nothing() {
    let world = World::with_queue(&[]);
    let (worker, address) = watched(&world, &[]);
    let asked = |address: SocketAddr, path: &str, host: &str| {
        let answer = exchange(address, format!("HEAD {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
        String::from_utf8(answer.expect("an answer")).expect("text")
    };
    let port = address.port();
    for path in ["/", "/events", "/status", "/metrics", "/healthz", "/readyz"] {
        for host in
            ["rebound.example".to_owned(), format!("rebound.example:{port}"), "localhost.example".into()]
        {
            assert!(asked(address, path, &host).starts_with("HTTP/1.1 403 "), "{path} {host}");
        }
        for host in [format!("localhost:{port}"), address.to_string(), "[::1]:1".to_owned()] {
            assert!(asked(address, path, &host).starts_with("HTTP/1.1 200 "), "{path} {host}");
        }
    }
    for path in ["/", "/status", "/nowhere"] {
        let head = asked(address, path, "localhost");
        for header in [
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
            "referrer-policy: no-referrer",
        ] {
            assert!(head.contains(header), "{path}: no {header} in {head}");
        }
        assert!(!head.contains("access-control-"), "{head}");
    }
    assert!(asked(address, "/", "localhost").contains("frame-ancestors 'none'"));
    if let Some(mut browser) = Browser::start() {
        browser.open(&format!("http://rebound.example:{port}/status"));
        let read = browser.value("document.body.textContent");
        assert!(
            read.as_str().is_some_and(|read| read.starts_with("the Host header must name an address")),
            "{read}"
        );
    }
    worker.stop();

    // Who listens for others may have any name.
    let everywhere = world.run("misbehave").args(["--status", "0.0.0.0:0"]).start();
    let address = SocketAddr::from(([127, 0, 0, 1], everywhere.listens_on().port()));
    assert!(asked(address, "/status", "worker.internal").starts_with("HTTP/1.1 200 "));
    everywhere.stop();
}

#[test]
fn a_stream_tells_the_status_each_second_and_ends_in_time() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["reject a\r\n\r\ndata: {}\u{2028}\u{85}."]);
    let (worker, address) = watched(&world, &[]);
    wait_until("it has failed", || status(address)["failures"].as_array().is_some_and(|all| all.len() == 1));
    let seen = get(address, "/events");
    assert_eq!(seen.content_type, "text/event-stream");
    let events: Vec<Value> = seen
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    assert_eq!(events.len(), 9, "{seen:?}");
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&events[0]), keys(&status(address)));
    assert_eq!(events[8]["failures"][0]["reason"], "a\r\n\r\ndata: {}\u{2028}\u{85}.");
    worker.stop();
}

#[test]
fn clients_that_read_no_events_are_dropped_and_disturb_nobody() {
    let world = World::with_queue(&[]);
    world.send(["ok"]);
    let (worker, address) = watched(&world, &[]);
    wait_for_tasks(address, 1);
    // Those of the queue may still be opened.
    let before = worker.vitals().files + 10;
    let open = |_| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("written");
        stream
    };
    let mut streams: Vec<TcpStream> = (0..100).map(open).collect();
    assert_eq!(get(address, "/healthz").status, 200);
    assert!(worker.vitals().files <= before + 75, "{:?}", worker.vitals());
    wait_until("they are dropped", || worker.vitals().files <= before);
    // The first ones made room for later ones.
    let first = streams[0].read_to_end(&mut Vec::new());
    assert!(first.is_ok() || first.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    // A worker doesn't wait for streams.
    let _open: Vec<TcpStream> = (0..10).map(open).collect();
    let began = Instant::now();
    worker.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
