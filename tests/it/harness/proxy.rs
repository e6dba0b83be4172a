//! A connection between a program and a server that a test can cut, or that loses some of what goes over it.

use super::lock;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes connections on to a server, until it's told to cut them.
pub(crate) struct Proxy {
    address: SocketAddr,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    cut: bool,
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

    pub(crate) fn mend(&self) {
        lock(&self.lines).cut = false;
    }
}

fn pass_on(client: TcpStream, server: &str, shared: &Arc<Mutex<Lines>>) -> io::Result<()> {
    let mut lines = lock(shared);
    if lines.cut {
        return client.shutdown(Shutdown::Both);
    }
    let server = TcpStream::connect(server)?;
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (mut from, mut to, shared) = (from.try_clone()?, to.try_clone()?, shared.clone());
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                // Small requests and answers come in one piece.
                let loses = loses(&shared);
                let passed = if loses { count / 2 } else { count };
                if to.write_all(&buffer[..passed]).is_err() || loses {
                    break;
                }
            }
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    lines.open.extend([client, server]);
    Ok(())
}

/// Whether what has just come gets lost.
fn loses(lines: &Mutex<Lines>) -> bool {
    let mut lines = lock(lines);
    // Each request is one piece, and so is its answer.
    let loses = fastrand::u32(..200) < lines.losing;
    lines.lost += usize::from(loses);
    loses
}
