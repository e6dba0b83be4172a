//! A proxy that injects faults.

use super::{Command, Process, Wire, free_port, program, scratch};
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
        let process = Command::new(program, directory.path())
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--upstream", server])
            .start_server(port);
        let mut client = Wire::to(([127, 0, 0, 1], port).into());
        let headers = [("connection", "close"), ("content-type", "application/json")];
        let answer = client.post("/_microburst/rules", &headers, rules.to_string());
        assert_eq!(answer.status() / 100, 2, "{answer:?}");
        Some(Self { endpoint: format!("http://127.0.0.1:{port}"), _process: process, _directory: directory })
    }
}
