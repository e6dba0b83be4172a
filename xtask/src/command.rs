//! Runs other programs, visibly or quietly, with errors that name the program that failed.

use std::{
    env,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::places::Places;

/// The cargo that runs this program, in the repository's root and with the same target folder.
pub(crate) fn cargo(places: &Places) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&places.root).env("CARGO_TARGET_DIR", &places.target);
    // Remove the variables that cargo sets for this program's own package. Some build scripts depend on them and would
    // otherwise run again whenever cargo is started by hand and then from here.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Builds only the program, without the benchmarks' packages, and returns its path. With `quick`, uses the development
/// profile, which compiles faster.
pub(crate) fn build_program(places: &Places, quick: bool) -> Result<PathBuf> {
    let (profile, folder) = if quick { ("dev", "debug") } else { ("release", "release") };
    run(cargo(places).args(["build", "--profile", profile, "--package", "wasmrun-worker"]))?;
    Ok(places.target.join(folder).join("wasmrun"))
}

/// Builds everything as it ships. Never builds a part, because another selection of packages compiles the engine with
/// other features.
pub(crate) fn build(places: &Places) -> Result<()> {
    run(cargo(places).args(["build", "--release", "--workspace"]))
}

/// Shows the command, runs it with this program's own input and output, and waits for it.
///
/// # Errors
///
/// Fails if the command can't be started. The caller must check the exit status.
pub(crate) fn show(command: &mut Command) -> Result<ExitStatus> {
    eprintln!("$ {}", typed(command));
    command.status().with_context(|| format!("cannot run {}", name(command)))
}

/// Like [`show`], for commands that must succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = show(command)?;
    if !status.success() {
        bail!("`{}` failed: {status}", typed(command));
    }
    Ok(())
}

/// Runs a command that must succeed without showing anything, and returns its standard output.
///
/// # Errors
///
/// Fails if the command fails; the message contains its error output.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", name(command)))?;
    judge(command, output)
}

/// Like [`quiet`], but kills the command if it takes longer than `limit`.
pub(crate) fn quiet_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", name(command)))?;
    // Read by another thread, so that a full pipe can't block the child.
    let complaints = child.stderr.take().map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // Output that can't be read is only missing from the error message.
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        })
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("{} took longer than {} s", name(command), limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    };
    let stderr = complaints.and_then(|reader| reader.join().ok()).unwrap_or_default();
    let stdout = Vec::new();
    judge(command, Output { status, stdout, stderr }).map(drop)
}

fn judge(command: &Command, output: Output) -> Result<String> {
    if !output.status.success() {
        let complaint = complaint(&String::from_utf8_lossy(&output.stderr));
        bail!("{} failed ({}): {complaint}", name(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} printed something that is not text", name(command)))
}

/// The lines of an error output that matter: those marked as errors, or else the last lines.
fn complaint(stderr: &str) -> String {
    const MARKS: [&str; 3] = ["error", "E: ", "Caused by"];
    /// Maximum length in characters, which is a few lines on a terminal.
    const MOST: usize = 400;
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let marked = lines.iter().position(|line| MARKS.iter().any(|mark| line.starts_with(mark)));
    let first = marked.unwrap_or(lines.len().saturating_sub(4));
    let told: Vec<&str> = lines[first..].iter().take(4).copied().collect();
    match told.is_empty() {
        true => "it did not say why".into(),
        false => told.join(" / ").chars().take(MOST).collect(),
    }
}

/// The command as a user would type it.
pub(crate) fn typed(command: &Command) -> String {
    let mut line = name(command);
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(&argument.to_string_lossy()));
    }
    line
}

/// The program as it was given, except for cargo, which passes its own full path.
pub(crate) fn name(command: &Command) -> String {
    let program = command.get_program();
    match env::var_os("CARGO") {
        Some(cargo) if cargo == program => "cargo".into(),
        _ => quoted(&program.to_string_lossy()),
    }
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:./,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Finds a program like a shell does, and also in cargo's own folder of programs.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    env::split_paths(&path)
        .chain(cargo_home.map(|folder| folder.join("bin")))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// The same command, bound to the first core.
pub(crate) fn on_one_core(taskset: &Path, command: &Command) -> Command {
    let mut pinned = Command::new(taskset);
    pinned.args(["-c", "0"]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        pinned.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => pinned.env(name, value),
            None => pinned.env_remove(name),
        };
    }
    pinned
}

#[cfg(test)]
mod tests {
    use super::{complaint, on_one_core, quiet, quiet_within, typed};
    use std::{ffi::OsStr, path::Path, process::Command, time::Duration};

    #[test]
    fn commands_are_shown_as_they_can_be_typed() {
        let mut command = Command::new("target/release/wasmrun");
        command.args(["run", "--store", "input=dir:coffee cup", "it's", ""]);
        assert_eq!(
            typed(&command),
            r"target/release/wasmrun run --store 'input=dir:coffee cup' 'it'\''s' ''"
        );
        let elsewhere = Command::new("/cache dir/wasmrun");
        assert_eq!(typed(&elsewhere), "'/cache dir/wasmrun'");
    }

    #[test]
    fn an_error_starts_where_the_program_says_error() {
        assert_eq!(complaint("info: a\nerror: b\n\n  c\n"), "error: b / c");
        assert_eq!(complaint("1\n2\n3\n4\n5"), "2 / 3 / 4 / 5");
        assert_eq!(complaint(""), "it did not say why");
    }

    #[test]
    fn a_failing_command_is_reported_with_its_complaint() {
        let error = quiet(Command::new("sh").args(["-c", "echo error: no bread >&2; exit 3"]))
            .expect_err("must fail");
        assert!(error.to_string().contains("no bread"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let error = quiet_within(Command::new("sleep").arg("60"), Duration::from_millis(100))
            .expect_err("must be ended");
        assert!(error.to_string().contains("took longer"), "{error}");
    }

    #[test]
    fn a_command_on_one_core_has_the_same_environment_and_lacks_the_same() {
        let mut command = Command::new("cargo");
        command.arg("test").current_dir("folder").env("GIVEN", "1").env_remove("TAKEN");
        let pinned = on_one_core(Path::new("taskset"), &command);
        assert_eq!(pinned.get_program(), "taskset");
        assert_eq!(pinned.get_args().collect::<Vec<_>>(), ["-c", "0", "cargo", "test"]);
        assert_eq!(pinned.get_current_dir(), Some(Path::new("folder")));
        let environment: Vec<_> = pinned.get_envs().collect();
        assert_eq!(environment, [(OsStr::new("GIVEN"), Some(OsStr::new("1"))), (OsStr::new("TAKEN"), None)]);
    }
}
