//! Everything that can be wrong before any task starts: one sentence that names the thing, exit code 2 (wrong usage,
//! configuration or component) or 3 (an unusable queue or store), and no internals.

use crate::harness::{Command, World, guest, wasmrun};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[test]
fn flags_that_make_no_sense_are_named() {
    let world = World::with_queue(&[]);
    world.write("file", "x");
    for (options, code, says) in [
        ("--memory 0", 2, "--memory 0 bytes is too small: at least 64 KiB"),
        ("--memory 5GiB", 2, "--memory 5 GiB is too large: at most 4 GiB"),
        ("--fuel 0", 2, "--fuel 0 is too small"),
        ("--timeout 0s", 2, "--timeout 0s is too short"),
        ("--handles 3", 2, "--handles 3 is too small: at least 16"),
        ("--instances 1000000", 2, "--instances 1000000 is too many"),
        ("--log not=a=filter", 2, "is neither a level"),
        ("--store more", 2, "ALIAS=URL:MODE"),
        ("--store more=dir:in", 2, "no mode"),
        ("--store more=dir", 2, "no mode"),
        ("--store more=dir:in:rwx", 2, "unknown mode \"rwx\""),
        ("--store More=dir:in:ro", 2, "alias \"More\""),
        ("--store input=dir:out:ro", 2, "names input twice"),
        ("--store more=s3x://bucket:ro", 2, "unknown store \"s3x://bucket\""),
        ("--store more=in:ro", 2, "unknown store \"in\""),
        ("--store more=dir::ro", 3, "is not a store's URL"),
        ("--store more=dir:missing:ro", 3, "there is no directory missing"),
        ("--store more=dir:file:ro", 3, "is not a directory"),
        ("--send more", 2, "ALIAS=URL"),
        ("--send more=kafka:topic", 2, "unknown queue \"kafka:topic\""),
        ("--send more=sqlite:missing.db", 3, "there is no queue sqlite:missing.db: create it"),
        ("--send more=sqlite:next.db#other", 3, "there is no queue \"other\""),
        ("--env AWS_SECRET_ACCESS_KEY", 2, "credentials"),
        ("--env ECS_CONTAINER_METADATA_URI_V4", 2, "credentials"),
        ("--env NOT_SET", 2, "NOT_SET is not set"),
        ("--env =x", 2, "environment key \"\""),
        ("--on trapped", 2, "--on OUTCOME=ACTION"),
        ("--on trapped=ignore", 2, "unknown action \"ignore\""),
        ("--on completed=drop", 2, "unknown outcome \"completed\""),
        ("--on timed_out=drop", 2, "unknown outcome \"timed_out\": one of"),
        ("--env A=1 --env A=2", 2, "--env names A twice"),
        ("--dead-letter sqlite:missing.db", 3, "there is no queue sqlite:missing.db"),
        ("--dead-letter sqlite:jobs.db", 2, "its own dead-letter queue"),
        ("--config missing.toml", 2, "missing.toml"),
        ("--config in", 2, "configuration in"),
        ("--cache file", 3, "file"),
        ("--cache /dev/null/x", 3, "/dev/null/x"),
    ] {
        world
            .run("misbehave")
            .args(options.split(' '))
            .env("AWS_SECRET_ACCESS_KEY", "SECRET")
            .fails_with(code, says);
    }
}

/// Errors of the argument parser: a sentence, and the command's usage.
#[test]
fn what_cannot_be_parsed_is_said_with_the_usage() {
    let world = World::with_queue(&[]);
    for arguments in [
        "run x.wasm --memory much",
        "run x.wasm --timeout soon",
        "run x.wasm --instances 0",
        "run x.wasm --backoff 1s",
        "run x.wasm --backoff 2s..1s",
        "run x.wasm --allocator heap",
        "run x.wasm --no-such-flag",
        "invoke x.wasm",
        "enqueue --queue sqlite:jobs.db",
        "enqueue --message x",
        "enqueue --queue sqlite:jobs.db --message x --watch",
        "queue stats",
        "no-such-command",
    ] {
        let output = world.wasmrun(arguments.split(' ')).ends().exited_with(2);
        assert!(output.stderr[0].starts_with("error: "), "{output}");
        let errors = output.stderr.iter().filter(|line| line.contains("error:")).count();
        assert_eq!(errors, 1, "{output}");
    }
    let not_utf8 = std::ffi::OsStr::from_bytes(b"sqlite:\xff");
    let output = world.wasmrun(["run", "x.wasm", "--queue"]).arg(not_utf8).ends().exited_with(2);
    assert!(output.stderr[0].starts_with("error: "), "{output}");
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let world = World::with_queue(&[]);
    for (content, line, says) in [
        ("queue = 'sqlite:jobs.db'\n\n[limits]\nfule = 5\n", "line 4", "fule"),
        ("queue = 'sqlite:jobs.db'\nqueue = 'sqlite:jobs.db'\n", "line 2", "queue"),
        ("\n[limits]\nmemory = 'much'\n", "line 3", "a size such as"),
        ("[limits]\nmemory = true\n", "line 2", "a size such as"),
        ("[limits]\nfuel = -1\n", "line 2", "-1"),
        ("[worker]\ninstances = 0\n", "line 2", "zero"),
        ("[worker]\nbackoff = '1s'\n", "line 2", "FIRST..LONGEST"),
        ("[worker\n", "line 1", "wasmrun.toml"),
        ("queue =\n", "line 1: ", "quoted"),
        ("listen = 9464\n", "line 1", "unknown key listen"),
        ("[serve]\nstatus = 9464\n", "line 2", "unknown key status"),
        ("[store]\ninput = 5\n", "line 2", "text in quotes"),
        ("[log]\nformat = 'xml'\n", "line 2", "xml"),
    ] {
        world.write("wasmrun.toml", content);
        for command in ["run", "invoke"] {
            let message = (command == "invoke").then_some(["--message", "x"]);
            let output = world
                .wasmrun([command, "--config", "wasmrun.toml", "x.wasm"])
                .args(message.into_iter().flatten())
                .fails_with(2, "wasmrun.toml");
            for text in [line, says] {
                assert!(output.error().contains(text), "{text:?} in {output}");
            }
        }
    }
    world.write("wasmrun.toml", b"queue = '\xff'");
    let config = ["run", "--config", "wasmrun.toml", "x.wasm"];
    world.wasmrun(config).fails_with(2, "UTF-8");
    world.write("wasmrun.toml", "");
    world.wasmrun(config).fails_with(2, "no queue: add --queue URL");
    world.wasmrun(["run", "--queue", "sqlite:jobs.db"]).fails_with(2, "no component");
}

#[test]
fn a_queue_that_cannot_be_used_is_named_with_what_is_wrong() {
    let world = World::new();
    world.create_dir("directory");
    world.write("empty.db", "");
    world.write("text.db", "this is no database, ".repeat(500));
    let other = world.open("other.db");
    other.execute_batch("CREATE TABLE customers (name TEXT)").expect("a table");
    let versions = ["queue", "create", "sqlite:future.db"];
    world.wasmrun(versions).succeeds();
    let future = world.open("future.db");
    future.pragma_update(None, "user_version", 99).expect("a version");
    drop(future);
    damage(&world);

    for (queue, code, says) in [
        ("sqlite:next.db#not/a/name", 3, "is not a queue's name"),
        ("sqlite:", 3, "names no file"),
        ("sqlite:directory", 3, "is not a file"),
        ("sqlite:text.db", 3, "is not a SQLite database"),
        ("sqlite:other.db", 3, "the database of another application"),
        ("sqlite:future.db", 3, "another version of wasmrun"),
        ("sqlite:damaged.db", 3, "damaged"),
        ("jobs.db", 2, "unknown queue \"jobs.db\""),
        ("amqp://localhost", 2, "unknown queue \"amqp://localhost\""),
        ("", 2, "unknown queue \"\""),
    ] {
        let run = world.wasmrun(["run", "--until-empty", "--queue", queue]);
        run.arg(guest("empty")).fails_with(code, says);
        let check = world.wasmrun(["run", "--check", "--queue", queue]);
        check.arg(guest("empty")).fails_with(code, says);
        for command in QUEUE_COMMANDS {
            world.wasmrun(["queue", command, queue]).fails_with(code, says);
        }
    }
    for (queue, says) in [
        ("sqlite:missing.db", "there is no queue sqlite:missing.db: create it with `wasmrun queue create"),
        ("sqlite:missing/jobs.db", "there is no queue sqlite:missing/jobs.db"),
        ("sqlite:next.db#other", "there is no queue \"other\""),
        ("sqlite:empty.db", "there is no queue"),
    ] {
        for command in QUEUE_COMMANDS {
            world.wasmrun(["queue", command, queue]).fails_with(3, says);
        }
    }
    assert_eq!(world.read("text.db"), "this is no database, ".repeat(500).as_bytes());
    assert!(!world.path("missing.db").exists());
    for (queue, says) in [
        ("sqlite:missing/jobs.db", "create the directory first"),
        ("sqlite:text.db", "is not a SQLite database"),
        ("sqlite:other.db", "the database of another application"),
        ("sqlite:directory", "is not a file"),
        ("sqlite:/dev/full", "/dev/full"),
        ("sqlite:/proc/jobs.db", "/proc/jobs.db"),
    ] {
        world.wasmrun(["queue", "create", queue]).fails_with(3, says);
        world.wasmrun(["enqueue", "--message", "x", "--queue", queue]).fails_with(3, says);
        let run = world.wasmrun(["run", "--until-empty", "--queue", queue]);
        run.arg(guest("empty")).fails_with(3, says);
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let world = World::new();
    let program = wasmrun().display().to_string();
    for arguments in [
        "--version",
        "completions bash",
        "new project --lang rust",
        "simulate --arrivals burst:10 --service fixed:10ms",
    ] {
        let shell = world.program(Path::new("/bin/sh")).arg("-c");
        let output = shell.arg(format!("'{program}' {arguments} > /dev/full"));
        output.fails_with(3, "cannot write to standard output");
    }
}

/// The queue commands that create no queue.
const QUEUE_COMMANDS: [&str; 5] = ["stats", "peek", "purge", "list", "redrive"];

/// Overwrites all pages of a queue except the first with noise.
fn damage(world: &World) {
    let queue = "sqlite:damaged.db";
    world.create_queue(queue, &[]);
    world.send_to(queue, &[], ["some text that fills the pages of the database"; 200]);
    let mut content = world.read("damaged.db");
    assert!(content.len() > 40_000, "{}", content.len());
    fastrand::Rng::with_seed(9).fill(&mut content[4096..]);
    world.write("damaged.db", content);
}

#[test]
fn settings_of_a_queue_that_make_no_sense_are_named() {
    let world = World::with_queue(&[]);
    let create = |options: &str| world.wasmrun(["queue", "create"]).args(options.split(' '));
    create("sqlite:new.db --max-receives 0").fails_with(2, "1 to 1000");
    create("sqlite:new.db --visibility-timeout 13h").fails_with(2, "12 hours");
    for short in ["0s", "500ms", "999ms"] {
        create(&format!("sqlite:new.db --visibility-timeout {short}")).fails_with(2, "1 second to 12 hours");
    }
    assert!(!world.path("new.db").exists());
    create("sqlite:new.db --dead-letter sqlite:new.db").fails_with(3, "its own dead-letter queue");
    create("sqlite:new.db --dead-letter none --max-receives 3").fails_with(2, "dead-letter queue");
    create("sqlite:jobs.db --visibility-timeout 31s").fails_with(3, "visibility timeout");
    create("sqlite:jobs.db --fifo").fails_with(3, "FIFO");
    // Older versions made such queues.
    let database = world.database();
    database
        .execute("UPDATE queue SET visibility_timeout_ms = 500 WHERE name = 'main'", [])
        .expect("changed");
    let run = world.wasmrun(["run", "--queue", "sqlite:jobs.db"]);
    run.arg(guest("empty")).fails_with(2, "less than a second");
}

#[test]
fn a_message_that_cannot_be_sent_is_refused() {
    let world = World::with_queue(&["--fifo"]);
    let enqueue = |options: &[&str]| world.wasmrun(["enqueue", "--queue", "sqlite:jobs.db"]).args(options);
    enqueue(&["--message", "x"]).fails_with(2, "message group");
    enqueue(&["--message", ""]).fails_with(2, "cannot be sent");
    enqueue(&["--message", "\u{1}", "--group", "g"]).fails_with(2, "cannot be sent");
    enqueue(&["--message", "@missing"]).fails_with(2, "missing");
    enqueue(&["--message", "x", "--attribute", "a"]).fails_with(2, "NAME=VALUE");
    enqueue(&["--message", "x", "--attribute", "a b=c"]).fails_with(2, "cannot be sent");
    let large = "x".repeat((1 << 20) + 1);
    enqueue(&["--message", "-"]).input(large.clone()).fails_with(2, "cannot be sent");
    world.invoke("empty", "-").input(large).fails_with(2, "cannot be sent");
    world.invoke("empty", "-").input(b"\xff".to_vec()).fails_with(2, "UTF-8");
    assert_eq!(world.messages(), []);
}

/// Cases in which no permission helps, because tests may be run by root.
#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let world = World::with_queue(&[]);
    world.write("occupied/.wasmrun", "a file where the store's folder is to be");
    for directory in ["/proc", "/sys", "occupied"] {
        let store = format!("output=dir:{directory}:rw");
        let run = |store: &str| {
            world
                .wasmrun(["run", "--until-empty", "--queue", "sqlite:jobs.db"])
                .arg(guest("thumbnail"))
                .args(["--store", store])
        };
        run(&store).fails_with(3, &format!("dir:{directory}"));
        // Reading is fine.
        run(&store.replace(":rw", ":ro")).succeeds();
    }
}

/// A user who can write these files controls the worker.
#[test]
fn no_writable_store_may_hold_what_the_worker_runs_or_obeys() {
    let world = World::with_queue(&[]);
    for name in ["empty.wasm", "misbehave.wasm"] {
        fs::copy(guest("misbehave"), world.path("out").join(name)).expect("copied");
    }
    world.write("out/wasmrun.toml", "");
    let program = world.path("out/wasmrun");
    fs::hard_link(wasmrun(), &program).expect("a link");
    for queue in ["sqlite:out/jobs.db", "sqlite:out/next.db", "sqlite:out/dead.db"] {
        world.create_queue(queue, &[]);
    }
    std::os::unix::fs::symlink(world.path("out"), world.path("link")).expect("a link");
    std::os::unix::fs::symlink(world.path("out/misbehave.wasm"), world.path("link.wasm")).expect("a link");
    let misbehave = guest("misbehave");
    let run = |component: &Path, queue: &str, send: &str, output: &str| {
        let (send, output) = (format!("next={send}"), format!("output={output}"));
        world
            .wasmrun(["run", "--until-empty", "--queue", queue, "--store", &output, "--send", &send])
            .arg(component)
    };
    let (jobs, next) = ("sqlite:jobs.db", "sqlite:next.db");
    let cases: Vec<(&str, Command)> = vec![
        ("the component", run(&world.path("out/misbehave.wasm"), jobs, next, "dir:out:rw")),
        ("the component", run(&world.path("link.wasm"), jobs, next, "dir:out:wo")),
        ("the component", run(&world.path("out/misbehave.wasm"), jobs, next, "dir:link:rw")),
        ("the queue", run(&misbehave, jobs, next, "dir:.:rw")),
        ("the queue", run(&misbehave, "sqlite:out/jobs.db", next, "dir:out:rw")),
        ("a queue", run(&misbehave, jobs, "sqlite:out/next.db", "dir:out:rw")),
        (
            "the dead-letter queue",
            run(&misbehave, jobs, next, "dir:out:rw").args(["--dead-letter", "sqlite:out/dead.db"]),
        ),
        (
            "the configuration",
            run(&misbehave, jobs, next, "dir:out:rw").args(["--config", "out/wasmrun.toml"]),
        ),
        ("the cache", run(&misbehave, jobs, next, "dir:out:rw").args(["--cache", "out/cache"])),
        (
            "this program",
            world
                .program(&program)
                .args(["run", "--until-empty", "--queue", jobs, "--store", "output=dir:out:rw"])
                .args(["--send", "next=sqlite:next.db"])
                .arg(&misbehave),
        ),
    ];
    for (what, command) in cases {
        command.fails_with(2, &format!("is writable and holds {what}"));
    }
    // Readable stores may contain them.
    run(&world.path("out/misbehave.wasm"), "sqlite:out/jobs.db", "sqlite:out/next.db", "dir:out:ro")
        .args(["--cache", "out/cache"])
        .succeeds();
}

#[test]
fn a_cache_that_others_could_write_to_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let cache: PathBuf = world.path("cache");
    fs::create_dir(&cache).expect("a directory");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("permissions");
    let invoke = world.invoke("empty", "x").args(["--cache", "cache"]);
    invoke.fails_with(3, "chmod 700");
}
