//! The client: h2load, which sends a number of requests and writes down how long each took.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmrun_benches::{Samples, output};

/// Debian's `h2load`, which `cargo xtask bench serve` installs.
const PROGRAM: &str = "WASMRUN_H2LOAD";
/// The size of a body that is sent and comes back, in bytes.
const BODY_BYTES: usize = 64 << 10;

/// The protocol of all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Without TLS.
    Http2,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) protocol: Protocol,
    /// Whether each request has a body, which comes back. Otherwise the answer is a greeting.
    pub(crate) has_body: bool,
    /// Each has one request at a time.
    pub(crate) connections: usize,
    pub(crate) requests: usize,
}

/// How long the requests took.
pub(crate) struct Times {
    /// Of each request, in microseconds.
    pub(crate) each: Samples,
    /// From the first request to the last response, in seconds.
    pub(crate) all: f64,
}

/// h2load, on one thread.
pub(crate) struct Client {
    program: PathBuf,
    body: PathBuf,
    log: PathBuf,
}

impl Client {
    /// Finds the program.
    ///
    /// # Errors
    ///
    /// It isn't installed.
    pub(crate) fn find(scratch: &Path) -> Result<Self, String> {
        let program =
            std::env::var_os(PROGRAM).ok_or("there is no h2load: cargo xtask bench serve installs it")?;
        let (body, log) = (scratch.join("body"), scratch.join("log"));
        fs::write(&body, vec![b'x'; BODY_BYTES]).expect("a file");
        Ok(Self { program: program.into(), body, log })
    }

    /// The version of the program.
    pub(crate) fn version(&self) -> String {
        let version = output(Command::new(&self.program).arg("--version")).expect("it runs");
        version.trim().to_owned()
    }

    /// Sends the requests, and checks that each is answered.
    pub(crate) fn send(&self, load: &Load, address: SocketAddr) -> Times {
        let mut command = Command::new(&self.program);
        for (flag, number) in [("-n", load.requests), ("-c", load.connections), ("-m", 1), ("-t", 1)] {
            command.args([flag, &number.to_string()]);
        }
        if load.protocol == Protocol::Http1 {
            command.arg("--h1");
        }
        if load.has_body {
            command.arg("-d").arg(&self.body);
        }
        // It appends to the file.
        let _ = fs::remove_file(&self.log);
        let told = output(command.arg("--log-file").arg(&self.log).arg(format!("http://{address}/")));
        let told = told.expect("it runs");
        let log = fs::read_to_string(&self.log).expect("a line for each request");
        let lines: Vec<[f64; 3]> = log.lines().map(line).collect();
        let answered = lines.iter().filter(|[_, status, _]| *status == 200.0).count();
        assert_eq!(answered, load.requests, "of {load:?}: {told}");
        assert!(!load.has_body || data_bytes(&told) == Some(load.requests * BODY_BYTES), "{told}");
        let began = lines.iter().map(|[began, ..]| *began).fold(f64::MAX, f64::min);
        let ended = lines.iter().map(|[began, _, took]| began + took).fold(0.0, f64::max);
        Times { each: lines.iter().map(|[.., took]| *took).collect(), all: (ended - began) / 1e6 }
    }
}

/// The bytes of all responses' bodies, from the line `traffic: … (1234) total, … (123) headers …, … (1111) data`.
fn data_bytes(told: &str) -> Option<usize> {
    let (before, _) = told.split_once(") data")?;
    before.rsplit_once('(')?.1.parse().ok()
}

/// The time at which a request was sent and how long it took, both in microseconds, with its status between them.
fn line(text: &str) -> [f64; 3] {
    let mut fields = text.split('\t').map(|field| field.parse().expect("a number"));
    [(); 3].map(|()| fields.next().expect("three columns"))
}
