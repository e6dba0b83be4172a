//! A TCP proxy between a program and a server. Tests can cut or silence its connections, slow them down, or make them
//! lose requests and answers.

use super::lock;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Bytes that a slow connection passes on at a time. A request for one message is a few such pieces, one for ten
/// messages a dozen.
const DROP_BYTES: usize = 256;

/// Passes connections on to a server until it is told to cut or silence them.
pub(crate) struct Proxy {
    address: SocketAddr,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    cut: bool,
    silent: bool,
    /// Connections with lower numbers were silenced and stay silent.
    speaking_from: usize,
    /// Number of connections so far, which is the next connection's number.
    accepted: usize,
    /// How long a slow connection waits after each piece.
    pause: Duration,
    /// Percentage of requests that are lost, or whose answers are.
    losing: u32,
    lost: usize,
    open: Vec<TcpStream>,
}

impl Proxy {
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its port");
        let lines: Arc<Mutex<Lines>> = Arc::default();
        let (server, shared) = (server.to_owned(), lines.clone());
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // To the client, a connection that is shut down at once looks refused.
                let _ = pass_on(client, &server, &shared);
            }
        });
        Self { address, lines }
    }

    /// Loses a percentage of the requests, half of them on the way and half with their answers. Half of the lost data
    /// arrives, and then the connection ends.
    pub(crate) fn losing(self, percent: u32) -> Self {
        lock(&self.lines).losing = percent;
        self
    }

    /// Passes on 256 bytes at a time in both directions, and waits for `pause` after each.
    pub(crate) fn slow(self, pause: Duration) -> Self {
        lock(&self.lines).pause = pause;
        self
    }

    /// Number of lost requests and answers.
    pub(crate) fn lost(&self) -> usize {
        lock(&self.lines).lost
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts all open and all new connections.
    pub(crate) fn cut(&self) {
        let mut lines = lock(&self.lines);
        lines.cut = true;
        for line in lines.open.drain(..) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }

    /// Stops passing on data without closing connections, like a router that has forgotten its connections. A client
    /// that waits for an answer waits forever. New connections are accepted and stay silent too.
    pub(crate) fn silence(&self) {
        let mut lines = lock(&self.lines);
        lines.silent = true;
        lines.speaking_from = usize::MAX;
    }

    /// Lets new connections work again. Those that were silenced stay silent.
    pub(crate) fn mend(&self) {
        let mut lines = lock(&self.lines);
        lines.cut = false;
        if std::mem::take(&mut lines.silent) {
            lines.speaking_from = lines.accepted;
        }
    }
}

fn pass_on(client: TcpStream, server: &str, shared: &Arc<Mutex<Lines>>) -> io::Result<()> {
    let mut lines = lock(shared);
    if lines.cut {
        return client.shutdown(Shutdown::Both);
    }
    let number = lines.accepted;
    lines.accepted += 1;
    if lines.silent {
        // Keeps the connection, because dropping it would close it.
        lines.open.push(client);
        return Ok(());
    }
    let server = TcpStream::connect(server)?;
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (from, to, shared) = (from.try_clone()?, to.try_clone()?, shared.clone());
        std::thread::spawn(move || {
            if pump(&from, &to, number, &shared).is_none() {
                return;
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    lines.open.extend([client, server]);
    Ok(())
}

/// Passes on data until one side closes or data is lost. Returns `None` if the connection was silenced and must stay
/// open.
fn pump(mut from: &TcpStream, mut to: &TcpStream, number: usize, shared: &Mutex<Lines>) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).unwrap_or_default();
        let pause = {
            let lines = lock(shared);
            if number < lines.speaking_from {
                return None;
            }
            lines.pause
        };
        if count == 0 {
            return Some(());
        }
        // Small requests and answers arrive in one read.
        let loses = loses(shared);
        let passed = &buffer[..if loses { count / 2 } else { count }];
        let at_once = if pause.is_zero() { passed.len().max(1) } else { DROP_BYTES };
        for bytes in passed.chunks(at_once) {
            if to.write_all(bytes).is_err() {
                return Some(());
            }
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        if loses {
            return Some(());
        }
    }
}

/// Decides whether the data just read is lost.
fn loses(lines: &Mutex<Lines>) -> bool {
    let mut lines = lock(lines);
    // Each request is read in one piece, and so is its answer; each is lost with half of the percentage.
    let loses = fastrand::u32(..200) < lines.losing;
    lines.lost += usize::from(loses);
    loses
}
