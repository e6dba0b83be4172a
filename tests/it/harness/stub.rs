//! A server whose answers a test scripts, for answers that no real server gives.

use super::{Command, lock, signed};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// An HTTP server that answers until the test's process ends.
pub(crate) struct Stub {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// A request that the server received.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query as sent.
    pub(crate) target: String,
    /// Headers by lower-case name.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// The server's answer to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Response {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    },
    /// No answer, for as long as the client waits.
    Never,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Response { status, headers: Vec::new(), body: body.into() }
    }

    /// An error of S3.
    pub(crate) fn s3_error(status: u16, code: &str) -> Self {
        let error = format!("<Error><Code>{code}</Code><Message>said by the test</Message></Error>");
        Self::new(status, format!("<?xml version=\"1.0\"?>\n{error}")).with("content-type", "application/xml")
    }

    /// The answer of S3 for an object that doesn't exist.
    pub(crate) fn no_such_key() -> Self {
        Self::s3_error(404, "NoSuchKey")
    }

    /// Adds a header. If it is a content length, it is sent in place of the body's own length, and the connection is
    /// closed after the answer, except after HEAD.
    pub(crate) fn with(self, name: &str, value: impl ToString) -> Self {
        self.with_bytes(name, value.to_string())
    }

    /// Adds a header whose value may not be text.
    pub(crate) fn with_bytes(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        if let Self::Response { headers, .. } = &mut self {
            headers.push((name.into(), value.into()));
        }
        self
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Whether the request is the probe for an object that doesn't exist, with which a worker tests S3.
    pub(crate) fn is_probe(&self) -> bool {
        self.target.contains("/.wasmrun-probe")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The access key that signed the request.
    pub(crate) fn access_key(&self) -> &str {
        let (_, key) = self.header("authorization").split_once("Credential=").unwrap_or_default();
        key.split('/').next().unwrap_or_default()
    }
}

impl Stub {
    pub(crate) fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its port");
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (answer, shared) = (Arc::new(answer), seen.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (answer, seen) = (answer.clone(), shared.clone());
                // A client may disconnect at any time.
                std::thread::spawn(move || serve(client, &*answer, &seen));
            }
        });
        Self { address, seen }
    }

    /// S3 with one object, `from/large` of 1,000,000 bytes, whose content ends after 300,000.
    pub(crate) fn breaking_off() -> Self {
        Self::answering(|request| match &*request.method {
            "GET" if request.target.contains("/from/large") => {
                let part = if request.header("range").is_empty() { vec![b'x'; 300_000] } else { Vec::new() };
                Answer::new(200, part).with("content-length", 1_000_000).with("etag", "\"e\"")
            }
            _ => Answer::no_such_key(),
        })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds credentials, a region and the endpoint of this server to a command's environment.
    pub(crate) fn environment(&self, command: Command) -> Command {
        signed(command).env("AWS_ENDPOINT_URL", self.endpoint())
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        lock(&self.seen).clone()
    }
}

fn serve(
    mut client: TcpStream,
    answer: &(impl Fn(&Request) -> Answer + ?Sized),
    seen: &Mutex<Vec<Request>>,
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    while let Some(request) = read_request(&mut reader)? {
        let is_head = request.method == "HEAD";
        lock(seen).push(request.clone());
        let (status, headers, body) = match answer(&request) {
            Answer::Response { status, headers, body } => (status, headers, body),
            Answer::Never => return reader.read(&mut [0]).map(drop),
        };
        let mut head = format!("HTTP/1.1 {status} Said\r\n").into_bytes();
        for (name, value) in &headers {
            head.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let has_length = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if !has_length {
            head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        client.write_all(&head)?;
        if !is_head {
            client.write_all(&body)?;
            if has_length {
                return client.shutdown(Shutdown::Both);
            }
        }
    }
    Ok(())
}

/// Reads a request. Returns `None` if the client has disconnected.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = || -> io::Result<String> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    };
    let first = line()?;
    let Some((method, rest)) = first.split_once(' ') else { return Ok(None) };
    let target = rest.split(' ').next().unwrap_or_default();
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = HashMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or_default();
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, target, headers, body }))
}
