//! Ports for servers that can't choose one themselves.

use std::fs::{self, File, TryLockError};
use std::net::TcpListener;
use std::sync::Mutex;

use super::scratch;

/// Below those that Linux gives to connections, also with the 10,000 that some servers add for a second port.
const PORTS: std::ops::Range<u16> = 10_000..22_000;

/// Locks of the ports that this process has chosen. They are released when it exits.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Chooses a port on which nobody listens. No other test gets it while this one runs.
#[track_caller]
pub(crate) fn free_port() -> u16 {
    let folder = scratch().join("ports");
    fs::create_dir_all(&folder).expect("a directory");
    // Elsewhere for each process, so that tests that start at once don't try the same ports.
    let start = std::process::id() % u32::from(PORTS.end - PORTS.start);
    let start = PORTS.start + u16::try_from(start).expect("fewer than ports");
    for port in (start..PORTS.end).chain(PORTS.start..start) {
        let lock = File::create(folder.join(port.to_string())).expect("a file");
        match lock.try_lock() {
            Ok(()) if TcpListener::bind(("127.0.0.1", port)).is_ok() => {
                TAKEN.lock().expect("no test has panicked here").push(lock);
                return port;
            }
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => panic!("cannot lock the file of port {port}: {error}"),
        }
    }
    panic!("all ports of tests are taken");
}
