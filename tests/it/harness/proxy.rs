//! A connection between a program and a server that a test can cut or silence, or that is slow, or that loses some of
//! what goes over it.

use super::lock;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a slow connection passes on at once: a request for one message is a few of these, one for ten is a dozen.
const DROP_BYTES: usize = 256;

/// Passes connections on to a server, until it's told to cut them.
pub(crate) struct Proxy {
    address: SocketAddr,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    cut: bool,
    silent: bool,
    /// The connections with lower numbers were silenced once: they stay so.
    speaking_from: usize,
    /// Connections so far: the next one's number.
    accepted: usize,
    /// A slow connection waits for so long after each few bytes.
    pause: Duration,
    /// So many of a hundred requests are lost, or their answers are.
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
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever is cut off at once is refused, to all appearances.
                let _ = pass_on(client, &server, &shared);
            }
        });
        Self { address, lines }
    }

    /// Loses so many of a hundred requests, as often on their way as with their answers: half of it arrives, and the
    /// connection ends.
    pub(crate) fn losing(self, percent: u32) -> Self {
        lock(&self.lines).losing = percent;
        self
    }

    /// Everything trickles, in both directions: 256 bytes, and then nothing for so long.
    pub(crate) fn slow(self, pause: Duration) -> Self {
        lock(&self.lines).pause = pause;
        self
    }

    /// How many requests and answers were lost.
    pub(crate) fn lost(&self) -> usize {
        lock(&self.lines).lost
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts all connections, and those that come.
    pub(crate) fn cut(&self) {
        let mut lines = lock(&self.lines);
        lines.cut = true;
        for line in lines.open.drain(..) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }

    /// Passes nothing on any more and closes nothing, as where a router has forgotten its connections: whoever waits for
    /// an answer waits for ever. New connections are accepted, and are as silent.
    pub(crate) fn silence(&self) {
        let mut lines = lock(&self.lines);
        lines.silent = true;
        lines.speaking_from = usize::MAX;
    }

    /// Connections that come from now on work. Those that were silenced stay so.
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
        // Kept, or else it would be closed.
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

/// Passes on what comes, until one side ends or something gets lost; `None`: the connection was silenced, and stays open.
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
        // Small requests and answers come in one piece.
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

/// Whether what has just come gets lost.
fn loses(lines: &Mutex<Lines>) -> bool {
    let mut lines = lock(lines);
    // Each request is one piece, and so is its answer.
    let loses = fastrand::u32(..200) < lines.losing;
    lines.lost += usize::from(loses);
    loses
}
