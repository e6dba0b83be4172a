//! What it costs and gives that calls wait for more messages.

use super::paced::{PACED, READY};
use crate::shared::{Killed, Server};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};
use wasmrun_benches::{Report, Way, child, interleaved};

/// The worker's own waits, `SETTLING_WAIT` and `RECEIVING_WAIT` of `crates/aws/src/sqs`, in milliseconds. One varies at a
/// time.
const OURS: (u64, u64) = (50, 5);
/// The interval between two messages of the trickle.
const TRICKLE: Duration = Duration::from_millis(10);

/// A part of the page, its heading, whether `settling_wait` varies, whether messages trickle, and the waits of the rows.
type Table = (&'static str, &'static str, bool, bool, &'static [u64]);
const TABLES: [Table; 3] = [
    ("settling-full", "A full queue, `settling_wait`", true, false, &[0, 10, 20, 50, 200]),
    ("settling-trickle", "100 messages a second, `settling_wait`", true, true, &[0, 10, 20, 50, 200]),
    ("receiving-full", "A full queue, `receiving_wait`", false, false, &[0, 2, 5, 20]),
];

pub(crate) fn measure(report: &mut Report, server: &Server) {
    let [full, trickle] = report.size.pick([100, 10], [4_000, 300]);
    let mut ways = Vec::new();
    for (part, _, is_settling, trickles, waits) in TABLES {
        for wait in waits {
            let waits = if is_settling { (*wait, OURS.1) } else { (OURS.0, *wait) };
            let messages = if trickles { trickle } else { full };
            ways.push(Way::new(format!("{part}-{wait}"), move |round| {
                paced(server, &format!("{part}-{wait}-{round}"), waits, messages, trickles)
            }));
        }
    }
    let found = interleaved("Waits", report.size.pick(1, 3), ways);
    let mut found = found.iter();
    for (part, heading, _, trickles, waits) in TABLES {
        let columns = format!(
            "{heading} = wait | deletes for 1,000 messages = delete_calls_per_1000:0 \
             | receives for 1,000 = receive_calls_per_1000:0 | messages a second = messages_per_second:0 \
             | CPU seconds for 10,000 = cpu_seconds_per_10000:2 | p50 ms = end_to_deletion_p50_ms:0 \
             | p99 ms = end_to_deletion_p99_ms:0"
        );
        let messages = f64::from(if trickles { trickle } else { full });
        let rows = waits.iter().zip(&mut found).map(|(wait, found)| {
            let of = |field: &str| found.median(field);
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
        report.table(part, &columns, rows);
    }
}

/// What a worker with these waits tells about its work.
fn paced(server: &Server, queue: &str, waits: (u64, u64), messages: u32, trickles: bool) -> Value {
    let first = if trickles { 0 } else { messages };
    let url = server.queue(queue);
    server.fill(&url, "x", first as usize);
    let mut command = child(PACED);
    command.arg(&url).args([waits.0.to_string(), waits.1.to_string(), messages.to_string()]);
    let mut worker = Killed::start(server.in_environment(&mut command).stdout(Stdio::piped()));
    let mut lines = worker.lines();
    let mut line = || lines.next().expect("the worker's answer");
    assert_eq!(line(), READY);
    let began = Instant::now();
    for number in first..messages {
        let send = server.client.send_message().queue_url(&url).message_body("x").send();
        server.runtime.block_on(send).expect("sent");
        std::thread::sleep((TRICKLE * number).saturating_sub(began.elapsed()));
    }
    let found = serde_json::from_str(&line()).expect("JSON");
    let _ = worker.wait();
    found
}
