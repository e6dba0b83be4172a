//! What a request costs in `wasmrun serve`, side by side with `wasmtime serve`.
//!
//!     cargo xtask bench serve                              # writes docs/src/benchmarks/serve.md
//!     cargo xtask bench serve -- --quick                   # few requests, to see that it works
//!
//! All servers run the same component, the guest `answer`, in an instance of its own for each request. The same client
//! (h2load) sends them the same requests, in turns. It shares the cores with them: compare the CPU time of the server,
//! which is measured for its process, more than requests a second.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod client;
mod server;
mod spinners;

use serde_json::{Value, json};
use std::time::Duration;
use wasmrun_benches::report::Report;
use wasmrun_benches::rounds::{Found, Way, interleaved, micros};
use wasmrun_benches::run::{self, Only, Size};
use wasmrun_benches::{guests, system};

use crate::client::{Client, Load, Protocol};
use crate::server::{Server, Wasmtime};

/// The tables: a name, what each request is, and how many requests a full measurement sends on one connection and on each
/// of many together.
const TABLES: [(&str, Protocol, bool, usize); 3] = [
    ("hello", Protocol::Http1, false, 20_000),
    ("echo", Protocol::Http1, true, 5_000),
    ("http2", Protocol::Http2, false, 20_000),
];
const CONNECTIONS: [usize; 2] = [1, 64];
/// What a server still does once the last response was sent.
const REST: Duration = Duration::from_millis(50);

fn main() {
    let Some(size) = run::size("serve") else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let client = match Client::find(scratch.path()) {
        Ok(client) => client,
        Err(why) => return println!("Skipped: {why}."),
    };
    let component = guests::path("answer");
    let mut servers = vec![Server::wasmrun(&component)];
    let mut with = client.version();
    let wasmtime = Wasmtime::find();
    match &wasmtime {
        Some(wasmtime) => {
            with = format!("{}, {with}", wasmtime.version());
            servers.extend(wasmtime.servers(&component));
        }
        None => println!("There is no wasmtime to compare with: cargo xtask bench serve installs it."),
    }
    let bench = Bench { client, servers };
    let only = Only::given();
    let mut report = Report::new("serve", size, &with);
    for (name, protocol, has_body, requests) in TABLES {
        if only.wants(name) {
            let requests = size.pick(64, requests);
            bench.table(&mut report, size, name, Load { protocol, has_body, connections: 0, requests });
        }
    }
    if only.wants("spinners") {
        let headings = "| | alongside | p50 | p99 | p99, times alone |";
        let rows = spinners::rows(&bench.client, wasmtime.as_ref(), size);
        report.table("spinners", headings, "what alongside p50_us:time p99_us:time p99_to_alone:1", rows);
    }
    if only.is_all() {
        report.write();
    }
}

/// The cost of a request.
#[derive(Clone, Copy, Debug)]
struct Cost {
    per_second: f64,
    /// CPU time of the server and of the client, in microseconds.
    server_us: f64,
    client_us: f64,
    /// The time until the whole response is there, in microseconds.
    p50_us: f64,
    p99_us: f64,
}

struct Bench {
    client: Client,
    servers: Vec<Server>,
}

impl Bench {
    /// Measures all servers with one kind of request, and adds the table.
    fn table(&self, report: &mut Report, size: Size, name: &'static str, load: Load) {
        let rows = CONNECTIONS.into_iter().flat_map(|connections| {
            let found = self.found(name, size, Load { connections, ..load });
            let peer = found.iter().find(|found| found.name == "wasmtime serve").cloned();
            found.into_iter().map(move |way| row(connections, &way, peer.as_ref())).collect::<Vec<_>>()
        });
        let headings = "| | connections | requests a second | p50 | p99 | CPU µs a request | requests a CPU-second, times `wasmtime serve` | CPU µs of the client |";
        let fields =
            "what connections per_second:0 p50_us:time p99_us:time server_us:1 to_peer:2 client_us:1";
        report.table(name, headings, fields, rows.collect());
    }

    fn found(&self, name: &str, size: Size, load: Load) -> Vec<Found<Cost>> {
        let is_able = |server: &&Server| server.has_http2 || load.protocol == Protocol::Http1;
        let able: Vec<&Server> = self.servers.iter().filter(is_able).collect();
        // Fills pools and caches.
        let first = Load { requests: load.requests / 4, ..load };
        let first = Load { connections: load.connections.min(first.requests), ..first };
        able.iter().for_each(|server| drop(self.client.send(&first, server.address)));
        let ways = able.into_iter().map(|server| Way::new(server.name, move |_| self.cost(server, &load)));
        interleaved(&format!("{name}, {} connections", load.connections), size.pick(1, 9), ways.collect())
    }

    fn cost(&self, server: &Server, load: &Load) -> Cost {
        let cpu = || (system::cpu_of(server.pid()), system::children_cpu());
        let before = cpu();
        let times = self.client.send(load, server.address);
        std::thread::sleep(REST);
        let after = cpu();
        let each = |spent| micros(spent) / load.requests as f64;
        Cost {
            per_second: load.requests as f64 / times.all,
            server_us: each(after.0 - before.0),
            client_us: each(after.1 - before.1),
            p50_us: times.each.percentile(50.0),
            p99_us: times.each.percentile(99.0),
        }
    }
}

fn row(connections: usize, way: &Found<Cost>, peer: Option<&Found<Cost>>) -> Value {
    json!({
        "what": way.name,
        "connections": connections,
        "per_second": way.median(|cost| cost.per_second),
        "server_us": way.median(|cost| cost.server_us),
        "client_us": way.median(|cost| cost.client_us),
        "p50_us": way.median(|cost| cost.p50_us),
        "p99_us": way.median(|cost| cost.p99_us),
        "to_peer": peer.map(|peer| peer.ratio(way, |cost| cost.server_us)),
    })
}
