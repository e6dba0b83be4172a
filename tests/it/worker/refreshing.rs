//! New versions of the component, which take over while the worker runs.

use crate::harness::{Answer, Command, Depth, Stub, World, wait_until};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

const USAGE: &str = "usage.jsonl";
const FILE: &str = "component.wasm";
const TOOK_OVER: &str = "\"all new tasks run a new version of the component\"";
const REFUSED: &str = "\"kept the component: its new version cannot run\"";

/// A component whose only function has this body. The text `output` in its memory is the number of the version.
fn version(number: usize, body: &str) -> Vec<u8> {
    let cases = format!(
        "(table $cases 1 funcref) (elem (table $cases) (i32.const 0) func $case0)
         (func $case0 (type $case) (param $message i32) (result i32) {body})"
    );
    let text = include_str!("../../guests/wat/bare.wat")
        .replace("    (;cases;)\n", &cases)
        .replace(r#"(data (i32.const 16) "output")"#, &format!(r#"(data (i32.const 16) "{number:06}")"#));
    wat::parse_str(text).expect("a component")
}

/// Rejects each message with the number of the version.
const REJECTS: &str = "(call $reject (i32.const 16) (i32.const 6))";
const COMPLETES: &str = "(call $ok)";
const NEVER_ENDS: &str = "(loop $again (br $again)) unreachable";
const WENT_BACK: &str =
    "\"went back to the version before: the new version of the component fails more often\"";

fn name(version: &[u8]) -> String {
    format!("{FILE}@sha256:{:x}", Sha256::digest(version))
}

fn worker(world: &World) -> Command {
    world
        .wasmrun(["run", FILE, "--queue", "sqlite:jobs.db", "--component-refresh", "1s", "--usage", USAGE])
        .args(["--cache", "off", "--memory", "4MiB"])
}

#[test]
fn each_task_is_of_one_version_which_its_record_names() {
    const VERSIONS: usize = 5;
    let world = World::with_queue(&[]);
    let versions: Vec<_> = (0..VERSIONS).map(|number| version(number, REJECTS)).collect();
    world.write(FILE, &versions[0]);
    let options = ["--on", "rejected=drop", "--max-consecutive-failures", "off"];
    let worker = worker(&world).args(options).start_ready();
    let mut sent = 0;
    for (index, version) in versions.iter().enumerate() {
        if index > 0 {
            world.replace(FILE, version);
        }
        // They are worked off while the version changes.
        while worker.logged(TOOK_OVER) < index || sent < 100 * (index + 1) {
            world.send(["00"; 100]);
            sent += 100;
        }
    }
    world.wait_until_empty();
    worker.stop();

    let numbers: BTreeMap<_, _> = versions
        .iter()
        .enumerate()
        .map(|(number, version)| (name(version), format!("{number:06}")))
        .collect();
    let (mut messages, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for record in world.usage() {
        let component = record["component"].as_str().expect("a name");
        assert_eq!(record["reason"].as_str(), Some(&*numbers[component]), "{record}");
        assert!(messages.insert(record["message_id"].to_string()), "twice: {record}");
        seen.insert(component.to_owned());
    }
    assert_eq!((messages.len(), seen.len()), (sent, VERSIONS));
}

#[test]
fn the_component_of_a_route_gets_new_versions_of_its_own() {
    let world = World::with_queue(&[]);
    let versions = [version(0, REJECTS), version(1, REJECTS), version(2, REJECTS)];
    world.write(FILE, &versions[0]);
    world.write("default.wasm", &versions[2]);
    let file = format!("[[route]]\nname = 'routed'\nmatch.group = 'g'\ncomponent = '{FILE}'");
    world.write("wasmrun.toml", file);
    let worker = world
        .wasmrun(["run", "default.wasm", "--config", "wasmrun.toml", "--queue", "sqlite:jobs.db"])
        .args(["--component-refresh", "1s", "--usage", USAGE, "--cache", "off", "--memory", "4MiB"])
        .args(["--on", "rejected=drop", "--max-consecutive-failures", "off"])
        .start_ready();
    let send = || {
        world.send_with(&["--group", "g"], ["00"]);
        world.send(["00"]);
        world.wait_until_empty();
    };
    send();
    world.replace(FILE, &versions[1]);
    worker.until_logged(TOOK_OVER);
    send();
    worker.stop();
    let mut seen: Vec<_> = world
        .usage()
        .iter()
        .map(|record| {
            (record["route"].as_str().map(str::to_owned), record["reason"].as_str().map(str::to_owned))
        })
        .collect();
    seen.sort();
    let (route, version) = (|| Some("routed".to_owned()), |number: u32| Some(format!("{number:06}")));
    assert_eq!(seen, [(None, version(2)), (None, version(2)), (route(), version(0)), (route(), version(1))]);
}

#[test]
fn a_version_that_cannot_run_is_refused_and_the_one_before_stays() {
    let world = World::with_queue(&[]);
    let first = version(0, COMPLETES);
    world.write(FILE, &first);
    let worker = worker(&world).start_ready();
    let needs_more = "(component (core module $m (memory 100)) (core instance (instantiate $m))
        (instance $handler) (export \"wasmrun:task/handler@0.1.0\" (instance $handler)))";
    for (index, (bytes, says)) in [
        (b"no component".to_vec(), "component.wasm"),
        (
            wat::parse_str("(component (import \"a:b/c\" (instance)))").expect("a component"),
            "does not export",
        ),
        (wat::parse_str(needs_more).expect("a component"), "--memory"),
    ]
    .into_iter()
    .enumerate()
    {
        world.replace(FILE, &bytes);
        worker.until_logged_times(index + 1, REFUSED);
        let line = worker.logs_with(REFUSED).pop().expect("a line");
        assert!(line["error"].as_str().is_some_and(|error| error.contains(says)), "{line}");
        assert_eq!((&line["component"], &line["refused"]), (&name(&first).into(), &name(&bytes).into()));
    }
    std::fs::remove_file(world.path(FILE)).expect("a file");
    worker.until_logged("\"cannot look for a new version of the component\"");
    world.send(["00"; 20]);
    world.wait_until_empty();
    worker.stop();
    assert!(world.usage().iter().all(|record| record["component"] == name(&first)));
}

#[test]
fn a_share_of_the_tasks_decides_whether_a_version_takes_over() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let versions = [version(0, COMPLETES), version(1, REJECTS), version(2, COMPLETES)];
    world.write(FILE, &versions[0]);
    let worker = worker(&world).args(["--rollout", "50%", "--on", "rejected=drop"]).start_ready();
    let recorded = || world.read(USAGE).iter().filter(|byte| **byte == b'\n').count();
    let mut sent = 0;
    let mut send = || {
        world.send(["00"; 100]);
        sent += 100;
        wait_until("all is done and recorded", || world.depth() == Depth::EMPTY && recorded() >= sent);
    };
    for (version, ends) in [(&versions[1], WENT_BACK), (&versions[2], TOOK_OVER)] {
        world.replace(FILE, version);
        while worker.logged(ends) == 0 {
            send();
        }
    }
    send();
    // A version on trial whose file is replaced by the version before ends its trial.
    let all = recorded();
    world.replace(FILE, &versions[0]);
    worker.until_logged_times(3, "\"a share of the new tasks runs a new version of the component\"");
    world.replace(FILE, &versions[2]);
    worker.until_logged("\"all new tasks run the version before: it is there again\"");
    worker.stop();
    let records = world.usage()[..all].to_vec();
    let of = |version: &[u8]| records.iter().filter(|record| record["component"] == name(version)).count();
    let failed = of(&versions[1]);
    assert!((1..100).contains(&failed), "{failed} tasks of the version that fails");
    assert!(of(&versions[2]) >= 300, "{} tasks of the good one", of(&versions[2]));
    let last = records.iter().rev().take(100);
    assert!(last.clone().all(|record| record["component"] == name(&versions[2])));
}

#[test]
fn a_version_on_trial_that_hangs_from_its_first_task_is_given_up_and_no_message_is_lost() {
    let world = World::with_queue(&["--max-receives", "100"]);
    let versions = [version(0, COMPLETES), version(1, NEVER_ENDS)];
    world.write(FILE, &versions[0]);
    let options = ["--rollout", "50%", "--timeout", "1s", "--backoff", "100ms..100ms"];
    let worker = worker(&world).args(options).start_ready();
    world.replace(FILE, &versions[1]);
    worker.until_logged("\"a share of the new tasks runs a new version of the component\"");
    let mut sent = 0;
    while worker.logged(WENT_BACK) == 0 {
        world.send(["00"; 20]);
        sent += 20;
        world.wait_until_empty();
    }
    worker.stop();
    let outcomes = |version: &[u8]| {
        let records = world.usage().into_iter().filter(|record| record["component"] == name(version));
        records.map(|record| record["outcome"].clone()).collect::<Vec<_>>()
    };
    let [right, hanging] = [&versions[0], &versions[1]].map(|version| outcomes(version));
    assert_eq!(right.iter().filter(|outcome| **outcome == "completed").count(), sent);
    assert!(!hanging.is_empty() && hanging.iter().all(|outcome| outcome == "timed-out"), "{hanging:?}");
}

/// The component with a section of this size, which says nothing.
fn larger(mut component: Vec<u8>, bytes: usize) -> Vec<u8> {
    component.push(0);
    // In LEB128, in five bytes. The section's name is empty.
    let size = bytes + 1;
    component
        .extend((0..5).map(|group| (size >> (7 * group) & 0x7f) as u8 | if group < 4 { 0x80 } else { 0 }));
    component.resize(component.len() + size, 0);
    component
}

#[test]
fn a_version_of_which_fewer_tasks_fit_into_the_memory_is_refused_and_the_one_before_stays() {
    let world = World::with_queue(&[]);
    let versions = [version(0, COMPLETES), larger(version(1, COMPLETES), 32 << 20), version(2, COMPLETES)];
    world.write(FILE, &versions[0]);
    let agent =
        Stub::answering(|_| Answer::new(200, json!({"Limits": {"CPU": 1, "Memory": 1024}}).to_string()));
    let metadata = format!("{}/v4/id", agent.endpoint());
    let worker = worker(&world).env("ECS_CONTAINER_METADATA_URI_V4", metadata).args(["--instances", "auto"]);
    let worker = worker.start_ready();
    let ready = worker.logs_with("\"ready\"").pop().expect("a line");
    assert_eq!(ready["bounded_by"], "memory", "{ready}");
    world.replace(FILE, &versions[1]);
    worker.until_logged(REFUSED);
    let line = worker.logs_with(REFUSED).pop().expect("a line");
    let said = format!("and {} of the version at the start: start the worker anew", ready["instances"]);
    assert!(line["error"].as_str().is_some_and(|error| error.contains(&said)), "{line}");
    world.send(["00"; 20]);
    world.wait_until_empty();
    world.replace(FILE, &versions[2]);
    worker.until_logged(TOOK_OVER);
    world.send(["00"; 20]);
    world.wait_until_empty();
    worker.stop();
    let records = world.usage();
    let of = |version: &[u8]| records.iter().filter(|record| record["component"] == name(version)).count();
    assert_eq!(versions.each_ref().map(|version| of(version)), [20, 0, 20]);
}
