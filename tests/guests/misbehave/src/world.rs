//! Looks for ways out of the sandbox: logs, environment, arguments, files and sockets.

use std::io::Write;

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;
use wasmrun_guest::{Failure, info};

/// `log N TEXT`: logs TEXT in N lines.
pub(crate) fn log(lines: u64, text: &str) -> Result<(), Failure> {
    for _ in 0..lines {
        info!("{text}");
    }
    Ok(())
}

/// `log-bytes N`: logs one line of N bytes.
pub(crate) fn log_bytes(bytes: usize) -> Result<(), Failure> {
    let piece = [b'x'; 4096];
    let mut stderr = std::io::stderr();
    let mut left = bytes;
    while left > 0 {
        let length = left.min(piece.len());
        stderr.write_all(&piece[..length])?;
        left -= length;
    }
    stderr.write_all(b"\n")?;
    Ok(())
}

/// `print TEXT`: writes TEXT to standard output, which is logged too. A `\n` in TEXT becomes a newline.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{}", text.replace("\\n", "\n"))?;
    Ok(())
}

/// `env KEY`: reports the value of KEY, or `unset`. Without KEY, reports all keys and values.
pub(crate) fn env(key: &str) -> Failure {
    if key.is_empty() {
        let mut all: Vec<_> = std::env::vars().map(|(key, value)| format!("{key}={value}")).collect();
        all.sort();
        return Failure::reject(all.join(" "));
    }
    Failure::reject(std::env::var(key).unwrap_or_else(|_| "unset".to_owned()))
}

/// `args`: reports the number of arguments, and all of them.
pub(crate) fn args() -> Failure {
    let args: Vec<_> = std::env::args().collect();
    Failure::reject(format!("{} {}", args.len(), args.join(" ")))
}

/// `preopens`: reports the files that could be accessed, or `none`.
pub(crate) fn preopens() -> Failure {
    let mut found = Vec::new();
    for path in ["/", ".", "..", "/etc/passwd", "/proc/self/environ"] {
        if std::fs::metadata(path).is_ok() || std::fs::read_dir(path).is_ok() || std::fs::read(path).is_ok() {
            found.push(path);
        }
    }
    for path in ["/tmp/canary", "canary"] {
        if std::fs::write(path, b"canary").is_ok() {
            found.push(path);
        }
    }
    if found.is_empty() { Failure::reject("none") } else { Failure::reject(found.join(" ")) }
}

/// `sockets`: tries to connect, to listen and to look up a name, and reports each result as `NAME=RESULT`. A result of
/// `ok` is a fault of the host.
pub(crate) fn sockets() -> Failure {
    let network = instance_network();
    let address = |port| IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) });
    let tcp = || create_tcp_socket(IpAddressFamily::Ipv4);

    let connect = tcp().and_then(|socket| {
        socket.start_connect(&network, address(80))?;
        socket.subscribe().block();
        socket.finish_connect().map(drop)
    });
    let listen = tcp().and_then(|socket| {
        socket.start_bind(&network, address(0))?;
        socket.subscribe().block();
        socket.finish_bind()
    });
    let udp = create_udp_socket(IpAddressFamily::Ipv4).and_then(|socket| {
        socket.start_bind(&network, address(0))?;
        socket.finish_bind()
    });
    let lookup = resolve_addresses(&network, "localhost").and_then(|answers| {
        answers.subscribe().block();
        answers.resolve_next_address().map(drop)
    });
    let named = |result: Result<(), ErrorCode>| result.map_or_else(|error| error.name(), |()| "ok");
    Failure::reject(format!(
        "connect={} listen={} udp={} lookup={}",
        named(connect),
        named(listen),
        named(udp),
        named(lookup)
    ))
}
