//! How each section is run, and what must come out.

use super::document::{self, Section};
use super::place::Place;
use crate::cli::simulate::recorded;
use crate::harness::{Amazon, DockerRegistry, Output, guest, keys, photograph, repository, why};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Prepares the example components, and a photograph that is announced to the queue `sqlite:jobs.db`.
pub(super) fn here(place: &Place) {
    place.copy_guests(&["thumbnail", "forward"]);
    place.world.create_dir("out");
    place.world.write("in/cup.jpg", photograph());
    place.world.announce();
}

/// Prepares the same in an AWS account, with the queue `uploads`.
pub(super) fn in_account(amazon: &Amazon) {
    for bucket in ["components", "photos-in", "photos-out"] {
        amazon.create_bucket(bucket);
    }
    amazon.put("components", "thumbnail.wasm", fs::read(guest("thumbnail")).expect("a component"));
    let queue = amazon.create_queue("uploads", 30, 3);
    amazon.notify("photos-in", "uploads");
    amazon.put("photos-in", "cup.jpg", photograph());
    amazon.wait_for_messages(&queue, 1);
}

pub(super) fn makes_a_thumbnail_on_aws(section: &Section) {
    let Some(amazon) = Amazon::moto() else { return };
    in_account(&amazon);
    let place = Place::on(&amazon);
    here(&place);
    place.run(&section.commands());
    assert_eq!(amazon.keys("photos-out"), ["thumbs/cup.jpg.jpg"]);
}

pub(super) fn operates_dead_letters(section: &Section) {
    let place = Place::new();
    place.run("wasmrun queue create sqlite:jobs.db");
    let output = place.run(&section.commands());
    assert!(output.stdout.iter().any(|line| line == "moved 0 back"), "{output}");
    assert!(output.stdout.iter().any(|line| line == "deleted 0"), "{output}");
}

pub(super) fn makes_thumbnails_and_a_dead_letter(section: &Section) {
    let output = makes_thumbnails_by_hand(section);
    assert!(output.to_string().contains("the message announces no object"), "{output}");
}

pub(super) fn makes_thumbnails_by_hand(section: &Section) -> Output {
    let place = Place::new();
    place.is_clone();
    let output = place.run(&section.commands());
    let photographs = keys(&repository().join("demo/photographs"));
    let thumbnails = keys(&place.path("thumbnails/out"));
    assert_eq!(thumbnails.len(), photographs.len(), "{thumbnails:?}");
    output
}

/// The README shows the crate that `cargo xtask guests` builds and that its page's test runs.
pub(super) fn is_the_first_guest(section: &Section) {
    let page = document::section("docs/src/getting-started/first-guest.md", "The crate");
    assert_eq!(section.block("rust"), page.block("rust"));
}

pub(super) fn shouts(section: &Section) {
    let place = Place::new();
    // `cargo xtask guests` has built the component from the two blocks.
    place.link_to(&guest("shout"), "target/wasm32-wasip2/release/shout.wasm");
    let output = place.run(&section.commands());
    assert_eq!(output.stdout.iter().filter(|line| *line == "HELLO").count(), 1, "{output}");
    assert_eq!(place.world.read("out/hello.txt"), b"HELLO\n");
    assert_eq!(assert_noted(&place), 3);
}

/// Creates a project with a component that is built already, so that its examples run in it.
pub(super) fn project(place: &Place) {
    let component = guest("forward");
    place.world.write("guest.toml", format!("component = {component:?}\nsend = ['next']\n"));
    place.world.write("cases/blank/case.toml", "message = 'x'\n[[expect.sent.next]]\nbody = 'x'\n");
}

pub(super) fn tests_a_guest(section: &Section) {
    let place = Place::new();
    project(&place);
    place.run(&section.commands());
    assert!(place.world.read("results.xml").starts_with(b"<?xml"));
}

/// The keys of the case are those that the program reads.
pub(super) fn is_a_case(section: &Section) {
    let place = Place::new();
    project(&place);
    place.world.write("cases/blank/case.toml", section.block("toml"));
    let output = place.world.wasmrun(["test"]).ends().exited_with(1);
    assert!(output.to_string().contains("output/report.json: it is missing"), "{output}");
}

pub(super) fn is_configured(section: &Section) {
    let Some(amazon) = Amazon::moto() else { return };
    in_account(&amazon);
    amazon.create_bucket("bodies");
    let place = Place::on(&amazon);
    here(&place);
    let file = section.block("toml");
    place.world.write("wasmrun.toml", file);
    place.run(&section.commands());
    // Commented-out lines must be valid, too.
    place.world.create_queue("sqlite:published.db", &[]);
    let lines: Vec<_> = file.lines().collect();
    let commented: Vec<_> = (0..lines.len()).filter(|at| lines[*at].starts_with("# ")).collect();
    assert!(commented.len() > 5, "{file}");
    for at in commented {
        let mut lines = lines.clone();
        lines[at] = &lines[at][2..];
        place.world.write("wasmrun.toml", lines.join("\n"));
        let output = place.script(&section.commands()).env("LANG", "C").ends();
        let is_local = lines[at].contains(":role/") && output.to_string().contains("role")
            || lines[at].contains("verify-key") && output.to_string().contains("only in a registry");
        assert!(output.status.success() || is_local, "{}\n{output}", lines[at]);
    }
}

/// Simulates tenants, also with the usage file of a worker with keys.
pub(super) fn simulates(section: &Section) {
    let place = Place::new();
    place.world.write("usage.jsonl", recorded("acme", 1));
    let output = place.run(&section.commands());
    assert!(output.stdout.iter().any(|line| line.contains("wait p50")), "{output}");
}

pub(super) fn grants_by_key(section: &Section) {
    let place = Place::new();
    place.copy_guests(&["thumbnail"]);
    place.world.write("in/cup.jpg", photograph());
    place.run(&section.commands());
    assert_eq!(place.world.keys("tenants/acme/out"), ["cup.jpg.jpg"]);
}

pub(super) fn takes_routes(section: &Section) {
    let place = Place::new();
    place.copy_guests(&["thumbnail", "forward"]);
    place.world.create_dir("out");
    place.world.write("in/cup.jpg", photograph());
    place.world.write("routes.toml", section.block("toml"));
    let output = place.run(&section.commands());
    assert_eq!(place.world.keys("out"), ["cup.jpg.jpg"]);
    assert!(output.stdout.iter().any(|line| line.contains("two cups")), "{output}");
    assert!(output.stdout.iter().any(|line| line.contains("-: no route matches the message")), "{output}");
}

pub(super) fn has_priorities(section: &Section) {
    let place = Place::new();
    place.copy_guests(&["forward"]);
    let output = place.run(&section.commands());
    let bodies = ["an order", "a picture", "a report"];
    let at = bodies.map(|body| output.stdout.iter().position(|line| line.contains(body)).expect("forwarded"));
    assert!(at.is_sorted(), "{output}");
    // The list of the file is the same.
    place.world.write("queues.toml", section.block("toml"));
    let check =
        ["run", "forward.wasm", "--config", "queues.toml", "--send", "next=sqlite:next.db", "--check"];
    place.world.wasmrun(check).succeeds();
}

/// Replaces the registries of examples by one that runs here.
pub(super) fn with_registry(example: &str, registry: &DockerRegistry) -> String {
    let ours = registry.host();
    let hosts = ["ghcr.io/acme", "123456789012.dkr.ecr.eu-west-1.amazonaws.com"];
    hosts.iter().fold(example.to_owned(), |example, host| example.replace(host, &ours))
}

pub(super) fn runs_from_a_registry(section: &Section) {
    let Some(registry) = DockerRegistry::start() else { return };
    let place = Place::new();
    here(&place);
    place.run(&with_registry(&section.commands(), &registry));
    assert_eq!(place.world.keys("out"), ["cup.jpg.jpg"]);
}

pub(super) fn compiles_before(section: &Section) {
    let place = Place::new();
    here(&place);
    place.run(&section.commands());
    assert_eq!(place.world.keys("out"), ["cup.jpg.jpg"]);
    assert_noted(&place);
}

/// The worker of the documentation goes on; here it ends when the queue is empty.
pub(super) fn refreshes(section: &Section) {
    let place = Place::new();
    here(&place);
    place.run(&format!("{} --until-empty", section.commands().trim_end()));
    assert_eq!(place.world.keys("out"), ["cup.jpg.jpg"]);
    assert_noted(&place);
}

pub(super) fn filters(section: &Section) {
    let place = Place::new();
    place.link_to(&guest("filter"), "filter.wasm");
    place.run(&section.commands());
    assert_eq!(place.world.read("out/fruit-red.txt"), b"red apple\n");
}

/// Asserts that a JSON block in a document has the same keys as the actual value.
#[track_caller]
fn is_like(shown: &str, real: &Value) {
    let shown: Value = serde_json::from_str(shown).unwrap_or_else(|error| panic!("{error}: {shown}"));
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(&shown), keys(real), "{real:#}");
}

pub(super) fn tells_why(section: &Section) {
    let place = Place::new();
    here(&place);
    let world = &place.world;
    world.send(["this announces no object"]);
    thumbnails(&place, &[]);
    is_like(section.block("json"), &why(&world.dead_letters()[0]));
}

/// Runs a worker that makes thumbnails here, with these additional arguments. Returns its log.
pub(super) fn thumbnails(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let run = place.world.wasmrun(["run", "thumbnail.wasm", "--queue", "sqlite:jobs.db", "--until-empty"]);
    let run = run.args(["--store", "input=dir:in:ro", "--store", "output=dir:out:rw"]).args(arguments);
    run.succeeds().logs()
}

pub(super) fn takes_settings(section: &Section) {
    let Some(amazon) = Amazon::moto() else { return };
    in_account(&amazon);
    let place = Place::on(&amazon);
    here(&place);
    let run = "wasmrun run thumbnail.wasm --queue uploads --store input=s3://photos-in:ro";
    for flag in section.commands().lines().filter(|line| !line.is_empty()) {
        assert!(flag.starts_with("--store "), "{flag}");
        place.run(&format!("{run} {flag} --check"));
    }
}

pub(super) fn logs(section: &Section) {
    let place = Place::new();
    here(&place);
    let lines = thumbnails(&place, &["--log", "info"]);
    let line = lines.iter().find(|line| line["message"] == "Guest").expect("a guest's line");
    is_like(section.block("json"), line);
}

pub(super) fn records_usage(section: &Section) {
    let place = Place::new();
    here(&place);
    thumbnails(&place, &["--usage", "usage.jsonl"]);
    let record = place.world.read("usage.jsonl");
    is_like(section.block("json"), &serde_json::from_slice(&record).expect("a record"));
}

pub(super) fn is_watched(section: &Section) {
    let shown: Value = serde_json::from_str(&format!("{{{}}}", section.block("json"))).expect("JSON");
    let definition = fs::read(repository().join("deploy/ecs/batch.task-definition.json")).expect("a file");
    let definition: Value = serde_json::from_slice(&definition).expect("JSON");
    assert_eq!(shown["healthCheck"], definition["containerDefinitions"][0]["healthCheck"]);
}

pub(super) fn prints_a_policy(section: &Section) {
    let policy = Place::new().run(&section.commands()).stdout.concat();
    let policy: Value = serde_json::from_str(&policy).expect("JSON");
    assert!(policy.to_string().contains("sqs:ReceiveMessage"), "{policy}");
}

pub(super) fn runs_in_a_container(section: &Section) {
    let Some(amazon) = Amazon::moto() else { return };
    in_account(&amazon);
    let place = Place::on(&amazon);
    here(&place);
    fs::copy(guest("thumbnail"), place.path("processor.wasm")).expect("copied");
    // The image's entry point is the program, and its root folder holds the component.
    place.install(
        "podman",
        r#"while [ "$1" = run ] && [ "$2" != processor ]; do set -- run "${@:3}"; done
if [ "$1" = run ]; then
    set -- "${@:3}"
    exec wasmrun "${@/#\/processor/processor}"
fi"#,
    );
    place.run(&section.commands());
    assert_eq!(amazon.keys("photos-out"), ["cup.jpg.jpg"]);
    for file in section.blocks("dockerfile") {
        let tag = env!("CARGO_PKG_VERSION");
        assert!(file.starts_with(&format!("FROM localhost/wasmrun:{tag}\n")), "{file}");
        let copied = file.lines().filter_map(|line| line.strip_prefix("COPY ")?.split(' ').next());
        for name in copied {
            assert!(place.path(name).is_file(), "{name}");
        }
    }
    assert_noted(&place);
}

pub(super) fn tries_the_guests(section: &Section) {
    let place = Place::new();
    place.world.write("somewhere/cat.jpg", photograph());
    place.link_to(guest("copy").parent().expect("a folder"), "target/wasm32-wasip2/release");
    place.run(&section.commands());
    assert_eq!(place.world.keys("out"), ["cat.jpg", "cat.jpg.jpg"]);
    assert_eq!(place.world.peek("sqlite:jobs.db").len(), 1);
}

pub(super) fn makes_renditions(section: &Section) {
    let place = Place::new();
    place.world.write("in/cat.jpg", photograph());
    place.world.write("settings/renditions.toml", section.block("toml"));
    place.link_to(guest("image_processor").parent().expect("a folder"), "target/wasm32-wasip2/release");
    place.run(&section.commands());
    assert_eq!(place.world.keys("out"), ["cat.jpg.json", "cat_1280.jpg", "cat_square.jpg"]);
    let sidecar = place.world.read("out/cat.jpg.json");
    is_like(section.block("json"), &serde_json::from_slice(&sidecar).expect("JSON"));
}

/// Asserts that the section's commands were noted instead of run.
pub(super) fn is_noted(section: &Section) {
    let place = Place::new();
    fs::create_dir(place.path("fuzz")).expect("a directory");
    place.run(&section.commands());
    assert!(assert_noted(&place) > 0);
}

/// Asserts that each noted command exists. Returns the number of noted commands.
#[track_caller]
fn assert_noted(place: &Place) -> usize {
    let read = |file: &str| fs::read_to_string(repository().join(file)).expect("a file");
    let xtask = read("xtask/src/main.rs");
    let help =
        xtask.split("const HELP: &str = ").nth(1).and_then(|rest| rest.split("\";").next()).expect("a help");
    let benchmarks = read("benches/main.rs");
    let noted = place.noted();
    for command in &noted {
        let words: Vec<_> = command.split(' ').collect();
        let is_known = match words[..] {
            ["cargo", "xtask", "bench", name, ..] => benchmarks.contains(&format!("(\"{name}\", ")),
            ["cargo", "xtask", name, ..] => help.contains(&format!("\n  {name} ")),
            ["cargo", "+nightly", "fuzz", "run", "--sanitizer", "none", target, ..] => {
                repository().join("fuzz/fuzz_targets").join(target).with_extension("rs").is_file()
            }
            ["cargo", "component", "build", ..] | ["rustup", "target", "add", ..] => true,
            ["cargo", ref words @ ..] => words.contains(&"build"),
            _ => false,
        };
        assert!(is_known, "{command}");
    }
    noted.len()
}
