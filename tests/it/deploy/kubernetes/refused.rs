//! What cannot work in a container, and settings that win over others.

use super::*;

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
        ("kubernetes /a.wasm WORKS --status 9464", "an address that probes cannot reach: write 0.0.0.0:9464"),
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
    let variables = [("WASMRUN_QUEUE_TIME", "7s"), ("WASMRUN_LISTEN", "0.0.0.0:8081")];
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
