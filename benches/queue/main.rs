//! What an empty task costs on a real SQS server: with wasmrun, and with what people write today.
//!
//!     cargo xtask bench queue                              # writes docs/src/benchmarks/queue.md
//!     cargo xtask bench queue -- --quick                   # few messages, to see that it works
//!
//! Each contender is a process that works off a queue of its own, all on the same server (fauxqs), in turns. The bare loops
//! are what nobody can do without: receiving and deleting with Amazon's SDK for Rust, and an instance of the engine for each
//! message. [`waits`] measures the worker alone on the same server with other batch policies than its own.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod paced;
mod sdk;
mod waits;

use serde_json::json;
use std::process::{Command, Stdio};
use std::time::Instant;
use tokio::runtime::Runtime;
use wasmrun_benches::bare::{Bare, Guards, Input, Memory};
use wasmrun_benches::fauxqs::{Server, Sqs};
use wasmrun_benches::packages::Packages;
use wasmrun_benches::program::{until, wasmrun};
use wasmrun_benches::report::Report;
use wasmrun_benches::rounds::{Cost, Found, Way, cost, interleaved, median, micros};
use wasmrun_benches::run::Size;
use wasmrun_benches::system::cpu_of;
use wasmrun_benches::{guests, run};

/// This program again, as the bare loop.
const BARE: &str = "--bare-loop";

fn main() {
    let threads = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
    };
    if let Some(arguments) = run::child_arguments(BARE) {
        return threads().block_on(sdk::bare_loop(&arguments[0]));
    }
    if let Some(arguments) = run::child_arguments(waits::PACED) {
        return threads().block_on(paced::work(&arguments));
    }
    let Some(size) = run::size("queue") else { return };
    let Some(packages) = Packages::find() else {
        println!(
            "Skipped: the server and its clients aren't installed (cargo xtask bench queue installs them)."
        );
        return;
    };
    let (server, runtime) = (Server::start(&packages), threads());
    let bench = Bench { sqs: Sqs::at(&server.endpoint), packages, server, runtime };
    let mut report = Report::new("queue", size, "");
    bench.contenders(&mut report, size);
    waits::measure(&mut report, &bench, size);
    report.write();
}

/// The server, and those who use it.
pub(crate) struct Bench {
    packages: Packages,
    pub(crate) server: Server,
    pub(crate) sqs: Sqs,
    pub(crate) runtime: Runtime,
}

impl Bench {
    /// Measures who works on queues, and adds the table and the ratios.
    fn contenders(&self, report: &mut Report, size: Size) {
        let (rounds, messages) = size.pick((1, 200), (5, 10_000));
        let bytes = guests::bytes("empty");
        let bare = Bare::new(&bytes, Memory::Pool(10), Guards::BASIC);
        let ways = vec![
            // Four receives of ten messages, as the bare loop.
            self.way("wasmrun, 40 instances", messages, |url| self.wasmrun(url, "40")),
            // One receive of ten messages and one of six: more receives for the same messages.
            self.way("wasmrun, 16 instances", messages, |url| self.wasmrun(url, "16")),
            self.way("bare loop of the SDK for Rust", messages, |url| with_url(run::child(BARE), url)),
            self.way("sqs-consumer", messages, |url| {
                with_url(self.packages.node("queue/sqs-consumer.mjs"), url)
            }),
            self.way("boto3 loop", messages, |url| {
                with_url(self.packages.python("queue/boto3_loop.py"), url)
            }),
            Way::new("bare loop of the engine, no queue", |_| {
                cost(messages, || {
                    self.runtime.block_on(async {
                        for _ in 0..messages {
                            bare.run(&Input::default()).await;
                        }
                    });
                })
            }),
        ];
        let found = interleaved("Contenders", rounds, ways);
        let [wasmrun, narrow, sdk, consumer, _, engine] = &found[..] else { unreachable!("six ways") };
        let row = |way: &Found<Cost>| {
            let per_second = way.median(|cost| 1e6 / cost.wall);
            json!({
                "what": way.name,
                "messages_per_second": (way.name != engine.name).then_some(per_second),
                "cpu_seconds_per_10000": way.median(|cost| cost.cpu / 100.0),
            })
        };
        let headings = "| | messages a second | CPU seconds for 10,000 messages |";
        let fields = "what messages_per_second:0 cpu_seconds_per_10000:2";
        report.table("contenders", headings, fields, found.iter().map(row).collect());

        let to_bare = |way: &Found<Cost>| {
            let bare = sdk.rounds.iter().zip(&engine.rounds).map(|(sdk, engine)| sdk.cpu + engine.cpu);
            median(way.rounds.iter().zip(bare).map(|(cost, bare)| cost.cpu / bare))
        };
        // At least a millisecond for all messages: the ratio divides by it.
        let least = 1e3 / messages as f64;
        let ratio = |way: &Found<Cost>| (way.ratio(consumer, |cost| cost.cpu.max(least)), to_bare(way));
        let [(consumer_40, bare_40), (consumer_16, bare_16)] = [ratio(wasmrun), ratio(narrow)];
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

    /// What a message costs the process of a contender, which is measured from its start until its queue is empty.
    fn way<'a>(
        &'a self,
        name: &'a str,
        messages: usize,
        command: impl Fn(&str) -> Command + 'a,
    ) -> Way<'a, Cost> {
        Way::new(name, move |round| {
            let queue = format!("{name}-{round}").replace([' ', ','], "");
            let url = self.runtime.block_on(self.sqs.filled(&queue, "x", messages));
            let mut command = command(&url);
            let command = self.server.in_environment(&mut command).stdin(Stdio::null()).stdout(Stdio::null());
            let began = Instant::now();
            let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
            until(name, || {
                let ended = child.try_wait().expect("a state");
                assert_eq!(ended, None, "{name} has ended");
                self.runtime.block_on(self.sqs.is_empty(&url))
            });
            let each = |time| micros(time) / messages as f64;
            let cost = Cost { cpu: each(cpu_of(child.id())), wall: each(began.elapsed()) };
            // It is idle: nothing is lost.
            let _ = child.kill();
            let _ = child.wait();
            cost
        })
    }

    fn wasmrun(&self, url: &str, instances: &str) -> Command {
        let mut command = wasmrun();
        command.arg("run").arg(guests::path("empty")).args(["--queue", url, "--instances", instances]);
        command.args(["--on", "rejected=drop", "--log", "error"]);
        command
    }
}

fn with_url(mut command: Command, url: &str) -> Command {
    command.arg(url);
    command
}
