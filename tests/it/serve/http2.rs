//! Requests over HTTP/2 without TLS, by hyper's client: as of a load balancer that knows that the service speaks it.

use super::{GONE, Service, UNLIMITED};
use crate::harness::{PATIENCE, wait_until};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

const MIB: usize = 1 << 20;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A connection of HTTP/2.
struct Client {
    runtime: Runtime,
    sender: SendRequest<Body>,
}

/// A response whose body arrived to its end, or failed.
#[derive(Debug)]
struct Whole {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

impl Client {
    #[track_caller]
    fn to(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a thread");
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("a connection");
            let (sender, connection) =
                handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
            tokio::spawn(connection);
            sender
        });
        Self { runtime, sender }
    }

    #[track_caller]
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(PATIENCE, future).await }).expect("it takes too long")
    }

    fn send(
        &self,
        request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.sender.clone().send_request(request)
    }

    /// Sends a request, and reads the response. Fails if the response isn't whole.
    fn exchange(&self, request: Request<Body>) -> hyper::Result<Whole> {
        let sent = self.send(request);
        self.wait(async {
            let (parts, body) = sent.await?.into_parts();
            let collected = body.collect().await?;
            let trailers = collected.trailers().cloned();
            let body = collected.to_bytes().to_vec();
            Ok(Whole { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
        })
    }

    #[track_caller]
    fn get(&self, path: &str) -> Whole {
        self.exchange(request("GET", path, Empty::new().boxed_unsync())).expect("a whole response")
    }
}

fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    let url = format!("http://service.test{path}");
    Request::builder().method(method).uri(url).body(body).expect("a request")
}

/// A body of this number of mebibytes, and its trailers.
fn streamed(mebibytes: usize, trailers: &[(&'static str, &'static str)]) -> Body {
    let mut map = HeaderMap::new();
    for (name, value) in trailers {
        map.insert(*name, value.parse().expect("a value"));
    }
    let parts = (0..mebibytes).map(|part| Frame::data(Bytes::from(vec![part as u8; MIB])));
    let frames = parts.chain((!map.is_empty()).then(|| Frame::trailers(map))).map(Ok::<_, Infallible>);
    StreamBody::new(stream::iter(frames)).boxed_unsync()
}

#[test]
fn requests_of_one_connection_are_answered_at_the_same_time() {
    let service = Service::start(&["--instances", "4"]);
    let client = Client::to(service.address);
    let waits: Vec<_> =
        (0..3).map(|_| client.send(request("GET", "/wait/go", Empty::new().boxed_unsync()))).collect();
    let waits: Vec<_> = waits.into_iter().map(|sent| client.runtime.spawn(sent)).collect();
    // They hold up nobody.
    assert_eq!((client.get("/hello").status, &*client.get("/count").body), (200, &b"1"[..]));
    service.go("go");
    for wait in waits {
        assert_eq!(client.wait(wait).expect("no panic").expect("a response").status(), 200);
    }
}

#[test]
fn a_handler_sees_the_authority_and_the_method_of_a_request() {
    let service = Service::start(&[]);
    let client = Client::to(service.address);
    let text = String::from_utf8(client.get("/headers?q=1").body).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["Method::Get", "/headers?q=1", "service.test"], "{text}");
    let head = client.exchange(request("HEAD", "/hello", Empty::new().boxed_unsync())).expect("a response");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], "6");
}

#[test]
fn the_services_own_response_to_head_has_no_body() {
    let service = Service::start(&[]);
    let client = Client::to(service.address);
    for (path, status) in [("/panic", 500), ("/none", 500)] {
        let get = client.get(path);
        let head = client.exchange(request("HEAD", path, Empty::new().boxed_unsync())).expect("a response");
        assert_eq!((get.status, head.status, head.body.len()), (status, status, 0));
        assert_eq!(head.headers["content-length"], get.body.len().to_string(), "{path}");
    }
}

#[test]
fn trailers_travel_both_ways_over_http2() {
    let service = Service::start(&[]);
    let client = Client::to(service.address);
    let trailers = client.get("/trailers").trailers.expect("trailers");
    assert_eq!(trailers["x-sum"], "42");
    let echoed =
        client.exchange(request("POST", "/echo", streamed(1, &[("x-sum", "7")]))).expect("a response");
    assert_eq!(echoed.body.len(), MIB);
    assert_eq!(echoed.trailers.expect("trailers")["x-sum"], "7");
}

#[test]
fn a_large_body_travels_both_ways_over_http2_in_little_memory() {
    let service = Service::start(&["--memory", "8MiB", "--timeout", "10m"]);
    let client = Client::to(service.address);
    assert_eq!(client.get("/hello").status, 200);
    let before = service.process.vitals().resident;
    service.process.forget_peak();
    let echoed = client.exchange(request("POST", "/echo", streamed(100, &[]))).expect("a response");
    assert_eq!(echoed.body.len(), 100 * MIB);
    let expected =
        (0..100).all(|part| echoed.body[part * MIB..][..MIB].iter().all(|byte| *byte == part as u8));
    assert!(expected);
    let held = service.process.vitals().peak - before;
    println!("the service held {} KiB more", held >> 10);
    assert!(held < 24 << 20, "{held}");
}

#[test]
fn a_response_that_breaks_off_is_reset_and_the_connection_goes_on() {
    let service = Service::start(&["--fuel", "100000000"]);
    let client = Client::to(service.address);
    for path in
        ["/half/panic", "/half/spin", "/half/exit", "/half/drop", "/half-sized/panic", "/half-sized/drop"]
    {
        match client.exchange(request("GET", path, Empty::new().boxed_unsync())) {
            // Nothing of the response had been sent yet.
            Ok(response) => assert_eq!(response.status, 500, "{path}: {response:?}"),
            Err(error) => assert!(!error.is_canceled(), "{path}: {error:?}"),
        }
        assert_eq!(client.get("/hello").status, 200, "{path}");
    }
}

#[test]
fn a_request_that_is_reset_ends_its_task() {
    let service = Service::start(&UNLIMITED);
    let client = Client::to(service.address);
    let sent = client.send(request("GET", "/stream/never", Empty::new().boxed_unsync()));
    let response = client.wait(sent).expect("a head");
    drop(response);
    service.process.until_logged(GONE);
    let sent = client.runtime.spawn(client.send(request("GET", "/spin", Empty::new().boxed_unsync())));
    assert_eq!(client.get("/hello").status, 200);
    sent.abort();
    service.process.until_logged_times(2, GONE);
    let (_, usage) = service.stop();
    assert_eq!(usage.iter().filter(|task| task["outcome"] == "cancelled").count(), 2, "{usage:?}");
}

/// The attack of CVE-2023-44487: streams that are opened and reset at once. The server may end the connection; it goes on
/// for others.
#[test]
fn streams_that_are_reset_at_once_cost_no_instance() {
    let service = Service::start(&[&UNLIMITED[..], &["--instances", "2"]].concat());
    service.is_well();
    let before = service.process.vitals();
    for _ in 0..5 {
        let client = Client::to(service.address);
        for _ in 0..400 {
            let sent = client.send(request("GET", "/wait/never", Full::default().boxed_unsync()));
            let sent = client.runtime.spawn(sent);
            // Some of them are on their way when they are reset.
            client.runtime.block_on(tokio::task::yield_now());
            sent.abort();
        }
    }
    service.is_well();
    wait_until("connections and files are free again", || service.process.vitals().files <= before.files);
    let held = service.process.vitals().resident.saturating_sub(before.resident);
    assert!(held < 16 << 20, "{held}");
}

/// More streams than a connection may have wait at the client.
#[test]
fn a_connection_has_a_bounded_number_of_streams() {
    let service = Service::start(&[&UNLIMITED[..], &["--instances", "2", "--queue-time", "10m"]].concat());
    let client = Client::to(service.address);
    let all: Vec<_> = (0..500)
        .map(|_| client.runtime.spawn(client.send(request("GET", "/wait/go", Empty::new().boxed_unsync()))))
        .collect();
    // Another client isn't held up by streams that aren't open.
    service.go("go");
    for sent in all {
        assert_eq!(client.wait(sent).expect("no panic").expect("a response").status(), 200);
    }
    let (_, usage) = service.stop();
    assert_eq!(usage.len(), 500);
}
