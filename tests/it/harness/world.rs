//! A directory for each test with the stores `in` and `out`, a queue to work on and a queue to send to.

use super::command::{Command, Output, field, why};
use super::{PATIENCE, guest, memory, scratch, wait_until, wasmrun};
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The queue that tests work on.
const QUEUE: &str = "sqlite:jobs.db";
const DEAD: &str = "sqlite:jobs.db#dead";

pub(crate) struct World {
    directory: TempDir,
}

/// Number of messages in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) visible: u64,
    pub(crate) in_flight: u64,
    pub(crate) delayed: u64,
}

impl Depth {
    pub(crate) const EMPTY: Self = Self::visible(0);

    pub(crate) const fn visible(visible: u64) -> Self {
        Self { visible, in_flight: 0, delayed: 0 }
    }

    /// Number of messages in any state.
    pub(crate) const fn total(self) -> u64 {
        self.visible + self.in_flight + self.delayed
    }
}

impl World {
    /// Creates a world without a queue to work on.
    pub(crate) fn new() -> Self {
        Self::new_in(scratch())
    }

    fn new_in(place: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("world-").tempdir_in(place);
        let world = Self { directory: directory.expect("a directory") };
        for store in ["in", "out"] {
            world.create_dir(store);
        }
        world.create_queue("sqlite:next.db", &[]);
        world
    }

    /// Creates a world with the queue `sqlite:jobs.db`, created with these options.
    pub(crate) fn with_queue(options: &[&str]) -> Self {
        Self::new().and_queue(options)
    }

    /// Creates the same world on a file system in memory.
    pub(crate) fn in_memory_with_queue(options: &[&str]) -> Self {
        Self::new_in(memory()).and_queue(options)
    }

    fn and_queue(self, options: &[&str]) -> Self {
        self.create_queue(QUEUE, options);
        self
    }

    /// Creates another queue with these options.
    #[track_caller]
    pub(crate) fn create_queue(&self, queue: &str, options: &[&str]) {
        self.wasmrun(["queue", "create", queue]).args(options).succeeds();
    }

    /// Creates a directory, in one that exists.
    #[track_caller]
    pub(crate) fn create_dir(&self, relative: &str) {
        fs::create_dir(self.path(relative)).expect("a directory");
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// The name by which events name a store of the world.
    pub(crate) fn bucket(&self, store: &str) -> String {
        format!("dir:{}", self.path(store).display())
    }

    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, content).expect("written");
    }

    /// Replaces a file atomically, so that a watcher never sees a part of it.
    pub(crate) fn replace(&self, relative: &str, content: impl AsRef<[u8]>) {
        self.write("replacement", content);
        fs::rename(self.path("replacement"), self.path(relative)).expect("renamed");
    }

    /// Moves a file or directory away, and back after `meanwhile`. Asserts that nobody makes another in its place.
    #[track_caller]
    pub(crate) fn while_away(&self, relative: &str, meanwhile: impl FnOnce()) {
        let (there, away) = (self.path(relative), self.path("away"));
        fs::rename(&there, &away).expect("renamed");
        meanwhile();
        assert!(!there.exists(), "somebody made another {relative}");
        fs::rename(&away, &there).expect("renamed back");
    }

    #[track_caller]
    pub(crate) fn read(&self, relative: &str) -> Vec<u8> {
        read(&self.path(relative))
    }

    #[track_caller]
    pub(crate) fn text(&self, relative: &str) -> String {
        String::from_utf8(self.read(relative)).expect("UTF-8")
    }

    /// The names of the files in a store, sorted.
    pub(crate) fn keys(&self, store: &str) -> Vec<String> {
        keys(&self.path(store))
    }

    pub(crate) fn wasmrun<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        self.program(&wasmrun()).args(arguments)
    }

    /// Runs the program in a shell, after a command such as `ulimit`.
    pub(crate) fn wasmrun_after(&self, command: &str) -> Command {
        let script = format!("{command} && exec \"$@\"");
        self.program(Path::new("bash")).args(["-c", &script, "bash"]).arg(wasmrun())
    }

    pub(crate) fn program(&self, program: &Path) -> Command {
        Command::new(program, self.directory.path())
    }

    /// A worker with all grants that the tests' guests need.
    pub(crate) fn run(&self, component: &str) -> Command {
        self.run_on(QUEUE, component)
    }

    /// The same worker on another queue.
    pub(crate) fn run_on(&self, queue: &str, component: &str) -> Command {
        self.wasmrun(["run", "--queue", queue]).logging_tasks().arg(guest(component)).args(Self::grants())
    }

    /// One task with the same grants, whose outcome is printed as JSON.
    pub(crate) fn invoke(&self, component: &str, message: &str) -> Command {
        self.wasmrun(["invoke", "--json", "--message", message]).arg(guest(component)).args(Self::grants())
    }

    /// The outcome and the reason of the task for this message.
    #[track_caller]
    pub(crate) fn outcome(&self, message: &str) -> (String, String) {
        self.invoke("misbehave", message).ends().outcome()
    }

    pub(crate) fn grants() -> [&'static str; 6] {
        ["--store", "input=dir:in:ro", "--store", "output=dir:out:rw", "--send", "next=sqlite:next.db"]
    }

    /// Sends messages with these bodies.
    #[track_caller]
    pub(crate) fn send<T: AsRef<str>>(&self, bodies: impl IntoIterator<Item = T>) -> Output {
        self.send_with(&[], bodies)
    }

    /// Sends messages with these options of `wasmrun enqueue`, such as their group.
    #[track_caller]
    pub(crate) fn send_with<T: AsRef<str>>(
        &self,
        options: &[&str],
        bodies: impl IntoIterator<Item = T>,
    ) -> Output {
        self.send_to(QUEUE, options, bodies)
    }

    /// Sends messages of one key: with a message group, or with the attribute `tenant`, as this flag says.
    #[track_caller]
    pub(crate) fn send_of<T: AsRef<str>>(
        &self,
        flag: &str,
        key: &str,
        bodies: impl IntoIterator<Item = T>,
    ) -> Output {
        let key = if flag == "--attribute" { format!("tenant={key}") } else { key.to_owned() };
        self.send_with(&[flag, &key], bodies)
    }

    /// Sends messages with these options to another queue.
    #[track_caller]
    pub(crate) fn send_to<T: AsRef<str>>(
        &self,
        queue: &str,
        options: &[&str],
        bodies: impl IntoIterator<Item = T>,
    ) -> Output {
        let enqueue = self.wasmrun(["enqueue", "--queue", queue]).args(options);
        let messages = bodies.into_iter();
        messages.fold(enqueue, |command, body| command.arg("--message").arg(body.as_ref())).succeeds()
    }

    /// Announces the objects of `in`.
    #[track_caller]
    pub(crate) fn announce(&self) -> Output {
        self.wasmrun(["enqueue", "--queue", QUEUE, "--store", "input=dir:in"]).succeeds()
    }

    /// Number of messages in the queue that tests work on.
    #[track_caller]
    pub(crate) fn depth(&self) -> Depth {
        self.depth_of(QUEUE)
    }

    /// Waits until that queue is empty.
    #[track_caller]
    pub(crate) fn wait_until_empty(&self) {
        wait_until("the queue is empty", || self.depth() == Depth::EMPTY);
    }

    /// Number of messages in its dead-letter queue.
    #[track_caller]
    pub(crate) fn dead(&self) -> Depth {
        self.depth_of(DEAD)
    }

    /// The reasons of the messages in its dead-letter queue, sorted.
    #[track_caller]
    pub(crate) fn dead_reasons(&self) -> Vec<String> {
        let letters = self.dead_letters();
        let mut reasons: Vec<_> =
            letters.iter().map(|letter| field(&why(letter), "reason").to_owned()).collect();
        reasons.sort();
        reasons
    }

    /// The messages in its dead-letter queue.
    #[track_caller]
    pub(crate) fn dead_letters(&self) -> Vec<Value> {
        self.peek(DEAD)
    }

    #[track_caller]
    pub(crate) fn depth_of(&self, queue: &str) -> Depth {
        let stats = self.wasmrun(["queue", "stats", "--json", queue]).succeeds().json();
        let count = |name: &str| stats[name].as_u64().expect("a number");
        Depth { visible: count("visible"), in_flight: count("in_flight"), delayed: count("delayed") }
    }

    /// The visible messages of a queue, as `wasmrun queue peek` prints them.
    #[track_caller]
    pub(crate) fn peek(&self, queue: &str) -> Vec<Value> {
        self.wasmrun(["queue", "peek", "--max", "1000", queue])
            .succeeds()
            .stdout
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// The bodies of the visible messages of a queue, which are JSON, such as notifications.
    #[track_caller]
    pub(crate) fn peek_bodies(&self, queue: &str) -> Vec<Value> {
        let body = |message: &Value| serde_json::from_str(field(message, "body")).expect("JSON");
        self.peek(queue).iter().map(body).collect()
    }

    /// Opens the queue's database, as other programs do.
    pub(crate) fn database(&self) -> Connection {
        self.open("jobs.db")
    }

    /// Opens a database, such as that of a ledger, and creates it if it isn't there.
    #[track_caller]
    pub(crate) fn open(&self, file: &str) -> Connection {
        Connection::open(self.path(file)).expect("a database")
    }

    /// Locks a database until the connection is dropped: readers see the previous state, and writers wait. A backup or a
    /// shell with an open transaction does the same.
    #[track_caller]
    pub(crate) fn lock(&self, file: &str) -> Connection {
        let database = self.open(file);
        database.busy_timeout(PATIENCE).expect("a busy timeout");
        database.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        database
    }

    /// The records of tasks in the file `usage.jsonl`, in the order in which the tasks ended.
    #[track_caller]
    pub(crate) fn usage(&self) -> Vec<Value> {
        self.text("usage.jsonl").lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }

    /// ID and body of every message in the queue, in the order in which they were sent.
    pub(crate) fn messages(&self) -> Vec<(String, String)> {
        let database = self.database();
        let mut query = database
            .prepare("SELECT id, body FROM messages WHERE queue = 'main' ORDER BY sequence")
            .expect("the view that people look into the queue with");
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).expect("rows")
    }
}

#[track_caller]
pub(crate) fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

pub(crate) fn keys(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> =
        names.map(|name| name.into_string().expect("UTF-8")).filter(|name| name != ".wasmrun").collect();
    names.sort();
    names
}
