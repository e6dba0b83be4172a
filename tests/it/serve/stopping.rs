//! What a service does when it is told to stop: each request that it has accepted is answered.

use super::{Service, UNLIMITED, serve};
use crate::harness::{Process, Wire, World, lock, wait_until};
use rustix::process::Signal;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

#[test]
fn requests_that_run_are_answered_and_then_the_service_ends() {
    let service = Service::start(&["--instances", "2", "--queue-time", "10m", "--timeout", "10m"]);
    let mut idle = service.connect();
    assert_eq!(idle.get("/hello").status(), 200);
    // Two of them run, and the others wait.
    let clients: Vec<_> = (0..6).map(|_| service.ask("/wait/go")).collect();
    service.process.signal(Signal::TERM);
    wait_until("nothing more is accepted", || Wire::try_to(service.address).is_err());
    service.go("go");
    for mut client in clients {
        let response = client.response();
        assert_eq!((response.status(), response.header("connection")), (200, "close"), "{response:?}");
        assert_eq!(client.until_closed(), b"");
    }
    assert_eq!(idle.until_closed(), b"");
    let output = service.process.finish().succeeded();
    assert_eq!(output.summary()["outcomes"]["completed"].as_u64(), output.summary()["tasks"].as_u64());
}

#[test]
fn a_service_without_requests_stops_at_once() {
    let service = Service::start(&[]);
    let mut kept = service.connect();
    assert_eq!(kept.get("/hello").status(), 200);
    let began = Instant::now();
    service.process.signal(Signal::TERM);
    assert_eq!(kept.until_closed(), b"");
    service.process.finish().succeeded();
    // The stop timeout would be 25 seconds.
    assert!(began.elapsed().as_secs() < 10);
}

#[test]
fn requests_beyond_the_stop_timeout_are_ended_and_told_to_come_back() {
    let arguments = ["--stop-timeout", "300ms", "--instances", "2", "--queue-time", "10m"];
    let service = Service::start(&[&UNLIMITED[..], &arguments].concat());
    let mut begun = service.ask("/stream/never");
    assert_eq!(begun.head().status, 200);
    let others: Vec<_> = ["/spin", "/wait/never", "/wait/never"].map(|path| service.ask(path)).into();
    service.process.signal(Signal::TERM);
    for mut client in others {
        let response = client.response();
        assert_eq!(response.status(), 503, "{response:?}");
        assert_ne!(response.header("retry-after"), "");
    }
    // What has begun is cut off.
    while let Ok(Some(chunk)) = begun.chunk() {
        assert!(!chunk.is_empty(), "it looks whole");
    }
    service.process.until_logged("stop timeout expired");
    service.process.finish().succeeded();
}

#[test]
fn a_second_signal_ends_requests_at_once() {
    let service = Service::start(&UNLIMITED);
    let mut client = service.ask("/spin");
    let mut streaming = service.ask("/stream/never");
    assert_eq!(streaming.head().status, 200);
    service.process.signal(Signal::TERM);
    service.process.until_logged("a second signal stops at once");
    let began = Instant::now();
    service.process.signal(Signal::TERM);
    let _ = client.try_response();
    service.process.finish().succeeded();
    assert!(began.elapsed().as_secs() < 10);
}

/// How the clients of a restart fare.
#[derive(Default)]
struct Fleet {
    ended: AtomicBool,
    answered: AtomicUsize,
    lost: Mutex<Vec<String>>,
}

impl Fleet {
    /// Sends requests to the service of the moment until the fleet ends. A connection is used until its server says that
    /// it closes it. Only what no server has accepted is sent again.
    fn client(&self, target: &Mutex<SocketAddr>, keeps: bool, path: &str) {
        while !self.ended.load(Ordering::SeqCst) {
            let address = *lock(target);
            // What isn't accepted is tried again, at the next service if there is one.
            let Ok(mut connection) = Wire::try_to(address) else { continue };
            loop {
                match exchange(&mut connection, path) {
                    Ok(closes) => {
                        self.answered.fetch_add(1, Ordering::SeqCst);
                        if closes || !keeps || self.ended.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                    Err(error) => {
                        lock(&self.lost).push(format!("{path} {address} {error}"));
                        break;
                    }
                }
            }
        }
    }
}

/// Ends a fleet, also if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Returns whether the server closes the connection after the response.
fn exchange(connection: &mut Wire, path: &str) -> io::Result<bool> {
    connection.try_send(format!("GET {path} HTTP/1.1\r\nhost: service.test\r\n\r\n"))?;
    let response = connection.try_response()?;
    match (response.status(), response.is_whole) {
        (200, true) => Ok(response.header("connection") == "close"),
        _ => Err(io::Error::other(format!("{response:?}"))),
    }
}

/// Each service is replaced by a new one, as a deployment does: the new one is reachable before the old one stops.
#[test]
fn a_rolling_restart_under_load_loses_no_accepted_request() {
    const RESTARTS: usize = 5;
    let world = World::new();
    let start = || -> (Process, SocketAddr) {
        let process = serve(&world).args(["--instances", "8", "--timeout", "1m"]).start();
        let address = process.serves_at();
        (process, address)
    };
    let (mut process, address) = start();
    let target = Mutex::new(address);
    let fleet = Fleet::default();
    std::thread::scope(|scope| {
        let _ends = Ends(&fleet.ended);
        for (keeps, path) in [(true, "/hello"), (false, "/hello"), (true, "/sleep/20"), (false, "/slow/3/5")]
        {
            for _ in 0..2 {
                let (fleet, target) = (&fleet, &target);
                scope.spawn(move || fleet.client(target, keeps, path));
            }
        }
        for _ in 0..RESTARTS {
            let answered = fleet.answered.load(Ordering::SeqCst);
            wait_until("requests are answered", || fleet.answered.load(Ordering::SeqCst) > answered + 50);
            let (next, address) = start();
            *lock(&target) = address;
            process.signal(Signal::TERM);
            std::mem::replace(&mut process, next).finish().succeeded();
        }
    });
    let lost = lock(&fleet.lost);
    assert!(lost.is_empty(), "{} lost, such as {:?}", lost.len(), &lost[..lost.len().min(5)]);
    println!("{} requests were answered over {RESTARTS} restarts", fleet.answered.load(Ordering::SeqCst));
    process.stop();
}
