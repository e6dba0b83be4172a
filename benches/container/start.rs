//! One start, from asking for it to the end of the first task.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use wasmrun_benches::figures::micros;
use wasmrun_benches::guests;

use crate::podman::{Podman, said};

/// A small one: 77 kB.
const PHOTOGRAPH: &str = "rocket.jpg";
/// In the scratch folder: what there is once, …
const COMPONENT: &str = "thumbnail.wasm";
const CODE: &str = "thumbnail.cwasm";
const PHOTOGRAPHS: &str = "photographs";
/// … and, in a folder of its own, what each start has anew.
const TASKS: &str = "tasks";
const QUEUE: &str = "queue";
const DATABASE: &str = "jobs.db";
const THUMBNAILS: &str = "thumbnails";
/// The cache that an earlier start has filled: a volume, and a folder.
const WARM: &str = "warm";
const COLD: &str = "cold";

/// What is started, and what is there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Start {
    /// Nothing: the component is compiled.
    Cold,
    /// The code in the cache.
    Warm,
    /// The code in a file.
    Precompiled,
    /// No worker: the program says its version.
    Version,
}

impl Start {
    pub(crate) const ALL: [Self; 4] = [Self::Cold, Self::Warm, Self::Precompiled, Self::Version];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold cache: the component is compiled",
            Self::Warm => "warm cache",
            Self::Precompiled => "precompiled",
            Self::Version => "`wasmrun --version`",
        }
    }
}

/// In what it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    Container,
    /// On the machine, as whoever runs the benchmark.
    Process,
    /// The same of the program without the compiler.
    WithoutCompiler,
}

/// Milliseconds since the start was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Until the worker was ready to receive.
    pub(crate) ready: Option<f64>,
    /// Until its first task had completed; or the version was read.
    pub(crate) end: f64,
}

/// All that starts need.
pub(crate) struct World<'a> {
    podman: &'a Podman,
    scratch: &'a Path,
    /// Out of the image.
    pub(crate) program: PathBuf,
    /// One that runs what the other has compiled, if it was given.
    pub(crate) without_compiler: Option<PathBuf>,
}

impl<'a> World<'a> {
    /// Puts everything where every user can read it, compiles the component, and fills the caches.
    pub(crate) fn prepare(podman: &'a Podman, scratch: &'a Path, without_compiler: Option<PathBuf>) -> Self {
        let program = scratch.join("wasmrun");
        podman.copy_program(&program);
        let world = Self { podman, scratch, program, without_compiler };
        fs::copy(guests::path("thumbnail"), scratch.join(COMPONENT)).expect("a copy");
        let photographs = world.folder(PHOTOGRAPHS);
        let photograph = guests::repository().join("demo/photographs").join(PHOTOGRAPH);
        fs::copy(photograph, photographs.join(PHOTOGRAPH)).expect("a copy");
        let mut compile = Command::new(&world.program);
        compile.current_dir(scratch).args(["compile", COMPONENT, "--output", CODE, "--cache", "off"]);
        said(&mut compile).expect("the component is compiled");
        for file in [scratch.join(COMPONENT), scratch.join(CODE), photographs.join(PHOTOGRAPH)] {
            allow(&file, 0o644);
        }
        podman.create_cache(WARM);
        for place in [Place::Container, Place::Process] {
            world.start(Start::Warm, place);
        }
        world
    }

    /// Starts it once, and waits until it has ended.
    pub(crate) fn start(&self, start: Start, place: Place) -> Times {
        if start == Start::Version {
            return self.version(place);
        }
        let tasks = self.one_message();
        if start == Start::Cold && place == Place::Container {
            self.podman.create_cache(COLD);
        }
        let mut command = self.worker(start, place, &tasks);
        command.arg("--until-empty");
        let asked = Timestamp::now();
        let mut worker = Worker::spawn(&mut command);
        let ready = worker.until("ready");
        let completed = worker.until("task completed");
        worker.ends();
        if start == Start::Cold && place == Place::Container {
            self.podman.remove_cache(COLD);
        }
        fs::remove_dir_all(tasks).expect("the folder is there");
        let since = |time: Timestamp| time.duration_since(asked).as_secs_f64() * 1e3;
        Times { ready: Some(since(ready)), end: since(completed) }
    }

    /// A worker on a queue in this folder.
    pub(crate) fn worker(&self, start: Start, place: Place, tasks: &Path) -> Command {
        let mut command = match place {
            Place::Container => self.podman.run(&self.mounts(start, tasks)),
            Place::Process | Place::WithoutCompiler => {
                let mut command = Command::new(self.program_in(place));
                let cache = if start == Start::Cold { tasks.join(COLD) } else { self.scratch.join(WARM) };
                command.current_dir(tasks).env("WASMRUN_CACHE", cache);
                command
            }
        };
        let component = if start == Start::Precompiled { CODE } else { COMPONENT };
        command.arg("run").arg(self.scratch.join(component));
        if start == Start::Precompiled {
            command.arg("--precompiled");
        }
        command
            .args(["--queue", &format!("sqlite:{}/{DATABASE}", tasks.join(QUEUE).display())])
            .args(["--store", &format!("input=dir:{}:ro", self.scratch.join(PHOTOGRAPHS).display())])
            .args(["--store", &format!("output=dir:{}:rw", tasks.join(THUMBNAILS).display())])
            // As many as the container has memory for.
            .args(["--instances", "1"])
            // Each task that completes, and nothing else that isn't logged anyway.
            .args(["--log", "info,wasmrun_runtime::worker=debug", "--log-format", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// All is where it is outside: the message names the photograph by its path.
    fn mounts(&self, start: Start, tasks: &Path) -> Vec<String> {
        let mount = |path: PathBuf, mode: &str| format!("--volume={0}:{0}:{mode}", path.display());
        let mut mounts: Vec<String> =
            [QUEUE, THUMBNAILS].map(|folder| mount(tasks.join(folder), "rw")).into();
        mounts.extend([COMPONENT, CODE, PHOTOGRAPHS].map(|name| mount(self.scratch.join(name), "ro")));
        mounts.push(self.podman.mount_cache(if start == Start::Cold { COLD } else { WARM }));
        mounts
    }

    fn program_in(&self, place: Place) -> &Path {
        match place {
            Place::WithoutCompiler => self.without_compiler.as_deref().expect("it was given"),
            Place::Container | Place::Process => &self.program,
        }
    }

    /// A folder with a queue that has one message, and an empty store.
    pub(crate) fn one_message(&self) -> PathBuf {
        let tasks = self.folder(TASKS);
        for folder in [QUEUE, THUMBNAILS] {
            self.folder(&format!("{TASKS}/{folder}"));
        }
        let photographs = self.scratch.join(PHOTOGRAPHS);
        let mut enqueue = Command::new(&self.program);
        enqueue
            .current_dir(&tasks)
            .args(["enqueue", "--queue", &format!("sqlite:{QUEUE}/{DATABASE}"), "--prefix", PHOTOGRAPH])
            .args(["--store", &format!("input=dir:{}", photographs.display())]);
        said(&mut enqueue).expect("a message");
        for entry in tasks.join(QUEUE).read_dir().expect("the queue") {
            allow(&entry.expect("a file").path(), 0o666);
        }
        tasks
    }

    /// An empty folder that every user may write to, as the container's user is another.
    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.scratch.join(name);
        fs::create_dir(&folder).expect("a folder");
        allow(&folder, 0o777);
        folder
    }

    /// Until the line is read: nothing else tells that it's there.
    fn version(&self, place: Place) -> Times {
        let mut command = match place {
            Place::Container => self.podman.run(&[self.podman.mount_cache(WARM)]),
            Place::Process | Place::WithoutCompiler => Command::new(self.program_in(place)),
        };
        let asked = Instant::now();
        let child = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("text");
        let end = micros(asked.elapsed()) / 1e3;
        assert!(child.wait().expect("an exit").success() && line.starts_with("wasmrun "), "{line}");
        Times { ready: None, end }
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}

/// A worker that runs, or podman with one in it. Ended when dropped.
pub(crate) struct Worker {
    pub(crate) child: Child,
    log: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Worker {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, log, said: String::new() }
    }

    /// When it logged this, by its own clock, which is that of the machine: however long the line is under way.
    pub(crate) fn until(&mut self, message: &str) -> Timestamp {
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).expect("text");
            assert!(read > 0, "it ended without {message:?}: {}", self.said);
            self.said.push_str(&line);
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["message"] == message {
                let time = line["timestamp"].as_str().and_then(|time| time.parse().ok());
                return time.expect("a time");
            }
        }
    }

    /// Waits for its end.
    fn ends(mut self) {
        while self.log.read_line(&mut self.said).expect("text") > 0 {}
        assert!(self.child.wait().expect("an exit").success(), "{}", self.said);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
