//! Runs the tests and benchmarks on freshly built guests, and checks the dependencies.

use std::fs;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};

use crate::{
    command::{self, on_path},
    docs,
    guests::{self, Kinds},
    image,
    places::Places,
    servers,
    tools::{self, CARGO_DENY, DebianTool},
};

/// The workspaces whose dependencies are checked: all that the repository builds.
const WORKSPACES: [&str; 6] =
    [".", "benches/native", "fuzz", "guest-examples", "guest-examples/fuzz", "tests/guests"];
/// Lints that are off because one configuration serves all workspaces, and not every workspace has everything that it
/// mentions.
const ELSEWHERE: [&str; 4] =
    ["license-exception-not-encountered", "unmatched-skip", "unmatched-skip-root", "unnecessary-skip"];

/// Builds everything and runs every test. The runner's summary is printed last, and its exit code is returned.
///
/// Arguments are passed to the runner and select tests. Documentation tests are then left out.
pub(crate) fn test(places: &Places, arguments: &[String]) -> Result<ExitCode> {
    guests::build(places, Kinds::CargoAndCargoComponent)?;
    // Built before the ordinary build, which links the program that ships to the same file.
    let image = match arguments.is_empty() || select_deploying(places, arguments)? {
        true => image::ready(places)?,
        false => None,
    };
    command::build(places)?;
    if arguments.is_empty() {
        docs::check(places)?;
        // The code of the example guests that doesn't call the host is tested on this machine's own target.
        let examples = places.root.join("guest-examples/Cargo.toml");
        command::run(
            cargo(places)
                .args(["test", "--release", "--locked", "--manifest-path"])
                .arg(examples)
                .env("CARGO_TARGET_DIR", places.target.join("guest-test"))
                // The profile's slow settings for small code are only worth their time for the guests themselves.
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
        )?;
        command::run(
            cargo(places)
                .args(["doc", "--release", "--no-deps", "--workspace"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )?;
        // cargo test runs documentation tests by itself; cargo-nextest doesn't.
        if on_path("cargo-nextest").is_some() {
            command::run(cargo(places).args(["test", "--release", "--doc", "--workspace"]))?;
        }
    }
    let servers = servers::ready(places)?;
    let mut runner = test_runner(places);
    runner.envs(servers.map(|folder| ("WASMRUN_SERVERS", folder)));
    runner.env("WASMRUN_GUEST_TOOLS", servers::guest_tools(places)?);
    for (variable, tool) in TOOLS {
        runner.envs(tool.ready(places).map(|program| (variable, program)));
    }
    match tools::WKG.ready(places) {
        Ok(program) => _ = runner.env(WKG, program),
        Err(error) => eprintln!("There is no wkg here ({error:#}): tests that need it are skipped."),
    }
    runner.env("WASMRUN_MANIFEST_TOOLS", servers::manifest_tools(places)?);
    runner.env("WASMRUN_MONITORING_TOOLS", servers::monitoring_tools(places)?);
    runner.envs(image.iter().flat_map(image::Image::environment));
    runner.args(["--release", "--workspace"]).args(arguments);
    command::show(&mut runner).map(exit_code)
}

/// Whether arguments of the runner select tests of what is deployed, which may need the image: one is part of the
/// name of such a test.
fn select_deploying(places: &Places, arguments: &[String]) -> Result<bool> {
    let tests = places.root.join("tests/it");
    let mut folders = vec![tests.join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = path.with_extension("");
                let module = module.strip_prefix(&tests)?.to_string_lossy().replace('/', "::");
                let source = fs::read_to_string(&path)?;
                let tests = source.split("#[test]\nfn ").skip(1);
                let functions = tests.filter_map(|test| test.split('(').next());
                let mut names = functions.map(|function| format!("{module}::{function}"));
                if names.any(|name| arguments.iter().any(|argument| name.contains(argument.as_str()))) {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// Programs that tests need, and the variables that name them.
const TOOLS: [(&str, DebianTool); 5] = [
    ("WASMRUN_PROMTOOL", tools::PROMTOOL),
    ("WASMRUN_PROMETHEUS", tools::PROMETHEUS),
    ("WASMRUN_DOCKER_REGISTRY", tools::DOCKER_REGISTRY),
    (H2LOAD, tools::H2LOAD),
    (CHROMIUM, tools::CHROMIUM),
];
/// The variable that names the client of a benchmark.
const H2LOAD: &str = "WASMRUN_H2LOAD";
/// The variable that names the client of registries.
const WKG: &str = "WASMRUN_WKG";
/// The variable that names the browser.
const CHROMIUM: &str = "WASMRUN_CHROMIUM";

/// Name parts of the integration tests that the fast run leaves out: tests that need servers, containers or whole
/// documents, and tests that take several seconds.
const NOT_FAST: [&str; 17] = [
    // Projects that are built first.
    "templates::",
    // Servers that stand in for SQS and S3.
    "aws::",
    // podman, and templates on such a server.
    "deploy::",
    // Every page, some of which need these servers.
    "docs::examples::",
    // An example that the selection of the test binary doesn't build.
    "docs::embedding::",
    // Kills, and outages that the tests wait for.
    "faults::",
    // Each guest runs until a limit ends it.
    "hostile::",
    // Hostile tenants, most of whose tasks run until a limit ends them.
    "isolation::tenants::",
    // Gigabytes of memory, and components that are expensive to compile.
    "limits::",
    "large_object::",
    "outputs::",
    // Each flag and key with each kind of invalid value.
    "bad_settings::",
    // Bursts that the tests wait for.
    "scaling::",
    // Registries that stop.
    "registry::faults",
    // A thousand thumbnails.
    "thumbnails::",
    // Streams of events that the tests wait for.
    "watch::events::",
    // A browser that is watched for seconds.
    "watch::page::",
];

/// Builds what is missing and runs the tests for a quick check of a change: unit tests, and the integration tests that
/// need only guests. Tests that need a server skip themselves, because no server is configured. With `names`, runs only
/// the tests whose names contain one of them.
pub(crate) fn test_fast(places: &Places, names: &[String]) -> Result<ExitCode> {
    guests::build(places, Kinds::Cargo)?;
    let left_out: Vec<&str> = NOT_FAST.iter().flat_map(|part| ["--skip", part]).collect();
    let selections: [(&[&str], &[&str]); 2] = [(&["--lib", "--bins"], &[]), (&["--test", "it"], &left_out)];
    for (targets, skipped) in selections {
        let mut runner = test_runner(places);
        for variable in [
            "WASMRUN_SERVERS",
            "WASMRUN_GUEST_TOOLS",
            "WASMRUN_MANIFEST_TOOLS",
            "WASMRUN_MONITORING_TOOLS",
            "WASMRUN_SKIP_NOTHING",
            WKG,
        ] {
            runner.env_remove(variable);
        }
        for (variable, _) in TOOLS {
            runner.env_remove(variable);
        }
        runner.args(["--release", "--workspace"]).args(targets);
        if on_path("cargo-nextest").is_some() && !names.is_empty() {
            // A name may be in one of the selections alone.
            runner.args(["--no-tests", "pass"]);
        }
        runner.arg("--").args(names).args(skipped);
        let status = command::show(&mut runner)?;
        if !status.success() {
            return Ok(exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// cargo-nextest if it is installed, otherwise cargo's own runner.
fn test_runner(places: &Places) -> Command {
    let mut runner = cargo(places);
    match on_path("cargo-nextest") {
        Some(_) => runner.args(["nextest", "run"]),
        None => runner.arg("test"),
    };
    runner
}

/// Runs the endurance tests at full length, one after the other, and shows their measurements.
pub(crate) fn endure(places: &Places) -> Result<ExitCode> {
    guests::build(places, Kinds::Cargo)?;
    command::build(places)?;
    let mut runner = cargo(places);
    runner
        .envs(servers::ready(places)?.map(|folder| ("WASMRUN_SERVERS", folder)))
        .env("WASMRUN_ENDURE", "1")
        .args(["test", "--release", "--workspace", "--test", "it"])
        .args(["--", "endurance::", "--test-threads", "1", "--nocapture"]);
    command::show(&mut runner).map(exit_code)
}

/// The picture of a worker's page in the README.
const PICTURE: &str = "docs/src/images/page.png";

/// Makes the picture of a worker's page anew, of a worker that makes thumbnails for two minutes.
pub(crate) fn picture(places: &Places) -> Result<ExitCode> {
    guests::build(places, Kinds::Cargo)?;
    command::build(places)?;
    let browser = tools::CHROMIUM.ready(places).context("there is no browser to take the picture")?;
    let mut runner = cargo(places);
    runner
        .env(CHROMIUM, browser)
        .env("WASMRUN_PICTURE", places.root.join(PICTURE))
        .args(["test", "--release", "--workspace", "--test", "it"])
        .args(["--", "--ignored", "--exact", "watch::page::the_picture_of_the_page", "--nocapture"]);
    command::show(&mut runner).map(exit_code)
}

/// Checks licences, duplicates and sources of all dependencies according to `deny.toml`.
///
/// Also checks for known vulnerabilities if `advisories` is set. Their database is on GitHub, which not every machine
/// can reach.
pub(crate) fn deny(places: &Places, advisories: bool) -> Result<()> {
    let deny = CARGO_DENY.ready(places)?;
    for workspace in WORKSPACES {
        let mut check = Command::new(&deny);
        check.current_dir(&places.root);
        // The fuzz workspace's lock file follows the repository's: cargo adds new packages to it, and a test compares
        // the versions.
        if workspace != "fuzz" {
            check.arg("--locked");
        }
        check
            .args(["--workspace", "--config", "deny.toml", "--manifest-path"])
            .arg(format!("{workspace}/Cargo.toml"))
            .arg("check");
        for lint in ELSEWHERE {
            check.args(["--allow", lint]);
        }
        check.args(["bans", "licenses", "sources"]);
        if advisories {
            check.arg("advisories");
        }
        command::run(&mut check)?;
    }
    Ok(())
}

/// Checks that are off, because no manifest can fulfil them: the namespace is that of `kubectl apply`, and the name of an
/// image, with its digest, is the user's. With a digest, or a tag that never moves, `imagePullPolicy: Always` adds only
/// a request to the registry, without which no pod would start.
const UNCHECKED: &str = "CKV_K8S_21,CKV_K8S_43,CKV_K8S_15";
/// The manifests that are checked for security, and the checks that are off for each in addition. The probes and the
/// network policy of an application with a sidecar are its own. The linter knows no ScaledJob, whose pods differ from
/// those of the base only in their arguments and annotations.
const MANIFESTS: [(&str, &str); 3] = [
    ("deploy/kubernetes/base/manifest.yaml", ""),
    ("deploy/kubernetes/service/manifest.yaml", ""),
    ("deploy/kubernetes/sidecar/manifest.yaml", ",CKV_K8S_8,CKV_K8S_9,CKV2_K8S_6"),
];

/// Checks the Kubernetes manifests with checkov. It isn't part of the tests, because it takes 290 MB.
pub(crate) fn lint(places: &Places) -> Result<()> {
    let checkov = servers::program(places, &servers::LINTER, "checkov")?;
    for (file, unchecked) in MANIFESTS {
        let mut lint = Command::new(&checkov);
        lint.current_dir(&places.root).args(["--framework", "kubernetes", "--compact", "--skip-download"]);
        lint.args(["--quiet", "--file", file, "--skip-check", &format!("{UNCHECKED}{unchecked}")]);
        command::run(&mut lint)?;
    }
    Ok(())
}

/// Number of hostile tests that run at once, even on few cores, because most of them wait for a clock.
const HOSTILE_AT_ONCE: &str = "8";

/// Runs the hostile suite `repeat` times, on all cores and then on one. Stops at the first run that fails.
pub(crate) fn hostile(places: &Places, repeat: u32) -> Result<ExitCode> {
    guests::build(places, Kinds::Cargo)?;
    command::build(places)?;
    let one_core = on_path("taskset");
    if one_core.is_none() {
        println!("There is no taskset here: the runs on one core are left out.");
    }
    for round in 1..=repeat {
        println!("Round {round} of {repeat}");
        let tests = ["test", "--release", "--workspace", "--test", "it"];
        let tests = [&tests[..], &["--", "hostile::", "--test-threads", HOSTILE_AT_ONCE]].concat();
        let mut plain = cargo(places);
        plain.args(&tests);
        let pinned = one_core.as_ref().map(|taskset| command::on_one_core(taskset, &plain));
        for mut run in std::iter::once(plain).chain(pinned) {
            let status = command::show(&mut run)?;
            if !status.success() {
                return Ok(exit_code(status));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the benchmarks: all, or the one that the first argument names. Arguments before `--` are cargo's, and those after it
/// the benchmark's.
pub(crate) fn bench(places: &Places, arguments: &[String]) -> Result<ExitCode> {
    guests::build(places, Kinds::Cargo)?;
    let (name, arguments) = match arguments.split_first() {
        Some((name, rest)) if !name.starts_with('-') => (Some(name.as_str()), rest),
        _ => (None, arguments),
    };
    // Built before the ordinary build, which links the program that ships to the same file.
    let image = if name == Some("container") { image::ready(places)? } else { None };
    // Some benchmarks measure the program itself.
    command::build(places)?;
    let mut runner = cargo(places);
    runner.args(["bench", "--workspace", "--bench", "benches"]);
    // With its defaults, the engine creates an error for each dropped store. An error captures a backtrace if these
    // variables are set, which would make the bare loops look slower than they are.
    for variable in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        runner.env_remove(variable);
    }
    runner.envs(image.iter().flat_map(image::Image::environment));
    if let Some(name) = name {
        // These benchmarks use a real server, or compare with programs written by others.
        let compared = match name {
            "queue" | "scale" | "simulate" | "tenants" => Some(&servers::CONSUMERS),
            "images" => Some(&servers::THUMBNAILERS),
            _ => None,
        };
        if name == "languages" {
            runner.env("WASMRUN_GUEST_TOOLS", servers::guest_tools(places)?);
        }
        if name == "container" {
            let registry = tools::DOCKER_REGISTRY.ready(places);
            runner.envs(registry.map(|program| ("WASMRUN_DOCKER_REGISTRY", program)));
        }
        if name == "serve" {
            runner.envs(tools::H2LOAD.ready(places).map(|program| (H2LOAD, program)));
            runner.env("WASMRUN_BENCH_WASMTIME", tools::WASMTIME.ready(places)?);
        }
        if let Some(compared) = compared {
            runner.env("WASMRUN_BENCH_SERVERS", servers::ready_to_compare(places, compared)?);
        }
    }
    let split = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let (for_cargo, for_benchmark) = arguments.split_at(split);
    runner.args(for_cargo).arg("--").args(name).args(for_benchmark.iter().skip(1));
    command::show(&mut runner).map(exit_code)
}

fn cargo(places: &Places) -> Command {
    let mut command = command::cargo(places);
    command.env("WASMRUN_GUESTS", places.guests());
    command
}

/// Converts a child's exit status to this program's exit code. A child that was killed has no code.
fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code().map(u8::try_from) {
        Some(Ok(code)) => ExitCode::from(code),
        _ => ExitCode::FAILURE,
    }
}
