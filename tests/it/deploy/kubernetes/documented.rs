//! Runs the page on Kubernetes, and the commands of other pages that print manifests. The commands of AWS and of a cluster are noted instead of run.

use super::{objects, of_kind};
use crate::docs::examples::document::Section;
use crate::docs::examples::place::Place;
use crate::docs::examples::sections;
use crate::harness::{Output, repository};
use serde_json::Value;
use std::fs;

sections! {
    a_cluster_gets_what_is_written: "docs/src/guides/kubernetes.md", "From a cluster to the first thumbnail" => cluster;
    values_are_printed_for_the_chart: "docs/src/guides/kubernetes.md", "With Kustomize or Helm" => chart;
    a_sidecar_is_printed_for_ecs: "docs/src/guides/ecs-sidecar.md", "A configuration of your own" => sidecar;
}

fn run(place: &Place, text: &str) -> Output {
    place.is_clone();
    place.link("deploy");
    place.install("aws", &format!("echo \"aws $*\" >> '{}'", place.path("notes").display()));
    let known = "export AWS_REGION=eu-west-1 account=123456789012 cluster=media keda=keda-operator\n";
    println!("{text}");
    // A setting of a worker here, which a pod wouldn't have.
    place.script(&(known.to_owned() + text)).without_env("WASMRUN_UNTIL_EMPTY").succeeds()
}

fn cluster(section: &Section) {
    let place = Place::new();
    run(&place, &section.commands());
    let noted = place.noted();
    for beginning in [
        "aws eks create-pod-identity-association --cluster-name media --namespace media --service-account thumbnails",
        "kubectl label namespace media pod-security.kubernetes.io/enforce=restricted",
        "kubectl apply --namespace media --filename worker.yaml",
    ] {
        assert!(noted.iter().any(|command| command.starts_with(beginning)), "{beginning}: {noted:#?}");
    }
    let policy: Value = serde_json::from_slice(&place.world.read("policy.json")).expect("JSON");
    assert_eq!(policy["Statement"].as_array().expect("statements").len(), 6, "{policy}");
    let printed = place.world.text("worker.yaml");
    let Some(objects) = objects(&place.world, &printed) else { return };
    assert_eq!(of_kind(&objects, "NetworkPolicy")["spec"]["egress"].as_array().expect("rules").len(), 3);
    assert_eq!(of_kind(&objects, "ServiceAccount")["metadata"]["name"], "thumbnails");
}

fn chart(section: &Section) {
    let place = Place::new();
    place.link_to(&repository().join("deploy/kubernetes/worker.toml"), "worker.toml");
    run(&place, &section.commands());
    let values = place.world.text("values.yaml");
    assert!(values.contains("podIdentity: true"), "{values}");
    assert!(
        place
            .noted()
            .iter()
            .any(|command| command.starts_with("helm install thumbnails deploy/kubernetes/chart"))
    );
}

fn sidecar(section: &Section) {
    let place = Place::new();
    let printed = run(&place, &section.commands()).stdout.join("\n") + "\n";
    let written = repository().join("deploy/ecs/sidecar.task-definition.json");
    assert_eq!(printed, fs::read_to_string(written).expect("the file"));
}
