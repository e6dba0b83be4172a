//! Attacks through interfaces that WASI proposes: configuration values, log messages and key-value buckets.

use super::ends::Ends::{Completed, Limit, RejectedWith};
use super::ends::{Case, case};
use super::siege::{Guest, Siege};
use crate::harness::{Command, World, guest};

const GRANT: [&str; 2] = ["--keyvalue", "cache=sqlite:cache.db:rw"];

const INTERFACES: Guest = Guest {
    neighbour: |number| format!("work neighbour-{number}"),
    result: |world, number| {
        let key = format!("neighbour-{number}");
        let written = std::fs::read(world.path("out").join(&key));
        written.is_ok_and(|written| written == format!("{key} done").as_bytes()).then_some(key)
    },
    pulse: Some(|| "sleep 4000".into()),
};

/// Low limits, so that nothing takes long. The bucket's file exists, so that its descriptors are open from the start.
fn worker(world: &World) -> Command {
    world
        .wasmrun(["invoke", "--message", "kv-fill cache 100000"])
        .arg(guest("interfaces"))
        .args(GRANT)
        .succeeds();
    world
        .run("interfaces")
        .args(GRANT)
        .args(["--config-value", &format!("large={}", "x".repeat(100_000))])
        .args(["--memory", "16MiB", "--object-size", "1MiB", "--log-size", "16KiB", "--handles", "32"])
        .args(["--write-size", "16MiB", "--read-size", "16MiB", "--store-calls", "5000"])
        .args(["--fuel", "100000000", "--instances", "4", "--timeout", "60s"])
}

fn cases() -> Vec<Case> {
    vec![
        case("config-loop 1000", Limit("fuel")),
        case("log-loop 1000", Limit("fuel")),
        case("log-lines 1000000", Completed),
        case("log-bytes 500000 500000", Completed),
        case("log-bytes 2000000 1", Limit("call-size")),
        case("kv-get-loop cache", Limit("store-calls")),
        case("kv-batch-loop cache", Limit("store-calls")),
        case("kv-set-loop cache", Limit("write-size")),
        // Another case deletes some of the hundred thousand keys meanwhile.
        case("kv-list cache", RejectedWith(", 10")),
        case("kv-open-loop cache", Limit("fuel")),
        case("kv-handles cache 1000", Limit("handles")),
        case("kv-cas-handles cache 1000", Limit("handles")),
        case("kv-key-bytes cache 1000000", RejectedWith("1 to 1024 bytes")),
        case("kv-value-bytes cache 2000000", Limit("call-size")),
        case("kv-get-many cache 100000", Limit("call-size")),
        case("kv-get other x", RejectedWith("AccessDenied")),
    ]
}

#[test]
fn each_hostile_use_of_an_interface_ends_as_it_must_and_nothing_else_is_touched() {
    let mut siege = Siege::start(&INTERFACES, worker);
    siege.storm_twice(&cases());
    siege.one_by_one(&cases());
    siege.end(&[]);
}
