//! The task definitions that `wasmrun manifest ecs` prints.

use super::{manifest, task_definition};
use crate::harness::{World, field};
use serde_json::{Value, json};

#[test]
fn a_task_definition_has_each_setting_of_the_file_as_a_flag() {
    let world = World::new();
    let file = "component = '/a.wasm'\nqueue = 'https://sqs.eu-west-1.amazonaws.com/123456789012/jobs'\nstatus = '0.0.0.0:80'\nallow-http = ['a.example', 'b.example']\n[store]\nin = 's3://a:ro'\nout = 's3://b:rw'\n[worker]\nbackoff = '1s..2s'\n[engine]\ncache = 'off'\n[limits]\nfuel = 7_000\n[log]\nlevel = 'warn'\n[command]\narg = ['-n']";
    world.write("worker.toml", file);
    let arguments = ["ecs", "--config", "worker.toml", "--store", "out=s3://c:wo", "--raw-body"];
    let task = task_definition(manifest(&world, arguments).env("WASMRUN_STORE_MORE", "s3://d:ro"));
    let container = &task["containerDefinitions"][0];
    let words: Vec<_> = container["command"]
        .as_array()
        .expect("words")
        .iter()
        .map(|word| word.as_str().expect("text"))
        .collect();
    let expected = "run /a.wasm --queue https://sqs.eu-west-1.amazonaws.com/123456789012/jobs --store in=s3://a:ro --store more=s3://d:ro --store out=s3://c:wo --allow-http a.example --allow-http b.example --raw-body --arg=-n --fuel 7000 --log warn --backoff 1s..2s";
    assert_eq!(words.join(" "), expected);
    let variables = json!([
        {"name": "AWS_REGION", "value": "eu-west-1"},
        {"name": "WASMRUN_CACHE", "value": "off"},
        {"name": "WASMRUN_STATUS", "value": "0.0.0.0:80"},
    ]);
    assert_eq!(container["environment"], variables);
}

#[test]
fn a_sidecar_takes_a_file_out_of_the_image_of_its_application_and_anything_else_from_where_it_is() {
    let world = World::new();
    let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs";
    let task = |component: &str| {
        task_definition(manifest(&world, ["ecs", component, "--queue", queue, "--sidecar", "app:1"]))
    };
    let names = |task: &Value| {
        let containers = task["containerDefinitions"].as_array().expect("containers").iter();
        containers.map(|container| field(container, "name").to_owned()).collect::<Vec<_>>()
    };
    let copied = task("/app/-x y.cwasm");
    assert_eq!(names(&copied), ["app", "component", "wasmrun"]);
    let [_, copy, worker] = [0, 1, 2].map(|index| &copied["containerDefinitions"][index]);
    assert_eq!(copy["command"], json!(["/app/-x y.cwasm", "/components/-x y.cwasm"]));
    assert_eq!(worker["command"][1], "/components/-x y.cwasm");
    assert_eq!(worker["dependsOn"], json!([{"containerName": "component", "condition": "SUCCESS"}]));
    assert_eq!((&copied["cpu"], &copied["memory"]), (&json!("2048"), &json!("4096")));
    for component in ["s3://components/a.wasm", "oci://ghcr.io/acme/thumbnail:1.2"] {
        let fetched = task(component);
        assert_eq!(names(&fetched), ["app", "wasmrun"]);
        let worker = &fetched["containerDefinitions"][1];
        assert_eq!(worker["command"][1], component);
        assert_eq!((&worker["essential"], worker.get("dependsOn")), (&json!(false), None));
        assert_eq!(fetched["volumes"], json!([{"name": "cache"}]));
    }
}
