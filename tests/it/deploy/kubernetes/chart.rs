//! What the chart can install besides the worker, and what it refuses.

use super::{objects, of_kind, printed, rendered, script, tool};
use crate::harness::{World, field, repository};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn one_release_of_the_chart_can_install_the_rules_and_the_dashboard() {
    let world = World::new();
    let Some(objects) = rendered(&world, &json!({"prometheusRule": true, "dashboard": true})) else { return };
    let deployed = |file: &str| fs::read_to_string(repository().join("deploy").join(file)).expect("a file");
    let rules = script(&world, "values.py", &deployed("prometheus/rules.yaml")).expect("a parser");
    let rule = of_kind(&objects, "PrometheusRule");
    assert_eq!(rule["spec"], rules.succeeds().json());
    let is_dashboard = |object: &&Value| object["metadata"]["labels"]["grafana_dashboard"] == "1";
    let dashboard = objects.iter().find(is_dashboard).expect("a dashboard");
    assert_eq!(dashboard["metadata"]["name"], "thumbnails-dashboard");
    let text = field(&dashboard["data"], "wasmrun.json");
    assert_eq!(text.trim_end(), deployed("grafana/wasmrun.json").trim_end());
    // A ConfigMap has at most 1 MiB, and what `kubectl apply` notes of it 256 KiB.
    assert!(text.len() < 200_000, "{}", text.len());
    let Some(types) = tool("node/node_modules/@kubernetes-models/keda/package.json") else { return };
    let output = world
        .program(Path::new("node"))
        .arg(repository().join("tests/it/deploy/kubernetes/validate.mjs"))
        .arg(types.ancestors().nth(4).expect("a folder"))
        .input(json!([rule]).to_string())
        .ends();
    assert!(output.status.success(), "{output}");
    if let Some(output) = script(&world, "validate.py", &json!([dashboard]).to_string()) {
        output.arg("1.37").succeeds();
    }
}

/// A load balancer may need more time than the manifests give it, and a handler another share of its CPU.
#[test]
fn the_wait_before_a_service_stops_and_the_share_of_its_cpu_are_values_of_the_chart() {
    let world = World::new();
    let printed = fs::read_to_string(repository().join("deploy/kubernetes/service/values.yaml"));
    let printed = script(&world, "values.py", &printed.expect("the values"));
    let Some(mut values) = printed.map(|command| command.succeeds().json()) else { return };
    values["service"]["preStopSeconds"] = json!(45);
    values["service"]["cpuPercent"] = json!(30);
    let objects = rendered(&world, &values).expect("a renderer");
    let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], 45);
    // The stop timeout, and ten seconds for the exit.
    assert_eq!(pod["terminationGracePeriodSeconds"], 45 + 50 + 10);
    let metric = &of_kind(&objects, "HorizontalPodAutoscaler")["spec"]["metrics"][0];
    assert_eq!(metric["resource"]["target"]["averageUtilization"], 30);
    assert!(objects.iter().all(|object| object["apiVersion"] != "keda.sh/v1alpha1"));
}

#[test]
fn a_service_is_off_by_default_and_needs_its_own_values() {
    let world = World::new();
    let Some(objects) = rendered(&world, &json!({})) else { return };
    assert!(objects.iter().all(|object| object["kind"] != "Service"));
    // The arguments would still be those of the worker.
    let chart = repository().join("deploy/kubernetes/chart");
    let half = json!({"service": {"enabled": true}}).to_string();
    let output = script(&world, "render.py", &half).expect("a renderer").arg(chart).ends();
    let says = "needs the values that `wasmrun manifest kubernetes --helm-values` prints for a service";
    assert!(!output.status.success() && output.stderr.join("\n").contains(says), "{output}");
}

#[test]
fn each_of_several_queues_has_a_trigger() {
    let world = World::new();
    let url = |region: &str| format!("https://sqs.{region}.amazonaws.com/123456789012/jobs");
    let (first, second) = (url("eu-west-1"), url("eu-central-1"));
    let config = format!("component = 's3://c/x.wasm'\nqueue = ['{first};strict', '{second};weight=3']\n");
    let Some(manifest) = objects(&world, &printed(&world, &config, &[])) else { return };
    let values = printed(&world, &config, &["--helm-values"]);
    let values = script(&world, "values.py", &values).expect("a parser").succeeds().json();
    let chart = rendered(&world, &values).expect("a renderer");
    let scaled = of_kind(&chart, "ScaledObject");
    assert_eq!(scaled, of_kind(&manifest, "ScaledObject"));
    let triggers = scaled["spec"]["triggers"].as_array().expect("a list");
    let of =
        |name: &str| triggers.iter().map(|trigger| trigger["metadata"][name].clone()).collect::<Vec<_>>();
    assert_eq!(of("queueURL"), [json!(first), json!(second)]);
    assert_eq!(of("awsRegion"), [json!("eu-west-1"), json!("eu-central-1")]);
}
