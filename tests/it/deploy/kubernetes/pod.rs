//! A pod of the printed manifest, run by podman.

use super::{manifest, objects, of_kind};
use crate::deploy::container::Podman;
use crate::harness::{ACCOUNT, Amazon, exchange, free_port, guest, wait_until};
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A configuration as on AWS, with the endpoint of the server that stands in for it.
fn config(endpoint: &str, port: u16) -> String {
    format!(
        "component = 's3://components/misbehave.wasm'\nqueue = '{endpoint}/{ACCOUNT}/jobs'\nstatus = '0.0.0.0:{port}'\n\
        [store]\ninput = 's3://bucket-in:ro'\noutput = 's3://bucket-out/thumbs:rw'\n[send]\nnext = '{endpoint}/{ACCOUNT}/next'\n\
        [limits]\nmemory = '4MiB'\nobject-size = '8MiB'\n[worker]\ninstances = 2\n[aws]\nendpoint-url = '{endpoint}'\n"
    )
}

#[test]
fn the_pod_of_a_manifest_becomes_ready_works_and_drains_when_it_is_stopped() {
    let Some(podman) = Podman::with_image() else { return };
    let Some(amazon) = Amazon::start() else { return };
    let queue = amazon.create_jobs(30, 1000);
    amazon.create_queue("next", 30, 1000);
    amazon.create_bucket("components");
    amazon.put("components", "misbehave.wasm", fs::read(guest("misbehave")).expect("the component"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    podman.world.write("worker.toml", config(&amazon.endpoint, address.port()));
    // Pods of other tests share the storage.
    let name: String = podman.named("kube").chars().filter(char::is_ascii_alphanumeric).collect();
    let name = format!("t{}", name.to_ascii_lowercase());
    let arguments = ["kubernetes", "--config", "worker.toml", "--name", &name, "--image", &podman.image];
    let yaml = manifest(&podman.world, arguments)
        .args(["--region", "eu-west-1", "--container-memory", "256MiB"])
        .succeeds()
        .stdout
        .join("\n");
    let Some(objects) = objects(&podman.world, &yaml) else { return };

    // What a cluster has and podman hasn't: a network for pods, and a role's credentials.
    let mut deployment = of_kind(&objects, "Deployment").clone();
    let pod = &mut deployment["spec"]["template"]["spec"];
    pod["hostNetwork"] = json!(true);
    pod["containers"][0].as_object_mut().expect("a container").remove("ports");
    let variables = pod["containers"][0]["env"].as_array_mut().expect("variables");
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ] {
        variables.push(json!({"name": name, "value": value}));
    }
    // JSON is YAML.
    let played = format!("{}\n---\n{deployment}\n", of_kind(&objects, "ConfigMap"));
    podman.world.write("pod.yaml", played);
    let pod = Pod { podman: &podman, name: &name };
    podman.podman(["kube", "play", "--quiet", "pod.yaml"]).within(Duration::from_secs(60)).succeeds();

    let asked = || exchange(address, b"GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    wait_until("the pod is ready", || asked().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200")));
    for _ in 0..3 {
        amazon.send(&queue, "sleep 1");
    }
    wait_until("the messages are settled", || amazon.depth(&queue) == [0; 3]);
    for _ in 0..6 {
        amazon.send(&queue, "sleep 3000");
    }
    wait_until("two are in flight", || amazon.depth(&queue)[1] == 2);
    let worker = pod.find("-wasmrun");
    for (field, value) in [
        (".HostConfig.ReadonlyRootfs", "true"),
        (".HostConfig.Memory", "268435456"),
        (".Config.User", "65532:65532"),
        (".EffectiveCaps", "[]"),
    ] {
        assert_eq!(pod.inspect(&worker, field), value, "{field}");
    }
    podman.podman(["stop", "--time=40", &worker]).within(Duration::from_secs(60)).succeeds();
    let logs = podman.podman(["logs", &worker]).succeeds();
    assert_eq!(pod.inspect(&worker, ".State.ExitCode"), "0", "{logs}");
    let summary = logs.summary();
    let completed = summary["outcomes"]["completed"].as_u64().expect("a number");
    assert!((5..9).contains(&completed), "{logs}");
    assert_eq!(summary["tasks"], completed, "{logs}");
    assert_eq!(amazon.depth(&queue), [9 - completed, 0, 0], "{logs}");
}

/// A pod, which ends with its test.
struct Pod<'a> {
    podman: &'a Podman,
    name: &'a str,
}

impl Pod<'_> {
    /// The container whose name ends like this.
    #[track_caller]
    fn find(&self, end: &str) -> String {
        let filter = format!("name={}", self.name);
        let found =
            self.podman.podman(["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]).succeeds();
        let found = found.stdout.into_iter().find(|name| name.trim().ends_with(end));
        found.expect("a container").trim().to_owned()
    }

    #[track_caller]
    fn inspect(&self, container: &str, field: &str) -> String {
        let format = format!("{{{{{field}}}}}");
        self.podman.podman(["inspect", container, "--format", &format]).succeeds().stdout.remove(0)
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        self.podman.podman(["kube", "down", "pod.yaml"]).within(Duration::from_secs(60)).ends();
        self.podman.podman(["volume", "rm", "--force", self.name]).ends();
    }
}
