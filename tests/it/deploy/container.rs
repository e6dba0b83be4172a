//! The container image, run with everything forbidden that it doesn't need.

use crate::harness::{
    ACCOUNT, Amazon, Command, World, guest, installed_below, process_status, repository, skip, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The options that SECURITY.md advises, and podman's own seccomp profile. Without the file systems in memory that
/// podman would mount, because other runtimes don't mount them.
const CONFINED: [&str; 7] = [
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--user=65532",
    "--memory=256m",
    "--pids-limit=64",
];
/// Limits of one task. A container of 256 MiB has room for one task.
const LIMITS: [&str; 4] = ["--memory", "48MiB", "--object-size", "8MiB"];
/// Host name by which the container reaches a server on this machine.
const HOST: &str = "cloud.test";

/// The image, and the containers of one test, which end with it.
pub(super) struct Podman {
    pub(super) world: World,
    pub(super) image: String,
    /// Folder of images, containers and their settings.
    storage: PathBuf,
    /// Prefix of the names of this test's containers.
    name: String,
}

impl Podman {
    /// Prints that the test is skipped and returns `None` if there is no image or containers don't run here.
    pub(super) fn with_image() -> Option<Self> {
        let settings = installed_below("the container image", "WASMRUN_IMAGE_STORAGE", "storage.conf")?;
        let storage = settings.parent().expect("a folder").to_owned();
        let world = World::new();
        let name = world.path("").file_name().expect("a name").to_string_lossy().to_lowercase();
        let image = std::env::var("WASMRUN_IMAGE").expect("the image's name");
        let podman = Self { world, image, storage, name };
        let version = podman.run("version", &["--rm", "--network=none"]).arg("--version").ends();
        if !version.status.success() {
            skip(&format!("containers cannot be run here: {version}"));
            return None;
        }
        assert!(version.stdout[0].starts_with("wasmrun "), "{version}");
        Some(podman)
    }

    pub(super) fn podman<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let command = self
            .world
            .program(Path::new("podman"))
            .env("CONTAINERS_STORAGE_CONF", self.storage.join("storage.conf"))
            .env("CONTAINERS_CONF", self.storage.join("containers.conf"));
        // Folder of podman's sockets if podman isn't run by root.
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
        command.env("XDG_RUNTIME_DIR", runtime).args(arguments)
    }

    /// Creates the command for a confined container of this name. Further arguments are passed to the program.
    fn run(&self, name: &str, options: &[&str]) -> Command {
        let name = self.named(name);
        self.podman(["run", "--name", &name]).args(CONFINED).args(options).arg(&self.image)
    }

    /// A worker that reaches this server by its host name, with the component mounted.
    fn worker(&self, amazon: &Amazon, component: &str) -> Command {
        let endpoint = amazon.endpoint.replace("127.0.0.1", HOST);
        let options = [
            "--rm".to_owned(),
            // The server listens only on this machine's loopback interface.
            "--network=host".to_owned(),
            format!("--add-host={HOST}:127.0.0.1"),
            format!("--volume={}:/processor.wasm:ro", guest(component).display()),
            format!("--env=AWS_ENDPOINT_URL={endpoint}"),
            "--env=AWS_ACCESS_KEY_ID=test".to_owned(),
            "--env=AWS_SECRET_ACCESS_KEY=test".to_owned(),
            "--env=AWS_REGION=eu-west-1".to_owned(),
            "--env=AWS_EC2_METADATA_DISABLED=true".to_owned(),
        ];
        self.run("worker", &options.each_ref().map(String::as_str))
            .args(["run", "/processor.wasm", "--queue", &format!("{endpoint}/{ACCOUNT}/jobs")])
            .args(["--store", "input=s3://bucket-in:ro", "--store", "output=s3://bucket-out/thumbs:rw"])
    }

    pub(super) fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// The state of a container, as podman shows it.
    #[track_caller]
    fn inspect(&self, name: &str, field: &str) -> String {
        let format = format!("{{{{{field}}}}}");
        let mut output = self.podman(["inspect", &self.named(name), "--format", &format]).succeeds();
        output.stdout.remove(0)
    }

    /// The first process in a container.
    #[track_caller]
    fn process(&self, name: &str) -> Pid {
        let number = self.inspect(name, ".State.Pid").parse().expect("a number");
        Pid::from_raw(number).expect("it runs")
    }

    /// Number of lines in the container's output that contain this text.
    fn said(&self, name: &str, text: &str) -> usize {
        let logs = self.podman(["logs", &self.named(name)]).succeeds();
        logs.stdout.iter().chain(&logs.stderr).filter(|line| line.contains(text)).count()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let pod = self.named("pod");
        self.podman(["pod", "rm", "--force", "--time=0", "--ignore", &pod]).ends();
        for name in ["version", "queue", "worker", "application", "sidecar"] {
            self.podman(["rm", "--force", "--time=0", "--volumes", "--ignore", &self.named(name)]).ends();
        }
    }
}

fn cloud() -> Option<(Amazon, String)> {
    let amazon = Amazon::start()?;
    let queue = amazon.create_jobs(30, 1000);
    amazon.create_queue("next", 30, 1000);
    Some((amazon, queue))
}

#[test]
fn the_image_makes_thumbnails_of_photographs_with_all_forbidden_that_it_does_not_need() {
    let Some(podman) = Podman::with_image() else { return };
    let Some((amazon, queue)) = cloud() else { return };
    amazon.notify("bucket-in", "jobs");
    let mut photographs = Vec::new();
    for entry in repository().join("demo/photographs").read_dir().expect("the photographs") {
        let path = entry.expect("an entry").path();
        let key = path.file_name().expect("a name").to_string_lossy().into_owned();
        amazon.put("bucket-in", &key, fs::read(&path).expect("a photograph"));
        photographs.push(format!("thumbs/{key}.jpg"));
    }
    photographs.sort();
    let worker = podman
        .worker(&amazon, "thumbnail")
        .args(LIMITS)
        // An idle worker would wait for its long poll.
        .args(["--env", "MAX_SIDE=320", "--stop-timeout", "2s"])
        .start();
    wait_until("all are made", || amazon.keys("bucket-out").len() == photographs.len());
    let process = PathBuf::from(format!("/proc/{}", podman.process("worker").as_raw_nonzero()));
    for (field, value) in [
        ("Uid", "65532\t65532\t65532\t65532"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        // A seccomp filter is active.
        ("Seccomp", "2"),
    ] {
        assert_eq!(process_status(&process, field).as_deref(), Some(value), "{field}");
    }
    wait_until("all are settled", || amazon.depth(&queue) == [0; 3]);
    for level in ["WARN", "ERROR"] {
        assert_eq!(worker.logged(&format!("\"level\":\"{level}\"")), 0, "nothing is missed");
    }
    // podman forwards the signal.
    let output = worker.stop();
    assert_eq!(output.summary()["outcomes"]["completed"], output.summary()["tasks"], "{output}");
    assert_eq!(amazon.keys("bucket-out"), photographs);
}

#[test]
fn a_container_that_is_stopped_ends_its_tasks_and_keeps_no_message_from_others() {
    let Some(podman) = Podman::with_image() else { return };
    let Some((amazon, queue)) = cloud() else { return };
    for _ in 0..6 {
        amazon.send(&queue, "sleep 3000");
    }
    let worker = podman
        .worker(&amazon, "misbehave")
        .args(["--memory", "4MiB", "--object-size", "8MiB", "--instances", "2", "--send", "next=next"])
        .start();
    wait_until("two are in flight", || amazon.depth(&queue)[1] == 2);
    podman.podman(["stop", "--time=30", &podman.named("worker")]).succeeds();
    let output = worker.finish().succeeded();
    let completed = output.summary()["outcomes"]["completed"].as_u64().expect("a number");
    assert!((2..6).contains(&completed), "{output}");
    assert_eq!(output.summary()["tasks"], completed, "{output}");
    assert_eq!(amazon.depth(&queue), [6 - completed, 0, 0], "{output}");
}

/// Compiles it to a static program, because the image contains nothing else.
fn compile_application(podman: &Podman) -> PathBuf {
    let program = podman.world.path("application");
    // rustup's rustc would look for its settings in the test user's home.
    podman
        .world
        .program(&Path::new(env!("CARGO")).with_file_name("rustc"))
        .args(["--edition=2024", "-Ctarget-feature=+crt-static", "-o"])
        .arg(&program)
        .arg(repository().join("tests/it/deploy/container/application.rs"))
        .succeeds();
    program
}

/// The worker and the application share one pod, with only the loopback interface and a folder in common.
#[test]
fn a_sidecar_may_crash_without_its_application_and_drains_with_the_pod() {
    let Some(podman) = Podman::with_image() else { return };
    let (pod, application) = (podman.named("pod"), compile_application(&podman));
    for folder in ["shared", "shared/in", "shared/out"] {
        fs::create_dir_all(podman.world.path(folder)).expect("a folder");
        fs::set_permissions(podman.world.path(folder), Permissions::from_mode(0o777)).expect("set");
    }
    let mount = |from: &Path, to: &str| format!("--volume={}:{to}", from.display());
    let shared = mount(&podman.world.path("shared"), "/shared");
    let visibility = Duration::from_secs(2);
    let queue = ["queue", "create", "sqlite:/shared/jobs.db", "--visibility-timeout"];
    let timeout = humantime::format_duration(visibility).to_string();
    podman.run("queue", &["--rm", "--network=none", &shared]).args(queue).arg(timeout).succeeds();

    podman.podman(["pod", "create", "--name", &pod, "--network=none", "--share=net"]).succeeds();
    let of_pod = ["--detach", "--pod", &pod, &shared];
    let photograph = repository().join("demo/photographs/astronaut.jpg");
    let programs = [mount(&application, "/application:ro"), mount(&photograph, "/picture.jpg:ro")];
    let options = [programs[0].as_str(), &programs[1], "--entrypoint=/application", "--stop-signal=KILL"];
    podman.run("application", &[&of_pod[..], &options].concat()).succeeds();
    let component = mount(&guest("thumbnail"), "/processor.wasm:ro");
    podman
        .run("sidecar", &[&of_pod[..], &[component.as_str(), "--restart=always"]].concat())
        .args(["run", "/processor.wasm", "--queue", "sqlite:/shared/jobs.db", "--status", "9464"])
        .args(["--store", "input=dir:/shared/in:ro", "--store", "output=dir:/shared/out:rw"])
        .args(LIMITS)
        .succeeds();
    let got = || podman.said("application", "thumbnail");
    wait_until("the application has got thumbnails", || got() >= 3);
    assert!(podman.said("application", "sidecar: HTTP/1.1 200") > 0, "they talk to each other");

    let (running, before) = (podman.process("application"), podman.process("sidecar"));
    kill_process(before, Signal::KILL).expect("killed");
    let killed = Instant::now();
    wait_until("the sidecar is back", || podman.inspect("sidecar", ".RestartCount") != "0");
    let until_then = got();
    wait_until("the application gets more", || got() >= until_then + 3);
    assert_eq!(podman.process("application"), running, "it never stopped");
    let sidecar = podman.named("sidecar");
    let health = || podman.podman(["exec", &sidecar, "/wasmrun", "health"]).ends();
    wait_until("the sidecar says that it is alive", || health().stdout == ["alive"]);
    // The worker may have been killed after it wrote a thumbnail and before it deleted the message. The application
    // already has that thumbnail, and doesn't wait until the message is delivered again.
    wait_until("the visibility of what the killed one held is over", || killed.elapsed() > visibility);

    podman.podman(["pod", "stop", "--time=30", &pod]).within(Duration::from_secs(60)).succeeds();
    assert_eq!(podman.inspect("sidecar", ".State.ExitCode"), "0");
    assert_eq!(podman.said("sidecar", "stopping: running tasks may finish"), 1);
    assert_eq!(podman.said("sidecar", "\"summary\""), 1);
    let database = |queue: &str| podman.world.depth_of(&format!("sqlite:shared/jobs.db{queue}"));
    assert_eq!(database("").in_flight, 0);
    assert_eq!(database("#dead").visible, 0);
}
