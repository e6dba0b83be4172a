//! The manifests that `wasmrun manifest` prints: they are the files in `deploy`, and follow the published schemas.

mod chart;
mod documented;
mod hostile;
mod pod;
mod refused;
mod service;
mod task_definition;

pub(crate) use documented::SECTIONS;

use crate::harness::{Command, World, field, installed_below, repository};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The configuration of the files in `deploy/kubernetes`, and of a batch on ECS.
const CONFIG: &str = "deploy/kubernetes/worker.toml";
/// The configuration of a sidecar on ECS.
const SIDECAR_CONFIG: &str = "deploy/ecs/sidecar.toml";
/// The configuration of the service's files.
const SERVICE: &str = "deploy/kubernetes/service.toml";
/// Each file in `deploy`, and the arguments that it is the output of.
const FILES: [(&str, &str); 9] = [
    ("kubernetes/base/manifest.yaml", "kubernetes --config deploy/kubernetes/worker.toml --name thumbnails"),
    (
        "kubernetes/job/manifest.yaml",
        "kubernetes --config deploy/kubernetes/worker.toml --name thumbnails --job",
    ),
    (
        "kubernetes/sidecar/manifest.yaml",
        "kubernetes --config deploy/kubernetes/worker.toml --name thumbnails --sidecar 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.0.0",
    ),
    (
        "kubernetes/chart/values.yaml",
        "kubernetes --config deploy/kubernetes/worker.toml --name thumbnails --helm-values",
    ),
    (
        "ecs/batch.task-definition.json",
        "ecs --config deploy/kubernetes/worker.toml --stop-timeout 110s --name thumbnails --family thumbnails-batch",
    ),
    (
        "kubernetes/service/manifest.yaml",
        "kubernetes --config deploy/kubernetes/service.toml --name upload --region eu-west-1 --image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/wasmrun:0.1.0",
    ),
    (
        "kubernetes/service/values.yaml",
        "kubernetes --config deploy/kubernetes/service.toml --name upload --region eu-west-1 --image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/wasmrun:0.1.0 --helm-values",
    ),
    (
        "ecs/service.task-definition.json",
        "ecs --config deploy/kubernetes/service.toml --name upload --family upload-service --region eu-west-1 --image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/wasmrun:0.1.0 --task-role arn:aws:iam::123456789012:role/upload-task --execution-role arn:aws:iam::123456789012:role/upload-execution",
    ),
    (
        "ecs/sidecar.task-definition.json",
        "ecs --config deploy/ecs/sidecar.toml --name sidecar --family sidecar-app --sidecar 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.0.0 --container-cpu 0.25 --container-memory 1GiB --task-cpu 1 --task-memory 3GiB",
    ),
];

/// The command `wasmrun manifest` in the repository, without the settings of the tests' environment.
fn manifest<'a>(world: &World, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let command = world.program(&crate::harness::wasmrun()).args(["manifest"]).args(arguments);
    ["AWS_REGION", "WASMRUN_CACHE", "WASMRUN_STATUS", "WASMRUN_UNTIL_EMPTY"]
        .into_iter()
        .fold(command, Command::without_env)
}

/// Prints the task definition for `worker.toml`.
fn task_definition(command: Command) -> Value {
    let printed = command.succeeds().stdout.join("\n");
    serde_json::from_str(&printed).expect("JSON")
}

/// Prints a manifest for a configuration.
fn printed(world: &World, config: &str, arguments: &[&str]) -> String {
    world.write("worker.toml", config);
    let all = ["kubernetes", "--config", "worker.toml"].iter().chain(arguments).copied();
    manifest(world, all).succeeds().stdout.join("\n") + "\n"
}

/// A tool that `cargo xtask test` installs, below its folder.
fn tool(path: &str) -> Option<PathBuf> {
    installed_below(path, "WASMRUN_MANIFEST_TOOLS", path)
}

/// A script in Python of this test, with this input.
fn script(world: &World, name: &str, input: &str) -> Option<Command> {
    let script = repository().join("tests/it/deploy/kubernetes").join(name);
    let python = tool("python/bin/python")?;
    Some(world.program(&python).arg(script).input(input))
}

/// The objects in a text of YAML.
fn objects(world: &World, yaml: &str) -> Option<Vec<Value>> {
    let Value::Array(objects) = script(world, "parse.py", yaml)?.succeeds().json() else { panic!("no list") };
    Some(objects)
}

#[track_caller]
fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn the_files_in_the_repository_are_what_the_command_prints() {
    let world = World::new();
    for config in [CONFIG, SIDECAR_CONFIG, SERVICE] {
        world.write(config, fs::read(repository().join(config)).expect("the configuration"));
    }
    for (file, arguments) in FILES {
        let printed = manifest(&world, arguments.split(' ')).succeeds().stdout.join("\n") + "\n";
        let path = repository().join("deploy").join(file);
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == printed,
            "deploy/{file} is not what `wasmrun manifest {arguments}` prints:\n{printed}"
        );
    }
    for folder in ["base", "job", "sidecar", "service"] {
        let path = repository().join("deploy/kubernetes").join(folder).join("kustomization.yaml");
        assert!(fs::read_to_string(path).expect("a file").ends_with("resources:\n  - manifest.yaml\n"));
    }
}

/// Arguments that together print each form of each object.
const FORMS: [&[&str]; 5] = [
    &[],
    &["--job", "--pod-identity"],
    &["--sidecar", "app:1"],
    &[
        "--role-arn",
        "arn:aws:iam::123456789012:role/thumbs",
        "--keda-identity",
        "workload",
        "--namespace",
        "media",
    ],
    &[
        "--cache",
        "off",
        "--endpoint-url",
        "http://127.0.0.1:4566",
        "--allow-http",
        "api.example.com:8443",
        "--min-pods",
        "2",
    ],
];

#[test]
fn the_objects_follow_the_published_schemas() {
    let world = World::new();
    let config = fs::read_to_string(repository().join(CONFIG)).expect("the configuration");
    let Some(keda) = tool("node/node_modules/@kubernetes-models/keda/package.json") else { return };
    let node = keda.ancestors().nth(4).expect("a folder").to_owned();
    let check = |objects: &[Value]| {
        let (others, own): (Vec<_>, Vec<_>) =
            objects.iter().cloned().partition(|object| is_of_others(field(object, "apiVersion")));
        let own = json!(own).to_string();
        // The oldest version that has native sidecars, and the newest.
        let versions = ["1.29", "1.37"]
            .map(|version| script(&world, "validate.py", &own).map(|command| command.arg(version).ends()));
        let types = world
            .program(Path::new("node"))
            .arg(repository().join("tests/it/deploy/kubernetes/validate.mjs"))
            .arg(&node)
            .input(json!(others).to_string())
            .ends();
        versions.into_iter().flatten().chain([types]).collect::<Vec<_>>()
    };
    let service = fs::read_to_string(repository().join(SERVICE)).expect("the configuration");
    let of_service: &[&str] = &["--region", "eu-west-1", "--image", "i", "--pod-identity"];
    for (config, form) in FORMS.map(|form| (&config, form)).into_iter().chain([(&service, of_service)]) {
        let Some(objects) = objects(&world, &printed(&world, config, form)) else { return };
        for output in check(&objects) {
            assert!(output.status.success(), "{form:?}: {output}");
        }
    }
    // The schemas do find errors.
    let Some(mut wrong) = objects(&world, &printed(&world, &config, &[])) else { return };
    for object in &mut wrong {
        object["spec"]["nosuchfield"] = json!(1);
    }
    for output in check(&wrong) {
        assert!(!output.status.success(), "{output}");
    }
}

fn is_of_others(api_version: &str) -> bool {
    api_version.starts_with("keda.sh/") || api_version.starts_with("monitoring.coreos.com/")
}

/// Renders the chart with these values. The objects are in the order of their kinds.
fn rendered(world: &World, values: &Value) -> Option<Vec<Value>> {
    let chart = repository().join("deploy/kubernetes/chart");
    let output = script(world, "render.py", &values.to_string())?.arg(chart).succeeds().json();
    Some(by_kind(output.as_array().expect("objects").clone()))
}

fn by_kind(mut objects: Vec<Value>) -> Vec<Value> {
    objects.sort_by_key(|object| field(object, "kind").to_owned());
    objects
}

#[test]
fn the_chart_renders_what_the_command_prints() {
    let world = World::new();
    let config = fs::read_to_string(repository().join(CONFIG)).expect("the configuration");
    let base =
        fs::read_to_string(repository().join("deploy/kubernetes/base/manifest.yaml")).expect("the base");
    let Some(base) = objects(&world, &base) else { return };
    let Some(default) = rendered(&world, &json!({})) else { return };
    assert_eq!(default, by_kind(base));
    let service = fs::read_to_string(repository().join(SERVICE)).expect("the configuration");
    let other_port =
        format!("{service}\n[limits]\ntimeout = '5s'\n").replace("[serve]", "[serve]\nlisten = '0.0.0.0:80'");
    let sized = ["--pod-identity", "--container-cpu", "0.5", "--architecture", "arm64"];
    let of_service = ["--region", "eu-west-1", "--image", "i"];
    let role = ["--role-arn", "arn:aws:iam::123456789012:role/upload", "--min-pods", "3", "--cache", "off"];
    // Neither a job nor a sidecar, which the chart doesn't have, nor a namespace, which `helm --namespace` sets.
    for (config, form) in [
        (&config, FORMS[4]),
        (&config, &sized[..]),
        (&service, &of_service[..]),
        (&other_port, &[&of_service[..], &role].concat()[..]),
    ] {
        let values = printed(&world, config, &[form, &["--helm-values"]].concat());
        let values = script(&world, "values.py", &values).expect("a parser").succeeds().json();
        let objects = objects(&world, &printed(&world, config, form)).expect("a parser");
        assert_eq!(rendered(&world, &values).expect("a renderer"), by_kind(objects), "{form:?}");
    }
}
