//! The processes that make thumbnails on one core, and what a thumbnail costs them.
//!
//! A measurement: thumbnails a second, CPU time of the process for a thumbnail, and the peak of its resident memory. The
//! worker's also has the figures of its tasks.

use crate::shared::{
    Killed, Process, dir_store, guests, milliseconds, sqlite, until, usage, wasmrun, worker,
};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use wasmrun_benches::{median_of, number, system};
use wasmrun_local::{QueueSettings, SqliteQueue};
use wasmrun_runtime::model::event;
use wasmrun_runtime::model::message::MAX_BATCH;
use wasmrun_runtime::ports::queue::Queue;

/// sharp or Pillow: a script that makes thumbnails in memory.
pub(crate) struct Script {
    process: Killed,
    answers: Box<dyn Iterator<Item = String>>,
}

impl Script {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = system::on_one_core(|| Killed::start(&mut command));
        let answers = Box::new(process.lines());
        Self { process, answers }
    }

    /// Makes thumbnails of a picture until they took so much CPU time.
    pub(crate) fn measure(&mut self, picture: &Path, cpu: Duration) -> Value {
        system::reset_peak(self.process.id());
        let requests = self.process.stdin.as_mut().expect("a pipe");
        writeln!(requests, "{}", json!([picture, cpu.as_secs_f64()])).expect("a script that reads");
        let answer = self.answers.next().expect("an answer");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let pictures = number(&answer, "pictures");
        json!({
            "per_second": pictures / number(&answer, "seconds"),
            "cpu_ms": number(&answer, "cpu_seconds") * 1e3 / pictures,
            "resident": system::peak_of(self.process.id()).expect("a running script"),
        })
    }
}

/// `wasmrun run` with the guest `thumbnail`, one instance and one thread, on a queue and stores on disk.
pub(crate) struct Worker {
    process: Process,
    queue: SqliteQueue,
    usage: PathBuf,
    runtime: Runtime,
}

impl Worker {
    /// Starts it on the pictures of the scratch folder, with a folder of its own.
    pub(crate) fn start(scratch: &Path, name: &str) -> Self {
        let folder = scratch.join(name);
        let pictures = scratch.join("pictures");
        let queue = sqlite(&folder.join("jobs.db"));
        let (usage, thumbnails) = (folder.join("usage.jsonl"), folder.join("thumbnails"));
        fs::create_dir_all(&thumbnails).expect("a directory");
        let (created, _) = SqliteQueue::create(&queue, &QueueSettings::default()).expect("a queue");
        let mut command = wasmrun();
        command
            .arg("run")
            .arg(guests::path("thumbnail"))
            .args(["--queue", &queue, "--instances", "1", "--threads", "1", "--usage"])
            .arg(&usage)
            .args(["--store", &dir_store("input", &pictures, "ro")])
            .args(["--store", &dir_store("output", &thumbnails, "rw")])
            .args(["--on", "rejected=drop", "--max-consecutive-failures", "off", "--log-format", "json"]);
        let mut process = system::on_one_core(|| Process::start(&mut command));
        process.until("ready");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { process, queue: created, usage, runtime }
    }

    /// Makes `count` thumbnails of a picture. Of its tasks, the figures are medians; fuel is always the same.
    pub(crate) fn measure(&mut self, picture: &Path, count: usize) -> Value {
        let before = fs::metadata(&self.usage).map_or(0, |file| file.len());
        system::reset_peak(self.process.pid());
        let cpu = system::cpu_of(self.process.pid());
        self.send(picture, count);
        until("the thumbnails", || usage(&self.usage, before).len() == count);
        // The last message is deleted a moment later.
        until("the end", || self.runtime.block_on(self.queue.depth()).is_ok_and(|depth| depth.is_empty()));
        let cpu = system::cpu_of(self.process.pid()) - cpu;
        let records = usage(&self.usage, before);
        let ended = |record: &Value| -> jiff::Timestamp {
            record["time"].as_str().and_then(|time| time.parse().ok()).expect("a time")
        };
        // From the end of the first to the end of the last.
        let seconds = match records.as_slice() {
            [first, .., last] => milliseconds(ended(first), ended(last)) / 1e3,
            _ => f64::NAN,
        };
        let of = |field: &str| median_of(&records, field);
        json!({
            "per_second": (count - 1) as f64 / seconds,
            "cpu_ms": cpu.as_secs_f64() * 1e3 / count as f64,
            "resident": system::peak_of(self.process.pid()).expect("a running worker"),
            "task": {
                "cpu_ms": of("cpu_us") / 1e3,
                "start_ms": of("start_us") / 1e3,
                "fuel": of("fuel"),
                "memory": of("peak_memory_bytes"),
            },
        })
    }

    fn send(&self, picture: &Path, count: usize) {
        let folder = picture.parent().expect("a folder");
        let key = picture.file_name().and_then(|name| name.to_str()).expect("a name");
        let bytes = fs::metadata(picture).expect("a picture").len();
        let url = format!("dir:{}", folder.display());
        let body = event::notification(&url, key, bytes, None, SystemTime::now());
        let messages = vec![worker::message(body); count];
        for batch in messages.chunks(MAX_BATCH) {
            for answer in self.runtime.block_on(self.queue.send(batch)) {
                answer.expect("the queue takes it");
            }
        }
    }
}
