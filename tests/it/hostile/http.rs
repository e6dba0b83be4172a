//! Attacks by HTTP requests, and by the servers that answer them.

use super::ends::Ends::{Limit, Rejected, TimedOut};
use super::ends::{Case, case};
use super::program::{output_with, remove_pulses};
use super::siege::{Guest, Siege};
use crate::harness::{Command, Raw, World};
use std::io::{Read, Write};
use std::net::TcpStream;

const FETCH: Guest = Guest {
    neighbour: |number| format!("work neighbour-{number}"),
    result: |world, number| {
        let name = format!("neighbour-{number}");
        output_with(world, |content| content == name.as_bytes())
    },
    pulse: Some(|| "pulse 4000".into()),
};
/// The same guest without a pulse, for cases that last for four seconds themselves.
const FOR_LONG: Guest = Guest { pulse: None, ..FETCH };

/// Answers without end, says nothing, or takes whatever it is sent.
fn server() -> Raw {
    Raw::serving(|request, client| {
        let _ = answer(request, client);
    })
}

fn answer(request: &str, client: &mut TcpStream) -> std::io::Result<()> {
    if request.contains("/endless") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            client.write_all(&[b'x'; 64 << 10])?;
        }
    }
    if request.contains("/head") {
        loop {
            client.write_all(&[b'x'; 4096])?;
        }
    }
    while client.read(&mut [0; 64 << 10])? > 0 {}
    Ok(())
}

fn worker(world: &World, url: &str) -> Command {
    world
        .run("fetch")
        .args(["--output-object", "output:{id}", "--memory", "16MiB", "--object-size", "1MiB"])
        .args(["--allow-http", url, "--http-received-size", "64MiB", "--http-sent-size", "16MiB"])
        .args(["--http-requests", "500", "--handles", "64"])
}

#[test]
fn each_hostile_request_ends_as_it_must_and_nothing_else_is_touched() {
    let server = server();
    let url = server.endpoint();
    let mut siege =
        Siege::start(&FETCH, |world| worker(world, &url).args(["--instances", "4", "--timeout", "60s"]));
    let cases: Vec<Case> = vec![
        case(format!("get {url}/endless"), Limit("http-received-size")),
        case(format!("post {url}/sink 100000000"), Limit("http-sent-size")),
        case(format!("drop {url}/silent 10000"), Limit("http-requests")),
        case("drop http://169.254.169.254/latest 10000", Limit("http-requests")),
        case(format!("hold {url}/silent 10000"), Limit("handles")),
        case(format!("hold {url}/endless 10000"), Limit("handles")),
        case(format!("impatient {url}/silent 100"), Rejected("ErrorCode::HttpResponseTimeout")),
        case("get http://169.254.169.254/latest", Rejected("ErrorCode::HttpRequestDenied")),
        case("headers 1000000", Limit("http-header-size")),
        case("long 1000000", Rejected("[false, false, false]")),
    ];
    siege.storm_twice(&cases);
    siege.one_by_one(&cases);
    siege.idle();
    remove_pulses(&siege.world);
    siege.end(&[]);
}

#[test]
fn requests_that_only_the_clock_can_end_are_ended_by_the_clock() {
    let server = server();
    let url = server.endpoint();
    let mut siege = Siege::start(&FOR_LONG, |world| {
        worker(world, &url).args(["--instances", "20", "--timeout", "5s", "--http-timeout", "60s"])
    });
    let cases = ["get URL/silent", "all URL/silent 20", "post URL/sink 10"];
    let cases = cases.map(|command| case(command.replace("URL", &url), TimedOut));
    siege.storm(&cases);
    siege.end(&[]);
}
