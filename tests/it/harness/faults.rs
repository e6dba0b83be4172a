//! A proxy that injects faults.

use super::{Command, Process, free_port, program, scratch, wait_until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tempfile::TempDir;

/// A microburst proxy that injects faults in front of a server, such as those of AWS. Stopped with the test.
pub(crate) struct Faults {
    pub(crate) endpoint: String,
    _process: Process,
    _directory: TempDir,
}

impl Faults {
    /// Passes all requests on except those that the rules (a JSON list) match. Returns `None` if microburst isn't
    /// installed.
    pub(crate) fn before(server: &str, rules: &serde_json::Value) -> Option<Self> {
        let program = program("microburst")?;
        let (port, directory) = (free_port(), tempfile::tempdir_in(scratch()).expect("a directory"));
        let mut process = Command::new(program, directory.path())
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--upstream", server])
            .within(Duration::from_secs(3600))
            .start();
        wait_until("the proxy listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(process.runs(), "the proxy has ended, and another server listens on its port");
        let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let rules = rules.to_string();
        let request = format!(
            "POST /_microburst/rules HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{rules}",
            rules.len()
        );
        connection.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
        Some(Self { endpoint: format!("http://127.0.0.1:{port}"), _process: process, _directory: directory })
    }
}
