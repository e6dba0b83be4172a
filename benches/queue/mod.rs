//! What an empty task costs on a real SQS server: with wasmrun, and with what people write today.
//!
//!     cargo xtask bench queue                              # writes docs/src/benchmarks/queue.md
//!     cargo xtask bench queue -- --quick                   # few messages, to see that it works
//!
//! Each contender is a process that works off a queue of its own, all on the same server (fauxqs), in turns. The bare loops
//! are what nobody can do without: receiving and deleting with Amazon's SDK for Rust, and an instance of the engine for each
//! message. [`waits`] measures the worker alone on the same server with other batch policies than its own.

pub(crate) mod paced;
pub(crate) mod sdk;
mod waits;

use crate::shared::{Bare, Guards, Input, Killed, Memory, Packages, Server, guests, until, wasmrun};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use wasmrun_benches::{Arguments, Found, Report, Way, child, cost, cpu_of, interleaved, median, micros};

pub(crate) fn measure(arguments: &Arguments) {
    let Some(packages) = Packages::find("queue") else { return };
    let server = Server::start(&packages);
    let mut report = Report::new("queue", arguments, "");
    Bench { packages, server: &server }.contenders(&mut report);
    waits::measure(&mut report, &server);
    report.write();
}

/// The threads of a child process.
fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
}

/// The server, and those who use it.
struct Bench<'a> {
    packages: Packages,
    server: &'a Server,
}

impl Bench<'_> {
    /// Measures who works on queues, and adds the table and the ratios.
    fn contenders(&self, report: &mut Report) {
        let (rounds, messages) = report.size.pick((1, 200), (5, 10_000));
        let bare = Bare::new(&guests::bytes("empty"), Memory::Pool(10), Guards::BASIC);
        let ways = [
            // Four receives of ten messages, as the bare loop.
            self.way("wasmrun, 40 instances", messages, || worker("40")),
            // One receive of ten messages and one of six: more receives for the same messages.
            self.way("wasmrun, 16 instances", messages, || worker("16")),
            self.way("bare loop of the SDK for Rust", messages, || child(sdk::BARE)),
            self.way("sqs-consumer", messages, || self.packages.node("queue/sqs-consumer.mjs")),
            self.way("boto3 loop", messages, || self.packages.python("queue/boto3_loop.py")),
            Way::new("bare loop of the engine, no queue", |_| {
                let runs = async {
                    for _ in 0..messages {
                        bare.run(&Input::default()).await;
                    }
                };
                cost(messages, || self.server.runtime.block_on(runs))
            }),
        ];
        let found = interleaved("Contenders", rounds, ways);
        let [wasmrun, narrow, sdk, consumer, _, engine] = &found[..] else { unreachable!("six ways") };
        let row = |way: &Found| {
            json!({
                "what": way.name,
                "messages_per_second": (way.name != engine.name).then(|| 1e6 / way.median("wall_us")),
                "cpu_seconds_per_10000": way.median("cpu_us") / 100.0,
            })
        };
        let columns = "= what | messages a second = messages_per_second:0 \
            | CPU seconds for 10,000 messages = cpu_seconds_per_10000:2";
        report.table("contenders", columns, found.iter().map(row));

        let to_bare = |way: &Found| {
            let bare = sdk.each("cpu_us").zip(engine.each("cpu_us")).map(|(sdk, engine)| sdk + engine);
            median(way.each("cpu_us").zip(bare).map(|(way, bare)| way / bare))
        };
        let [consumer_40, consumer_16] = [wasmrun, narrow].map(|way| way.ratio(consumer, "cpu_us"));
        let [bare_40, bare_16] = [wasmrun, narrow].map(to_bare);
        report.data("by_sqs_consumer", json!({&wasmrun.name: consumer_40, &narrow.name: consumer_16}));
        report.data("by_bare_loops", json!({&wasmrun.name: bare_40, &narrow.name: bare_16}));
        report.text(
            "ratios",
            format!(
                "wasmrun takes {consumer_40:.2} times the CPU of sqs-consumer, and {bare_40:.2} times that of the two bare loops together \
                 (medians of the rounds' ratios); with 16 instances {consumer_16:.2} and {bare_16:.2} times."
            ),
        );
    }

    /// What a message costs the process of a contender, which is measured from its start until its queue is empty. The
    /// queue's URL is the last argument of its command.
    fn way<'a>(&'a self, name: &'a str, messages: usize, command: impl Fn() -> Command + 'a) -> Way<'a> {
        Way::new(name, move |round| {
            let url = self.server.queue(&format!("{name}-{round}").replace([' ', ','], ""));
            self.server.fill(&url, "x", messages);
            let mut command = command();
            let command = self.server.in_environment(command.arg(&url));
            let began = Instant::now();
            let mut contender = Killed::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
            until(name, || {
                let ended = contender.try_wait().expect("a state");
                assert_eq!(ended, None, "{name} has ended");
                self.server.is_empty(&url)
            });
            // The ratios divide by it.
            let cpu = cpu_of(contender.id()).max(Duration::from_millis(1));
            let each = |time| micros(time) / messages as f64;
            json!({"cpu_us": each(cpu), "wall_us": each(began.elapsed())})
        })
    }
}

fn worker(instances: &str) -> Command {
    let mut command = wasmrun();
    command.arg("run").arg(guests::path("empty")).args(["--instances", instances]);
    command.args(["--on", "rejected=drop", "--log", "error", "--queue"]);
    command
}
