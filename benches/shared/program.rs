//! Other processes, such as `wasmrun`: their logs, their status, and their ends.

use super::guests;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use wasmrun_benches::output;

/// Time limit for what a process is expected to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program that cargo built for release.
pub(crate) fn wasmrun() -> Command {
    let program = guests::target().join("release/wasmrun");
    assert!(program.is_file(), "there is no {}: run cargo build --release", program.display());
    Command::new(program)
}

/// The value of `--store` for a folder.
pub(crate) fn dir_store(alias: &str, folder: &Path, mode: &str) -> String {
    format!("{alias}=dir:{}:{mode}", folder.display())
}

/// The URL of a queue in a file.
pub(crate) fn sqlite(file: &Path) -> String {
    format!("sqlite:{}", file.display())
}

/// Announces each object of a folder on a queue, with `wasmrun enqueue`. The worker has the folder as the store `input`.
pub(crate) fn enqueue(mut wasmrun: Command, queue: &str, folder: &Path, more: &[&str]) {
    let store = format!("input=dir:{}", folder.display());
    wasmrun.args(["enqueue", "--queue", queue, "--store", &store]).args(more);
    output(&mut wasmrun).expect("messages");
}

/// The records of a usage file, from an offset on. The last line may not be written to its end yet, and is then left out.
pub(crate) fn usage(file: &Path, from: u64) -> Vec<Value> {
    let mut text = String::new();
    if let Ok(mut file) = File::open(file) {
        file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_string(&mut text)).expect("text");
    }
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// A child process that is killed when this is dropped, if it hasn't ended.
pub(crate) struct Killed(Child);

impl Killed {
    /// Starts a program, or panics.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::try_start(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Starts a program.
    ///
    /// # Errors
    ///
    /// Returns why it doesn't start, as text.
    pub(crate) fn try_start(command: &mut Command) -> Result<Self, String> {
        command.spawn().map(Self).map_err(|error| error.to_string())
    }

    /// The lines of its standard output, which must be piped. An error ends them.
    pub(crate) fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        BufReader::new(self.stdout.take().expect("a pipe")).lines().map_while(Result::ok)
    }
}

impl Deref for Killed {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Killed {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = self.wait();
    }
}

/// A worker or another server in a process, or podman with a worker in its container. Killed when dropped.
pub(crate) struct Process {
    child: Killed,
    log: Receiver<String>,
    lines: Vec<String>,
}

impl Process {
    /// Starts a program that logs to its standard error: a worker logs JSON.
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Killed::start(command);
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (sender, log) = channel();
        // Also reads lines that no caller waits for, because a full pipe would stop the worker.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, log, lines: Vec::new() }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of the log with this message.
    pub(crate) fn until(&mut self, message: &str) -> Value {
        self.until_line(message, |line| {
            let fields: Value = serde_json::from_str(line).ok()?;
            (fields["message"] == message).then_some(fields)
        })
    }

    /// Waits for a line in which `find` finds what is wanted.
    pub(crate) fn until_line<T>(&mut self, wanted: &str, find: impl Fn(&str) -> Option<T>) -> T {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no {wanted:?} ({error}): {:#?}", self.lines));
            let found = find(&line);
            self.lines.push(line);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// The time in such a line, which doesn't depend on when the line is read.
    pub(crate) fn time_of(&mut self, message: &str) -> Timestamp {
        let line = self.until(message);
        line["timestamp"].as_str().and_then(|time| time.parse().ok()).expect("a time")
    }

    /// Stops the worker, and returns the summary that it logs.
    pub(crate) fn stop(mut self) -> Value {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a running worker");
        let summary = self.until("summary");
        self.wait();
        summary
    }

    /// Waits until the process has exited by itself.
    pub(crate) fn wait(mut self) {
        let status = self.child.wait().expect("an exit status");
        self.lines.extend(self.log.iter());
        assert!(status.success(), "{status}: {:#?}", self.lines);
    }
}

/// An address of this machine on which nothing listens.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port")
}

/// Requests a page from an HTTP server and returns its body. Returns `None` if there is no server.
pub(crate) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Polls until a condition holds, and returns how long that took.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what} takes too long");
        std::thread::sleep(Duration::from_millis(10));
    }
    began.elapsed()
}

/// The time between two moments, in milliseconds.
pub(crate) fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1e3
}
