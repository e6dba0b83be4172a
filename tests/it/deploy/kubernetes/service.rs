//! The manifest of a service: where its pods answer, and settings that can't work for one.

use super::{manifest, objects, of_kind, printed};
use crate::harness::World;
use serde_json::{Value, json};

/// The objects for a configuration of a service.
fn of_service(world: &World, config: &str) -> Option<Vec<Value>> {
    objects(world, &printed(world, config, &["--region", "eu-west-1", "--image", "i", "--name", "hello"]))
}

#[test]
fn the_pods_of_a_service_answer_where_the_service_and_the_network_policy_say() {
    let world = World::new();
    for (table, added, port) in [
        (
            "[serve]",
            "serve --config /etc/wasmrun/wasmrun.toml --listen 0.0.0.0:8080 --status 0.0.0.0:9464",
            8080,
        ),
        (
            "[serve]\nlisten = '0.0.0.0:80'\nqueue-time = '1s'",
            "serve --config /etc/wasmrun/wasmrun.toml --status 0.0.0.0:9464",
            80,
        ),
    ] {
        let Some(objects) = of_service(&world, &format!("component = '/a.wasm'\n{table}")) else { return };
        let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let args: Vec<_> = container["args"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|arg| arg.as_str().expect("text"))
            .collect();
        assert_eq!(args.join(" "), added);
        let ports =
            json!([{"name": "http", "containerPort": 9464}, {"name": "requests", "containerPort": port}]);
        assert_eq!(container["ports"], ports);
        assert_eq!(container["readinessProbe"]["httpGet"]["port"], "http");
        let service = &of_kind(&objects, "Service")["spec"];
        assert_eq!(
            (&service["ports"][0]["port"], &service["ports"][0]["targetPort"]),
            (&80.into(), &"requests".into())
        );
        assert_eq!(service["selector"], of_kind(&objects, "Deployment")["spec"]["selector"]["matchLabels"]);
        let ingress =
            of_kind(&objects, "NetworkPolicy")["spec"]["ingress"].as_array().expect("rules").clone();
        assert_eq!(ingress[1], json!({"ports": [{"protocol": "TCP", "port": port}]}));
        // The wait before SIGTERM, the stop timeout, and the time to exit.
        assert_eq!(container["lifecycle"]["preStop"]["sleep"]["seconds"], 10);
        assert_eq!(pod["terminationGracePeriodSeconds"], 10 + 25 + 10);
        let scaled = &of_kind(&objects, "HorizontalPodAutoscaler")["spec"];
        assert_eq!(scaled["scaleTargetRef"]["name"], of_kind(&objects, "Deployment")["metadata"]["name"]);
        assert_eq!((&scaled["minReplicas"], &scaled["maxReplicas"]), (&2.into(), &10.into()));
        assert!(objects.iter().all(|object| object["apiVersion"] != "keda.sh/v1alpha1"));
    }
}

#[test]
fn what_cannot_work_for_a_service_is_refused_by_name() {
    let world = World::new();
    let works = "component = '/a.wasm'\n[serve]";
    for (config, arguments, said) in [
        (works, "kubernetes --job", "--job is for a worker on a queue"),
        (works, "kubernetes --sidecar app:1", "--sidecar is for a worker on a queue"),
        (works, "kubernetes --min-pods 0", "--min-pods 0 is too small"),
        (works, "kubernetes --queue sqlite:a", "a service has no queue: leave out --queue"),
        (works, "ecs --sidecar app:1", "--sidecar is for a worker on a queue"),
        (works, "ecs --until-empty", "--until-empty has no meaning for a service"),
        (works, "ecs --store in=dir:in:ro", "the store in is dir:in"),
        (works, "ecs", "no queue names the account: add --task-role"),
        ("component = '/a.wasm'\nusage = '/no/u.jsonl'\n[serve]", "ecs", "the usage file is /no/u.jsonl"),
        ("queue = 'jobs'\ncomponent = '/a.wasm'\n[serve]", "kubernetes", "a service has no queue"),
        (
            "component = '/a.wasm'\n[serve]\nlisten = 80",
            "kubernetes",
            "[serve] listen 127.0.0.1:80 is an address that clients cannot reach: write 0.0.0.0:80",
        ),
        ("component = '/a.wasm'\n[serve]\nlisten = '0.0.0.0:0'", "ecs", "[serve] listen with port 0"),
        (
            "component = '/a.wasm'\nstatus = 9464\n[serve]",
            "kubernetes",
            "--status 127.0.0.1:9464 is an address that probes cannot reach",
        ),
    ] {
        world.write("service.toml", config);
        let platform = arguments.split(' ');
        let common = ["--config", "service.toml", "--region", "eu-west-1", "--image", "i"];
        manifest(&world, platform.chain(common)).fails_with(2, said);
    }
    world.write("service.toml", works);
    manifest(&world, "kubernetes --config service.toml --image i".split(' '))
        .fails_with(2, "the region is not known: add --region");
}
