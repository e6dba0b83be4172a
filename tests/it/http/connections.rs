//! Proxies and certificates.

use super::{fetch, got};
use crate::harness::{Answer, Raw, Stub, Tls, World};

const LOCALHOST: [&str; 2] = ["--allow-http-address", "127.0.0.1"];

#[test]
fn a_certificate_must_be_valid_for_the_host_and_signed_by_a_trusted_root() {
    let world = World::new();
    let Some(server) = Tls::start(&world) else { return };
    let url = format!("https://localhost:{}", server.port);
    let get = |url: &str| fetch(&world, &format!("get {url}/")).args(["--allow-http", url]).args(LOCALHOST);
    assert_eq!(got(get(&url)), "ErrorCode::TlsCertificateError");
    let trusting = |url: &str| get(url).env("SSL_CERT_FILE", world.path("ca.pem"));
    assert_eq!(got(trusting(&url)), "200 hello");
    // The certificate is for the name, not for the address.
    assert_eq!(
        got(trusting(&format!("https://127.0.0.1:{}", server.port))),
        "ErrorCode::TlsCertificateError"
    );
    let plain = Stub::answering(|_| Answer::new(200, ""));
    let plain_url = plain.endpoint().replace("http://", "https://");
    assert_eq!(got(trusting(&plain_url)), "ErrorCode::TlsProtocolError");
    trusting(&url).env("SSL_CERT_FILE", "no.pem").fails_with(2, "SSL_CERT_FILE");
}

#[test]
fn a_proxy_gets_the_request_after_the_hosts_address_was_checked() {
    const SECRET: &str = "open-sesame";
    let world = World::new();
    let proxy = Stub::answering(|request| Answer::new(200, format!("{} {}", request.method, request.target)));
    let with = proxy.endpoint().replace("http://", &format!("http://me:{SECRET}@"));
    let get = |url: &str| {
        let command = fetch(&world, &format!("get {url}/x")).args(["--allow-http", url]);
        command.env("HTTP_PROXY", &with).env("HTTPS_PROXY", &with)
    };
    // The proxy would connect anywhere; a refused address isn't even named to it.
    assert_eq!(got(get("http://localhost:8080")), "ErrorCode::DestinationIpProhibited");
    assert!(proxy.seen().is_empty());
    let allowed = |url: &str| get(url).args(LOCALHOST);
    assert_eq!(got(allowed("http://localhost:8080")), "200 GET http://localhost:8080/x");
    let seen = proxy.seen();
    assert_eq!(seen[0].header("host"), "localhost:8080");
    assert_eq!(seen[0].header("proxy-authorization"), "Basic bWU6b3Blbi1zZXNhbWU=");
    // With TLS, the proxy is asked for a connection.
    let refusing = Raw::serving(|_, client| {
        use std::io::Write;
        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    });
    let command = allowed("https://localhost:8443").env("HTTPS_PROXY", refusing.endpoint());
    assert_eq!(got(command), "ErrorCode::DestinationUnavailable");
    assert_eq!(refusing.connections(), 1);
    // Hosts of NO_PROXY are reached directly.
    let direct = Stub::answering(|_| Answer::new(200, "direct"));
    let url = direct.endpoint();
    assert_eq!(got(get(&url).env("NO_PROXY", "127.0.0.1")), "200 direct");
    get(&url).env("HTTP_PROXY", "socks5://p:1").fails_with(2, "HTTP_PROXY does not name an HTTP proxy");
}
