//! Runs the examples of all documents and of the help as they are printed.
//!
//! The commands of a section are one script, which runs in a directory that is prepared as the text around them says. A
//! new section fails a test until it is either run here or listed among those that can't be run.

pub(crate) mod document;
pub(crate) mod help;
pub(crate) mod place;

use crate::harness::{Amazon, Output, World, field, guest, keys, repository, wait_until};
use document::Section;
use place::Place;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

/// Creates a test for each section, and a list of the sections.
macro_rules! sections {
    ($($name:ident: $file:literal, $heading:literal => $check:ident;)*) => {
        /// File and heading of each section with a test here.
        pub(crate) const SECTIONS: &[(&str, &str)] = &[$(($file, $heading)),*];
        $(
            #[test]
            fn $name() {
                $check(&$crate::docs::examples::document::section($file, $heading));
            }
        )*
    };
}
pub(crate) use sections;

sections! {
    the_repository_is_built: "README.md", "Install" => is_noted;
    the_quick_start_makes_thumbnails: "README.md", "Quick start, without a cloud" => makes_thumbnails_by_hand;
    the_guest_is_that_of_its_page: "README.md", "A guest in 30 lines" => is_the_first_guest;
    a_worker_on_aws_makes_a_thumbnail: "README.md", "On AWS" => makes_a_thumbnail_on_aws;
    the_program_is_built: "docs/src/getting-started/install.md", "Build" => is_noted;
    the_commands_of_the_repository_exist: "docs/src/getting-started/install.md", "Two commands for newcomers" => is_noted;
    thumbnails_are_made_by_hand: "docs/src/getting-started/first-run.md", "Thumbnails" => makes_thumbnails_and_a_dead_letter;
    the_cases_of_a_guest_run: "docs/src/guides/testing-guests.md", "Test a guest" => tests_a_guest;
    the_case_that_is_shown_is_one: "docs/src/guides/testing-guests.md", "A case" => is_a_case;
    the_first_guest_shouts: "docs/src/getting-started/first-guest.md", "The crate" => shouts;
    the_configuration_file_is_taken: "docs/src/guides/configuration.md", "A configuration file" => is_configured;
    components_are_compiled_before: "docs/src/guides/components.md", "Precompiled components" => compiles_before;
    an_existing_program_is_a_filter: "docs/src/guides/programs.md", "A filter" => filters;
    a_dead_letter_says_what_is_shown: "docs/src/concepts/outcomes.md", "Dead letters" => tells_why;
    a_store_takes_its_settings: "docs/src/reference/stores.md", "S3" => takes_settings;
    a_log_line_has_the_fields_that_are_shown: "docs/src/reference/logs.md", "Logs" => logs;
    a_policy_is_printed: "docs/src/reference/iam.md", "IAM rights" => prints_a_policy;
    a_record_has_the_fields_that_are_shown: "docs/src/guides/usage.md", "The usage file" => records_usage;
    the_health_check_is_that_of_the_templates: "docs/src/guides/monitoring.md", "Health checks" => is_watched;
    the_benchmark_of_watching_exists: "docs/src/guides/monitoring.md", "What watching costs" => is_noted;
    the_benchmark_of_a_task_exists: "docs/src/internals/performance.md", "A task" => is_noted;
    the_benchmark_of_concurrency_exists: "docs/src/internals/performance.md", "Concurrency" => is_noted;
    the_benchmark_of_isolation_exists: "docs/src/internals/performance.md", "Isolation" => is_noted;
    the_benchmark_of_pictures_exists: "docs/src/internals/performance.md", "Thumbnails" => is_noted;
    the_benchmark_on_sqs_exists: "docs/src/internals/performance.md", "SQS" => is_noted;
    the_benchmark_of_endurance_exists: "docs/src/internals/performance.md", "Endurance" => is_noted;
    the_benchmarks_of_starts_exist: "docs/src/internals/performance.md", "Start" => is_noted;
    a_container_takes_the_command: "docs/src/guides/container.md", "Build and run" => runs_in_a_container;
    the_guests_are_built: "guest-examples/README.md", "Build" => is_noted;
    the_guests_do_what_they_say: "guest-examples/README.md", "Try" => tries_the_guests;
    the_image_processor_makes_renditions: "guest-examples/README.md", "image-processor" => makes_renditions;
    the_fuzz_targets_exist: "fuzz/README.md", "Fuzz targets" => is_noted;
}

/// The sections that can't be run, and why.
const LISTED: [(&str, &str, &str); 16] = [
    ("ARCHITECTURE.md", "The tree", "a picture of folders"),
    ("guest-examples/jpeg-scaled/README.md", "jpeg-scaled", "run by a documentation test of the crate"),
    ("docs/src/guides/guests.md", "Write a guest", TEMPLATES),
    ("docs/src/guides/guests.md", "The work on a guest", TEMPLATES),
    ("docs/src/guides/guest-rust.md", "A guest in Rust", TEMPLATES),
    ("docs/src/guides/guest-python.md", "A guest in Python", TEMPLATES),
    ("docs/src/guides/guest-c.md", "A guest in C", TEMPLATES),
    ("docs/src/guides/guest-javascript.md", "A guest in JavaScript", TEMPLATES),
    ("guest-examples/fuzz/README.md", "Fuzz target `picture`", "needs a nightly compiler and cargo-fuzz"),
    (CORPORA, "Pictures of others", "fetches test pictures of a dozen projects"),
    (CORPORA, "Similarity", "needs Pillow"),
    (
        CORPORA,
        "Damaged pictures",
        "takes minutes; the tests of `picture-properties` do the same with fewer files",
    ),
    (IDEMPOTENCY, "1. Derive the output's key from the input alone", FRAGMENT),
    (IDEMPOTENCY, "2. Read the version that was announced", FRAGMENT),
    (IDEMPOTENCY, "3. What must not be done twice: put if absent", FRAGMENT),
    (IDEMPOTENCY, "4. The newest wins: sequencer and if-match", FRAGMENT),
];
const TEMPLATES: &str = "the commands of a new project, which the tests `authors::templates` run";
const CORPORA: &str = "docs/src/benchmarks/corpora.md";
const IDEMPOTENCY: &str = "docs/src/guides/idempotency.md";
const FRAGMENT: &str = "fragments of the guest `careful`, which the tests `idempotency` run";

#[test]
fn each_section_of_each_document_is_run_or_listed() {
    let shown = document::all();
    for section in &shown {
        assert_eq!(section.unknown(), [""; 0], "{}, {:?}", section.file, section.heading);
    }
    let name = |file: &str, heading: &str| format!("{file}, {heading:?}");
    let shown: BTreeSet<_> = shown.iter().map(|section| name(&section.file, &section.heading)).collect();
    let known = [SECTIONS, crate::deploy::deploying::SECTIONS, super::embedding::SECTIONS].concat();
    let listed = LISTED.iter().map(|(file, heading, _)| (*file, *heading));
    let known: BTreeSet<_> =
        known.into_iter().chain(listed).map(|(file, heading)| name(file, heading)).collect();
    assert_eq!(shown, known);
}

/// Prepares the example components, and a photograph that is announced to the queue `sqlite:jobs.db`.
fn here(place: &Place) {
    for name in ["thumbnail", "forward"] {
        fs::copy(guest(name), place.path(&format!("{name}.wasm"))).expect("copied");
    }
    fs::create_dir(place.path("out")).expect("a directory");
    place.world.write("in/cup.jpg", photograph());
    place.world.announce();
}

/// Prepares the same in an AWS account, with the queue `uploads`.
fn in_account(amazon: &Amazon) {
    for bucket in ["components", "photos-in", "photos-out"] {
        amazon.create_bucket(bucket);
    }
    amazon.put("components", "thumbnail.wasm", fs::read(guest("thumbnail")).expect("a component"));
    let queue = amazon.create_queue("uploads", 30, 3);
    amazon.notify("photos-in", "uploads");
    amazon.put("photos-in", "cup.jpg", photograph());
    wait_until("the bucket has told the queue", || amazon.depth(&queue)[0] >= 1);
}

fn photograph() -> Vec<u8> {
    fs::read(repository().join("demo/photographs/coffee cup.jpg")).expect("a photograph")
}

fn makes_a_thumbnail_on_aws(section: &Section) {
    let Some(amazon) = Amazon::moto() else { return };
    in_account(&amazon);
    let place = Place::on(&amazon);
    here(&place);
    place.run(&section.commands());
    assert_eq!(amazon.keys("photos-out"), ["thumbs/cup.jpg.jpg"]);
}

fn makes_thumbnails_and_a_dead_letter(section: &Section) {
    let output = makes_thumbnails_by_hand(section);
    assert!(output.to_string().contains("the message announces no object"), "{output}");
}

fn makes_thumbnails_by_hand(section: &Section) -> Output {
    let place = Place::new();
    place.is_clone();
    let output = place.run(&section.commands());
    let photographs = keys(&repository().join("demo/photographs"));
    let thumbnails = keys(&place.path("thumbnails/out"));
    assert_eq!(thumbnails.len(), photographs.len(), "{thumbnails:?}");
    output
}

/// The README shows the crate that `cargo xtask guests` builds and that its page's test runs.
fn is_the_first_guest(section: &Section) {
    let page = document::section("docs/src/getting-started/first-guest.md", "The crate");
    assert_eq!(section.block("rust"), page.block("rust"));
}

fn shouts(section: &Section) {
    let place = Place::new();
    // `cargo xtask guests` has built the component from the two blocks.
    place.link_to(&guest("shout"), "target/wasm32-wasip2/release/shout.wasm");
    let output = place.run(&section.commands());
    assert_eq!(output.stdout.iter().filter(|line| *line == "HELLO").count(), 1, "{output}");
    assert_eq!(place.world.read("out/hello.txt"), b"HELLO\n");
    assert_eq!(assert_noted(&place), 3);
}

/// Creates a project with a component that is built already, so that its examples run in it.
fn project(place: &Place) {
    let component = guest("forward");
    place.world.write("guest.toml", format!("component = {component:?}\nsend = ['next']\n"));
    place.world.write("cases/blank/case.toml", "message = 'x'\n[[expect.sent.next]]\nbody = 'x'\n");
}

fn tests_a_guest(section: &Section) {
    let place = Place::new();
    project(&place);
    place.run(&section.commands());
    assert!(place.world.read("results.xml").starts_with(b"<?xml"));
}

/// The keys of the case are those that the program reads.
fn is_a_case(section: &Section) {
    let place = Place::new();
    project(&place);
    place.world.write("cases/blank/case.toml", section.block("toml"));
    let output = place.world.wasmrun(["test"]).ends().exited_with(1);
    assert!(output.to_string().contains("output/report.json: it is missing"), "{output}");
}

fn is_configured(section: &Section) {
    let Some(amazon) = Amazon::moto() else { return };
    in_account(&amazon);
    amazon.create_bucket("bodies");
    let place = Place::on(&amazon);
    here(&place);
    let file = section.block("toml");
    place.world.write("wasmrun.toml", file);
    place.run(&section.commands());
    // Commented-out lines must be valid, too.
    place.world.wasmrun(["queue", "create", "sqlite:published.db"]).succeeds();
    let lines: Vec<_> = file.lines().collect();
    let commented: Vec<_> = (0..lines.len()).filter(|at| lines[*at].starts_with("# ")).collect();
    assert!(commented.len() > 5, "{file}");
    for at in commented {
        let mut lines = lines.clone();
        lines[at] = &lines[at][2..];
        place.world.write("wasmrun.toml", lines.join("\n"));
        let output = place.script(&section.commands()).env("LANG", "C").ends();
        let is_local = lines[at].contains(":role/") && output.to_string().contains("role");
        assert!(output.status.success() || is_local, "{}\n{output}", lines[at]);
    }
}

fn compiles_before(section: &Section) {
    let place = Place::new();
    here(&place);
    place.run(&section.commands());
    assert_eq!(place.world.keys("out"), ["cup.jpg.jpg"]);
    assert_noted(&place);
}

fn filters(section: &Section) {
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

fn tells_why(section: &Section) {
    let place = Place::new();
    here(&place);
    let world = &place.world;
    world
        .wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--message", "this announces no object"])
        .succeeds();
    thumbnails(&place, &[]);
    let dead = &world.peek("sqlite:jobs.db#dead")[0];
    let told = field(&dead["attributes"], "wasmrun");
    is_like(section.block("json"), &serde_json::from_str(told).expect("JSON"));
}

/// Runs a worker that makes thumbnails here, with these additional arguments. Returns its log.
fn thumbnails(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let run = place.world.wasmrun(["run", "thumbnail.wasm", "--queue", "sqlite:jobs.db", "--until-empty"]);
    let run = run.args(["--store", "input=dir:in:ro", "--store", "output=dir:out:rw"]).args(arguments);
    run.succeeds().logs()
}

fn takes_settings(section: &Section) {
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

fn logs(section: &Section) {
    let place = Place::new();
    here(&place);
    let lines = thumbnails(&place, &["--log", "info"]);
    let line = lines.iter().find(|line| line["message"] == "Guest").expect("a guest's line");
    is_like(section.block("json"), line);
}

fn records_usage(section: &Section) {
    let place = Place::new();
    here(&place);
    thumbnails(&place, &["--usage", "usage.jsonl"]);
    let record = place.world.read("usage.jsonl");
    is_like(section.block("json"), &serde_json::from_slice(&record).expect("a record"));
}

fn is_watched(section: &Section) {
    let shown: Value = serde_json::from_str(&format!("{{{}}}", section.block("json"))).expect("JSON");
    let definition = fs::read(repository().join("deploy/ecs/batch.task-definition.json")).expect("a file");
    let definition: Value = serde_json::from_slice(&definition).expect("JSON");
    assert_eq!(shown["healthCheck"], definition["containerDefinitions"][0]["healthCheck"]);
}

fn prints_a_policy(section: &Section) {
    let policy = Place::new().run(&section.commands()).stdout.concat();
    let policy: Value = serde_json::from_str(&policy).expect("JSON");
    assert!(policy.to_string().contains("sqs:ReceiveMessage"), "{policy}");
}

fn runs_in_a_container(section: &Section) {
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

fn tries_the_guests(section: &Section) {
    let place = Place::new();
    place.world.write("somewhere/cat.jpg", photograph());
    place.link_to(guest("copy").parent().expect("a folder"), "target/wasm32-wasip2/release");
    place.run(&section.commands());
    assert_eq!(place.world.keys("out"), ["cat.jpg", "cat.jpg.jpg"]);
    assert_eq!(place.world.peek("sqlite:jobs.db").len(), 1);
}

fn makes_renditions(section: &Section) {
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
fn is_noted(section: &Section) {
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
    let benchmarks = read("benches/Cargo.toml");
    let noted = place.noted();
    for command in &noted {
        let words: Vec<_> = command.split(' ').collect();
        let is_known = match words[..] {
            ["cargo", "xtask", "bench", name, ..] => benchmarks.contains(&format!("name = \"{name}\"")),
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
    in_account(&amazon);
    let all = help::all(&World::new(), 80);
    for command in
        ["run", "invoke", "enqueue", "new", "test", "dev", "queue", "policy", "report", "completions"]
    {
        assert!(all.contains_key(command), "the help of {command} has no examples");
    }
    for (command, examples) in all {
        let place = Place::on(&amazon);
        prepare(&place, &command);
        let port = free_port();
        let listening = ["health", "top"].contains(&&*command).then(|| {
            let world = World::with_queue(&[]);
            let worker = world.run("misbehave").args(["--listen", &port]).start();
            worker.until_logged("ready");
            (worker, world)
        });
        for example in examples {
            // Other tests listen on ports, too.
            let example = example.replace("9464", &port).replace("10.0.0.7:", "");
            println!("{example}");
            let script = place.script(&example).env("WASMRUN_LISTEN", &port);
            if example.contains(" --watch") {
                let process = script.start();
                process.until_printed(1, "announced");
                process.signal(Signal::TERM);
                process.finish().succeeded();
            } else if command == "dev" {
                let process = script.start();
                process.until_printed(1, "waiting for changes");
                process.signal(Signal::TERM);
                process.finish().succeeded();
            } else if command == "top" && !example.contains(" --once") {
                script.fails_with(2, "terminal");
            } else {
                script.succeeds();
            }
        }
        drop(listening);
    }
}

#[test]
fn no_example_of_a_help_is_wrapped() {
    let world = World::new();
    let narrow = help::all(&world, 80);
    for (command, examples) in help::all(&world, 200) {
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
    fs::copy(repository().join("crates/cli/src/prices.toml"), place.path("eu-west-1.toml")).expect("copied");
    if ["test", "dev"].contains(&command) {
        project(place);
        fs::copy(guest("forward"), place.path("other.wasm")).expect("copied");
        for directory in ["guest.toml", "cases/blank/case.toml"] {
            world.write(&format!("thumbnail/{directory}"), world.read(directory));
        }
    }
    if command == "queue" {
        // The examples create this database themselves.
        fs::remove_file(place.path("jobs.db")).expect("removed");
    }
}

fn free_port() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    socket.expect("a port").port().to_string()
}
