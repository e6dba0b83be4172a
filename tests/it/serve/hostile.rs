//! Clients that flood, dawdle, break off or speak no HTTP: each is bounded, and the others are served.

use super::{Service, UNLIMITED};
use crate::harness::{Wire, wait_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory that a service may keep after an attack: buffers of its allocator.
const KEPT: u64 = 24 << 20;

/// Lets this test open this number of files. Returns whether the system allows that.
fn may_open(files: u64) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let enough = |most: Option<u64>| most.is_none_or(|most| most >= files);
    if enough(limit.current) {
        return true;
    }
    enough(limit.maximum)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: limit.maximum }).is_ok()
}

/// Sends until the server has had enough, and returns its response, if one arrived.
fn flood(client: &mut Wire, part: &[u8], most: usize) -> Option<u16> {
    let mut sent = 0;
    while sent < most && client.try_send(part).is_ok() {
        sent += part.len();
    }
    client.try_response().ok().map(|response| response.status())
}

#[test]
fn floods_of_headers_are_refused() {
    let service = Service::start(&[]);
    service.is_well();
    let before = service.process.vitals().resident;
    for round in 0..20 {
        let mut many = service.connect();
        many.send("GET /hello HTTP/1.1\r\nhost: a.test\r\n");
        let status = flood(&mut many, b"x-header: value\r\n", 8 << 20);
        assert!(matches!(status, Some(431) | None), "{round}: {status:?}");

        let mut long = service.connect();
        long.send("GET /hello HTTP/1.1\r\nhost: a.test\r\nx-long: ");
        let status = flood(&mut long, &[b'x'; 8192], 8 << 20);
        assert!(matches!(status, Some(431) | None), "{round}: {status:?}");

        let mut line = service.connect();
        line.send("GET /");
        let status = flood(&mut line, &[b'x'; 8192], 8 << 20);
        assert!(matches!(status, Some(414 | 431) | None), "{round}: {status:?}");
    }
    // What is just too large is answered before the connection ends.
    let mut client = service.connect();
    client.send_head("GET", "/hello", &[("x-long", &*"x".repeat(70_000))]);
    assert_eq!(client.response().status(), 431);
    // What servers usually take is taken.
    let mut client = service.connect();
    client.send_head("GET", "/hello", &[("x-long", &*"x".repeat(15_000))]);
    assert_eq!(client.response().status(), 200);
    service.is_well();
    let held = service.process.vitals().resident.saturating_sub(before);
    assert!(held < KEPT, "{held}");
}

#[test]
fn a_body_without_end_ends_at_the_limit() {
    let service = Service::start(&["--http-received-size", "4MiB", "--memory", "16MiB"]);
    for path in ["/length", "/echo", "/hello"] {
        let mut client = service.connect();
        client.send_head("POST", path, &[("transfer-encoding", "chunked")]);
        // The client reads nothing meanwhile: an echo holds it up, and the others refuse more.
        let part = [&b"10000\r\n"[..], &[b'x'; 1 << 16], b"\r\n"].concat();
        client.stalls_within(std::time::Duration::from_secs(2));
        let mut parts = 0;
        while client.try_send(&part).is_ok() {
            parts += 1;
            assert!(parts < 1 << 10, "{path}: 64 MiB were taken");
        }
    }
    service.is_well();
}

#[test]
fn clients_that_break_off_anywhere_leave_nothing_behind() {
    let service = Service::start(&UNLIMITED);
    service.is_well();
    let before = service.process.vitals();
    let request = "POST /length HTTP/1.1\r\nhost: a.test\r\ncontent-length: 20\r\n\r\n0123456789";
    let chunked =
        "POST /echo HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe";
    for text in [request, chunked] {
        for end in 0..text.len() {
            let mut client = service.connect();
            client.send(&text[..end]);
            if end % 2 == 0 {
                client.finish_sending();
            }
        }
    }
    wait_until("their files are closed", || service.process.vitals().files <= before.files);
    service.is_well();
    let held = service.process.vitals().resident.saturating_sub(before.resident);
    assert!(held < KEPT, "{held}");
    let (_, usage) = service.stop();
    let completed = usage.iter().filter(|task| task["outcome"] == "completed").count();
    assert_eq!(completed, 2, "no part of a request was taken for a whole one: {usage:?}");
}

/// A client that has sent its request may say that nothing more comes: either it is answered, or the connection ends. The
/// task doesn't stay.
#[test]
fn half_closed_connections_end() {
    let service = Service::start(&UNLIMITED);
    for path in ["/hello", "/wait/never", "/spin"] {
        let mut client = service.ask(path);
        client.finish_sending();
        if let Ok(response) = client.try_response() {
            assert_eq!((path, response.status(), response.is_whole), ("/hello", 200, true));
        }
    }
    let mut client = service.connect();
    client.send_head("POST", "/length", &[("content-length", "1000")]);
    client.send("only this");
    client.finish_sending();
    assert!(client.try_response().map_or(true, |response| response.status() >= 400));
    service.is_well();
}

#[test]
fn what_is_no_http_is_refused() {
    let service = Service::start(&[]);
    let noise: Vec<u8> = (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let hello_of_tls =
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n";
    // A preface of HTTP/2, and then no frame of it.
    let no_frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
    let texts: [&[u8]; 12] = [
        &noise,
        hello_of_tls,
        no_frames,
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a.test\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a.test\r\nna me: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a.test\r\nx: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a.test\r\n folded: x\r\n\r\n",
        b"G\xc3\x89T / HTTP/1.1\r\nhost: a.test\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ];
    for text in texts {
        let mut client = service.connect();
        client.send(text);
        client.finish_sending();
        let answer = client.until_closed();
        let is_http1 = answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 505");
        let is_http2 = text.starts_with(b"PRI");
        assert!(answer.is_empty() || is_http1 || is_http2, "{:?}", String::from_utf8_lossy(&answer));
    }
    service.is_well();
    let (_, usage) = service.stop();
    assert_eq!(usage.len(), 1, "none of them became a task");
}

/// Requests whose end two servers could see at different places: a load balancer at one, and this one at another.
#[test]
fn a_request_with_two_ends_is_refused_or_ends_its_connection() {
    let service = Service::start(&[]);
    let smuggled = "GET /status/299 HTTP/1.1\r\nhost: a.test\r\n\r\n";
    let chunk = "0\r\n\r\n";
    for headers in [
        "content-length: 5\r\ncontent-length: 6\r\n",
        "content-length: 5, 6\r\n",
        "content-length: +5\r\n",
        "content-length: 0x5\r\n",
        "content-length: -1\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: identity\r\ncontent-length: 5\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding: xchunked\r\n",
    ] {
        let mut client = service.connect();
        client.send(format!("POST /length HTTP/1.1\r\nhost: a.test\r\n{headers}\r\n{chunk}{smuggled}"));
        client.finish_sending();
        let answers = String::from_utf8_lossy(&client.until_closed()).into_owned();
        assert!(!answers.contains("HTTP/1.1 299"), "{headers:?}: {answers}");
    }
    service.is_well();
}

#[test]
fn more_connections_than_allowed_replace_the_oldest_idle_ones() {
    const ALLOWED: usize = 1000;
    if !may_open(4096) {
        println!("Skipped: too few file descriptors.");
        return;
    }
    let service = Service::start(&["--connections", "1000", "--timeout", "10m"]);
    service.is_well();
    let before = service.process.vitals();
    // One that isn't idle stays, however old it is.
    let mut busy = service.ask("/stream/go");
    assert_eq!(busy.head().status, 200);
    let mut idle: Vec<Wire> = (0..2 * ALLOWED).map(|_| service.connect()).collect();
    wait_until("as many are open as allowed", || {
        let files = service.process.vitals().files - before.files;
        (ALLOWED - 20..=ALLOWED + 20).contains(&files)
    });
    let held = service.process.vitals().resident.saturating_sub(before.resident);
    println!("{ALLOWED} idle connections hold {} KiB", held >> 10);
    assert!(held < 64 << 20, "{held}");
    // The oldest ones are closed, and the newest ones are served.
    assert_eq!(idle[0].until_closed(), b"");
    let last = idle.last_mut().expect("one");
    assert_eq!(last.get("/hello").status(), 200);
    service.go("go");
    let mut rest = Vec::new();
    while let Some(chunk) = busy.chunk().expect("a chunk").filter(|chunk| !chunk.is_empty()) {
        rest.extend(chunk);
    }
    assert_eq!(rest, b"first last");
    drop((idle, busy));
    wait_until("all files are closed", || service.process.vitals().files <= before.files);
}
