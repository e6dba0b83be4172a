//! What is refused at the start, with what to do.

use super::serve;
use crate::harness::{Wire, World, guest};
use rustix::process::Signal;
use std::net::TcpListener;

#[test]
fn settings_of_queues_are_refused_by_name() {
    let world = World::new();
    let dead = ["--dead-letter", "sqlite:dead.db"];
    let settings: [&[&str]; 13] = [
        &["--until-empty"],
        &dead,
        &["--backoff", "1s..2s"],
        &["--max-visibility", "1h"],
        &["--on-lease-expired", "finish"],
        &["--body-store", "dir:out"],
        &["--raw-body"],
        &["--max-consecutive-failures", "3"],
        &["--key", "group"],
        &["--arg", "x"],
        &["--exit-code", "3=retry"],
        &["--input-object", "input:{key}"],
        &["--output-object", "output:{id}"],
    ];
    for setting in settings {
        serve(&world).args(setting).fails_with(2, setting[0]);
    }
    for variable in ["WASMRUN_ON_RETRY", "WASMRUN_WEIGHT_a", "WASMRUN_BUDGET_a"] {
        let says = format!("the variable {variable} has no meaning for a service");
        serve(&world).env(variable, "2").fails_with(2, &says);
    }
    world.write("service.toml", "queue = 'sqlite:jobs.db'\n");
    serve(&world).args(["--config", "service.toml"]).fails_with(2, "queue");
    world.write("service.toml", "[worker]\ndead-letter = 'sqlite:dead.db'\n");
    serve(&world).args(["--config", "service.toml"]).fails_with(2, "dead-letter");
}

#[test]
fn values_that_make_no_sense_are_refused() {
    let world = World::new();
    for setting in [
        ["--queue-time", "soon"],
        ["--queue-length", "0"],
        ["--connections", "0"],
        ["--listen", "nowhere"],
        ["--status", "99999"],
    ] {
        let output = world.wasmrun(["serve"]).arg(guest("web")).args(setting).ends().exited_with(2);
        assert!(output.stderr[0].contains(setting[0]), "{output}");
    }
}

#[test]
fn a_component_of_another_world_is_refused_with_the_command_that_runs_it() {
    let world = World::with_queue(&[]);
    let serves = |name: &str| world.wasmrun(["serve", "--listen", "0"]).arg(guest(name));
    serves("misbehave").args(World::grants()).fails_with(2, "wasmrun run");
    serves("program").fails_with(2, "wasmrun run");
    world.run("web").fails_with(2, "wasmrun serve");
    world.invoke("web", "hello").fails_with(2, "wasmrun serve");
}

#[test]
fn an_address_in_use_is_named_with_an_exit_code_of_its_own() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let command = world.wasmrun(["serve", "--listen", &address]).arg(guest("web")).args(World::grants());
    command.fails_with(3, &address);
}

#[test]
fn a_check_starts_nothing() {
    let world = World::new();
    let output = serve(&world).arg("--check").succeeds();
    assert!(output.stdout[0].contains("ready to answer requests"), "{output}");
    assert!(!output.to_string().contains("dead-letter"), "{output}");
    assert!(!output.to_string().contains("listening for requests"), "{output}");
}

#[test]
fn a_configuration_file_and_variables_say_the_same_as_flags() {
    let world = World::new();
    let stores = "[store]\ninput = 'dir:in:ro'\noutput = 'dir:out:rw'\n[send]\nnext = 'sqlite:next.db'\n";
    let file = format!(
        "component = {:?}\n{stores}[serve]\nlisten = '127.0.0.1:0'\nqueue-time = '1s'\nconnections = 50\n",
        guest("web")
    );
    world.write("service.toml", file);
    let process = world.wasmrun(["serve", "--config", "service.toml"]).start();
    let address = process.serves_at();
    assert_eq!(Wire::to(address).get("/hello").status(), 200);
    drop(process);

    let command = world.wasmrun(["serve"]).arg(guest("web")).args(World::grants());
    let process = command.env("WASMRUN_LISTEN", "127.0.0.1:0").start();
    assert_eq!(Wire::to(process.serves_at()).get("/hello").status(), 200);
}

#[test]
fn sighup_reads_the_configuration_of_a_service_again() {
    let world = World::new();
    let configure = |worker: &str| {
        let file = format!("[serve]\nlisten = '127.0.0.1:0'\n[worker]\n{worker}\n");
        world.write("service.toml", file);
    };
    configure("instances = 4");
    let command =
        world.wasmrun(["serve", "--config", "service.toml"]).arg(guest("web")).args(World::grants());
    let process = command.start();
    let address = process.serves_at();
    process.until_logged("\"ready\"");
    configure("instances = 2");
    process.signal(Signal::HUP);
    process.until_logged("reloaded the configuration");
    assert_eq!(process.logs_with("reloaded the configuration")[0]["instances"], 2);
    // A setting that a start refuses is refused.
    configure("until-empty = true");
    process.signal(Signal::HUP);
    process.until_logged("rejected the configuration");
    assert_eq!(Wire::to(address).get("/hello").status(), 200);
    process.stop();
}

#[test]
fn ipv6_is_listened_on_as_it_is_named() {
    let world = World::new();
    if TcpListener::bind("[::1]:0").is_err() {
        println!("Skipped: the machine has no IPv6.");
        return;
    }
    let command = world.wasmrun(["serve", "--listen", "[::1]:0"]).arg(guest("web")).args(World::grants());
    let process = command.start();
    let address = process.serves_at();
    assert!(address.is_ipv6());
    assert_eq!(Wire::to(address).get("/hello").status(), 200);
}
