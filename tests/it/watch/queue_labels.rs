//! The labels of queues and of components with the same name.

use crate::harness::{World, get, guest, wait_for_tasks};

#[test]
fn queues_whose_files_have_the_same_name_have_different_labels() {
    let world = World::new();
    for folder in ["a", "b"] {
        world.create_dir(folder);
    }
    let queues = ["--queue", "sqlite:a/q.db", "--queue", "sqlite:b/q.db", "--queue", "sqlite:b/r.db"];
    let worker = world.wasmrun(["run", "--status", "0"]).args(queues).arg(guest("empty")).start();
    worker.until_logged("\"ready\"");
    let metrics = get(worker.listens_on(), "/metrics").body;
    for sample in [
        "wasmrun_queue_failing{queue=\"a/q.db\"} 0",
        "wasmrun_queue_failing{queue=\"b/q.db\"} 0",
        "wasmrun_queue_failing{queue=\"r.db\"} 0",
        "wasmrun_queue_info{queue=\"a/q.db, b/q.db, r.db\"} 1",
    ] {
        assert!(metrics.contains(&format!("\n{sample}\n")), "no {sample} in {metrics}");
    }
    worker.stop();
}

#[test]
fn components_whose_files_have_the_same_name_are_counted_apart() {
    let world = World::with_queue(&[]);
    let mut file = "unmatched = 'reject'\n".to_owned();
    for name in ["a", "b"] {
        world.create_dir(name);
        std::fs::copy(guest("empty"), world.path(name).join("x.wasm")).expect("a component");
        file += &format!(
            "[[route]]\nname = '{name}'\ncomponent = '{name}/x.wasm'\nmatch.attribute = {{ kind = '{name}' }}\n"
        );
    }
    world.write("wasmrun.toml", file);
    let queue = ["--queue", "sqlite:jobs.db"];
    let worker = world.wasmrun(["run", "--config", "wasmrun.toml", "--status", "0"]).args(queue).start();
    let address = worker.listens_on();
    world.send_with(&["--attribute", "kind=a"], ["x"]);
    wait_for_tasks(address, 1);
    let metrics = get(address, "/metrics").body;
    for (component, completed) in [("a/x.wasm", 1), ("b/x.wasm", 0)] {
        let labels = format!("component=\"{component}\",result=\"completed\"");
        let sample = format!("\nwasmrun_component_tasks_total{{{labels}}} {completed}\n");
        assert!(metrics.contains(&sample), "no {sample} in {metrics}");
    }
    worker.stop();
}
