//! `wasmrun dev --queue`: a worker runs the component as it was last built.

use crate::harness::{Depth, Process, World, guest, wait_until};

/// A project without cases whose component is the file `guest.wasm`, and a queue.
fn project(component: &str) -> World {
    let world = World::with_queue(&[]);
    world.write("guest.toml", "component = 'guest.wasm'\n");
    install(&world, component);
    world
}

fn install(world: &World, component: &str) {
    world.replace("guest.wasm", std::fs::read(guest(component)).expect("a component"));
}

fn dev(world: &World) -> Process {
    let dev = world.wasmrun(["dev", "--queue", "sqlite:jobs.db"]).args(World::grants()).start();
    dev.until_printed(1, "running ./guest.wasm on sqlite:jobs.db");
    dev.until_printed(1, "waiting for changes");
    dev
}

/// The first words of the lines that the program printed.
#[track_caller]
fn ends(dev: Process) -> Vec<String> {
    let output = dev.stop();
    output.stdout.iter().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn each_task_is_shown_with_its_usage_next_to_that_of_the_last_run_of_the_message() {
    let world = project("misbehave");
    let dev = dev(&world);
    world.send(["work a 1000", "reject no picture"]);
    dev.until_printed(1, "completed");
    dev.until_printed(1, "rejected");
    dev.until_printed(1, "        no picture");
    install(&world, "empty");
    dev.until_printed(2, "running ./guest.wasm on");
    // The same messages, which this component completes with less.
    world.send(["work a 1000", "reject no picture"]);
    dev.until_printed(3, "completed");
    dev.until_printed(2, " fuel (-");
    let words = ends(dev);
    assert_eq!(words.iter().filter(|word| *word == "completed").count(), 3, "{words:?}");
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::visible(1)));
}

#[test]
fn tasks_that_run_finish_before_the_new_component_takes_over() {
    let world = project("misbehave");
    let dev = dev(&world);
    world.send(["sleep 3000"]);
    wait_until("the task runs", || world.depth().in_flight == 1);
    install(&world, "empty");
    dev.until_printed(2, "running ./guest.wasm on");
    world.send(["sleep 3000"]);
    dev.until_printed(2, "completed");
    // So does a task that runs when the command is stopped.
    install(&world, "misbehave");
    dev.until_printed(3, "running ./guest.wasm on");
    world.send(["sleep 1500"]);
    wait_until("the task runs", || world.depth().in_flight == 1);
    let words = ends(dev);
    let turn = ["running", "waiting", "waiting", "completed", "the"];
    let expected = [&turn[..], &["running", "waiting", "completed", "the"], &turn].concat();
    assert_eq!(words, expected);
    assert_eq!((world.depth(), world.dead()), (Depth::EMPTY, Depth::EMPTY));
}

#[test]
fn a_build_that_fails_or_a_component_that_is_refused_leaves_the_old_one_running() {
    let world = project("empty");
    let dev = dev(&world);
    let completes = |times: usize| {
        world.send(["x"]);
        dev.until_printed(times, "completed");
    };
    completes(1);
    world.replace("guest.toml", "component = 'guest.wasm'\nbuild = 'exit 7'\nwatch = ['src']\n");
    dev.until_printed(1, "the build failed: exit status: 7");
    dev.until_printed(1, "the previous component keeps running");
    completes(2);
    world.replace("guest.toml", "component = 'guest.wasm'\n");
    dev.until_printed(2, "running ./guest.wasm on");
    world.replace("guest.wasm", "no component");
    dev.until_printed(1, "error: ");
    dev.until_printed(2, "the previous component keeps running");
    completes(3);
    world.replace("guest.toml", "component = ");
    dev.until_printed(3, "the previous component keeps running");
    completes(4);
    ends(dev);
}

#[test]
fn a_changed_configuration_file_is_read_again() {
    let world = project("misbehave");
    world.write("wasmrun.toml", "[store]\noutput = 'dir:out:ro'\n");
    let dev = world.wasmrun(["dev", "--queue", "sqlite:jobs.db", "--config", "wasmrun.toml"]).start();
    dev.until_printed(1, "waiting for changes");
    world.replace("wasmrun.toml", "[store]\noutput = 'dir:out:rw'\n");
    dev.until_printed(2, "running ./guest.wasm on");
    world.send(["put a.txt done"]);
    dev.until_printed(1, "completed");
    assert_eq!(world.read("out/a.txt"), b"done");
    ends(dev);
}

#[test]
fn the_worker_of_a_rebuilt_component_takes_over_the_control_socket() {
    let world = project("empty");
    let dev = world.wasmrun(["dev", "--queue", "sqlite:jobs.db", "--control", "control.sock"]).start();
    dev.until_printed(1, "waiting for changes");
    install(&world, "misbehave");
    dev.until_printed(2, "running ./guest.wasm on");
    let paused = world.wasmrun(["pause", "--control", "control.sock"]).succeeds();
    assert!(paused.stdout[0].starts_with("paused"), "{paused}");
    ends(dev);
    assert!(!world.path("control.sock").exists());
}

#[test]
fn a_worker_that_ends_by_itself_is_said_and_the_next_change_starts_another() {
    let world = project("empty");
    world.send(["x", "y"]);
    let queue = ["dev", "--queue", "sqlite:jobs.db", "--until-empty"];
    let dev = world.wasmrun(queue).start();
    dev.until_printed(1, "the worker stopped (tasks: 2)");
    world.send(["z"]);
    install(&world, "misbehave");
    dev.until_printed(1, "the worker stopped (tasks: 1)");
    ends(dev);
}

#[test]
fn what_only_a_worker_has_is_refused_without_a_queue() {
    let world = project("empty");
    for flag in
        [["--store", "input=dir:in:ro"], ["--fuel", "5"], ["--config", "x.toml"], ["--instances", "1"]]
    {
        let refused = world.wasmrun(["dev"]).args(flag).ends().exited_with(2);
        let says = format!("{} needs --queue URL", flag[0]);
        assert!(refused.stderr.iter().any(|line| line.contains(&says)), "{refused}");
    }
    let on_queue = || world.wasmrun(["dev", "--queue", "sqlite:jobs.db"]);
    on_queue().args(["--case", "x"]).ends().exited_with(2);
    // The queue in the directory would count as a changed source.
    world.write("guest.toml", "component = 'guest.wasm'\nbuild = 'true'\n");
    on_queue().fails_with(2, "guest.toml has no `watch`: with --queue, name the files that are built");
}
