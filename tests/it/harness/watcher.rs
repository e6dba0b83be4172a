//! An HTTP client for a worker's endpoints.

use super::{PATIENCE, Process, Wire, field, wait_until};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// An answer of the worker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Process {
    /// Waits until the worker listens and returns its address.
    #[track_caller]
    pub(crate) fn listens_on(&self) -> SocketAddr {
        self.until_logged("\"serving status\"");
        let logs = self.logs_with("\"serving status\"");
        field(&logs[0], "address").parse().expect("an address")
    }

    /// Waits until the service listens and returns its address.
    #[track_caller]
    pub(crate) fn serves_at(&self) -> SocketAddr {
        const LISTENS: &str = "\"listening for requests\"";
        self.until_logged(LISTENS);
        field(&self.logs_with(LISTENS)[0], "address").parse().expect("an address")
    }
}

/// Sends these bytes and reads the answer until the connection closes.
pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

#[track_caller]
pub(crate) fn request(address: SocketAddr, method: &str, path: &str) -> Seen {
    let mut client = Wire::to(address);
    client.send(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
    let response = client.response();
    let content_type = response.header("content-type").to_owned();
    Seen { status: response.status(), content_type, body: response.text() }
}

#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str) -> Seen {
    request(address, "GET", path)
}

/// Returns `/status` as JSON.
#[track_caller]
pub(crate) fn status(address: SocketAddr) -> Value {
    let seen = get(address, "/status");
    assert_eq!(seen.status, 200, "{seen:?}");
    serde_json::from_str(&seen.body).expect("JSON")
}

/// Waits until `/status` shows `count` ended tasks and none running.
#[track_caller]
pub(crate) fn wait_for_tasks(address: SocketAddr, count: u64) {
    wait_until("the tasks have ended", || {
        let status = status(address);
        status["tasks"] == count && status["instances"]["running"] == 0
    });
}
