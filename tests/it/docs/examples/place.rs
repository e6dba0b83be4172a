//! Where examples run: a directory with the programs that they call.

use crate::harness::{Amazon, Command, Output, World, guest, program, repository, wasmrun};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What examples call and what isn't run here: building takes minutes, and other tests run containers. A program of
/// this name notes its arguments.
const NOTED: [&str; 4] = ["cargo", "docker", "podman", "rustup"];
const NOTES: &str = "notes";
/// A script may wait for several services.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Place<'a> {
    pub(crate) world: World,
    amazon: Option<&'a Amazon>,
}

impl<'a> Place<'a> {
    pub(crate) fn new() -> Self {
        let place = Self { world: World::new(), amazon: None };
        // Examples make their own.
        for store in ["in", "out"] {
            fs::remove_dir(place.path(store)).expect("removed");
        }
        fs::create_dir(place.path("bin")).expect("a directory");
        symlink(wasmrun(), place.path("bin/wasmrun")).expect("linked");
        let notes = place.path(NOTES);
        for name in NOTED {
            // Passwords come by standard input.
            place.install(
                name,
                &format!("[ -t 0 ] || cat > /dev/null\necho \"{name} $*\" >> '{}'", notes.display()),
            );
        }
        place
    }

    /// With this account of Amazon's.
    pub(crate) fn on(amazon: &'a Amazon) -> Self {
        Self { amazon: Some(amazon), ..Self::new() }
    }

    /// With the command `aws` too. `None`: it isn't installed here, and the test says that it's skipped.
    pub(crate) fn with_aws(amazon: &'a Amazon) -> Option<Self> {
        let aws = program("aws")?;
        let place = Self::on(amazon);
        place.install("aws", &adapted(&aws, &place.path(NOTES)));
        Some(place)
    }

    /// A program that scripts find.
    pub(crate) fn install(&self, name: &str, script: &str) {
        let path = format!("bin/{name}");
        self.world.write(&path, format!("#!/bin/bash\n{script}\n"));
        fs::set_permissions(self.path(&path), PermissionsExt::from_mode(0o755)).expect("a program");
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.world.path(relative)
    }

    /// What lies in the repository lies here too, under the same name.
    pub(crate) fn link(&self, name: &str) {
        self.link_to(&repository().join(name), name);
    }

    pub(crate) fn link_to(&self, to: &Path, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        symlink(to, path).expect("linked");
    }

    /// As in a clone of the repository in which everything was built.
    pub(crate) fn is_clone(&self) {
        self.link("demo");
        self.link_to(&wasmrun(), "target/release/wasmrun");
        self.link_to(guest("thumbnail").parent().expect("a folder"), "target/guests");
    }

    /// Lines for the shell, of which each must succeed. A worker ends when its queue is empty.
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

    /// The commands that programs which aren't run here were called with.
    pub(crate) fn noted(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.path(NOTES)).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }
}

/// The documents are written for version 2 of the command. PyPI has version 1, which has another variable for the region,
/// doesn't heed `AWS_ENDPOINT_URL` for SQS, and doesn't know `logs tail`. ministack doesn't move messages, so that the command
/// only checks what it would send. What was done is noted.
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
