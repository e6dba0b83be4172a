//! The manifests that `wasmrun manifest` prints: they are the files in `deploy`, follow the published schemas, and keep
//! hostile texts what they are.

mod chart;
mod documented;
mod pod;
mod service;
mod task_definition;

pub(crate) use documented::SECTIONS;

use crate::harness::{Command, World, field, installed, repository};
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
    ["AWS_REGION", "WASMRUN_CACHE", "WASMRUN_LISTEN", "WASMRUN_UNTIL_EMPTY"]
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
    let folder = std::env::var_os("WASMRUN_MANIFEST_TOOLS").map(PathBuf::from);
    installed(path, folder.map(|folder| folder.join(path)))
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

/// A configuration whose values contain what YAML, Kubernetes, Helm and shells read otherwise.
const HOSTILE: &str = "component = \"s3://components/a.wasm\"\r
queue = \"https://sqs.eu-west-1.amazonaws.com/123456789012/jobs\"
# --- \t {{ .Values.name }} {{ fail \"x\" }} $(HOSTNAME) ${HOME} $$ `id` %TAG & * ! | > ' \" \\
[env]
NORWAY = \"no\"
LINES = \"a\\nb: c\\n--- \\n\\u0085\\u2028\"
[config-value]
\"a: b\" = \"{{ .Release.Name }}\"
";
const HOSTILE_TEXTS: [&str; 14] = [
    "no",
    "1:20",
    "a: b #c",
    "- a",
    "a\nkind: Secret\n---\nb",
    "$(HOSTNAME) ${HOME} $$",
    "{{ .Values.name }}",
    "'\"\\",
    "\u{85}\u{2028}\u{202e}\u{feff}\u{7f}",
    "*a &b !c",
    " ",
    "",
    "-x",
    "ü 😀\t\r",
];

/// What Kubernetes passes to a container: it replaces `$$` by `$`, and `$(NAME)` by a variable.
fn expanded(text: &str) -> String {
    assert!(!text.replace("$$", "").contains("$("), "a variable would be replaced: {text}");
    text.replace("$$", "$")
}

#[test]
fn hostile_texts_stay_what_they_are() {
    let world = World::new();
    let mut arguments = Vec::new();
    for text in HOSTILE_TEXTS {
        arguments.push(format!("--arg={text}"));
    }
    let mut flags: Vec<_> = arguments.iter().map(String::as_str).collect();
    let yaml = printed(&world, HOSTILE, &flags);
    let Some(objects) = objects(&world, &yaml) else { return };
    let args = |objects: &[Value]| {
        let args = &of_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"];
        args.as_array()
            .expect("arguments")
            .iter()
            .map(|arg| expanded(arg.as_str().expect("text")))
            .collect::<Vec<_>>()
    };
    let found = args(&objects);
    let passed: Vec<_> = HOSTILE_TEXTS
        .iter()
        .flat_map(|text| match text.starts_with('-') {
            true => vec![format!("--arg={text}")],
            false => vec!["--arg".to_owned(), (*text).to_owned()],
        })
        .collect();
    assert!(found.windows(passed.len()).any(|part| part == passed), "{found:?}");
    assert_eq!(of_kind(&objects, "ConfigMap")["data"]["wasmrun.toml"], HOSTILE);
    assert_eq!(objects.len(), 8);

    flags.push("--helm-values");
    let values =
        script(&world, "values.py", &printed(&world, HOSTILE, &flags)).expect("a parser").succeeds().json();
    assert_eq!(values["config"], HOSTILE);
    let chart = rendered(&world, &values).expect("a renderer");
    assert_eq!(chart, by_kind(objects));

    // A task definition has no file, and its command nothing that is expanded.
    world.write("worker.toml", HOSTILE);
    let task = task_definition(manifest(&world, ["ecs", "--config", "worker.toml"]));
    let command = task["containerDefinitions"][0]["command"].to_string();
    for text in
        [r#""NORWAY=no""#, r#""a: b={{ .Release.Name }}""#, "LINES=a\\nb: c\\n--- \\n\u{85}\u{2028}\""]
    {
        assert!(command.contains(text), "{text} in {command}");
    }
}

#[test]
fn what_cannot_work_in_a_container_is_refused_by_name() {
    let world = World::new();
    for (arguments, said) in [
        (
            "kubernetes /a.wasm --queue sqlite:jobs.db",
            "the queue is sqlite:jobs.db, and the container has no disk",
        ),
        ("ecs /a.wasm WORKS --dead-letter sqlite:d.db", "the dead-letter queue is sqlite:d.db"),
        ("ecs /a.wasm WORKS --send next=sqlite:n.db", "the queue next is sqlite:n.db"),
        ("kubernetes /a.wasm WORKS --store in=dir:in:ro", "the store in is dir:in"),
        ("kubernetes /a.wasm WORKS --keyvalue k=sqlite:k.db:rw", "the key-value bucket k is sqlite:k.db"),
        ("kubernetes /a.wasm WORKS --usage no/u.jsonl", "the usage file is no/u.jsonl"),
        ("kubernetes /a.wasm WORKS --control no/c.sock", "the control socket is no/c.sock"),
        ("kubernetes a.wasm WORKS", "the component a.wasm is a relative path"),
        (
            "ecs /a.wasm WORKS --key group --budget a=cost:1/1d --budget-store s3://b/c --prices p.toml",
            "the price table p.toml is a relative path",
        ),
        ("ecs /a.wasm WORKS --threads 100000", "--threads 100000 is too many"),
        ("kubernetes /a.wasm WORKS --env HOME", "the environment key HOME has the worker's own value"),
        (
            "kubernetes /a.wasm --queue jobs --image i",
            "the region of the queue jobs is not known: add --region",
        ),
        ("kubernetes /a.wasm --queue jobs --region eu-west-1", "add --image IMAGE"),
        (
            "kubernetes /a.wasm --queue http://127.0.0.1:1/queue/eu-west-1/1/jobs --image i",
            "KEDA takes no queue such as",
        ),
        ("kubernetes /a.wasm WORKS --listen 9464", "an address that probes cannot reach: write 0.0.0.0:9464"),
        ("kubernetes /a.wasm WORKS --until-empty", "add --job"),
        ("ecs /a.wasm WORKS --until-empty", "--until-empty"),
        ("kubernetes /a.wasm WORKS --max-pods 0", "--max-pods 0 is too small"),
        ("kubernetes /a.wasm WORKS --keda-identity workload", "add --role-arn"),
        (
            "ecs /a.wasm WORKS --stop-timeout 2m",
            "too long for Fargate, which kills a container after 120s: at most 110s",
        ),
        ("ecs /a.wasm WORKS --container-cpu 3", "0.25, 0.5, 1, 2, 4, 8 or 16"),
        ("ecs /a.wasm WORKS --container-memory 1GiB", "2048MiB to 8192MiB"),
        ("ecs /a.wasm WORKS --fuel 0", "--fuel 0 is too small"),
        ("ecs /a.wasm WORKS --weight a=2", "--weight has no effect without keys"),
        ("kubernetes /a.wasm WORKS --key group --weight a=0", "--weight a=0"),
        ("ecs /a.wasm WORKS --key group --budget a=cpu:1m/1d", "--budget needs a place"),
        ("ecs /a.wasm WORKS --once-by attribute:id", "--once-by has no effect without a ledger"),
        ("ecs /a.wasm WORKS --sidecar app:1 --task-memory 2GiB", "nothing is left for the application"),
        ("ecs /a.wasm WORKS --sidecar app:1 --container-cpu 16", "this --task-cpu: 0.25"),
        ("ecs /a.wasm WORKS --sidecar app:1 --task-cpu 2 --task-memory 3GiB", "4096MiB to 16384MiB"),
        ("ecs /a.wasm WORKS --sidecar app:1 --until-empty", "ECS starts a worker again"),
    ] {
        manifest(&world, with_queue(arguments)).fails_with(2, said);
    }
}

/// The words of a command line, with a queue that works in place of `WORKS`.
fn with_queue(arguments: &str) -> impl Iterator<Item = &str> {
    let works = ["--queue", "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs"];
    arguments.split(' ').flat_map(move |word| match word {
        "WORKS" => works.to_vec(),
        word => vec![word],
    })
}

#[test]
fn a_component_that_is_typed_wins_over_the_files() {
    let world = World::new();
    let config = fs::read_to_string(repository().join(CONFIG)).expect("the configuration");
    let typed = printed(&world, &config, &["s3://c/thumb.wasm?version=2"]);
    assert!(typed.contains("s3://c/thumb.wasm?version=2"), "{typed}");
    assert!(!printed(&world, &config, &[]).contains("s3://c/thumb.wasm"));
}

#[test]
fn a_service_takes_its_own_variables_and_no_setting_of_a_queue() {
    let world = World::new();
    let service = repository().join(SERVICE).display().to_string();
    let of_service = |more: &[&'static str]| {
        let all = ["kubernetes", "--config", &service, "--region", "eu-west-1", "--image", "i"];
        manifest(&world, all).args(more)
    };
    let variables = [("WASMRUN_QUEUE_TIME", "7s"), ("WASMRUN_SERVE_LISTEN", "0.0.0.0:8081")];
    let command =
        variables.into_iter().fold(of_service(&[]), |command, (name, value)| command.env(name, value));
    let text = command.succeeds().stdout.join("\n");
    for word in ["--queue-time", "7s", "--listen", "0.0.0.0:8081", "containerPort: 8081"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    of_service(&[]).env("WASMRUN_QUEUE_TIME", "soon").fails_with(2, "soon");
    of_service(&["--weight", "a=2"]).fails_with(2, "leave out --weight");
    of_service(&["--budget", "a=cpu:1s/1h"]).fails_with(2, "leave out --budget");
}

#[test]
fn the_network_policy_lets_the_worker_reach_all_that_its_settings_name() {
    let arguments = "kubernetes oci://registry.example:5000/a:1 WORKS --otlp http://collector:4318 \
                     --notify post:https://hooks.example:8444/x --allow-http api.example.com:8443";
    let printed = manifest(&World::new(), with_queue(arguments)).succeeds().stdout.join("\n");
    let (_, policy) = printed.split_once("kind: NetworkPolicy").expect("a policy");
    let policy = policy.split("\n---").next().expect("its object");
    let ports: Vec<_> = policy.lines().filter_map(|line| line.trim().strip_prefix("port: ")).collect();
    for port in ["443", "4318", "5000", "8443", "8444"] {
        assert!(ports.contains(&port), "{port} is not in {ports:?}");
    }
}

#[test]
fn names_that_a_platform_would_refuse_are_refused() {
    let world = World::new();
    for (arguments, said) in [
        ("kubernetes /a.wasm WORKS --name A", "small letters"),
        ("kubernetes /a.wasm WORKS --name a\nb", "small letters"),
        ("kubernetes /a.wasm WORKS --image a:{{x}}", "an image such as"),
        ("kubernetes /a.wasm WORKS --role-arn role/x", "the ARN of a role"),
        (
            "kubernetes /a.wasm WORKS --pod-identity --role-arn arn:aws:iam::123456789012:role/x",
            "cannot be used with",
        ),
    ] {
        let output = manifest(&world, with_queue(arguments)).ends().exited_with(2);
        assert!(output.stderr.join("\n").contains(said), "{output}");
    }
}
