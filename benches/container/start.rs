//! One start, from asking for it to the end of the first task.

use super::podman::Podman;
use super::registry::Registry;
use crate::shared::{Killed, Process, dir_store, enqueue, guests, milliseconds, sqlite};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wasmrun_benches::{micros, output, system::memory_of};

/// A small one: 77 kB.
const PHOTOGRAPH: &str = "rocket.jpg";
/// In the scratch folder: what there is once, …
const COMPONENT: &str = "thumbnail.wasm";
const CODE: &str = "thumbnail.cwasm";
const PHOTOGRAPHS: &str = "photographs";
/// … and, in a folder of its own, what each start has anew.
const TASKS: &str = "tasks";
/// In the registry.
const REPOSITORY: &str = "thumbnail";
const QUEUE: &str = "queue";
const DATABASE: &str = "jobs.db";
const THUMBNAILS: &str = "thumbnails";
/// The cache that an earlier start has filled, and an empty one: a volume, and a folder.
const WARM: &str = "warm";
const COLD: &str = "cold";

/// What is started, and what is there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nothing: the component is compiled.
    Cold,
    /// The code in the cache.
    Warm,
    /// The code in a file.
    Precompiled,
    /// Nothing: the component comes from a registry, and is compiled.
    Pulled,
    /// Component and code in the cache: the registry tells the digest of the tag.
    Resolved,
    /// The same with the digest in the URL: no registry is asked.
    ByDigest,
    /// No worker: the program prints its version.
    Version,
}

/// Where it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Container,
    /// On the machine, as whoever runs the benchmark.
    Process,
    /// The same with the program without the compiler.
    WithoutCompiler,
}

/// All that starts need.
pub(crate) struct World<'a> {
    podman: &'a Podman,
    scratch: &'a Path,
    /// The program out of the image.
    pub(crate) program: PathBuf,
    /// A program without the compiler, if it was given.
    pub(crate) without_compiler: Option<PathBuf>,
    /// A registry with the component, and the component's URL with its digest.
    pub(crate) registry: Option<(Registry, String)>,
}

impl Start {
    /// Does it begin with an empty cache?
    fn is_cold(self) -> bool {
        matches!(self, Self::Cold | Self::Pulled)
    }
}

impl<'a> World<'a> {
    /// Puts everything where every user can read it, compiles the component, and fills the caches.
    pub(crate) fn prepare(podman: &'a Podman, scratch: &'a Path, without_compiler: Option<PathBuf>) -> Self {
        let program = scratch.join("wasmrun");
        podman.copy_program(&program);
        fs::copy(guests::path("thumbnail"), scratch.join(COMPONENT)).expect("a copy");
        let registry = Registry::start(scratch).map(|registry| {
            let url = registry.push(&program, &scratch.join(COMPONENT), REPOSITORY);
            (registry, url)
        });
        let world = Self { podman, scratch, program, without_compiler, registry };
        let photographs = world.folder(PHOTOGRAPHS);
        fs::write(photographs.join(PHOTOGRAPH), guests::photograph(PHOTOGRAPH)).expect("a copy");
        let mut compile = Command::new(&world.program);
        compile.current_dir(scratch).args(["compile", COMPONENT, "--output", CODE, "--cache", "off"]);
        output(&mut compile).expect("the component is compiled");
        for file in [scratch.join(COMPONENT), scratch.join(CODE), photographs.join(PHOTOGRAPH)] {
            allow(&file, 0o644);
        }
        podman.create_cache(WARM);
        for place in [Place::Container, Place::Process] {
            world.start(Start::Warm, place);
        }
        if world.registry.is_some() {
            world.start(Start::Resolved, Place::Process);
        }
        world
    }

    /// Starts it once, and waits until it has ended. Returns the milliseconds from asking for the start until the worker was
    /// ready to receive, and until its first task had completed, or its version was read.
    pub(crate) fn start(&self, start: Start, place: Place) -> Value {
        if start == Start::Version {
            return self.version(place);
        }
        let has_volume = start.is_cold() && place == Place::Container;
        if has_volume {
            self.podman.create_cache(COLD);
        }
        let tasks = self.one_message();
        let mut command = self.worker(start, place, &tasks);
        let asked = Timestamp::now();
        let mut worker = Process::start(command.arg("--until-empty"));
        let [ready, end] =
            ["ready", "task completed"].map(|message| milliseconds(asked, worker.time_of(message)));
        worker.wait();
        if has_volume {
            self.podman.remove_cache(COLD);
        }
        fs::remove_dir_all(tasks).expect("the folder is there");
        json!({"ready_ms": ready, "end_ms": end})
    }

    /// Memory of an idle worker after its first task, which sets up what a worker needs.
    pub(crate) fn idle(&self, start: Start, place: Place, pause: Duration) -> Value {
        let tasks = self.one_message();
        let mut worker = Process::start(&mut self.worker(start, place, &tasks));
        worker.until("task completed");
        std::thread::sleep(pause);
        let mib = |name| memory_of(worker.pid(), name).expect("a worker") as f64 / f64::from(1 << 20);
        let memory = json!({"resident_mib": mib("Rss:"), "anonymous_mib": mib("Anonymous:")});
        drop(worker);
        fs::remove_dir_all(tasks).expect("the folder is there");
        memory
    }

    /// A worker on a queue in this folder.
    fn worker(&self, start: Start, place: Place, tasks: &Path) -> Command {
        let mut command = match place {
            Place::Container => self.podman.run(&self.mounts(start, tasks)),
            Place::Process | Place::WithoutCompiler => {
                let mut command = Command::new(self.program_in(place));
                let cache = if start.is_cold() { tasks.join(COLD) } else { self.scratch.join(WARM) };
                command.current_dir(tasks).env("WASMRUN_CACHE", cache);
                command
            }
        };
        command.arg("run").arg(self.component(start));
        if start == Start::Precompiled {
            command.arg("--precompiled");
        }
        command
            .args(["--queue", &sqlite(&tasks.join(QUEUE).join(DATABASE))])
            .args(["--store", &dir_store("input", &self.scratch.join(PHOTOGRAPHS), "ro")])
            .args(["--store", &dir_store("output", &tasks.join(THUMBNAILS), "rw")])
            // As many as the container has memory for.
            .args(["--instances", "1"])
            // Each task that completes, and nothing else that isn't logged anyway.
            .args(["--log", "info,wasmrun_runtime::worker=debug", "--log-format", "json"]);
        command
    }

    fn component(&self, start: Start) -> OsString {
        let registry = || self.registry.as_ref().expect("it was started");
        match start {
            Start::Precompiled => self.scratch.join(CODE).into(),
            Start::Pulled | Start::Resolved => registry().0.url(REPOSITORY).into(),
            Start::ByDigest => registry().1.clone().into(),
            Start::Cold | Start::Warm | Start::Version => self.scratch.join(COMPONENT).into(),
        }
    }

    /// Everything has the same path as outside: the message names the photograph by its path.
    fn mounts(&self, start: Start, tasks: &Path) -> Vec<String> {
        let mount = |path: PathBuf, mode: &str| format!("--volume={0}:{0}:{mode}", path.display());
        let mut mounts: Vec<String> =
            [QUEUE, THUMBNAILS].map(|folder| mount(tasks.join(folder), "rw")).into();
        mounts.extend([COMPONENT, CODE, PHOTOGRAPHS].map(|name| mount(self.scratch.join(name), "ro")));
        mounts.push(self.podman.mount_cache(if start.is_cold() { COLD } else { WARM }));
        mounts
    }

    fn program_in(&self, place: Place) -> &Path {
        match place {
            Place::WithoutCompiler => self.without_compiler.as_deref().expect("it was given"),
            Place::Container | Place::Process => &self.program,
        }
    }

    /// A folder with an empty store, and a queue with one message.
    fn one_message(&self) -> PathBuf {
        let tasks = self.folder(TASKS);
        for folder in [QUEUE, THUMBNAILS] {
            self.folder(&format!("{TASKS}/{folder}"));
        }
        let queue = sqlite(&tasks.join(QUEUE).join(DATABASE));
        let photographs = self.scratch.join(PHOTOGRAPHS);
        enqueue(Command::new(&self.program), &queue, &photographs, &["--prefix", PHOTOGRAPH]);
        for entry in tasks.join(QUEUE).read_dir().expect("the queue") {
            allow(&entry.expect("a file").path(), 0o666);
        }
        tasks
    }

    /// An empty folder that the container's user may write to, too.
    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.scratch.join(name);
        fs::create_dir(&folder).expect("a folder");
        allow(&folder, 0o777);
        folder
    }

    /// Until the line is read: nothing else tells that it's there.
    fn version(&self, place: Place) -> Value {
        let mut command = match place {
            Place::Container => self.podman.run(&[self.podman.mount_cache(WARM)]),
            Place::Process | Place::WithoutCompiler => Command::new(self.program_in(place)),
        };
        let asked = Instant::now();
        let command = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Killed::start(command);
        let line = process.lines().next().unwrap_or_default();
        let end = micros(asked.elapsed()) / 1e3;
        assert!(process.wait().expect("an exit").success() && line.starts_with("wasmrun "), "{line}");
        json!({"end_ms": end})
    }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}
