//! What an empty task costs on a real SQS server: with wasmrun, and with what people write today.
//!
//!     cargo xtask bench queue                              # writes docs/src/benchmarks/queue.md and queue.json
//!     cargo xtask bench queue -- --quick                   # few messages, to see that it works
//!
//! Each contender is a process of its own that works off a queue of its own, all on the same server (fauxqs), and they
//! take turns: what another process or a slow minute of the machine costs, it costs all of them. The bare loops are
//! what nobody can do without: receiving and deleting with Amazon's SDK for Rust, and an instance of the engine for each
//! message. Before that, the worker alone on the same server with other waits than its own: what those cost and give.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its result")]

mod paced;
mod report;
mod sdk;
mod waits;

use std::env;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmrun_benches::bare::{Bare, Guards, Input, Memory};
use wasmrun_benches::fauxqs::{Packages, Server, Sqs};
use wasmrun_benches::figures::process_cpu;
use wasmrun_benches::run::{self, Size};
use wasmrun_benches::{guests, proc};

use crate::paced::Waits;
use crate::report::{Cost, Report};

/// Figures are for so many.
const MESSAGES: usize = 10_000;
const ROUNDS: usize = 5;
/// Of what waits cost: on a full queue, and of those that trickle.
const WAITED: [usize; 2] = [4_000, 300];
const WAITING_ROUNDS: usize = 3;
/// This program again, as the bare loop.
const BARE: &str = "--bare-loop";
const LOOK_EVERY: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(120);

/// Who works on a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// With as many messages at once as [`Contender::BareSdk`].
    Wasmrun,
    /// With room for one and a half receives, so that some bring less than they could.
    WasmrunNarrow,
    BareSdk,
    SqsConsumer,
    Boto3,
}

impl Contender {
    pub(crate) const ALL: [Self; 5] =
        [Self::Wasmrun, Self::WasmrunNarrow, Self::BareSdk, Self::SqsConsumer, Self::Boto3];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wasmrun => "wasmrun, 40 instances",
            Self::WasmrunNarrow => "wasmrun, 16 instances",
            Self::BareSdk => "bare loop of the SDK for Rust",
            Self::SqsConsumer => "sqs-consumer",
            Self::Boto3 => "boto3 loop",
        }
    }

    fn command(self, packages: &Packages, url: &str) -> Command {
        let here = guests::repository().join("benches/queue");
        let mut command = match self {
            Self::Wasmrun | Self::WasmrunNarrow => {
                let instances = if self == Self::Wasmrun { "40" } else { "16" };
                let mut command = Command::new(guests::target().join("release/wasmrun"));
                command.arg("run").arg(guests::path("empty"));
                command.args(["--queue", url, "--instances", instances]);
                command.args(["--on", "rejected=drop", "--log", "error"]);
                command
            }
            Self::BareSdk => {
                let mut command = Command::new(env::current_exe().expect("this program"));
                command.args([BARE, url]);
                command
            }
            Self::SqsConsumer => {
                // Packages are found beside the script.
                let script = packages.node.join("sqs-consumer.mjs");
                std::fs::copy(here.join("sqs-consumer.mjs"), &script).expect("a script");
                let mut command = Command::new("node");
                command.arg(script).arg(url);
                command
            }
            Self::Boto3 => {
                let mut command = Command::new(&packages.python);
                command.arg(here.join("boto3_loop.py")).arg(url);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
    };
    if let [flag, url] = &arguments[..]
        && flag == BARE
    {
        return runtime().block_on(sdk::bare_loop(url));
    }
    if let [flag, url, settling, receiving, messages] = &arguments[..]
        && flag == waits::PACED
    {
        let [settling, receiving] = [settling, receiving].map(|ms| Duration::from_millis(number(ms)));
        let work = paced::work(url, Waits { settling, receiving }, number(messages) as usize);
        return println!("{}", runtime().block_on(work));
    }
    let (rounds, messages, waiting_rounds, waited) = match run::size("queue") {
        None => return,
        Some(Size::Quick) => (1, 200, 1, [100, 10]),
        Some(Size::Full) => (ROUNDS, MESSAGES, WAITING_ROUNDS, WAITED),
    };
    let Some(packages) = Packages::find() else {
        println!("Skipped: the server and its clients aren't installed (cargo xtask bench queue does that).");
        return;
    };
    let server = Server::start(&packages);
    let runtime = runtime();
    let sqs = Sqs::at(&server.endpoint);
    let bytes = guests::bytes("empty");
    let guards = Guards { fuel: true, epochs: false, limiter: true, metering: false };
    let bare = Bare::new(&bytes, Memory::Pool(10), guards);

    let waits = waits::measure(&server, &sqs, &runtime, waited, waiting_rounds);
    println!("{}", waits.page());
    let mut report = Report::new(messages, waits);
    for round in 0..rounds {
        for contender in Contender::ALL {
            let url = runtime.block_on(filled(&sqs, &format!("{contender:?}-{round}"), messages));
            let cost =
                works_off(contender, &packages, &server, &url, &mut || runtime.block_on(sqs.is_empty(&url)));
            eprintln!("{}: {cost:.2?}", contender.name());
            report.add(contender, cost);
        }
        let (cpu, began) = (process_cpu(), Instant::now());
        let input = Arc::new(Input::default());
        runtime.block_on(async {
            for _ in 0..messages {
                bare.run(&input).await;
            }
        });
        report.add_engine(Cost { cpu: process_cpu() - cpu, wall: began.elapsed() });
    }
    report.print();
    if rounds == ROUNDS {
        report.write(&guests::repository().join("docs/src/benchmarks")).expect("a report");
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// A queue with so many messages in it: its URL.
async fn filled(sqs: &Sqs, name: &str, messages: usize) -> String {
    let url = sqs.create(name).await;
    sqs.fill(&url, "x", messages).await;
    url
}

/// What a contender computes until its queue is empty, its own start included, and how long that takes.
fn works_off(
    contender: Contender,
    packages: &Packages,
    server: &Server,
    url: &str,
    is_empty: &mut dyn FnMut() -> bool,
) -> Cost {
    let began = Instant::now();
    let mut command = contender.command(packages, url);
    let mut child = server
        .in_environment(&mut command)
        .spawn()
        .unwrap_or_else(|error| panic!("{} doesn't start: {error}", contender.name()));
    while !is_empty() {
        assert!(began.elapsed() < PATIENCE, "{} doesn't work off its queue", contender.name());
        assert!(child.try_wait().is_ok_and(|ended| ended.is_none()), "{} has ended", contender.name());
        std::thread::sleep(LOOK_EVERY);
    }
    let cost = Cost { cpu: proc::cpu_of(child.id()), wall: began.elapsed() };
    // It's idle: nothing is lost.
    let _ = child.kill();
    let _ = child.wait();
    cost
}
