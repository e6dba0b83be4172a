//! How long a request takes alongside handlers that spin, and alongside processes that spin: what the kernel's sharing
//! of the cores costs in any case.

use super::client::{Client, Load, Protocol};
use super::server::{Server, Wasmtime};
use crate::shared::{Process, guests, until};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use wasmrun_benches::{Size, Way, cpu_of, interleaved, with};

/// A request whose handler spins until it is ended.
const SPIN: &[u8] = b"PUT / HTTP/1.1\r\nHost: spin\r\nContent-Length: 0\r\n\r\n";
/// CPU time of the server after which its handlers spin. It's far more than starting them takes.
const SPINS: Duration = Duration::from_millis(100);

/// What spins while requests are sent one after the other.
#[derive(Clone, Copy)]
struct Alongside {
    name: &'static str,
    handlers: usize,
    processes: usize,
}

const ALONGSIDE: [Alongside; 6] = [
    Alongside { name: "nothing", handlers: 0, processes: 0 },
    Alongside { name: "1 handler that spins", handlers: 1, processes: 0 },
    Alongside { name: "2 handlers that spin", handlers: 2, processes: 0 },
    Alongside { name: "10 handlers that spin", handlers: 10, processes: 0 },
    Alongside { name: "1 process that spins", handlers: 0, processes: 1 },
    Alongside { name: "2 processes that spin", handlers: 0, processes: 2 },
];

/// Measures a request alongside each of [`ALONGSIDE`], and returns the rows of the table.
pub(crate) fn rows(client: &Client, wasmtime: Option<&Wasmtime>, size: Size) -> Vec<Value> {
    let component = &guests::path("answer");
    let of_wasmrun = ALONGSIDE.map(|alongside| (None, alongside));
    let of_wasmtime = ALONGSIDE.into_iter().filter(|alongside| alongside.processes == 0);
    let of_wasmtime = of_wasmtime.filter_map(|alongside| Some((Some(wasmtime?), alongside)));
    let shown: Vec<_> = of_wasmrun.into_iter().chain(of_wasmtime).collect();
    let ways = shown.iter().map(|&(wasmtime, alongside)| {
        let requests = if wasmtime.is_none() { size.pick(20, 2_000) } else { size.pick(5, 100) };
        // Without a timeout the handlers of wasmtime never yield, and two of them keep both threads forever.
        let start = move || wasmtime.map_or_else(|| Server::wasmrun(component), |it| it.limited(component));
        Way::new(alongside.name, move |_| waits(client, &start(), alongside, requests))
    });
    let found = interleaved("alongside what spins", size.pick(1, 9), ways);
    let rows = shown.iter().zip(&found).map(|((wasmtime, alongside), way)| {
        let alone = shown.iter().position(|(other, _)| other.is_some() == wasmtime.is_some());
        let server = wasmtime.map_or("wasmrun serve", |_| Wasmtime::LIMITED);
        let to_alone = way.ratio(alone.map_or(way, |alone| &found[alone]), "p99_us");
        with(way.row(), json!({"what": server, "alongside": alongside.name, "p99_to_alone": to_alone}))
    });
    rows.collect()
}

fn waits(client: &Client, server: &Server, alongside: Alongside, requests: usize) -> Value {
    let load = Load { protocol: Protocol::Http1, has_body: false, connections: 1, requests };
    // Fills pools and caches.
    client.send(&Load { requests: requests / 4, ..load }, server.address);
    let before = cpu_of(server.pid());
    let handlers: Vec<TcpStream> = (0..alongside.handlers).map(|_| spin(server)).collect();
    let processes: Vec<Process> = (0..alongside.processes)
        .map(|_| Process::start(Command::new("sh").args(["-c", "while :; do :; done"])))
        .collect();
    if !handlers.is_empty() {
        until("handlers that spin", || cpu_of(server.pid()) > before + SPINS);
    }
    for process in &processes {
        until("a process that spins", || cpu_of(process.pid()) > SPINS);
    }
    let each = client.send(&load, server.address).each;
    json!({"p50_us": each.percentile(50.0), "p99_us": each.percentile(99.0)})
}

/// Sends a request whose handler spins. Its task ends with the connection.
fn spin(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).expect("a connection");
    stream.write_all(SPIN).expect("sent");
    stream
}
