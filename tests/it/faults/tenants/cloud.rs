//! Queues of SQS, and everything else in S3.

use super::{KEYS, Place, QUEUES, survives};
use crate::harness::{Amazon, Command, World};
use serde_json::Value;

/// The messages of `c` take a route with a store of its own.
const ROUTES: &str = "
    [[route]]
    name = 'of-c'
    match.attribute = { tenant = 'c' }
    store.output = 's3://bucket-out/of-c:rw'
";
/// Bucket of all that the workers keep for themselves, each in a prefix of its own.
const KEPT: &str = "bucket-kept";

struct Cloud {
    world: World,
    amazon: Amazon,
    /// URL of the queue of notifications.
    done: String,
}

impl Cloud {
    fn on(amazon: Amazon) -> Self {
        amazon.create_buckets();
        amazon.create_bucket(KEPT);
        for (queue, _) in QUEUES {
            amazon.create_queue(queue, 3, 1000);
        }
        let done = amazon.create_queue("done", 600, 1000);
        let world = World::new();
        world.write("routes.toml", ROUTES);
        Self { world, amazon, done }
    }

    fn url(&self, queue: &str) -> String {
        self.done.replace("/done", &format!("/{queue}"))
    }

    /// The objects in a prefix of [`KEPT`].
    fn kept(&self, prefix: &str) -> Vec<Value> {
        let keys = self.amazon.keys(KEPT).into_iter().filter(|key| key.starts_with(prefix));
        // Another worker may have removed it meanwhile.
        let objects = keys.filter_map(|key| self.amazon.get(KEPT, &key));
        objects.map(|(content, _)| serde_json::from_slice(&content).expect("JSON")).collect()
    }
}

impl Place for Cloud {
    fn send(&self, queue: &str, key: &str, group: Option<&str>, bodies: &[String]) -> Vec<String> {
        let (url, count) = (self.url(queue), bodies.len().to_string());
        let batch = group.map(|group| [("batch", "String", group), ("batch.count", "Number", &*count)]);
        let attributes: Vec<_> =
            [("tenant", "String", key)].into_iter().chain(batch.into_iter().flatten()).collect();
        bodies.iter().map(|body| self.amazon.send_with(&url, body, &attributes)).collect()
    }

    fn worker(&self) -> Command {
        let queues = QUEUES.map(|(queue, priority)| format!("{}{priority}", self.url(queue)));
        let run = self.world.wasmrun(["run", "--key", "attribute:tenant", "--notify", &self.done]);
        let run =
            run.args(["--once", "s3://bucket-kept/ledger", "--budget-store", "s3://bucket-kept/budgets"]);
        let run = run.args(["--group-store", "s3://bucket-kept/groups"]);
        let run = run.args(["--store", "output=s3://bucket-out/of-others:rw"]);
        self.amazon.environment(queues.iter().fold(run, |command, queue| command.args(["--queue", queue])))
    }

    fn charged(&self) -> u64 {
        let objects = self.kept("budgets/");
        let accounts = objects.iter().filter_map(|object| object["accounts"].as_array()).flatten();
        let accounts = accounts.filter(|account| KEYS.iter().any(|key| account["key"] == *key));
        accounts.filter_map(|account| account["used"].as_u64()).sum()
    }

    fn count_notified(&self) -> usize {
        self.amazon.depth(&self.done).iter().sum::<u64>() as usize
    }

    fn notifications(&self) -> Vec<Value> {
        let (all, mut found) = (self.count_notified(), Vec::new());
        while found.len() < all {
            let received = self.amazon.receive(&self.done).into_iter();
            found.extend(received.map(|(body, _)| serde_json::from_str(&body).expect("JSON")));
        }
        found
    }

    fn read(&self, key: &str, object: &str) -> String {
        let store = if key == "c" { "of-c" } else { "of-others" };
        let object = format!("{store}/{object}");
        let (content, _) = self.amazon.get("bucket-out", &object).unwrap_or_else(|| panic!("no {object}"));
        String::from_utf8(content).expect("text")
    }

    fn nonces(&self) -> Vec<String> {
        let keys = self.amazon.keys("bucket-out").into_iter();
        keys.filter_map(|key| Some(key.split_once("/nonces/")?.1.to_owned())).collect()
    }

    fn assert_empty(&self) {
        for queue in QUEUES.map(|(queue, _)| queue).into_iter().chain(["dead"]) {
            assert_eq!(self.amazon.depth(&self.url(queue)), [0; 3], "{queue}");
        }
    }

    fn entries(&self) -> Vec<String> {
        let state = |entry: &Value| entry["state"].as_str().expect("a state").to_owned();
        self.kept("ledger/entries/").iter().map(state).collect()
    }
}

#[test]
fn kills_of_a_worker_for_many_tenants_lose_and_repeat_nothing_on_sqs_and_s3() {
    let Some(amazon) = Amazon::start() else { return };
    survives(&Cloud::on(amazon), 8);
}
