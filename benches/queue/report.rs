//! What was found, for people and for programs.

use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;
use wasmrun_benches::figures::median;
use wasmrun_benches::machine;

use crate::{Contender, waits};

/// Those whose CPU time is set into relation to others'.
const WASMRUN: [Contender; 2] = [Contender::Wasmrun, Contender::WasmrunNarrow];

/// What so many messages cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Of the process that works on them, on all cores.
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
}

pub(crate) struct Report {
    messages: usize,
    /// In the order of [`Contender::ALL`]; the rounds of one stand at the same place as those of another.
    costs: [Vec<Cost>; Contender::ALL.len()],
    engine: Vec<Cost>,
    waits: waits::Report,
}

impl Report {
    pub(crate) fn new(messages: usize, waits: waits::Report) -> Self {
        Self { messages, costs: Default::default(), engine: Vec::new(), waits }
    }

    pub(crate) fn add(&mut self, contender: Contender, cost: Cost) {
        self.costs[contender as usize].push(cost);
    }

    /// An instance of the bare engine for each message, without a queue.
    pub(crate) fn add_engine(&mut self, cost: Cost) {
        self.engine.push(cost);
    }

    /// CPU seconds for ten thousand messages.
    fn cpu(&self, contender: Contender) -> f64 {
        self.median(&self.costs[contender as usize], |cost| cost.cpu.as_secs_f64())
    }

    fn per_second(&self, contender: Contender) -> f64 {
        let costs = &self.costs[contender as usize];
        median(costs.iter().map(|cost| self.messages as f64 / cost.wall.as_secs_f64()).collect())
    }

    fn engine_cpu(&self) -> f64 {
        self.median(&self.engine, |cost| cost.cpu.as_secs_f64())
    }

    fn median(&self, costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
        median(costs.iter().map(|cost| of(cost) * 10_000.0 / self.messages as f64).collect())
    }

    /// A contender's CPU time by that of what is given for each round: the median of the rounds.
    fn ratio(&self, of: Contender, to: impl Fn(usize) -> Duration) -> f64 {
        let ours = &self.costs[of as usize];
        let ratios = ours
            .iter()
            .enumerate()
            .map(|(round, cost)| cost.cpu.as_secs_f64() / to(round).as_secs_f64().max(1e-3));
        median(ratios.collect())
    }

    fn to_consumer(&self, of: Contender) -> f64 {
        self.ratio(of, |round| self.costs[Contender::SqsConsumer as usize][round].cpu)
    }

    fn to_bare(&self, of: Contender) -> f64 {
        let bare = &self.costs[Contender::BareSdk as usize];
        self.ratio(of, |round| bare[round].cpu + self.engine[round].cpu)
    }

    pub(crate) fn print(&self) {
        println!("{} messages, {} rounds, medians", self.messages, self.engine.len());
        println!("{:<32}{:>16}{:>24}", "", "messages a second", "CPU seconds for 10,000");
        for contender in Contender::ALL {
            let (name, per_second) = (contender.name(), self.per_second(contender));
            println!("{name:<32}{per_second:>16.0}{:>24.2}", self.cpu(contender));
        }
        println!("{:<32}{:>16}{:>24.2}", "bare engine, no queue", "", self.engine_cpu());
        for contender in WASMRUN {
            println!(
                "{} by sqs-consumer {:.2}, by the two bare loops {:.2}",
                contender.name(),
                self.to_consumer(contender),
                self.to_bare(contender)
            );
        }
    }

    /// Writes `queue.md` and `queue.json`.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::write(folder.join("queue.json"), serde_json::to_string_pretty(&self.json())? + "\n")?;
        std::fs::write(folder.join("queue.md"), self.page())
    }

    fn json(&self) -> Value {
        let machine = machine::describe();
        let row = |contender: Contender| {
            json!({
                "what": contender.name(),
                "messages_per_second": self.per_second(contender),
                "cpu_seconds_per_10000": self.cpu(contender),
            })
        };
        let mut rows: Vec<_> = Contender::ALL.into_iter().map(row).collect();
        rows.push(json!({"what": "bare engine, no queue", "cpu_seconds_per_10000": self.engine_cpu()}));
        let ratios = |to: &dyn Fn(Contender) -> f64| -> Map<String, Value> {
            WASMRUN.map(|contender| (contender.name().to_owned(), to(contender).into())).into_iter().collect()
        };
        json!({
            "machine": machine.description,
            "date": machine.date,
            "messages": self.messages,
            "rounds": self.engine.len(),
            "rows": rows,
            "by_sqs_consumer": ratios(&|contender| self.to_consumer(contender)),
            "by_bare_loops": ratios(&|contender| self.to_bare(contender)),
            "waits": self.waits.json(),
        })
    }

    fn page(&self) -> String {
        let machine = machine::describe();
        let mut page = format!(
            "# An empty task on SQS

Measured on {} on {}. Written by `cargo xtask bench queue`, which measures all of it again; the same figures for
programs are in [queue.json](queue.json). Take the ratios, not the times.

{} messages in a queue of their own for each contender, {} rounds in turns, medians. The server is [fauxqs](https://www.npmjs.com/package/fauxqs) 1.9, on the same
machine, and has the same two cores: messages a second are as much its doing as the contender's. CPU is that of the contender's process, its
start included.

| | messages a second | CPU seconds for 10,000 messages |
|---|---|---|
",
            machine.date,
            machine.description,
            self.messages,
            self.engine.len()
        );
        for contender in Contender::ALL {
            let (name, per_second) = (contender.name(), self.per_second(contender));
            let _ = writeln!(page, "| {name} | {per_second:.0} | {:.2} |", self.cpu(contender));
        }
        let _ = writeln!(page, "| bare loop of the engine, no queue | – | {:.2} |", self.engine_cpu());
        let _ = write!(
            page,
            "
wasmrun takes {:.2} times the CPU of sqs-consumer, and {:.2} times that of the two bare loops together (medians of the rounds' ratios); with 16
instances {:.2} and {:.2} times.

- *wasmrun* runs an instance of its own for each message, with fuel, memory limit and timeout; it renews visibility, and settles in batches. 40
  instances take four receives of ten messages, as the bare loop does. 16 take one of ten and one of six, and so more receives for the same
  messages.
- *bare loop of the SDK for Rust*: four loops that receive ten messages and delete them, and do nothing else. *Bare loop of the engine*: store,
  WASI context, limiter, fuel, instantiate, call, drop, ten thousand times.
- *sqs-consumer* 15 on Node, `batchSize` 10, `handleMessageBatch` acknowledges all. *boto3*: a loop of `receive_message` and
  `delete_message_batch`, ten messages each. Neither isolates anything. These two poll one at a time, as their examples do, and the others several times at once:
  compare CPU, not messages a second.
- The server is on the same machine: no network is in these figures.
",
            self.to_consumer(Contender::Wasmrun),
            self.to_bare(Contender::Wasmrun),
            self.to_consumer(Contender::WasmrunNarrow),
            self.to_bare(Contender::WasmrunNarrow)
        );
        page.push_str(&self.waits.page());
        page
    }
}
