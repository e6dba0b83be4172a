//! A server that does with each connection what a test says, for servers that don't speak HTTP as they should.

use super::lock;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A server that accepts connections until the test's process ends.
pub(crate) struct Raw {
    port: u16,
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Raw {
    /// Serves each connection on a thread of its own. `serve` gets the first line of the request, after its head.
    pub(crate) fn serving(serve: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", serve).expect("a port")
    }

    /// Serves at an address. Returns `None` if the machine doesn't have it.
    pub(crate) fn at(
        address: &str,
        serve: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static,
    ) -> Option<Self> {
        let listener = TcpListener::bind(address).ok()?;
        let port = listener.local_addr().expect("its port").port();
        let connections: Arc<AtomicUsize> = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (serve, counted, heard) = (Arc::new(serve), connections.clone(), asked.clone());
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let (serve, heard) = (serve.clone(), heard.clone());
                std::thread::spawn(move || {
                    let mut head = BufReader::new(client.try_clone()?).lines().map_while(Result::ok);
                    let first = head.next().unwrap_or_default();
                    head.find(String::is_empty);
                    lock(&heard).push(first.clone());
                    serve(&first, &mut client);
                    io::Result::Ok(())
                });
            }
        });
        Some(Self { port, connections, asked })
    }

    /// Serves as a proxy that connects to this port, whatever host it is asked for.
    pub(crate) fn tunnel_to(port: u16) -> Self {
        Self::serving(move |first, client| {
            if first.starts_with("CONNECT ") {
                let _ = tunnel(client, port);
            }
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The first lines of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

fn tunnel(client: &mut TcpStream, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let up = std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut server, client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = up.join();
    Ok(())
}
