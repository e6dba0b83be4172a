//! The worker with the ECS agent, which a local server simulates.

use crate::harness::{Answer, Request, Stub, World, field, keys, lock, wait_until};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const AGENT: &str = "ECS_AGENT_URI";
const METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";
const STATE: &str = "/api/task-protection/v1/state";

/// The agent's answer as documented.
fn agreed(request: &Request) -> Answer {
    let wanted: Value = serde_json::from_slice(&request.body).expect("JSON");
    let protection = json!({
        "ExpirationDate": "2026-11-26T12:00:00Z",
        "ProtectionEnabled": wanted["ProtectionEnabled"],
        "TaskArn": "arn:aws:ecs:us-west-2:111122223333:task/default/1234567890abcdef0",
    });
    Answer::new(200, json!({ "protection": protection }).to_string())
}

fn protected(request: &Request) -> bool {
    let wanted: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&*request.method, &*request.target), ("PUT", STATE));
    wanted["ProtectionEnabled"].as_bool().expect("a bool")
}

fn agent_uri(agent: &Stub) -> String {
    format!("{}/api", agent.endpoint())
}

#[test]
fn the_task_is_protected_before_the_first_message_starts_and_soon_after_the_last_no_more() {
    let world = World::with_queue(&[]);
    for name in ["a", "b", "c"] {
        world.write(&format!("in/{name}"), name);
    }
    // Number of objects written when the agent was first called.
    let (done, out): (Arc<Mutex<Option<usize>>>, _) = (Arc::default(), world.path("out"));
    let agent = Stub::answering({
        let done = done.clone();
        move |request| {
            let written = keys(&out).len();
            lock(&done).get_or_insert(written);
            agreed(request)
        }
    });
    let worker = world.run("copy").env(AGENT, agent_uri(&agent)).start_ready();
    assert!(agent.seen().is_empty(), "nothing runs yet");
    world.announce();
    wait_until("all is done", || world.keys("out").len() == 3);
    wait_until("protection ends", || agent.seen().len() >= 2);
    assert_eq!(*lock(&done), Some(0), "before the first task");
    assert_eq!(agent.seen().iter().map(protected).collect::<Vec<_>>(), [true, false]);
    worker.stop();
    assert_eq!(agent.seen().len(), 2, "there was nothing to give up any more");
}

#[test]
fn a_worker_that_ends_gives_its_protection_up() {
    let world = World::with_queue(&[]);
    let agent = Stub::answering(agreed);
    world.send(["ok"; 3]);
    world.run("misbehave").env(AGENT, agent_uri(&agent)).arg("--until-empty").succeeds();
    assert_eq!(agent.seen().iter().map(protected).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn an_agent_that_fails_hangs_or_lies_changes_nothing_about_the_tasks() {
    let failure = json!({"failure": {"Arn": "a", "Reason": "TASK_NOT_VALID", "Detail": null}}).to_string();
    let lie = json!({"protection": {"ProtectionEnabled": "maybe"}}).to_string();
    for (answer, said) in [
        (Answer::new(500, "{}"), "500"),
        (Answer::new(400, failure.clone()), "TASK_NOT_VALID"),
        (Answer::new(200, failure), "TASK_NOT_VALID"),
        (Answer::new(200, lie), "maybe"),
        (Answer::new(200, "<html>"), "without JSON"),
        (Answer::new(200, vec![b'['; 1 << 20]), "limit"),
        (Answer::new(200, "{").with("content-length", 1000), ""),
        (Answer::Never, "no answer"),
    ] {
        let world = World::with_queue(&[]);
        world.send(["ok"; 40]);
        let agent = Stub::answering(move |_| answer.clone());
        let output = world.run("misbehave").env(AGENT, agent_uri(&agent)).arg("--until-empty").succeeds();
        output.has_outcomes(&json!({"completed": 40}));
        let warnings = output.logs_of("cannot change the ECS scale-in protection");
        assert_eq!(warnings.len(), 1, "once, not for each message: {output}");
        assert!(field(&warnings[0], "error").contains(said), "{said}: {output}");
        // The worker doesn't call the agent for a while after a failure. If the agent may have received a call, it is
        // told at the end that protection is over.
        let asked: Vec<_> = agent.seen().iter().map(protected).collect();
        assert!(matches!(asked[..], [true] | [true, false]), "{asked:?}");
    }
}

#[test]
fn nobody_is_asked_where_the_user_says_so_or_nobody_listens() {
    let world = World::with_queue(&[]);
    world.send(["ok"; 2]);
    let agent = Stub::answering(agreed);
    world
        .run("misbehave")
        .env(AGENT, agent_uri(&agent))
        .args(["--scale-in-protection=false", "--until-empty"])
        .succeeds();
    assert!(agent.seen().is_empty());
    for nobody in ["http://127.0.0.1:9", "https://127.0.0.1:9", "nonsense", "http://"] {
        world.send(["ok"; 2]);
        let output = world.run("misbehave").env(AGENT, nobody).arg("--until-empty").succeeds();
        assert_eq!(output.summary()["outcomes"], json!({"completed": 2}), "{nobody}: {output}");
    }
}

#[test]
fn the_limit_of_the_ecs_task_bounds_the_instances_and_its_name_is_in_the_log() {
    let world = World::with_queue(&[]);
    let arn = "arn:aws:ecs:us-west-2:111122223333:task/default/e9028f8d5d8e4f258373e7b93ce9a3c3";
    let agent = Stub::answering(move |request| {
        let answer = match &*request.target {
            "/v4/id/task" => {
                json!({"TaskARN": arn, "Family": "thumbs", "Revision": "7", "Limits": {"CPU": 1, "Memory": 2048}})
            }
            _ => json!({"Limits": {"Memory": 1024}}),
        };
        Answer::new(200, answer.to_string())
    });
    let metadata = format!("{}/v4/id", agent.endpoint());
    let ready = |uri: &str| {
        let output = world.run("misbehave").env(METADATA, uri).arg("--until-empty").succeeds();
        output.logs_of("ready").remove(0)
    };
    let told = ready(&metadata);
    assert_eq!((field(&told, "ecs_task"), field(&told, "ecs_definition")), (arn, "thumbs:7"));
    assert_eq!(told["bounded_by"], "memory");
    assert!((1..=2).contains(&told["instances"].as_u64().expect("a number")), "of a gibibyte: {told}");
    let untold = ready("http://127.0.0.1:9/v4/id");
    assert!(untold.get("ecs_task").is_none() && untold["instances"].as_u64() > Some(2), "{untold}");
}
