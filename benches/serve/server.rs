//! The servers that are compared, each in a process of its own.

use crate::shared::{Process, wasmrun};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use wasmrun_benches::output;

/// `wasmtime`, which `cargo xtask bench serve` installs.
const WASMTIME: &str = "WASMRUN_BENCH_WASMTIME";
/// As the standard library of Rust needs more than the interfaces of HTTP.
const ALL_INTERFACES: &str = "-Scli";
/// The limits that wasmrun has by default.
const LIMITS: &str = "-Wfuel=200000000000,timeout=30s,max-memory-size=268435456";

/// A server that answers. Killed when dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// `wasmtime serve` has no HTTP/2.
    pub(crate) has_http2: bool,
    pub(crate) address: SocketAddr,
    process: Process,
}

impl Server {
    /// `wasmrun serve` with its defaults.
    pub(crate) fn wasmrun(component: &Path) -> Self {
        let mut command = wasmrun();
        command.arg("serve").arg(component);
        // As the other has none.
        command.args(["--cache", "off", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        let mut process = Process::start(&mut command);
        let line = process.until("listening for requests");
        let address = line["address"].as_str().and_then(|address| address.parse().ok());
        process.until("ready");
        Self { name: "wasmrun serve", has_http2: true, address: address.expect("an address"), process }
    }

    fn wasmtime(program: &Path, component: &Path, name: &'static str, limits: Option<&str>) -> Self {
        let mut command = Command::new(program);
        command.args(["serve", "--addr", "127.0.0.1:0", ALL_INTERFACES]).args(limits).arg(component);
        let mut process = Process::start(&mut command);
        let address = process.until_line("an address", |line| {
            line.strip_prefix("Serving HTTP on http://")?.trim_end_matches('/').parse().ok()
        });
        Self { name, has_http2: false, address, process }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The program that is compared with.
pub(crate) struct Wasmtime(PathBuf);

impl Wasmtime {
    /// The name of its server with limits.
    pub(crate) const LIMITED: &str = "wasmtime serve, with fuel, memory limit and timeout";

    /// Returns `None` if it isn't installed.
    pub(crate) fn find() -> Option<Self> {
        Some(Self(std::env::var_os(WASMTIME)?.into()))
    }

    /// Its version.
    pub(crate) fn version(&self) -> String {
        let version = output(Command::new(&self.0).arg("--version")).expect("it runs");
        version.trim().to_owned()
    }

    /// `wasmtime serve`, with its defaults, and with limits.
    pub(crate) fn servers(&self, component: &Path) -> [Server; 2] {
        [Server::wasmtime(&self.0, component, "wasmtime serve", None), self.limited(component)]
    }

    /// `wasmtime serve` with limits.
    pub(crate) fn limited(&self, component: &Path) -> Server {
        Server::wasmtime(&self.0, component, Self::LIMITED, Some(LIMITS))
    }
}
