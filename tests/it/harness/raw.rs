//! A server that does with each connection what a test says, for servers that don't speak HTTP as they should.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server that accepts connections until the test's process ends.
pub(crate) struct Raw {
    port: u16,
    connections: Arc<AtomicUsize>,
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
        let (serve, counted) = (Arc::new(serve), connections.clone());
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let serve = serve.clone();
                std::thread::spawn(move || {
                    let mut head = BufReader::new(client.try_clone()?).lines().map_while(Result::ok);
                    let first = head.next().unwrap_or_default();
                    head.find(String::is_empty);
                    serve(&first, &mut client);
                    std::io::Result::Ok(())
                });
            }
        });
        Some(Self { port, connections })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
