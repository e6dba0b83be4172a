//! `wasmrun new`: each project builds and passes its own cases at once.

use super::outcomes::{C, GO, JAVASCRIPT, Language, PYTHON, RUST, TYPESCRIPT};
use crate::harness::{Command, World, installed_below, repository, scratch, skip};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time for a tool to build a component, and for that to be compiled: interpreters have megabytes.
const PATIENCE: Duration = Duration::from_secs(600);
const KINDS: [&str; 3] = ["object", "message", "command"];

/// The build command that a project's file names.
fn build_line(world: &World, project: &str) -> String {
    let file = world.text(&format!("{project}/guest.toml"));
    let line =
        file.lines().find_map(|line| line.strip_prefix("build = \"")?.strip_suffix('"')).expect("a line");
    line.to_owned()
}

/// A shell in the project's directory, with the environment of this test's user.
fn shell(world: &World, project: &str, script: &str) -> Command {
    let home = std::env::var("HOME").expect("a home directory");
    let of_user = |variable: &str, default: &str| {
        std::env::var(variable).unwrap_or_else(|_| format!("{home}/{default}"))
    };
    world
        .program(Path::new("bash"))
        .args(["-euo", "pipefail", "-c", &format!("cd {project}\n{script}")])
        .env("CARGO_HOME", of_user("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", of_user("RUSTUP_HOME", ".rustup"))
        // Where compiled standard libraries stay, which take most of a first build.
        .env("GOCACHE", scratch().join("go-cache"))
        .env("ZIG_GLOBAL_CACHE_DIR", scratch().join("zig-cache"))
        .within(PATIENCE)
}

/// Creates a project of each kind, builds it as its file says, runs its cases, and checks that each outcome is seen.
fn builds_and_passes(language: &Language, prepare: impl Fn(&World, &str)) {
    let (world, lang) = (World::new(), language.name);
    for kind in KINDS {
        let name = format!("{lang}-{kind}");
        let mut new = world.wasmrun(["new", &name, "--lang", lang, "--kind", kind]);
        if lang == "rust" && kind != "command" {
            new = new.arg("--sdk").arg(repository().join("crates/guest"));
        }
        let said = new.succeeds();
        assert!(said.stdout.iter().any(|line| line.trim() == "wasmrun test"), "{said}");
        prepare(&world, &name);
        let build = build_line(&world, &name);
        assert!(said.stdout.iter().any(|line| line.trim() == build), "{said}");
        let readme = world.text(&format!("{name}/README.md"));
        assert!(readme.contains(&build), "{readme}");
        if kind == "message" {
            language.add_outcomes(&world, &name);
        }
        shell(&world, &name, &build).succeeds();
        let tested = world.wasmrun(["test", &name, "--json"]).within(PATIENCE).ends();
        let results = tested.json();
        assert_eq!((tested.status.code(), &results["failed"]), (Some(0), &Value::from(0)), "{tested}");
        assert!(results["passed"].as_u64() >= Some(2), "{tested}");
        // A wrong byte is found.
        let (place, wrong) = match kind {
            "object" | "command" => ("cases/hello/expected/output/hello.txt", "HELLO, WORLd\n"),
            _ => ("cases/hello/case.toml", "message = 'hello'\n[[expect.sent.next]]\nbody = 'HELLo'\n"),
        };
        world.write(&format!("{name}/{place}"), wrong);
        world.wasmrun(["test", &name]).ends().exited_with(1);
        world.wasmrun(["test", &name, "--update"]).succeeds();
        world.wasmrun(["test", &name]).succeeds();
        language.has_each_outcome(&world, &name, kind);
    }
    language.is_in_the_book();
}

/// The folder of a tool that builds guests, if `cargo xtask test` could install it.
pub(super) fn tool(path: &str) -> Option<PathBuf> {
    let found = installed_below(path, "WASMRUN_GUEST_TOOLS", path)?;
    found.ancestors().nth(Path::new(path).components().count()).map(Path::to_owned)
}

#[test]
fn a_guest_in_rust_builds_and_passes() {
    let world = World::new();
    let libraries = "rustc --print target-libdir --target wasm32-wasip2";
    let found = shell(&world, ".", libraries).ends();
    if !found.stdout.first().is_some_and(|folder| Path::new(folder.trim()).is_dir()) {
        return skip("this toolchain has no wasm32-wasip2");
    }
    builds_and_passes(&RUST, |world, name| {
        // The versions of the other guests, so that nothing is downloaded; and the toolchain of this test.
        fs::copy(repository().join("guest-examples/Cargo.lock"), world.path(&format!("{name}/Cargo.lock")))
            .expect("copied");
        fs::remove_file(world.path(&format!("{name}/rust-toolchain.toml"))).expect("removed");
        // Where the dependencies stay built.
        let target = scratch().join("templates");
        fs::create_dir_all(&target).expect("created");
        symlink(target, world.path(&format!("{name}/target"))).expect("linked");
    });
}

#[test]
fn a_guest_in_python_builds_and_passes() {
    let Some(tools) = tool("python/bin/componentize-py") else { return };
    builds_and_passes(&PYTHON, |world, name| {
        symlink(tools.join("python"), world.path(&format!("{name}/.venv"))).expect("linked");
    });
}

#[test]
fn a_guest_in_c_builds_and_passes() {
    let Some(tools) = tool("python/bin/wasm-tools") else { return };
    builds_and_passes(&C, |world, name| {
        symlink(tools.join("python"), world.path(&format!("{name}/.venv"))).expect("linked");
    });
}

#[test]
fn a_guest_in_go_builds_and_passes() {
    let Some(tools) = tool("python/bin/go") else { return };
    builds_and_passes(&GO, |world, name| {
        symlink(tools.join("python"), world.path(&format!("{name}/.venv"))).expect("linked");
    });
}

/// Links the installed packages of Node into a project.
fn link_packages(world: &World, project: &str, tools: &Path) {
    let modules = tools.join("node/node_modules");
    symlink(modules, world.path(&format!("{project}/node_modules"))).expect("linked");
}

#[test]
fn a_guest_in_javascript_builds_and_passes() {
    let Some(tools) = tool("node/node_modules/.bin/componentize-js") else { return };
    builds_and_passes(&JAVASCRIPT, |world, name| link_packages(world, name, &tools));
}

#[test]
fn a_guest_in_typescript_builds_and_passes() {
    let Some(tools) = tool("node/node_modules/.bin/esbuild") else { return };
    builds_and_passes(&TYPESCRIPT, |world, name| link_packages(world, name, &tools));
}

/// Editors check a project in JavaScript as this does, and the build does so in TypeScript.
#[test]
fn the_types_of_a_guest_in_javascript_or_typescript_are_checked() {
    let Some(tools) = tool("node/node_modules/.bin/tsc") else { return };
    let world = World::new();
    let check = |project: &str, config: &str| {
        let tsc = world.program(&tools.join("node/node_modules/.bin/tsc"));
        tsc.args(["--noEmit", "--project", &format!("{project}/{config}")]).within(PATIENCE).ends()
    };
    for (lang, config, source) in
        [("javascript", "jsconfig.json", "guest.js"), ("typescript", "tsconfig.json", "guest.ts")]
    {
        for (kind, right, wrong) in [
            ("object", ".get(key, version)", ".gett(key, version)"),
            ("message", "message.body()", "message.text()"),
            ("command", ".blockingRead(65536n)", ".blockingRead(65536)"),
        ] {
            let project = format!("{lang}-{kind}");
            world.wasmrun(["new", &project, "--lang", lang, "--kind", kind]).succeeds();
            let checked = check(&project, config);
            assert!(checked.status.success(), "{checked}");
            let path = format!("{project}/{source}");
            let code = world.text(&path);
            assert_eq!(code.matches(right).count(), 1, "{code}");
            world.write(&path, code.replace(right, wrong));
            let checked = check(&project, config);
            assert!(!checked.status.success() && checked.to_string().contains("error TS"), "{checked}");
        }
    }
}

/// The versions that the templates pin are those that the tests install.
#[test]
fn the_templates_pin_what_is_tested() {
    let read = |path: &str| fs::read_to_string(repository().join(path)).expect("a file");
    let installed = read("xtask/src/servers.rs");
    for file in
        ["python", "c", "go"].map(|lang| read(&format!("crates/cli/templates/{lang}/requirements.txt")))
    {
        for package in file.lines() {
            assert!(installed.contains(&format!("\"{package}\"")), "{package}");
        }
    }
    for lang in ["javascript", "typescript"] {
        let package = read(&format!("crates/cli/templates/{lang}/package.json.in"));
        let package: Value = serde_json::from_str(&package).expect("JSON");
        for (name, version) in package["devDependencies"].as_object().expect("packages") {
            let pinned = format!("\"{name}@{}\"", version.as_str().expect("a version"));
            assert!(installed.contains(&pinned), "{pinned}");
        }
    }
}

#[test]
fn nothing_is_overwritten_and_no_other_directory_is_written_to() {
    let world = World::new();
    let new = |name: &str| world.wasmrun(["new", name, "--lang", "python"]);
    world.write("mine/app.py", "mine");
    new("mine").fails_with(2, "mine is there already: nothing is overwritten");
    assert_eq!(world.keys("mine"), ["app.py"]);
    symlink("/nonexistent", world.path("dangling")).expect("linked");
    new("dangling").fails_with(2, "is there already");
    for name in ["../up", "/tmp/x", "a/b", ".", "", "Ü"] {
        new(name).fails_with(2, "is not allowed");
    }
    for name in ["build", "deps", "examples", "incremental", "wasmrun-guest"] {
        world.wasmrun(["new", name, "--lang", "rust"]).fails_with(2, "choose another");
        assert!(!world.path(name).exists(), "{name}");
    }
    world.wasmrun(["new", "x", "--lang", "cobol"]).ends().exited_with(2);
    world
        .wasmrun(["new", "x", "--lang", "rust", "--sdk", "nowhere"])
        .fails_with(2, "cannot use the SDK in nowhere");
    world
        .wasmrun(["new", "x", "--lang", "python", "--sdk", "."])
        .fails_with(2, "--sdk is for guests in Rust");
    world
        .wasmrun(["new", "x", "--lang", "rust", "--kind", "command", "--sdk", "."])
        .fails_with(2, "a command needs no SDK");
    assert!(!world.path("x").exists());
}
