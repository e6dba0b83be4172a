//! A directory in which examples run, with the programs that they call.

use crate::harness::{Amazon, Command, Output, World, guest, program, repository, wasmrun};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Programs that examples call and that aren't run here, because building takes minutes, other tests run containers, and
/// there is no cluster. A script of the same name notes its arguments.
const NOTED: [&str; 7] = ["cargo", "docker", "eksctl", "helm", "kubectl", "podman", "rustup"];
const NOTES: &str = "notes";
/// Time limit of a script, which may wait for several services.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Place<'a> {
    pub(crate) world: World,
    amazon: Option<&'a Amazon>,
}

impl<'a> Place<'a> {
    pub(crate) fn new() -> Self {
        let place = Self { world: World::new(), amazon: None };
        // Examples create these themselves.
        for store in ["in", "out"] {
            fs::remove_dir(place.path(store)).expect("removed");
        }
        fs::create_dir(place.path("bin")).expect("a directory");
        symlink(wasmrun(), place.path("bin/wasmrun")).expect("linked");
        let notes = place.path(NOTES);
        for name in NOTED {
            // Passwords are read from standard input.
            place.install(
                name,
                &format!("[ -t 0 ] || cat > /dev/null\necho \"{name} $*\" >> '{}'", notes.display()),
            );
        }
        place
    }

    /// Creates a place for an AWS account on this server.
    pub(crate) fn on(amazon: &'a Amazon) -> Self {
        Self { amazon: Some(amazon), ..Self::new() }
    }

    /// Also installs the command `aws`. Prints that the test is skipped and returns `None` if it isn't installed here.
    pub(crate) fn with_aws(amazon: &'a Amazon) -> Option<Self> {
        let aws = program("aws")?;
        let place = Self::on(amazon);
        place.install("aws", &adapted(&aws, &place.path(NOTES)));
        Some(place)
    }

    /// Installs a program that scripts find.
    pub(crate) fn install(&self, name: &str, script: &str) {
        let path = format!("bin/{name}");
        self.world.write(&path, format!("#!/bin/bash\n{script}\n"));
        fs::set_permissions(self.path(&path), PermissionsExt::from_mode(0o755)).expect("a program");
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.world.path(relative)
    }

    /// Links a file of the repository under the same name.
    pub(crate) fn link(&self, name: &str) {
        self.link_to(&repository().join(name), name);
    }

    pub(crate) fn link_to(&self, to: &Path, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        symlink(to, path).expect("linked");
    }

    /// Copies guests, each to a file of its name.
    pub(crate) fn copy_guests(&self, names: &[&str]) {
        for name in names {
            fs::copy(guest(name), self.path(&format!("{name}.wasm"))).expect("copied");
        }
    }

    /// Makes the place look like a clone of the repository in which everything was built.
    pub(crate) fn is_clone(&self) {
        self.link("demo");
        self.link_to(&wasmrun(), "target/release/wasmrun");
        self.link_to(guest("thumbnail").parent().expect("a folder"), "target/guests");
    }

    /// Creates a shell command for these lines, each of which must succeed. A worker exits when its queue is empty.
    pub(crate) fn script(&self, text: &str) -> Command {
        let folders = [self.path("bin").into_os_string(), std::env::var_os("PATH").unwrap_or_default()];
        let script = self
            .world
            .program(Path::new("bash"))
            .args(["-euo", "pipefail", "-c", text])
            .env("PATH", folders.join(std::ffi::OsStr::new(":")))
            .env("WASMRUN_UNTIL_EMPTY", "true")
            .within(PATIENCE);
        match self.amazon {
            Some(amazon) => amazon.environment(script),
            None => script,
        }
    }

    #[track_caller]
    pub(crate) fn run(&self, text: &str) -> Output {
        println!("{text}");
        self.script(text).succeeds()
    }

    /// The commands that were noted instead of run.
    pub(crate) fn noted(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.path(NOTES)).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }
}

/// Creates a wrapper of the command `aws`. The documents are written for version 2. PyPI has version 1, which uses
/// another variable for the region, ignores `AWS_ENDPOINT_URL` for SQS, and lacks `logs tail`. ministack doesn't move
/// messages, so the wrapper only checks the call. It notes every call.
fn adapted(aws: &Path, notes: &Path) -> String {
    let (aws, notes) = (aws.display(), notes.display());
    format!(
        r#"set -e
export AWS_DEFAULT_REGION=$AWS_REGION
aws() {{ '{aws}' --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }}
case "$1 $2" in
"logs tail") aws logs filter-log-events --log-group-name "$3" ;;
"sqs "*-message-move-task*) aws "$@" --generate-cli-skeleton output ;;
*) aws "$@" ;;
esac
echo "aws $*" >> '{notes}'"#
    )
}
