//! More requests than instances, handlers that compute without end, and clients that leave.

use super::{GONE, Service, UNLIMITED, USAGE};
use crate::harness::{Wire, status, wait_until};
use std::io;
use std::net::SocketAddr;

#[test]
fn more_requests_than_instances_wait_for_their_turn() {
    let (service, watched) = watched(&["--instances", "2", "--queue-time", "10m", "--timeout", "10m"]);
    let clients: Vec<_> = (0..12).map(|_| service.ask("/wait/go")).collect();
    // The other requests come over connections that are open.
    wait_until("both instances run", || status(watched)["instances"]["running"] == 2);
    service.go("go");
    for mut client in clients {
        assert_eq!(client.response().status(), 200);
    }
    let (output, _) = service.stop();
    assert_eq!(output.summary()["outcomes"]["completed"], 12);
}

#[test]
fn a_request_that_finds_no_instance_in_time_is_told_to_come_back() {
    let service = Service::start(&["--instances", "1", "--queue-time", "200ms", "--timeout", "10m"]);
    let mut running = service.ask("/stream/go");
    assert_eq!(running.head().status, 200);
    for _ in 0..3 {
        let response = service.connect().get("/hello");
        assert_eq!(response.status(), 503, "{response:?}");
        assert!(response.header("retry-after").parse::<u32>().is_ok(), "{response:?}");
        assert!(response.is_whole);
    }
    service.go("go");
    while running.chunk().expect("a chunk").is_some_and(|chunk| !chunk.is_empty()) {}
    service.is_well();
    let (_, usage) = service.stop();
    assert_eq!(usage.len(), 2, "those that were told to come back cost no task: {usage:?}");
}

#[test]
fn requests_that_wait_are_bounded_in_number() {
    let arguments = ["--instances", "1", "--queue-length", "2", "--queue-time", "10m", "--timeout", "10m"];
    let service = Service::start(&arguments);
    let mut running = service.ask("/stream/go");
    assert_eq!(running.head().status, 200);
    let mut others: Vec<_> = (0..5).map(|_| service.ask("/hello")).collect();
    // Three of the five are refused at once, whichever.
    let mut answered = Vec::new();
    wait_until("three are refused", || {
        others.retain_mut(|client| match client.try_now() {
            None => true,
            Some(response) => {
                answered.push(response.status());
                false
            }
        });
        answered.len() == 3
    });
    assert_eq!(answered, [503; 3]);
    service.go("go");
    for mut client in others {
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn handlers_that_compute_without_end_hold_up_no_other_one() {
    let (service, watched) = watched(&[&UNLIMITED[..], &["--instances", "8"]].concat());
    let spinning: Vec<_> = (0..6).map(|_| service.ask("/spin")).collect();
    wait_until("they run", || status(watched)["instances"]["running"] == 6);
    for _ in 0..50 {
        service.is_well();
    }
    // The last answer may be there before its task is settled.
    wait_until("they alone run", || status(watched)["instances"]["running"] == 6);
    drop(spinning);
    service.process.until_logged_times(6, GONE);
    wait_until("they have ended", || status(watched)["instances"]["running"] == 0);
    service.is_well();
    let (output, usage) = service.stop();
    assert_eq!(usage.iter().filter(|task| task["outcome"] == "cancelled").count(), 6);
    assert_eq!(output.summary()["outcomes"]["cancelled"], 6);
}

#[test]
fn the_task_of_a_client_that_leaves_ends_at_once_and_leaves_nothing_behind() {
    let (service, watched) = watched(&UNLIMITED);
    service.is_well();
    let files = || service.process.vitals().files;
    let before = files();
    for round in 1..=5 {
        // Before the response, within its body, within the request's body, and with a body that nobody takes.
        let waiting = service.ask("/wait/never");
        let mut streaming = service.ask("/stream/never");
        assert_eq!(streaming.head().status, 200);
        let mut sending = service.connect();
        sending.send_head("POST", "/length", &[("content-length", "1000000")]);
        sending.send(vec![b'x'; 100_000]);
        let mut taking = service.ask("/large/200000000");
        assert_eq!(taking.head().status, 200);
        wait_until("all run", || status(watched)["instances"]["running"] == 4);
        drop((waiting, streaming, sending, taking));
        // The handler that reads finds a body that fails, or is ended.
        wait_until("all have ended", || tasks(&service) == 1 + 4 * round);
    }
    wait_until("their files are closed", || files() <= before);
    service.is_well();
    let (_, usage) = service.stop();
    let cancelled = usage.iter().filter(|task| task["outcome"] == "cancelled").count();
    assert!(cancelled >= 15, "{usage:?}");
    assert_eq!(usage.iter().filter(|task| task["outcome"] == "completed").count(), 2, "{usage:?}");
}

/// Starts a service whose status is served.
#[track_caller]
fn watched(arguments: &[&str]) -> (Service, SocketAddr) {
    let service = Service::start(&[arguments, &["--status", "0"]].concat());
    let watched = service.process.listens_on();
    (service, watched)
}

/// Number of tasks whose usage is written.
fn tasks(service: &Service) -> usize {
    service.world.read(USAGE).iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn a_handler_that_goes_on_after_its_response_is_not_ended_with_its_client() {
    let service = Service::start(&UNLIMITED);
    let mut client = service.ask("/after/go");
    assert_eq!(client.response().text(), "more to do\n");
    drop(client);
    // The server sees that the client has left before the handler goes on.
    service.is_well();
    service.go("go");
    wait_until("the object is there", || service.world.keys("out") == ["go"]);
    let (_, usage) = service.stop();
    assert!(usage.iter().all(|task| task["outcome"] == "completed"), "{usage:?}");
}

/// It answers before it has read the request: the client reads the response, whatever becomes of the rest.
#[test]
fn a_response_to_half_of_a_request_arrives() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    client.send_head("POST", "/part", &[("content-length", "300000")]);
    client.send([b'x'; 200_000]);
    let response = client.response();
    assert_eq!(response.status(), 200);
    let read: usize = response.text().parse().expect("a number");
    assert!((1..=200_000).contains(&read), "{read}");
    // The rest isn't taken for a request.
    let _ = client.try_send([b'x'; 50_000]);
    match client.try_response() {
        Err(error) => assert!(matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::Other
        )),
        Ok(response) => panic!("a response to what is no request: {response:?}"),
    }
    service.is_well();
}

/// A client that is slow to send costs no instance until its request has arrived.
#[test]
fn slow_requests_cost_no_instance() {
    let service = Service::start(&["--instances", "1", "--queue-time", "10m", "--timeout", "10m"]);
    let mut heads: Vec<Wire> = (0..20).map(|_| service.connect()).collect();
    for client in &mut heads {
        client.send("POST /length HTTP/1.1\r\nhost: serv");
    }
    let mut bodies: Vec<Wire> = (0..20).map(|_| service.connect()).collect();
    for client in &mut bodies {
        client.send_head("POST", "/length", &[("content-length", "10")]);
        client.send("12345");
    }
    for _ in 0..10 {
        service.is_well();
    }
    for client in &mut heads {
        client.send("ice.test\r\ncontent-length: 3\r\n\r\nabc");
        assert_eq!(client.response().text(), "3");
    }
    for client in &mut bodies {
        client.send("67890");
        assert_eq!(client.response().text(), "10");
    }
}

/// Once the handler has returned, or its time is over, a client that takes nothing holds no instance.
#[test]
fn a_client_that_takes_nothing_is_cut_off_when_the_time_of_its_task_is_over() {
    let service = Service::start(&["--instances", "1", "--queue-time", "1m", "--timeout", "1s"]);
    let mut slow = service.ask("/large/200000000");
    assert_eq!(slow.head().status, 200);
    service.is_well();
    let (_, usage) = service.stop();
    assert_eq!((&usage[0]["outcome"], usage.len()), (&"timed-out".into(), 2), "{usage:?}");
}
