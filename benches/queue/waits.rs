//! What it costs and gives that calls wait for more messages.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use wasmrun_benches::report::Report;
use wasmrun_benches::rounds::{Way, interleaved};
use wasmrun_benches::run::{self, Size};

use crate::Bench;
use crate::paced::READY;

/// This program again, as the worker: the queue's URL, both waits in milliseconds, and the number of messages.
pub(crate) const PACED: &str = "--paced-worker";
/// The worker's own waits, `SETTLING_WAIT` and `RECEIVING_WAIT` of `crates/aws/src/sqs`, in milliseconds. One varies at a
/// time.
const OURS: (u64, u64) = (50, 5);
/// The interval between two messages of the trickle.
const TRICKLE: Duration = Duration::from_millis(10);

/// The waits of a table's rows, and the load.
struct Table {
    part: &'static str,
    heading: &'static str,
    waits: &'static [u64],
    is_settling: bool,
    trickles: bool,
}

const TABLES: [Table; 3] = [
    Table {
        part: "settling-full",
        heading: "A full queue, `settling_wait`",
        waits: &[0, 10, 20, 50, 200],
        is_settling: true,
        trickles: false,
    },
    Table {
        part: "settling-trickle",
        heading: "100 messages a second, `settling_wait`",
        waits: &[0, 10, 20, 50, 200],
        is_settling: true,
        trickles: true,
    },
    Table {
        part: "receiving-full",
        heading: "A full queue, `receiving_wait`",
        waits: &[0, 2, 5, 20],
        is_settling: false,
        trickles: false,
    },
];

pub(crate) fn measure(report: &mut Report, bench: &Bench, size: Size) {
    let [full, trickle] = size.pick([100, 10], [4_000, 300]);
    let messages = |table: &Table| if table.trickles { trickle } else { full };
    let mut ways = Vec::new();
    for table in &TABLES {
        for wait in table.waits {
            let waits = if table.is_settling { (*wait, OURS.1) } else { (OURS.0, *wait) };
            let messages = messages(table);
            ways.push(Way::new(format!("{}-{wait}", table.part), move |round| {
                let queue = format!("{}-{wait}-{round}", table.part);
                bench.paced(&queue, waits, messages, table.trickles)
            }));
        }
    }
    let found = interleaved("Waits", size.pick(1, 3), ways);
    let mut found = found.iter();
    for table in &TABLES {
        let headings = format!(
            "| {} | deletes for 1,000 messages | receives for 1,000 | messages a second | CPU seconds for 10,000 | p50 ms | p99 ms |",
            table.heading
        );
        let fields = "wait delete_calls_per_1000:0 receive_calls_per_1000:0 messages_per_second:0 cpu_seconds_per_10000:2 end_to_deletion_p50_ms:0 end_to_deletion_p99_ms:0";
        let messages = messages(table) as f64;
        let rows = table.waits.iter().zip(&mut found).map(|(wait, found)| {
            let of = |field: &str| found.median(|round| round[field].as_f64().unwrap_or_default());
            let ours = found.rounds.iter().all(|round| round["as_it_is"] == true);
            json!({
                "wait": format!("{wait} ms{}", if ours { ", as it is" } else { "" }),
                "delete_calls_per_1000": of("deletes") * 1e3 / messages,
                "receive_calls_per_1000": of("receives") * 1e3 / messages,
                "messages_per_second": messages / of("seconds").max(1e-3),
                "cpu_seconds_per_10000": of("cpu_seconds") * 1e4 / messages,
                "end_to_deletion_p50_ms": of("p50_ms"),
                "end_to_deletion_p99_ms": of("p99_ms"),
            })
        });
        report.table(table.part, &headings, fields, rows.collect());
    }
}

impl Bench {
    /// What a worker with these waits tells about its work.
    fn paced(&self, queue: &str, waits: (u64, u64), messages: usize, trickles: bool) -> Value {
        let first = if trickles { 0 } else { messages };
        let url = self.runtime.block_on(self.sqs.filled(queue, "x", first));
        let mut command = run::child(PACED);
        command.arg(&url).args([waits.0.to_string(), waits.1.to_string(), messages.to_string()]);
        let command = self.server.in_environment(&mut command).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the worker starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut line = || lines.next().and_then(Result::ok).expect("the worker's answer");
        assert_eq!(line(), READY);
        let began = Instant::now();
        for number in first..messages {
            let send = self.sqs.client.send_message().queue_url(&url).message_body("x").send();
            self.runtime.block_on(send).expect("sent");
            std::thread::sleep((TRICKLE * number as u32).saturating_sub(began.elapsed()));
        }
        let found = serde_json::from_str(&line()).expect("JSON");
        let _ = child.wait();
        found
    }
}
