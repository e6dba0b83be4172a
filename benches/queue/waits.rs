//! What it costs and gives that calls wait to get full.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wasmrun_benches::fauxqs::{Server, Sqs};
use wasmrun_benches::figures::median;

use crate::filled;
use crate::paced::{INSTANCES, READY, ROUND_TRIP, Waits};

/// This program again, as the worker: the queue's URL, both waits in milliseconds, the number of messages.
pub(crate) const PACED: &str = "--paced-worker";
const SETTLING_MS: [u64; 5] = [0, 10, 20, 50, 200];
const RECEIVING_MS: [u64; 4] = [0, 2, 5, 20];
/// Those of the worker, `SETTLING_WAIT` and `RECEIVING_WAIT` of `crates/aws/src/sqs`: one of them varies at a time.
const OURS: Waits = Waits { settling: Duration::from_millis(50), receiving: Duration::from_millis(5) };
/// One message of the trickle comes so long after the other.
const TRICKLE: Duration = Duration::from_millis(10);

/// How much there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// The queue is full.
    Saturated,
    /// A message comes each [`TRICKLE`].
    Trickle,
}

/// The same in each round, next to each other.
struct Case {
    load: Load,
    waits: Waits,
    /// The answers of `paced::work`.
    rounds: Vec<Value>,
}

impl Case {
    /// With the worker's own waits.
    fn is_as_it_is(&self) -> bool {
        self.rounds.iter().all(|round| round["as_it_is"] == true)
    }
}

/// What was measured.
pub(crate) struct Report {
    saturated: usize,
    trickle: usize,
    cases: Vec<Case>,
}

/// Measures all of it, in rounds of so many messages for each load.
pub(crate) fn measure(
    server: &Server,
    sqs: &Sqs,
    runtime: &Runtime,
    [saturated, trickle]: [usize; 2],
    rounds: usize,
) -> Report {
    let settling = |load, ms| {
        let waits = Waits { settling: Duration::from_millis(ms), ..OURS };
        Case { load, waits, rounds: Vec::new() }
    };
    let receiving = |ms| {
        let waits = Waits { receiving: Duration::from_millis(ms), ..OURS };
        Case { load: Load::Saturated, waits, rounds: Vec::new() }
    };
    let mut cases: Vec<Case> = SETTLING_MS.into_iter().map(|ms| settling(Load::Saturated, ms)).collect();
    cases.extend(SETTLING_MS.into_iter().map(|ms| settling(Load::Trickle, ms)));
    cases.extend(RECEIVING_MS.into_iter().map(receiving));
    for round in 0..rounds {
        for (number, case) in cases.iter_mut().enumerate() {
            let name = format!("waits-{number}-{round}");
            let found = match case.load {
                Load::Saturated => {
                    let url = runtime.block_on(filled(sqs, &name, saturated));
                    works_off(server, &url, case.waits, saturated, || {})
                }
                Load::Trickle => {
                    let url = runtime.block_on(filled(sqs, &name, 0));
                    works_off(server, &url, case.waits, trickle, || trickles(sqs, runtime, &url, trickle))
                }
            };
            case.rounds.push(found);
        }
    }
    Report { saturated, trickle, cases }
}

/// Sends so many messages, one at a time.
fn trickles(sqs: &Sqs, runtime: &Runtime, url: &str, messages: usize) {
    let began = Instant::now();
    for number in 0..messages {
        runtime.block_on(sqs.send(url));
        std::thread::sleep((TRICKLE * number as u32).saturating_sub(began.elapsed()));
    }
}

/// What a worker says of its work.
fn works_off(server: &Server, url: &str, waits: Waits, messages: usize, feed: impl FnOnce()) -> Value {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let ms = [waits.settling, waits.receiving].map(|wait| wait.as_millis().to_string());
    command.arg(PACED).arg(url).args(ms).arg(messages.to_string());
    let mut child =
        server.in_environment(&mut command).stdout(Stdio::piped()).spawn().expect("the worker starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut line = || lines.next().and_then(Result::ok).expect("the worker's answer");
    assert_eq!(line(), READY);
    feed();
    let found = serde_json::from_str(&line()).expect("JSON");
    let _ = child.wait();
    found
}

/// Cases that differ in one wait.
struct Table<'a> {
    title: String,
    /// What programs call that wait.
    varies: &'static str,
    /// Each with that wait, in milliseconds.
    rows: Vec<(u64, &'a Case)>,
}

impl Report {
    fn messages(&self, load: Load) -> usize {
        match load {
            Load::Saturated => self.saturated,
            Load::Trickle => self.trickle,
        }
    }

    /// The median of the rounds.
    fn of(&self, case: &Case, field: &str) -> f64 {
        median(case.rounds.iter().filter_map(|round| round[field].as_f64()).collect())
    }

    /// The columns of a table's row: calls for a thousand messages, messages a second, CPU, milliseconds.
    fn row(&self, case: &Case) -> [(&'static str, f64); 6] {
        let messages = self.messages(case.load) as f64;
        [
            ("delete_calls_per_1000", self.of(case, "deletes") * 1e3 / messages),
            ("receive_calls_per_1000", self.of(case, "receives") * 1e3 / messages),
            ("messages_per_second", messages / self.of(case, "seconds").max(1e-3)),
            ("cpu_seconds_per_10000", self.of(case, "cpu_seconds") * 1e4 / messages),
            ("end_to_deletion_p50_ms", self.of(case, "p50_ms")),
            ("end_to_deletion_p99_ms", self.of(case, "p99_ms")),
        ]
    }

    fn tables(&self) -> [Table<'_>; 3] {
        let settles = SETTLING_MS.len();
        let rows =
            |cases: &'static [u64], from: usize| cases.iter().copied().zip(&self.cases[from..]).collect();
        let table = |title: String, varies, rows| Table { title, varies, rows };
        let trickle = format!("{:.0} messages a second, `settling_wait`", 1.0 / TRICKLE.as_secs_f64());
        [
            table("A full queue, `settling_wait`".into(), "settling_ms", rows(&SETTLING_MS, 0)),
            table(trickle, "settling_ms", rows(&SETTLING_MS, settles)),
            table("A full queue, `receiving_wait`".into(), "receiving_ms", rows(&RECEIVING_MS, 2 * settles)),
        ]
    }

    pub(crate) fn json(&self) -> Value {
        let tables = self.tables().into_iter().map(|Table { title, varies, rows }| {
            let rows = rows.into_iter().map(|(ms, case)| {
                let mut row = json!({ varies: ms, "as_it_is": case.is_as_it_is() });
                for (name, figure) in self.row(case) {
                    row[name] = figure.into();
                }
                row
            });
            json!({"what": title, "rows": rows.collect::<Vec<_>>()})
        });
        tables.collect()
    }

    /// A section of the page.
    pub(crate) fn page(&self) -> String {
        let mut page = format!(
            "
## What the waits cost and give

A call waits a moment to get full: one that deletes for `settling_wait` after its first message, one that receives for `receiving_wait`, where tasks
are short (`BatchPolicy` in `crates/runtime/src/ports/queue.rs`). The same worker with other waits: {} and {} messages, {} rounds in turns, medians. Each answer is
held back for {} ms, which is what a request takes in a region of Amazon's; {INSTANCES} instances. CPU is without the process's start. The last two columns are the
time from a task's end until its message is deleted, that answer included.
",
            self.saturated,
            self.trickle,
            self.cases[0].rounds.len(),
            ROUND_TRIP.as_millis()
        );
        for Table { title, rows, .. } in self.tables() {
            let _ = write!(
                page,
                "
| {title} | deletes for 1,000 messages | receives for 1,000 | messages a second | CPU seconds for 10,000 | p50 ms | p99 ms |
|---|---|---|---|---|---|---|
"
            );
            for (ms, case) in rows {
                let [deletes, receives, per_second, cpu, p50, p99] = self.row(case).map(|(_, figure)| figure);
                let ours = if case.is_as_it_is() { ", as it is" } else { "" };
                let _ = writeln!(
                    page,
                    "| {ms} ms{ours} | {deletes:.0} | {receives:.0} | {per_second:.0} | {cpu:.2} | {p50:.0} | {p99:.0} |"
                );
            }
        }
        page
    }
}
