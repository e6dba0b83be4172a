//! What a request costs in `wasmrun serve`, side by side with `wasmtime serve`.
//!
//!     cargo xtask bench serve                              # writes docs/src/benchmarks/serve.md
//!     cargo xtask bench serve -- --quick                   # few requests, to see that it works
//!
//! All servers run the same component, the guest `answer`, in an instance of its own for each request. The same client
//! (h2load) sends them the same requests, in turns. It shares the cores with them: compare the CPU time of the server,
//! which is measured for its process, more than requests a second.

mod client;
mod server;
mod spinners;

use self::client::{Client, Load, Protocol};
use self::server::{Server, Wasmtime};
use crate::shared::guests;
use serde_json::{Value, json};
use std::time::Duration;
use wasmrun_benches::{Arguments, Found, Report, Size, Way, interleaved, micros, system, with};

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

pub(crate) fn measure(arguments: &Arguments) {
    let scratch = tempfile::tempdir().expect("a directory");
    let client = match Client::find(scratch.path()) {
        Ok(client) => client,
        Err(why) => return println!("Skipped: {why}."),
    };
    let component = guests::path("answer");
    let mut servers = vec![Server::wasmrun(&component)];
    let mut versions = client.version();
    let wasmtime = Wasmtime::find();
    match &wasmtime {
        Some(wasmtime) => {
            versions = format!("{}, {versions}", wasmtime.version());
            servers.extend(wasmtime.servers(&component));
        }
        None => println!("There is no wasmtime to compare with: cargo xtask bench serve installs it."),
    }
    let bench = Bench { client, servers };
    let mut report = Report::new("serve", arguments, &versions);
    for (name, protocol, has_body, requests) in TABLES {
        if arguments.wants(name) {
            let requests = report.size.pick(64, requests);
            bench.table(&mut report, name, Load { protocol, has_body, connections: 0, requests });
        }
    }
    if arguments.wants("spinners") {
        let columns = "= what | alongside = alongside | p50 = p50_us:time | p99 = p99_us:time | p99, times alone = p99_to_alone:1";
        let rows = spinners::rows(&bench.client, wasmtime.as_ref(), arguments.size);
        report.table("spinners", columns, rows);
    }
    report.write();
}

struct Bench {
    client: Client,
    servers: Vec<Server>,
}

impl Bench {
    /// Measures all servers with one kind of request, and adds the table.
    fn table(&self, report: &mut Report, name: &'static str, load: Load) {
        let size = report.size;
        let rows = CONNECTIONS.into_iter().flat_map(|connections| {
            let found = self.found(name, size, Load { connections, ..load });
            let peer = found.iter().find(|found| found.name == "wasmtime serve");
            let row = |way: &Found| {
                let to_peer = peer.map(|peer| peer.ratio(way, "server_us"));
                with(way.row(), json!({"connections": connections, "to_peer": to_peer}))
            };
            found.iter().map(row).collect::<Vec<_>>()
        });
        let columns = "= what | connections = connections | requests a second = per_second:0 \
            | p50 = p50_us:time | p99 = p99_us:time | CPU µs a request = server_us:1 \
            | requests a CPU-second, times `wasmtime serve` = to_peer:2 \
            | CPU µs of the client = client_us:1";
        report.table(name, columns, rows);
    }

    fn found(&self, name: &str, size: Size, load: Load) -> Vec<Found> {
        let is_able = |server: &&Server| server.has_http2 || load.protocol == Protocol::Http1;
        let able: Vec<&Server> = self.servers.iter().filter(is_able).collect();
        // Fills pools and caches.
        let first = Load { requests: load.requests / 4, ..load };
        let first = Load { connections: load.connections.min(first.requests), ..first };
        able.iter().for_each(|server| drop(self.client.send(&first, server.address)));
        let ways = able.into_iter().map(|server| Way::new(server.name, move |_| self.cost(server, &load)));
        interleaved(&format!("{name}, {} connections", load.connections), size.pick(1, 9), ways)
    }

    /// The CPU time of the server and of the client for a request, and the time until its whole response is there.
    fn cost(&self, server: &Server, load: &Load) -> Value {
        let cpu = || (system::cpu_of(server.pid()), system::children_cpu());
        let before = cpu();
        let times = self.client.send(load, server.address);
        std::thread::sleep(REST);
        let after = cpu();
        let each = |spent| micros(spent) / load.requests as f64;
        json!({
            "per_second": load.requests as f64 / times.all,
            "server_us": each(after.0 - before.0),
            "client_us": each(after.1 - before.1),
            "p50_us": times.each.percentile(50.0),
            "p99_us": times.each.percentile(99.0),
        })
    }
}
