//! What the chart can install besides the worker.

use super::{of_kind, rendered, script, tool};
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
