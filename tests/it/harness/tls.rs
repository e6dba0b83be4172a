//! A server with TLS.

use super::{Command, Process, World, skip, wait_until};

/// Writes `ca.pem`, and `cert.pem` and `key.pem` of a server with these names (`DNS:localhost`), into a world. Prints that
/// the test is skipped and returns `None` without openssl.
pub(crate) fn certificate(world: &World, names: &str) -> Option<()> {
    const CA: &str = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem";
    const LEAF: &str = "req -x509 -CA ca.pem -CAkey ca.key -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=server -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem -addext";
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        skip("openssl is not installed");
        return None;
    }
    let names = format!("subjectAltName={names}");
    for arguments in [CA.split(' ').collect::<Vec<_>>(), LEAF.split(' ').chain([&*names]).collect()] {
        Command::new("openssl", &world.path(".")).args(arguments).succeeds();
    }
    Some(())
}

/// An S3 server with TLS, whose certificate is signed by an authority that only `ca.pem` contains.
pub(crate) struct Tls {
    pub(crate) port: u16,
    _server: Process,
}

impl Tls {
    pub(crate) fn start(world: &World) -> Option<Self> {
        const SERVER: &str = "
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        is_probe = '.wasmrun-probe' in self.path
        content = b'<Error><Code>NoSuchKey</Code></Error>' if is_probe else b'hello'
        self.send_response(404 if is_probe else 200)
        self.send_header('etag', '\"abc\"')
        self.send_header('content-length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
open('port', 'w').write(str(server.server_address[1]))
server.serve_forever()
";
        if std::process::Command::new("python3").arg("--version").output().is_err() {
            skip("python3 is not installed");
            return None;
        }
        certificate(world, "DNS:localhost")?;
        let server = Command::new("python3", &world.path(".")).args(["-c", SERVER]).start();
        let port = || std::fs::read_to_string(world.path("port")).ok().and_then(|port| port.parse().ok());
        wait_until("the server listens", || port().is_some());
        Some(Self { port: port().expect("a port"), _server: server })
    }
}
