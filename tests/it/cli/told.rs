//! Messages to users about surprising situations: the first sentence that they read.

use crate::harness::{Command, Output, Process, World, guest, wait_until};
use rustix::process::Signal;

const SQS: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads";

/// Creates a command without AWS settings in its environment and without a network.
fn without_credentials(world: &World, queue: &str) -> Command {
    world
        .wasmrun(["run", "--check", "--queue", queue])
        .arg(guest("empty"))
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
        .env("WASMRUN_LOG", "warn")
}

#[test]
fn missing_credentials_are_one_sentence_and_what_to_do() {
    let world = World::new();
    world.write(".aws/config", "[default]\nregion = eu-west-1\n");
    let output = without_credentials(&world, SQS).env("AWS_EC2_METADATA_DISABLED", "true");
    let output = output.fails_with(3, "no AWS credentials were found: set AWS_ACCESS_KEY_ID");
    assert_eq!(output.stderr.len(), 1, "{output}");
    assert!(!output.error().contains("provider"), "{output}");
    let unknown = without_credentials(&world, SQS).env("AWS_EC2_METADATA_DISABLED", "true");
    let output = unknown.env("AWS_PROFILE", "nope").fails_with(3, "the profile nope is not in ~/.aws/config");
    assert_eq!(output.stderr.len(), 1, "{output}");
}

#[test]
fn a_missing_region_is_one_sentence() {
    let world = World::new();
    let output = without_credentials(&world, "uploads").fails_with(3, "set AWS_REGION");
    assert_eq!(output.stderr.len(), 1, "{output}");
}

fn configured(world: &World, content: &str) -> Process {
    world.write("wasmrun.toml", content);
    world.run("misbehave").args(["--config", "wasmrun.toml"]).start_ready()
}

#[test]
fn sighup_names_what_needs_a_restart_each_time() {
    let world = World::with_queue(&[]);
    let worker = configured(&world, "[worker]\ninstances = 2\n[limits]\nfuel = 100000000\n");
    let left = "left changed settings as they were: they need a restart";
    world.write(
        "wasmrun.toml",
        "usage = 'usage.jsonl'\n[worker]\ninstances = 1\nrate = '5/s'\n[limits]\nfuel = 200000000\n[on]\ntrapped = 'drop'\n",
    );
    for times in 1..=2 {
        worker.signal(Signal::HUP);
        worker.until_logged_times(times, left);
        worker.until_logged_times(times, "reloaded the configuration");
        assert_eq!(worker.logs_with(left)[times - 1]["settings"], "limits.fuel on.trapped usage worker.rate");
    }
    world.write("wasmrun.toml", "[worker]\ninstances = 1\n[limits]\nfuel = 100000000\n");
    worker.signal(Signal::HUP);
    worker.until_logged_times(3, "reloaded the configuration");
    assert_eq!(worker.logged(left), 2, "what is as it was needs none");
    worker.stop();
}

#[test]
fn sighup_without_a_file_says_that_it_stops() {
    let world = World::with_queue(&[]);
    let worker = world.run("misbehave").start_ready();
    worker.signal(Signal::HUP);
    let output = worker.finish().succeeded();
    assert!(output.to_string().contains("stopping on SIGHUP, as there is no configuration file"), "{output}");
}

#[test]
fn redriving_a_queue_that_is_no_dead_letter_queue_fails_and_names_the_one_that_is() {
    let world = World::with_queue(&[]);
    let redrive = |queue: &'static str| world.wasmrun(["queue", "redrive", queue]);
    assert_eq!(redrive("sqlite:jobs.db").succeeds().stdout, ["moved 0 back"]);
    world.send(["reject it"]);
    redrive("sqlite:jobs.db").fails_with(2, "no queue of this file has main as its dead-letter queue");
    world.run("misbehave").arg("--until-empty").succeeds();
    let output = redrive("sqlite:jobs.db").fails_with(2, "it is empty, and its dead-letter queue sqlite:/");
    assert!(output.error().contains("jobs.db#dead holds 1"), "{output}");
    assert_eq!(redrive("sqlite:jobs.db#dead").succeeds().stdout, ["moved 1 back"]);
}

/// The warnings about unknown variables.
fn unknown(output: &Output) -> Vec<(String, Option<String>)> {
    let warnings = output.logs_of("ignored an unknown variable");
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let mut named: Vec<_> = warnings
        .iter()
        .map(|log| (text(&log["variable"]).expect("a name"), text(&log["did_you_mean"])))
        .collect();
    named.sort();
    named
}

#[test]
fn a_misspelt_variable_is_warned_of_with_the_one_that_was_probably_meant() {
    let world = World::with_queue(&[]);
    let output = world
        .run("empty")
        .arg("--until-empty")
        .env("WASMRUN_MEMROY", "1GiB")
        .env("WASMRUN_STROE_MORE", "dir:in:ro")
        .env("WASMRUN_SOMETHING_ELSE_ALTOGETHER", "x")
        // A known variable, a variable for the guest, and variables that Kubernetes sets for a service `wasmrun`.
        .env("WASMRUN_FUEL", "100000000")
        .env("WASMRUN_ENV_ANYTHING", "x")
        .env("WASMRUN_SERVICE_HOST", "10.0.0.1")
        .env("WASMRUN_PORT_9464_TCP_ADDR", "10.0.0.1")
        .succeeds();
    let expected = [
        ("WASMRUN_MEMROY", Some("WASMRUN_MEMORY")),
        ("WASMRUN_SOMETHING_ELSE_ALTOGETHER", None),
        ("WASMRUN_STROE_MORE", Some("WASMRUN_STORE_MORE")),
    ];
    let expected = expected.map(|(name, near)| (name.to_owned(), near.map(str::to_owned)));
    assert_eq!(unknown(&output), expected, "{output}");
}

#[test]
fn a_store_without_a_mode_is_told_to_name_one() {
    let world = World::with_queue(&[]);
    for store in ["more=dir:in", "more=s3://photos", "more=s3://photos/thumbs"] {
        let run = world.run("misbehave").args(["--store", store]);
        run.fails_with(
            2,
            &format!("has no mode: write ALIAS=URL:MODE with the mode ro, wo or rw, such as {store}:ro"),
        );
    }
}

#[test]
fn a_worker_is_found_by_the_name_of_its_host() {
    let world = World::with_queue(&[]);
    let worker = world.run("misbehave").args(["--status", "0"]).start();
    let address = format!("localhost:{}", worker.listens_on().port());
    let health = world.wasmrun(["health", &address]).succeeds();
    assert_eq!(health.stdout, ["alive"]);
    let top = world.wasmrun(["top", "--once=100ms", &address]).succeeds();
    assert!(top.stdout.iter().any(|line| line.contains("misbehave.wasm")), "{top}");
    world.wasmrun(["top", "--once=1s", "host.invalid:9464"]).fails_with(3, "host.invalid");
    worker.stop();
}

#[test]
fn a_format_given_as_a_level_is_told_of_its_flag() {
    let world = World::with_queue(&[]);
    world.run("misbehave").args(["--log", "json"]).fails_with(2, "for the format write --log-format json");
}

#[test]
fn a_summary_shows_little_fuel_as_it_is() {
    let world = World::with_queue(&[]);
    world.send(["ok"]);
    let output = world.run("misbehave").args(["--until-empty", "--log-format", "text"]).ends().exited_with(0);
    let fuel = output.stdout.iter().find(|line| line.starts_with("fuel")).expect("a line");
    let number: u64 =
        fuel.split_whitespace().nth(1).and_then(|n| n.trim_end_matches(',').parse().ok()).expect("a number");
    assert!((1..1_000_000).contains(&number), "{fuel}");
    wait_until("it is gone", || world.depth() == crate::harness::Depth::EMPTY);
}

/// Covers every place for a URL, and every fault in it.
#[test]
fn no_password_of_a_url_is_repeated() {
    const SECRET: &str = "open-sesame";
    let url = |place: &str| format!("https://me:{SECRET}@{place}");
    let world = World::with_queue(&[]);
    let empty = guest("empty");
    let run = |queue: &str| world.wasmrun(["run", "--check", "--queue", queue]).arg(&empty);
    let jobs = || run("sqlite:jobs.db");
    let (queue, store) = (url("sqs.eu-west-1.amazonaws.com/123456789012/jobs"), url("photos"));
    let in_bucket = format!("s3://me:{SECRET}@photos");
    world.write("queue.toml", format!("queue = {queue:?}\n"));
    world.write("store.toml", format!("queue = \"sqlite:jobs.db\"\n[store]\ninput = \"{store}:ro\"\n"));
    let server = url("127.0.0.1:1");
    let signed = |command: Command| crate::harness::signed(command);
    let commands = [
        run(&queue),
        run(&queue.replace("sesame", "ses/ame")),
        jobs().args(["--dead-letter", &queue]),
        jobs().args(["--send", &format!("next={queue}")]),
        jobs().args(["--send", &queue]),
        jobs().args(["--store", &format!("input={store}:ro")]),
        jobs().args(["--store", &format!("input={in_bucket}:ro")]),
        jobs().args(["--store", &store]),
        jobs().args(["--body-store", &store]),
        jobs().args(["--body-store", &in_bucket]),
        world.wasmrun(["run", "--check", "--queue", "sqlite:jobs.db", &url("host/a.wasm")]),
        world.wasmrun(["run", "--check", "--queue", "sqlite:jobs.db", &format!("{in_bucket}/a.wasm")]),
        world.wasmrun(["run", "--check", "--config", "queue.toml"]).arg(&empty),
        world.wasmrun(["run", "--check", "--config", "store.toml"]).arg(&empty),
        world.wasmrun(["run", "--check"]).arg(&empty).env("WASMRUN_QUEUE", &queue),
        world.wasmrun(["run", "--chekc", &queue]),
        world.wasmrun(["queue", "stats", &queue, &queue]),
        world.wasmrun(["queue", "stats", &queue]),
        world.wasmrun(["queue", "create", &queue]),
        world.wasmrun(["queue", "purge", &queue]),
        world.wasmrun(["queue", "redrive", &queue]),
        world.wasmrun(["policy", "--queue", &queue]),
        world.wasmrun(["enqueue", "--queue", &queue, "--message", "x"]),
        world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db", "--store", &store]),
        signed(jobs().args(["--store", "input=s3://photos:ro", "--endpoint-url", &server])),
        signed(jobs().args([
            "--store",
            "input=s3://photos?addressing=virtual:ro",
            "--endpoint-url",
            &server,
        ])),
        signed(jobs().args(["--store", "input=s3://photos:ro", "--endpoint-url", &url("host/?x=y")])),
        signed(jobs().args(["--store", "input=s3://photos:ro"])).env("HTTPS_PROXY", url("127.0.0.1:1")),
        signed(jobs().args(["--store", "input=s3://photos:ro"])).env("HTTPS_PROXY", url("host:port")),
    ];
    let said = |output: &Output| {
        // The process's name isn't checked, because it shows the test's arguments.
        output.to_string().split_once("-- standard output").expect("what it said").1.to_owned()
    };
    for command in commands {
        let output = command.ends();
        assert_ne!(output.status.code(), Some(0), "{output}");
        assert!(!said(&output).contains("ame@") && !said(&output).contains(SECRET), "{output}");
    }
    // The URL is still shown, without its password.
    let output = run(&queue).fails_with(2, "https://…@sqs.eu-west-1.amazonaws.com/123456789012/jobs");
    assert!(!said(&output).contains(SECRET), "{output}");
    let help = world.wasmrun(["run", "--help"]).env("WASMRUN_QUEUE", &queue).succeeds();
    assert!(!said(&help).contains(SECRET) && said(&help).contains("--until-empty"), "{help}");
}
