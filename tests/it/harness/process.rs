//! A running program.

use super::command::Output;
use super::{LOOK_EVERY, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is in the log line of a task that has completed.
pub(crate) const COMPLETED: &str = "\"task completed\"";

/// A running program, which is killed when dropped.
pub(crate) struct Process {
    /// Name in failure messages.
    name: String,
    child: Child,
    deadline: Instant,
    stdout: Captured,
    stderr: Captured,
}

/// The lines of an output stream so far, collected by a thread of its own.
struct Captured {
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub(super) fn start(mut command: std::process::Command, input: Option<Vec<u8>>, time: Duration) -> Self {
        let name = format!("{command:?}");
        command
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A program may exit before it has read all input.
            std::thread::spawn(move || stdin.write_all(&input));
        }
        Self {
            name,
            stdout: Captured::new(child.stdout.take().expect("a pipe")),
            stderr: Captured::new(child.stderr.take().expect("a pipe")),
            child,
            deadline: Instant::now() + time,
        }
    }

    /// Waits for a log line that contains this text.
    #[track_caller]
    pub(crate) fn until_logged(&self, text: &str) {
        self.until_logged_times(1, text);
    }

    /// Waits for `times` log lines that contain this text.
    #[track_caller]
    pub(crate) fn until_logged_times(&self, times: usize, text: &str) {
        if let Err(lines) = self.stderr.wait(times, text, PATIENCE) {
            panic!("{} didn't log {text:?} {times} times, but:\n{lines}", self.name);
        }
    }

    /// Waits until a worker has logged that this number of tasks have completed.
    #[track_caller]
    pub(crate) fn until_completed(&self, tasks: usize) {
        self.until_logged_times(tasks, COMPLETED);
    }

    /// Number of tasks so far that a worker has logged as completed.
    pub(crate) fn completed(&self) -> usize {
        self.logged(COMPLETED)
    }

    /// Waits for a log line until the process's deadline.
    #[track_caller]
    pub(crate) fn until_logged_at_last(&self, text: &str) {
        let time = self.deadline.saturating_duration_since(Instant::now());
        if let Err(lines) = self.stderr.wait(1, text, time) {
            panic!("{} didn't log {text:?}, but:\n{lines}", self.name);
        }
    }

    /// Waits for `times` lines on standard output that contain this text.
    #[track_caller]
    pub(crate) fn until_printed(&self, times: usize, text: &str) {
        if let Err(lines) = self.stdout.wait(times, text, PATIENCE) {
            panic!("{} didn't print {text:?} {times} times, but:\n{lines}", self.name);
        }
    }

    /// The log lines so far that contain this text.
    pub(crate) fn logs_with(&self, text: &str) -> Vec<Value> {
        let lines = self.stderr.lock();
        let lines = lines.iter().filter(|line| line.contains(text));
        lines.map(|line| serde_json::from_str(line).expect("a log line")).collect()
    }

    /// Number of log lines so far that contain this text.
    pub(crate) fn logged(&self, text: &str) -> usize {
        let lines = self.stderr.lock();
        lines.iter().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// The process's folder under `/proc`.
    pub(crate) fn proc(&self) -> PathBuf {
        format!("/proc/{}", self.child.id()).into()
    }

    /// Whether the process is still running.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    /// Waits for the process to exit.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let status = self.wait();
        Output::new(&self.name, status, self.stdout.finish(), self.stderr.finish())
    }

    /// Sends SIGTERM and waits until the process has exited with success.
    #[track_caller]
    pub(crate) fn stop(self) -> Output {
        self.signal(Signal::TERM);
        self.finish().succeeded()
    }

    /// Kills the process with SIGKILL and returns its output so far.
    pub(crate) fn kill(mut self) -> Output {
        self.child.kill().expect("killed");
        let status = self.child.wait().expect("its status");
        Output::new(&self.name, status, self.stdout.finish(), self.stderr.finish())
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
            }
            if Instant::now() > self.deadline {
                let _ = self.child.kill();
                panic!("{} takes too long; it said:\n{}", self.name, self.stderr.lock().join("\n"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Has no effect on a process that has exited and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Captured {
    fn new(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let shared = lines.clone();
        let reader = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
                let (lines, changed) = &*shared;
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(text.into_owned());
                changed.notify_all();
                line.clear();
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `times` lines contain `text`. Returns all lines so far as the error after `time`.
    fn wait(&self, times: usize, text: &str, time: Duration) -> Result<(), String> {
        let missing =
            |lines: &mut Vec<String>| lines.iter().filter(|line| line.contains(text)).count() < times;
        let (lines, over) = self
            .lines
            .1
            .wait_timeout_while(self.lock(), time, missing)
            .unwrap_or_else(PoisonError::into_inner);
        if over.timed_out() {
            return Err(lines.join("\n"));
        }
        Ok(())
    }

    /// All lines of the stream, once the process has exited.
    fn finish(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends");
        }
        self.lock().clone()
    }
}
