//! Which requests are sent, and which addresses are reached.

use super::{fetch, got};
use crate::harness::{Answer, Raw, Stub, World, guest};
use serde_json::json;

const LOOPBACK: [&str; 2] = ["--allow-http-address", "127.0.0.0/8"];

fn echo() -> Stub {
    Stub::answering(|request| match request.target.as_str() {
        "/moved" => Answer::new(302, "").with("location", request.header("x-to")),
        target => Answer::new(200, format!("{} {target}", request.method)),
    })
}

#[test]
fn without_a_grant_a_component_starts_and_each_request_is_denied() {
    let world = World::new();
    let server = echo();
    let url = server.endpoint();
    let output = fetch(&world, &format!("get {url}/")).env("WASMRUN_LOG_FORMAT", "json").ends();
    assert_eq!(output.outcome(), ("rejected".into(), "ErrorCode::HttpRequestDenied".into()), "{output}");
    let report = output.json();
    assert!(report["host_error"].as_str().is_some_and(|text| text.contains("--allow-http")), "{report}");
    assert_eq!(report["usage"]["refusals"], 1);
    assert!(server.seen().is_empty());
    assert_eq!(output.logs_of("refused a host call")[0]["alias"], format!("{url}/"), "{output}");
    // The note at the start, and what `inspect` says.
    let note = output.logs_of("an imported interface has no grant, and its calls are refused");
    assert!(note.iter().any(|line| line["flag"] == "--allow-http HOST"), "{output}");
    let inspected = world.wasmrun(["inspect", "--json"]).arg(guest("fetch")).succeeds();
    assert_eq!(inspected.json()["needs"]["http"], true);
}

#[test]
fn a_request_must_match_a_rule_by_scheme_host_port_and_path() {
    let world = World::new();
    let server = echo();
    let url = server.endpoint();
    let port = url.rsplit(':').next().expect("a port").to_owned();
    let rule = format!("{url}/api/v1");
    let with = |arguments: &str| got(fetch(&world, arguments).args(["--allow-http", &rule]));
    assert_eq!(with(&format!("get {url}/api/v1/x?y=/../z")), "200 GET /api/v1/x?y=/../z");
    assert_eq!(with(&format!("raw http 127.0.0.1:{port} /api/%76%31")), "200 GET /api/%76%31");
    let sent = server.seen().len();
    for path in [
        "/",
        "/api/v10",
        "/api/v1/../x",
        "/api/v1/%2e%2e/x",
        "/api/v1/..%2fx",
        "/api/v1/%252e%252e/x",
        "//api/v1",
    ] {
        assert_eq!(
            with(&format!("raw http 127.0.0.1:{port} {path}")),
            "ErrorCode::HttpRequestDenied",
            "{path}"
        );
    }
    for authority in [format!("localhost:{port}"), "127.0.0.1".into(), format!("127.0.0.2:{port}")] {
        assert_eq!(
            with(&format!("raw http {authority} /api/v1")),
            "ErrorCode::HttpRequestDenied",
            "{authority}"
        );
    }
    for authority in [
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f000001:{port}"),
        "127.0.0.1:".into(),
        format!("me@127.0.0.1:{port}"),
        format!("127.0.0.1:{port}@evil.test"),
    ] {
        let got = with(&format!("raw http {authority} /api/v1"));
        assert!(
            ["ErrorCode::HttpRequestUriInvalid", "ErrorCode::InternalError"].contains(&&*got),
            "{authority}: {got}"
        );
    }
    assert_eq!(with(&format!("raw https 127.0.0.1:{port} /api/v1")), "ErrorCode::HttpRequestDenied");
    assert_eq!(with(&format!("connect {url}/api/v1")), "ErrorCode::HttpRequestDenied");
    assert_eq!(server.seen().len(), sent, "nothing was sent");
    // Headers of the connection, of proxies, and the host are the worker's.
    for header in
        ["host", "connection", "transfer-encoding", "upgrade", "proxy-authorization", "proxy-x", "te"]
    {
        assert_eq!(with(&format!("header {header} x {url}/api/v1")), "HeaderError::Forbidden", "{header}");
    }
    assert_eq!(with(&format!("header x-mine yes {url}/api/v1")), "200 GET /api/v1");
    let seen = server.seen();
    let last = seen.last().expect("a request");
    let mut names: Vec<_> = last.headers.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["connection", "host", "x-mine"], "nothing of the worker's own");
    assert_eq!(last.header("host"), format!("127.0.0.1:{port}"));
}

#[test]
fn an_address_that_is_not_public_is_reached_only_if_it_is_named() {
    let world = World::new();
    let servers: Vec<_> = ["127.0.0.1:0", "[::1]:0"]
        .into_iter()
        .filter_map(|address| {
            let server = Raw::at(address, |_, client| {
                use std::io::Write;
                let _ = client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
            })?;
            Some(server)
        })
        .collect();
    let port = servers[0].port();
    let ports: Vec<_> = servers.iter().map(Raw::port).collect();
    // Both addresses of `localhost`, and the host's own by other names, are refused.
    for port in &ports {
        let rule = format!("http://localhost:{port}");
        let output = fetch(&world, &format!("get {rule}/")).args(["--allow-http", &rule]).ends();
        assert_eq!(output.outcome().1, "ErrorCode::DestinationIpProhibited", "{output}");
        assert!(output.to_string().contains("--allow-http-address"), "{output}");
        assert_eq!(output.json()["usage"]["refusals"], 1);
    }
    assert!(servers.iter().all(|server| server.connections() == 0));
    // A rule may name them: as a host, or for all hosts.
    let rule = format!("http://localhost:{port}");
    let named = |addresses: &[&str]| {
        fetch(&world, &format!("get {rule}/")).args(["--allow-http", &rule]).args(addresses)
    };
    assert_eq!(got(named(&LOOPBACK)), "200 hi");
    assert_eq!(got(named(&["--allow-http-address", "127.0.0.1"])), "200 hi");
    assert_eq!(got(named(&["--allow-http-address", "10.0.0.0/8"])), "ErrorCode::DestinationIpProhibited");
    // An address of IPv4 in the clothes of IPv6 is another host for a rule, and its address isn't public.
    let before = servers[0].connections();
    let mapped = format!("http://[::ffff:127.0.0.1]:{port}");
    assert_eq!(
        got(fetch(&world, &format!("get {mapped}/"))
            .args(["--allow-http", &format!("http://127.0.0.1:{port}")])),
        "ErrorCode::HttpRequestDenied"
    );
    assert_eq!(servers[0].connections(), before);
}

#[test]
fn each_redirect_is_a_request_with_the_same_checks() {
    let world = World::new();
    let secret = Raw::serving(|_, _| {});
    let port = secret.port();
    for (to, reason) in [
        (format!("http://127.0.0.1:{port}/"), "ErrorCode::HttpRequestDenied"),
        ("http://169.254.169.254/latest/meta-data/".into(), "ErrorCode::HttpRequestDenied"),
        (format!("http://localhost:{port}/"), "ErrorCode::DestinationIpProhibited"),
    ] {
        let moved = to.clone();
        let server = Stub::answering(move |_| Answer::new(302, "").with("location", &moved));
        let url = server.endpoint();
        let command = fetch(&world, &format!("follow {url}/")).args(["--allow-http", &url]);
        assert_eq!(got(command.args(["--allow-http", &format!("http://localhost:{port}")])), reason, "{to}");
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(secret.connections(), 0);
    let server = Stub::answering(|request| match request.target.as_str() {
        "/first" => {
            Answer::new(302, "").with("location", format!("http://{}/second", request.header("host")))
        }
        _ => Answer::new(200, "arrived"),
    });
    let url = server.endpoint();
    let command = fetch(&world, &format!("follow {url}/first")).args(["--allow-http", &url]);
    assert_eq!(got(command), "200 arrived");
}

#[test]
fn rules_come_from_flags_variables_or_the_file_and_are_checked_at_the_start() {
    let world = World::new();
    let server = echo();
    let url = server.endpoint();
    world.write("worker.toml", format!("allow-http = ['api.test', '{url}']\n"));
    let get = |file: &str| {
        let command = fetch(&world, &format!("get {url}/"));
        if file.is_empty() { command } else { command.args(["--config", file]) }
    };
    assert_eq!(got(get("worker.toml")), "200 GET /");
    assert_eq!(got(get("").env("WASMRUN_ALLOW_HTTP", format!("api.test,{url}"))), "200 GET /");
    assert_eq!(got(get("worker.toml").args(["--allow-http", "api.test"])), "ErrorCode::HttpRequestDenied");
    for (flags, said) in [
        (&["--allow-http", "ftp://api.test"][..], "only http and https"),
        (&["--allow-http", "api.test", "--allow-http-address", "ten"], "is no address"),
        (&["--allow-http-address", "10.0.0.0/8"], "add --allow-http HOST"),
    ] {
        get("").args(flags).fails_with(2, said);
    }
    world.write("worker.toml", "allow-http = ['api.test', 'a/../b']\n");
    get("worker.toml").fails_with(2, "line 1");
}

#[test]
fn usage_and_metrics_count_requests_and_bytes() {
    let world = World::with_queue(&[]);
    let server = Stub::answering(|_| Answer::new(200, vec![b'x'; 1000]));
    let url = server.endpoint();
    world.send([format!("get {url}/"), format!("post {url}/ 500"), "get http://other.test/".into()]);
    let worker = world.run("fetch").args(["--allow-http", &url, "--until-empty", "--usage", "usage.jsonl"]);
    worker.args(["--on", "rejected=drop"]).succeeds();
    let report = world.wasmrun(["report", "--json", "usage.jsonl"]).succeeds().json();
    assert_eq!(report["http"]["requests"], 3);
    let bytes = |name: &str| report["http"][name].as_u64().unwrap_or_default();
    assert!((500..1000).contains(&bytes("bytes_sent")), "{report}");
    assert!((2000..3000).contains(&bytes("bytes_received")), "{report}");
    assert_eq!(report["usage"]["refusals"], 1);
    assert_eq!(report["outcomes"], json!({"rejected": 3}));
}
