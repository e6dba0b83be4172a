//! `--once` with a ledger and outputs in S3.

use super::sessions;
use crate::harness::{
    Amazon, Answer, Command, Depth, Objects, Output, Proxy, Stub, World, guest, signed, wait_until,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LEDGER: &str = "s3://bucket-ledger/jobs";
const ONCE: [&str; 4] = ["--once", LEDGER, "--once-by", "attribute:order"];

/// A world with a queue in a file, and a server with the buckets of a worker.
struct Cloud {
    world: World,
    amazon: Amazon,
}

impl Cloud {
    fn on(amazon: Amazon) -> Self {
        amazon.create_buckets();
        amazon.create_bucket("bucket-ledger");
        Self { world: World::with_queue(&["--max-receives", "2"]), amazon }
    }

    fn run(&self) -> Command {
        let command = self.world.wasmrun(["run", "--queue", "sqlite:jobs.db", "--instances", "1"]);
        let command = command.args(["--backoff", "10ms..20ms"]).logging_tasks();
        self.amazon.environment(command.misbehaving("s3://bucket-in/from:ro", "s3://bucket-out/to:rw"))
    }

    /// Runs a worker until the queue is empty.
    fn work(&self) -> Output {
        self.run().args(ONCE).arg("--until-empty").succeeds()
    }

    fn send(&self, order: &str, body: &str) {
        self.world.send_with(&["--attribute", &format!("order={order}")], [body]);
    }

    fn read(&self, key: &str) -> String {
        let (content, _) = self.amazon.get("bucket-out", key).unwrap_or_default();
        String::from_utf8(content).expect("text")
    }

    /// Keys of the ledger below a prefix.
    fn ledger(&self, below: &str) -> Vec<String> {
        let prefix = format!("jobs/{below}");
        self.amazon.keys("bucket-ledger").into_iter().filter(|key| key.starts_with(&prefix)).collect()
    }

    /// Returns the states of the ledger's entries.
    fn states(&self) -> Vec<Value> {
        let state = |key: String| {
            let (content, _) = self.amazon.get("bucket-ledger", &key).expect("an entry");
            serde_json::from_slice::<Value>(&content).expect("JSON")["state"].clone()
        };
        self.ledger("entries/").into_iter().map(state).collect()
    }
}

#[test]
fn outputs_in_s3_appear_together_and_a_message_that_is_repeated_runs_no_task() {
    for server in [Amazon::start, Amazon::moto] {
        let Some(cloud) = server().map(Cloud::on) else { return };
        cloud.amazon.put("bucket-out", "to/old", "old");
        cloud
            .send("1", "all put a first; put a/below x; put old new; put gone x; delete gone; list @output ");
        cloud.send("1", "put a second");
        cloud.send("2", "all put b x; delete old; reject no");
        let output = cloud.work();
        output.has_outcomes(&json!({"completed": 1, "repeated": 1, "rejected": 1}));
        assert!(output.to_string().contains("listed 1: old"), "it does not see what it writes: {output}");
        assert_eq!(cloud.amazon.keys("bucket-out"), ["to/a", "to/a/below", "to/old"], "{output}");
        assert_eq!((cloud.read("to/a"), cloud.read("to/old")), ("first".into(), "new".into()));
        assert_eq!(cloud.ledger("staged/"), [""; 0]);
        assert_eq!(cloud.ledger("").len(), 3, "its number, and an entry for each order");
        let states = cloud.states();
        assert!(states.contains(&json!("completed")) && states.contains(&json!("free")), "{states:?}");
        // Another worker, and a rejected order that is sent anew.
        cloud.send("1", "put a third");
        cloud.send("2", "put b mended");
        cloud.work().has_outcomes(&json!({"completed": 1, "repeated": 1}));
        assert_eq!((cloud.read("to/a"), cloud.read("to/b")), ("first".into(), "mended".into()));
    }
}

#[test]
fn a_bucket_that_keeps_versions_gets_one_version_of_an_output() {
    let Some(cloud) = Amazon::start().map(Cloud::on) else { return };
    cloud.amazon.keep_versions("bucket-out");
    cloud.send("1", "all put a x; put a y");
    cloud.work().has_outcomes(&json!({"completed": 1}));
    let listed = cloud.amazon.wait(cloud.amazon.s3.list_object_versions().bucket("bucket-out").send());
    assert_eq!(listed.expect("versions").versions().len(), 1);
    assert_eq!(cloud.read("to/a"), "y");
}

/// Completes the order 1, and then makes its entry that of a worker which died after its commit and before it placed the
/// object `late`.
fn die_after_commit(cloud: &Cloud) {
    cloud.send("1", "ok");
    cloud.work().has_outcomes(&json!({"completed": 1}));
    let [key] = &cloud.ledger("entries/")[..] else { panic!("one entry") };
    let (id, _) = cloud.amazon.get("bucket-ledger", "jobs/ledger.json").expect("an ID");
    let id = serde_json::from_slice::<Value>(&id).expect("JSON")["id"].as_u64().expect("a number");
    let run = format!("{}{}", &key["jobs/entries/".len()..][..16], "07".repeat(8));
    let output = json!({"store": 0, "key": "late", "staged": 3, "bytes": 4});
    let outputs = json!({"stores": ["s3://bucket-out/to/"], "outputs": [output]});
    let entry = json!({"state": {"committing": {"outputs": outputs}}, "expires_ms": 0, "run": run});
    cloud.amazon.put("bucket-ledger", key, entry.to_string());
    cloud.amazon.put("bucket-ledger", &format!("jobs/staged/{id:016x}-{run}-00000003"), "late");
}

#[test]
fn whoever_finds_a_commit_that_a_crash_left_finishes_it_without_a_task() {
    let Some(cloud) = Amazon::start().map(Cloud::on) else { return };
    die_after_commit(&cloud);
    cloud.send("1", "put late again");
    let output = cloud.work();
    output.has_outcomes(&json!({"repeated": 1}));
    assert_eq!((cloud.read("to/late"), cloud.ledger("staged/").len()), ("late".into(), 0));
    assert_eq!(cloud.states(), ["completed"]);
}

#[test]
fn a_ledger_that_s3_slows_down_is_the_hosts_fault_and_counts_against_no_message() {
    let world = World::with_queue(&["--max-receives", "1"]);
    world.send(["ok"]);
    let is_slow = Arc::new(AtomicBool::new(true));
    let objects = Objects::default();
    let stub = {
        let is_slow = is_slow.clone();
        Stub::answering(move |request| match request.method.as_str() {
            "PUT" if is_slow.load(Ordering::Relaxed) => {
                let body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code></Error>";
                Answer::new(503, body).with("Content-Type", "application/xml")
            }
            _ => objects.answer(request),
        })
    };
    let worker = world.run("misbehave").args(["--once", LEDGER, "--backoff", "10ms..20ms"]);
    let worker = signed(worker).env("AWS_ENDPOINT_URL_S3", stub.endpoint()).start();
    worker.until_logged("paused receiving");
    is_slow.store(false, Ordering::Relaxed);
    world.wait_until_empty();
    let output = worker.stop();
    assert!(output.to_string().contains("the ledger of --once"), "{output}");
    assert_eq!(world.dead(), Depth::EMPTY, "{output}");
}

#[test]
fn answers_that_are_lost_on_the_way_neither_repeat_nor_lose_an_output() {
    let Some(cloud) = Amazon::start().map(Cloud::on) else { return };
    let orders = 30;
    for order in 0..orders {
        for _ in 0..2 {
            cloud.send(&order.to_string(), &format!("put-nonce {order}/first {order}/second/deep"));
        }
    }
    // The other half of the lost answers is about requests that were carried out.
    let proxy = Proxy::to(cloud.amazon.address()).losing(3);
    let worker = || cloud.run().args(ONCE).env("AWS_ENDPOINT_URL_S3", proxy.endpoint()).start();
    // A worker whose first requests are lost too often exits.
    let worker = loop {
        let mut worker = worker();
        wait_until("it is ready or gives up", || worker.logged("\"ready\"") > 0 || !worker.runs());
        if worker.runs() {
            break worker;
        }
    };
    wait_until("all are settled", || cloud.world.depth() == Depth::EMPTY);
    worker.stop();
    assert!(proxy.lost() > 0, "nothing was lost");
    assert_eq!(cloud.world.dead(), Depth::EMPTY);
    let nonces = cloud.amazon.keys("bucket-out");
    let nonces: Vec<_> = nonces.iter().filter(|key| key.starts_with("to/nonces/")).collect();
    assert_eq!(nonces.len(), orders, "each order has committed once");
    for order in 0..orders {
        let first = cloud.read(&format!("to/{order}/first"));
        assert!(!first.is_empty());
        assert_eq!(cloud.read(&format!("to/{order}/second/deep")), first, "order {order}");
    }
}

#[test]
fn a_service_that_breaks_off_in_the_middle_of_placing_is_waited_for() {
    let Some(cloud) = Amazon::start().map(Cloud::on) else { return };
    let proxy = Proxy::to(cloud.amazon.address()).slow(Duration::from_millis(10));
    let puts: Vec<_> = (0..100).map(|number| format!("put {number:03} x")).collect();
    cloud.send("1", &format!("all {}", puts.join("; ")));
    let worker = cloud.run().args(ONCE).args(["--timeout", "5m"]);
    let worker = worker.env("AWS_ENDPOINT_URL_S3", proxy.endpoint()).start();
    wait_until("some are placed", || !cloud.amazon.keys("bucket-out").is_empty());
    proxy.cut();
    let placed = cloud.amazon.keys("bucket-out").len();
    worker.until_logged("paused receiving");
    proxy.mend();
    wait_until("all are placed", || cloud.amazon.keys("bucket-out").len() == 100);
    wait_until("it is settled", || cloud.world.depth() == Depth::EMPTY);
    let output = worker.stop();
    assert!(placed < 100, "it was too late: {output}");
    assert_eq!(cloud.world.dead(), Depth::EMPTY, "{output}");
    assert_eq!((cloud.ledger("staged/").len(), cloud.states()), (0, vec![json!("completed")]));
}

#[test]
fn a_ledger_that_tasks_or_messages_could_reach_is_refused() {
    let Some(cloud) = Amazon::start().map(Cloud::on) else { return };
    let run = |options: &[&str], said: &str| {
        cloud.run().args(options).fails_with(2, said);
    };
    for (ledger, store) in [
        ("s3://bucket-out/to", "store output"),
        ("s3://bucket-out/to/ledger", "store output"),
        ("s3://bucket-out", "store output"),
        ("s3://bucket-in/from/.ledger", "store input"),
    ] {
        run(&["--once", ledger], &format!("and the {store} ("));
    }
    let bodies = ["--once", LEDGER, "--body-store", "s3://bucket-ledger"];
    run(&bodies, "and the body store (s3://bucket-ledger/) overlap: give the ledger a prefix of its own");
    run(&["--once", "s3://bucket-ledger/{key}"], "the ledger of --once s3://bucket-ledger/{key} has {key}");
    run(&["--once", "sqlite:ledger.db"], "use --once s3://BUCKET/PREFIX, grant the store as ro");
    // Names that only begin alike are apart.
    cloud.run().args(["--check", "--once", "s3://bucket-out/to-ledger"]).succeeds();
    assert_eq!(cloud.amazon.keys("bucket-out"), [""; 0], "a check makes no ledger");
    let missing = ["--check", "--once", "s3://bucket-none/ledger"];
    cloud.run().args(missing).fails_with(3, "there is no such bucket");
}

#[test]
fn routes_share_a_ledger_and_each_has_its_own_outputs() {
    let Some(cloud) = Amazon::start().map(Cloud::on) else { return };
    let file = r#"
        queue = "sqlite:jobs.db"
        unmatched = "reject"
        [[route]]
        name = "cloud"
        match.attribute = { place = "cloud" }
        component = "misbehave.wasm"
        store.output = "s3://bucket-out/to:rw"
        [[route]]
        name = "disk"
        match.attribute = { place = "disk" }
        component = "misbehave.wasm"
        store.output = "dir:out:rw"
    "#;
    let world = &cloud.world;
    world.write("wasmrun.toml", file);
    std::fs::copy(guest("misbehave"), world.path("misbehave.wasm")).expect("a component");
    for place in ["cloud", "disk", "nowhere"] {
        for number in 0..2 {
            let place = format!("place={place}");
            let options = ["--attribute", &place, "--attribute", &format!("order={place}")];
            world.send_with(&options, [format!("put a {number}")]);
        }
    }
    let run =
        || cloud.amazon.environment(world.wasmrun(["run", "--config", "wasmrun.toml", "--until-empty"]));
    let output = run().args(["--instances", "1"]).args(ONCE).succeeds();
    output.has_outcomes(&json!({"completed": 2, "repeated": 2, "rejected": 2}));
    assert_eq!((cloud.read("to/a"), world.read("out/a")), ("0".into(), b"0".to_vec()));
    assert_eq!(cloud.ledger("staged/"), [""; 0]);
}

#[test]
fn outputs_for_a_key_are_staged_by_the_worker_and_written_in_the_session_of_the_key() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let objects = Objects::default();
    let stub = {
        let objects = objects.clone();
        Stub::answering(move |request| match sessions::key_of(request) {
            Some(key) if key == "evil" => sessions::denied(),
            Some(key) => sessions::session(&key, 3600),
            None => objects.answer(request),
        })
    };
    for key in ["acme", "evil"] {
        world.send_with(&["--group", key], ["all put new x; delete old"]);
    }
    let output = sessions::worker(&world, &stub).args(["--once", LEDGER]).succeeds();
    // The sender is to blame for a key that has no session.
    output.has_outcomes(&json!({"completed": 1, "rejected": 1}));
    assert_eq!(world.dead(), Depth::visible(1), "{output}");
    assert!(!output.to_string().contains("paused receiving"), "{output}");
    let seen = stub.seen();
    let of_key = seen.iter().filter(|request| request.target.starts_with("/bucket/t/acme/out/"));
    let of_key = of_key.filter(|request| request.method != "GET");
    let of_key: Vec<_> = of_key.map(|request| (request.method.as_str(), request.access_key())).collect();
    assert_eq!(of_key, [("DELETE", "session-acme"), ("PUT", "session-acme")], "{output}");
    let of_ledger = seen.iter().filter(|request| request.target.starts_with("/bucket-ledger/"));
    assert!(of_ledger.clone().count() > 0 && of_ledger.clone().all(|request| request.access_key() == "own"));
    let paths = objects.paths();
    assert!(paths.contains(&"/bucket/t/acme/out/new".to_owned()), "{paths:?}");
    assert!(!paths.iter().any(|path| path.contains("/staged/") || path.contains("/evil/")), "{paths:?}");
}

#[test]
fn outputs_of_a_route_are_written_with_the_role_of_that_route() {
    let world = World::with_queue(&["--max-receives", "1"]);
    let objects = Objects::default();
    let stub = Stub::answering(move |request| {
        let text = request.text();
        let role = text.split_once("role%2F").filter(|_| text.contains("Action=AssumeRole"));
        match role.map(|(_, rest)| rest.split('&').next().unwrap_or_default()) {
            Some(role) => sessions::session(role, 3600),
            None => objects.answer(request),
        }
    });
    let routes = ["wide", "narrow"].map(|name| {
        format!(
            r#"
            [[route]]
            name = "{name}"
            match.attribute = {{ order = "{name}" }}
            component = "misbehave.wasm"
            store.output = "s3://bucket/out:rw"
            assume-role.output = "arn:aws:iam::123456789012:role/{name}"
            "#
        )
    });
    let top = "queue = 'sqlite:jobs.db'\nunmatched = 'reject'\n";
    world.write("wasmrun.toml", format!("{top}{}", routes.concat()));
    std::fs::copy(guest("misbehave"), world.path("misbehave.wasm")).expect("a component");
    for order in ["narrow", "wide"] {
        world.send_with(&["--attribute", &format!("order={order}")], [format!("put {order} x")]);
    }
    let run = world.wasmrun(["run", "--config", "wasmrun.toml", "--until-empty"]).args(ONCE);
    let output = stub.environment(run).succeeds();
    output.has_outcomes(&json!({"completed": 2}));
    let seen = stub.seen();
    let written = seen.iter().filter(|request| request.method == "PUT");
    let mut written: Vec<_> = written
        .filter(|request| request.target.starts_with("/bucket/out/"))
        .map(|request| (request.target.split('?').next().unwrap_or_default(), request.access_key()))
        .collect();
    written.sort_unstable();
    let expected = [("/bucket/out/narrow", "session-narrow"), ("/bucket/out/wide", "session-wide")];
    assert_eq!(written, expected, "{output}");
}
