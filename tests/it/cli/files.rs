//! Files that aren't regular: pipes, devices, directories and sockets. None keeps the program from starting or ending.

use crate::harness::{World, guest};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

fn fifo(world: &World, name: &str) {
    mknodat(CWD, world.path(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
}

#[test]
fn a_file_without_an_end_is_read_up_to_a_bound() {
    let world = World::with_queue(&[]);
    let bound = "it is larger than 1.0 MiB";
    for command in ["run", "policy"] {
        world.wasmrun([command, "--config", "/dev/zero", "--queue", "sqlite:jobs.db"]).fails_with(2, bound);
    }
    world.wasmrun(["invoke", "--config", "/dev/zero", "--message", "x"]).fails_with(2, bound);
    world
        .wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--message", "@/dev/zero"])
        .fails_with(2, "cannot be sent");
    world.invoke("empty", "@/dev/zero").fails_with(2, "cannot be sent");
    fifo(&world, "endless");
    let path = world.path("endless");
    let writer = std::thread::spawn(move || {
        let mut pipe = OpenOptions::new().write(true).open(path).expect("a pipe");
        while pipe.write_all(&[b'#'; 4096]).is_ok() {}
    });
    world.wasmrun(["run", "--config", "endless", "--queue", "sqlite:jobs.db"]).fails_with(2, bound);
    writer.join().expect("it ends with its reader");
}

/// Nobody writes to the pipe, so whoever opens it waits forever.
#[test]
fn a_setting_that_needs_a_regular_file_refuses_a_pipe_and_a_device() {
    let world = World::with_queue(&[]);
    fifo(&world, "silent");
    let component = guest("empty");
    let component = component.to_str().expect("text");
    let budget = ["--key", "group", "--budget", "a=cost:1/1h", "--budget-store", "sqlite:budgets.db"];
    for (path, kind) in [("silent", "a pipe"), ("/dev/zero", "a device"), ("in", "a directory")] {
        let says = format!("it is {kind}, not a regular file");
        for check in [None, Some("--check")] {
            let run = world.run("empty").args(budget).args(["--prices", path]).args(check);
            run.fails_with(2, &says);
            world.wasmrun(["run", "--queue", "sqlite:jobs.db", path]).args(check).fails_with(2, &says);
        }
        for command in [
            &["report", "usage.jsonl", "--prices", path][..],
            &["simulate", "--arrivals", "steady:1/s", "--service", "fixed:1s", "--prices", path],
            &["inspect", path],
            &["compile", path, "-o", "x.cwasm"],
            &["push", path, "oci://127.0.0.1:1/a:1"],
            &["inspect", "oci://127.0.0.1:1/a:1", "--verify-key", path],
        ] {
            world.wasmrun(command.iter().copied()).fails_with(2, &says);
        }
    }
    let run = world.wasmrun(["run", "--queue", "sqlite:jobs.db", component]);
    run.args(["--usage", "silent"]).fails_with(3, "it is not a plain file");
    world
        .wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", "a=dir:in", "--seen", "silent"])
        .fails_with(2, "it is not a file");
    for variable in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
        let run = world.wasmrun(["run", "--queue", "uploads", component]).env(variable, world.path("silent"));
        let output = run.env("AWS_REGION", "eu-west-1").fails_with(3, "is not a regular file");
        assert!(output.error().contains(variable), "{output}");
    }
}

/// A thread that writes this to a pipe once somebody reads it.
fn writes(world: &World, name: &str, text: &'static str) -> std::thread::JoinHandle<()> {
    fifo(world, name);
    let path = world.path(name);
    std::thread::spawn(move || fs::write(path, text).expect("written"))
}

#[test]
fn a_message_and_a_configuration_may_come_out_of_a_pipe() {
    let world = World::with_queue(&[]);
    let writers =
        [writes(&world, "message", "reject never"), writes(&world, "config", "[worker]\ninstances = 2\n")];
    assert_eq!(world.outcome("@message").0, "rejected");
    let worker = world.run("misbehave").args(["--config", "config"]).start_ready();
    writers.into_iter().for_each(|writer| writer.join().expect("read"));
    assert_eq!(worker.logs_with("\"ready\"")[0]["instances"], 2);
    // It can't be read again: it is empty now, or nobody writes to it.
    worker.signal(Signal::HUP);
    worker.until_logged("rejected the configuration");
    let rejected = &worker.logs_with("rejected the configuration")[0];
    assert!(rejected["error"].as_str().is_some_and(|error| error.contains("it is a pipe")), "{rejected}");
    worker.stop();
}

/// The program handles signals while it waits for the pipe.
#[test]
fn a_pipe_that_nobody_writes_to_keeps_no_worker_from_ending() {
    let world = World::with_queue(&[]);
    fifo(&world, "silent");
    for check in [None, Some("--check")] {
        let run = world.wasmrun(["run", "--config", "silent", "--queue", "sqlite:jobs.db"]).args(check);
        let worker = run.arg(guest("empty")).start();
        wait_until_opening(&worker.proc());
        worker.signal(Signal::TERM);
        let output = worker.finish();
        assert_eq!(output.status.code(), Some(if check.is_some() { 130 } else { 0 }), "{output}");
    }
}

/// Waits until one of the process's threads blocks opening the pipe.
fn wait_until_opening(process: &Path) {
    crate::harness::wait_until("it opens the pipe", || {
        let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
        let waits = |thread: fs::DirEntry| {
            fs::read_to_string(thread.path().join("wchan"))
                .is_ok_and(|place| place.contains("fifo") || place.contains("pipe"))
                || fs::read_to_string(thread.path().join("syscall"))
                    .is_ok_and(|call| call.starts_with("257 "))
        };
        threads.into_iter().any(waits)
    });
}
