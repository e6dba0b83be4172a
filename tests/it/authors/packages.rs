//! The SDKs for Python and JavaScript: their types are those of `wit/`, their packages have the files that are listed
//! here, and the examples of their READMEs build with these packages.

use super::templates::tool;
use crate::harness::{Command, World, repository};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// Time for a tool to build a component.
const PATIENCE: Duration = Duration::from_secs(600);

/// Contents of the files at or below a directory, by path, without what tools leave there.
fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if ["node_modules", "__pycache__"].contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
        } else {
            found.insert(name, fs::read_to_string(&path).expect("text"));
        }
    }
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).expect("a file")
}

/// Copies `sdk/javascript` into a world, with the installed tools.
fn javascript(world: &World, tools: &Path) {
    for (path, text) in files(&repository().join("sdk/javascript")) {
        world.write(&format!("sdk/javascript/{path}"), text);
    }
    symlink(tools.join("node/node_modules"), world.path("sdk/javascript/node_modules")).expect("linked");
}

/// The first example in a language of a README.
fn example(readme: &str, language: &str) -> String {
    let text = read(readme);
    let (_, code) = text.split_once(&format!("```{language}\n")).expect("an example");
    code.split("```").next().expect("its end").to_owned()
}

/// A program that is started by its name.
fn program(world: &World, name: &str) -> Command {
    world.program(Path::new(name)).within(PATIENCE)
}

/// The interfaces that a component imports from wasmrun.
fn imports(world: &World, tools: &Path, component: &str) -> Vec<String> {
    let wit = world.program(&tools.join("python/bin/wasm-tools")).args(["component", "wit", component]);
    let wit = wit.succeeds().stdout;
    let imports = wit.iter().filter_map(|line| line.trim().strip_prefix("import wasmrun:task/"));
    imports.filter_map(|rest| rest.split('@').next()).map(str::to_owned).collect()
}

#[test]
fn the_packages_have_the_version_and_the_licence_of_wasmrun() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("sdk/python/pyproject.toml").contains(&format!("\nversion = \"{version}\"\n")));
    assert!(read("sdk/javascript/package.json").contains(&format!("\"version\": \"{version}\"")));
    for package in ["python", "javascript"] {
        assert!(read(&format!("sdk/{package}/LICENSE")) == read("LICENSE"), "{package}");
    }
}

#[test]
fn the_types_of_the_python_package_are_those_of_wit() {
    let Some(tools) = tool("python/bin/componentize-py") else { return };
    let world = World::new();
    let wit = repository().join("wit");
    let generate = world.program(&tools.join("python/bin/componentize-py")).arg("-d").arg(wit);
    generate.args(["-w", "task", "bindings", "types"]).succeeds();
    let mut generated = files(&world.path("types"));
    generated.retain(|path, _| path.starts_with("wit_world/") || path == "componentize_py_types.py");
    let generated: BTreeMap<String, String> = generated
        .into_iter()
        .map(|(path, text)| match path.strip_prefix("wit_world/") {
            Some(path) => (format!("wit_world-stubs/{path}i"), text),
            None => ("componentize_py_types-stubs/__init__.pyi".to_owned(), text),
        })
        .collect();
    let mut kept = files(&repository().join("sdk/python/src"));
    kept.retain(|path, _| path.contains("-stubs/"));
    assert!(kept == generated, "generate sdk/python/src/*-stubs again, as this test does");
}

#[test]
fn the_python_package_has_these_files_and_builds_the_example() {
    let Some(tools) = tool("python/bin/pyproject-build") else { return };
    let world = World::new();
    let python = || program(&world, &tools.join("python/bin/python").to_string_lossy());
    let source = repository().join("sdk/python");
    python().args(["-m", "build", "--no-isolation", "--outdir", "dist"]).arg(source).succeeds();
    let wheel = format!("dist/wasmrun_guest-{}-py3-none-any.whl", env!("CARGO_PKG_VERSION"));
    python().args(["-m", "zipfile", "-e", &wheel, "lib"]).succeeds();
    let mut names: Vec<String> = files(&world.path("lib")).into_keys().collect();
    names.retain(|name| !name.contains(".dist-info/"));
    let expected = [
        "componentize_py_types-stubs/__init__.pyi",
        "wasmrun_guest/__init__.py",
        "wasmrun_guest/componentize-py.toml",
        "wasmrun_guest/py.typed",
        "wasmrun_guest/wit/handler.wit",
        "wasmrun_guest/wit/message.wit",
        "wasmrun_guest/wit/object-store.wit",
        "wasmrun_guest/wit/queue.wit",
        "wasmrun_guest/wit/task.wit",
        "wit_world-stubs/__init__.pyi",
        "wit_world-stubs/exports/__init__.pyi",
        "wit_world-stubs/exports/handler.pyi",
        "wit_world-stubs/imports/__init__.pyi",
        "wit_world-stubs/imports/message.pyi",
        "wit_world-stubs/imports/object_store.pyi",
        "wit_world-stubs/imports/queue.pyi",
    ];
    assert_eq!(names, expected);
    // The interfaces come from the package: the guest has none of its own.
    world.write("app.py", example("sdk/python/README.md", "python"));
    let build = ["-w", "task-store", "componentize", "-p", ".", "-p", "lib", "app", "-o", "guest.wasm"];
    program(&world, &tools.join("python/bin/componentize-py").to_string_lossy()).args(build).succeeds();
    assert_eq!(imports(&world, &tools, "guest.wasm"), ["message", "object-store"]);
}

#[test]
fn the_types_of_the_npm_package_are_those_of_wit() {
    let Some(tools) = tool("node/node_modules/.bin/jco") else { return };
    let world = World::new();
    javascript(&world, &tools);
    symlink(repository().join("wit"), world.path("wit")).expect("linked");
    program(&world, "node").arg("sdk/javascript/types.mjs").succeeds();
    for folder in ["types", "wit"] {
        let kept = files(&repository().join("sdk/javascript").join(folder));
        let generated = files(&world.path("sdk/javascript").join(folder));
        assert!(kept == generated, "run `npm run types` in sdk/javascript: {folder} differs");
    }
}

#[test]
fn the_npm_package_has_these_files_and_builds_the_example_whose_types_are_checked() {
    let Some(tools) = tool("node/node_modules/.bin/tsc") else { return };
    let world = World::new();
    javascript(&world, &tools);
    let packed = program(&world, "npm").args(["pack", "--json", "./sdk/javascript"]).succeeds();
    let packed: Value = serde_json::from_str(&packed.stdout.join("\n")).expect("JSON");
    let names: Vec<&str> = packed[0]["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| file["path"].as_str())
        .collect();
    let expected = [
        "LICENSE",
        "README.md",
        "index.d.ts",
        "index.js",
        "package.json",
        "types/interfaces/wasmrun-task-handler.d.ts",
        "types/interfaces/wasmrun-task-message.d.ts",
        "types/interfaces/wasmrun-task-object-store.d.ts",
        "types/interfaces/wasmrun-task-queue.d.ts",
        "types/task.d.ts",
        "wit/handler.wit",
        "wit/message.wit",
        "wit/object-store.wit",
        "wit/queue.wit",
        "wit/task.wit",
    ];
    assert_eq!(names, expected);
    // Unpacked where npm puts it.
    let archive = packed[0]["filename"].as_str().expect("a name");
    fs::create_dir_all(world.path("node_modules/wasmrun-guest")).expect("created");
    let unpack = ["-xzf", archive, "--strip-components=1", "-C", "node_modules/wasmrun-guest"];
    program(&world, "tar").args(unpack).succeeds();
    let code = example("sdk/javascript/README.md", "js");
    world.write("guest.js", &code);
    world.write("wrong.js", code.replace("content.length", "content.lenght"));
    let check = |file: &str| {
        let options = ["--checkJs", "--strict", "--noEmit", "--target", "esnext", "--module", "esnext"];
        let tsc = world.program(&tools.join("node/node_modules/.bin/tsc")).args(options);
        tsc.args(["--moduleResolution", "bundler", "--types", "wasmrun-guest", file])
    };
    check("guest.js").succeeds();
    let wrong = check("wrong.js").ends();
    assert!(!wrong.status.success() && wrong.to_string().contains("'lenght' does not exist"), "{wrong}");
    let wit = ["--wit", "node_modules/wasmrun-guest/wit", "-n", "task-store"];
    let build = world.program(&tools.join("node/node_modules/.bin/componentize-js")).within(PATIENCE);
    build.arg("guest.js").args(wit).args(["-d", "http", "-d", "fetch-event", "-o", "guest.wasm"]).succeeds();
    assert_eq!(imports(&world, &tools, "guest.wasm"), ["message", "object-store"]);
}
