//! `wasmrun dev`: builds and runs the cases after each change.

use super::project;
use crate::harness::guest;

#[test]
fn each_change_builds_and_runs_the_cases_and_shows_what_changed() {
    let world = project(&[("work", "message = 'work a 1000'")]);
    let component = guest("misbehave");
    let build = format!("cp {component:?} guest.wasm && cat src/note");
    world.write(
        "guest.toml",
        format!("component = 'guest.wasm'\nbuild = '{build}'\nwatch = ['src']\n[store]\noutput = 'rw'\n"),
    );
    world.write("src/note", "first\n");
    let dev = world.wasmrun(["dev"]).start();
    dev.until_printed(1, "waiting for changes");
    dev.until_printed(1, "first");
    dev.until_printed(1, "1 passed, 0 failed");
    // A case.
    world.replace("cases/work/case.toml", "message = 'work a 2000'");
    dev.until_printed(2, "waiting for changes");
    dev.until_printed(1, " fuel (+");
    // A source.
    world.replace("src/note", "second\n");
    dev.until_printed(3, "waiting for changes");
    dev.until_printed(1, "second");
    // A build that fails runs nothing, and a case that fails is a result.
    world.replace("guest.toml", "component = 'guest.wasm'\nbuild = 'exit 7'\nwatch = ['src']\n");
    dev.until_printed(4, "waiting for changes");
    dev.until_printed(1, "the build failed: exit status: 7");
    world.replace("guest.toml", "component = 'guest.wasm'\nbuild = 'true'\nwatch = ['src']\n");
    dev.until_printed(5, "waiting for changes");
    dev.until_printed(1, "0 passed, 1 failed");
    dev.stop();
}

#[test]
fn a_component_without_a_build_command_is_watched_itself() {
    let world = project(&[("ok", "message = 'x'")]);
    let copy = |name: &str| world.replace("guest.wasm", std::fs::read(guest(name)).expect("a component"));
    copy("empty");
    world.write("guest.toml", "component = 'guest.wasm'\n");
    let dev = world.wasmrun(["dev"]).start();
    dev.until_printed(1, "1 passed, 0 failed");
    dev.until_printed(1, "waiting for changes");
    copy("dice");
    dev.until_printed(1, "0 passed, 1 failed");
    dev.stop();
}
