//! The examples of each command in the output of `--help`.

use super::checks::{here, in_account, project, thumbnails, with_registry};
use super::place::Place;
use crate::harness::{
    Amazon, Command, DockerRegistry, World, field, free_port, guest, photograph, repository,
};
use std::collections::BTreeMap;
use std::fs;

/// The examples of each command that has any, by the command's words. The list of commands is the page of commands,
/// which `cargo xtask docs --check` compares with the program.
fn all(world: &World, columns: u32) -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(repository().join("docs/src/reference/cli.md")).expect("a page");
    let commands = page.lines().filter_map(|line| line.strip_prefix("## wasmrun "));
    let all = commands.map(|command| (command.to_owned(), of(world, command, columns)));
    all.filter(|(_, examples)| !examples.is_empty()).collect()
}

/// The examples of one command.
fn of(world: &World, command: &str, columns: u32) -> Vec<String> {
    let words = command.split(' ').chain(["--help"]);
    examples(&world.wasmrun(words).env("COLUMNS", columns.to_string()).succeeds().stdout)
}

/// The commands below `Examples:`, each joined into one string if it has several lines.
fn examples(help: &[String]) -> Vec<String> {
    let mut examples: Vec<String> = Vec::new();
    let mut goes_on = false;
    let start = help.iter().skip_while(|line| !line.starts_with("Example")).skip(1);
    let lines = start.take_while(|line| line.starts_with("  ") || line.is_empty());
    for line in lines.filter(|line| !line.is_empty()) {
        match examples.last_mut() {
            Some(last) if goes_on => *last += &format!("\n{line}"),
            _ => examples.push(line.trim_start().to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    examples
}

/// A configuration for workers on AWS.
const CONFIGURATION: &str = r#"
component = "thumbnail.wasm"
queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads"

[store]
input = "s3://photos-in:ro"
output = "s3://photos-out:rw"

[assume-role]
output = "arn:aws:iam::123456789012:role/thumbs"
"#;

#[test]
fn the_examples_of_each_help_run_as_printed() {
    let Some(amazon) = Amazon::moto() else { return };
    let Some(registry) = DockerRegistry::start() else { return };
    in_account(&amazon);
    let shown = all(&World::new(), 80);
    for command in "run invoke enqueue new test dev queue policy manifest report completions".split(' ') {
        assert!(shown.contains_key(command), "the help of {command} has no examples");
    }
    for (command, examples) in shown {
        let place = Place::on(&amazon);
        prepare(&place, &command);
        let component = with_registry("oci://ghcr.io/acme/thumbnail:1.2", &registry);
        place.run(&format!("wasmrun push thumbnail.wasm {component}"));
        if command == "serve" {
            let component = with_registry("oci://ghcr.io/acme/upload:1.2", &registry);
            place.run(&format!("wasmrun push upload.wasm {component}"));
        }
        let port = free_port().to_string();
        let listening = ["health", "top"].contains(&&*command).then(|| {
            let world = World::with_queue(&[]);
            let worker = world.run("misbehave").args(["--status", &port]).start();
            worker.until_logged("ready");
            (worker, world)
        });
        for example in examples {
            // Other tests listen on ports, too.
            let example =
                example.replace("9464", &port).replace("10.0.0.7:", "").replace("0.0.0.0:8080", "0");
            let example = with_registry(&example, &registry);
            println!("{example}");
            let mut script = place.script(&example).env("WASMRUN_STATUS", &port);
            if command == "serve" {
                // A service has no queue, and other tests may have the port.
                script = script.without_env("WASMRUN_UNTIL_EMPTY").env("WASMRUN_LISTEN", "0");
            }
            if command.starts_with("manifest") {
                // Settings of a worker here, which a container wouldn't have.
                script = script.without_env("WASMRUN_STATUS").without_env("WASMRUN_UNTIL_EMPTY");
            }
            runs_as_printed(&place.world, &command, &example, script);
        }
        drop(listening);
    }
}

/// Runs an example of a command until it ends or, if it runs until it is stopped, works.
fn runs_as_printed(world: &World, command: &str, example: &str, script: Command) {
    // These need a worker that runs, and a message that it doesn't hold can't be cancelled.
    if ["pause", "resume", "cancel"].contains(&command) && !example.starts_with("wasmrun run") {
        let _worker = world.run("misbehave").args(["--control", "control.sock"]).start_ready();
        script.ends().exited_with(i32::from(command == "cancel"));
    } else if command == "dev" || example.contains(" --watch") {
        let process = script.start();
        process.until_printed(1, if command == "dev" { "waiting for changes" } else { "announced" });
        process.stop();
    } else if command == "serve" && !example.contains(" --check") {
        let process = script.start();
        process.until_logged("ready");
        process.stop();
    } else if command == "top" && !example.contains(" --once") {
        script.fails_with(2, "terminal");
    } else {
        script.succeeds();
    }
}

#[test]
fn no_example_of_a_help_is_wrapped() {
    let world = World::new();
    let narrow = all(&world, 80);
    for (command, examples) in all(&world, 200) {
        assert_eq!(narrow.get(&command), Some(&examples), "{command}");
    }
}

/// Prepares what the examples of a command need.
fn prepare(place: &Place, command: &str) {
    here(place);
    let world = &place.world;
    world.write("in/2026/cup.jpg", photograph());
    thumbnails(place, &["--usage", "usage.jsonl"]);
    for old in ["usage.jsonl.1", "usage.jsonl.2"] {
        world.write(old, world.read("usage.jsonl"));
    }
    world.announce();
    let event = field(&world.peek("sqlite:jobs.db")[0], "body").to_owned();
    world.write("event.json", event);
    world.write("wasmrun.toml", CONFIGURATION);
    world.write(
        "worker.toml",
        CONFIGURATION.replace("\"thumbnail.wasm\"", "\"s3://components/thumbnail.wasm\""),
    );
    if ["pause", "resume", "cancel"].contains(&command) {
        // Their worker has no grants.
        place.run("wasmrun queue purge sqlite:jobs.db");
    }
    if command.starts_with("manifest") {
        world.write("service.toml", "component = 's3://components/upload.wasm'\n[serve]\n");
    }
    if ["serve", "invoke"].contains(&command) {
        for name in ["hello.wasm", "upload.wasm"] {
            fs::copy(guest("upload"), place.path(name)).expect("copied");
        }
        world.write("service.toml", "component = 'upload.wasm'\n[serve]\n");
    }
    fs::copy(repository().join("crates/cli/src/prices.toml"), place.path("eu-west-1.toml")).expect("copied");
    if ["test", "dev"].contains(&command) {
        project(place);
        fs::copy(guest("forward"), place.path("other.wasm")).expect("copied");
        for directory in ["guest.toml", "cases/blank/case.toml"] {
            world.write(&format!("thumbnail/{directory}"), world.read(directory));
        }
    }
    if command == "new" {
        // Its example names the SDK in a clone.
        world.write("wasmrun/crates/guest/Cargo.toml", "");
    }
    if command == "queue" {
        // The examples create this database themselves.
        fs::remove_file(place.path("jobs.db")).expect("removed");
    }
}
