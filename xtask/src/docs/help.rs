//! What the built program says of itself: its help, and the keys of its configuration file.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};

use crate::{
    command::name,
    places::{Places, remove},
};

/// The built program, in a folder of its own.
pub(super) struct Program {
    file: PathBuf,
    folder: PathBuf,
}

/// A flag of a command, as its help has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flag {
    /// The heading that it is below, such as `Grants`.
    pub(super) group: String,
    /// Without dashes; of an argument that isn't a flag, the name of its value.
    pub(super) name: String,
    /// With dashes and value, such as `--memory <SIZE>`.
    pub(super) shown: String,
    pub(super) text: String,
    pub(super) default: Option<String>,
    pub(super) variable: Option<String>,
}

impl Program {
    pub(super) fn built(places: &Places) -> Result<Self> {
        let file = places.target.join("release/wasmrun");
        let folder = places.target.join("docs");
        remove(&folder)?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { file, folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The program with these arguments, whatever the user has set for it.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.file);
        command.current_dir(&self.folder).args(arguments).env("COLUMNS", "100").env("NO_COLOR", "1");
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMRUN_")) {
            command.env_remove(name);
        }
        command
    }

    fn output(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments);
        command.output().with_context(|| format!("cannot run {}", name(&command)))
    }

    /// The help of a command, by its words. `None`: there is no such command.
    pub(super) fn help(&self, words: &[&str]) -> Result<Option<String>> {
        let output = self.output(&[words, &["--help"]].concat())?;
        let usage = format!("Usage: {}", [&["wasmrun"], words].concat().join(" "));
        let text = String::from_utf8(output.stdout).context("the help is no text")?;
        let is_of_it = output.status.success() && text.lines().any(|line| line.starts_with(&usage));
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        Ok(is_of_it.then(|| lines.join("\n").trim_end().to_owned()))
    }

    /// All commands by their words, in the order in which the help names them.
    pub(super) fn commands(&self) -> Result<Vec<Vec<String>>> {
        let mut found = Vec::new();
        for first in candidates(&self.help(&[])?.context("the program has no help")?) {
            let Some(help) = self.help(&[&first])? else { continue };
            found.push(vec![first.clone()]);
            for second in candidates(&help) {
                if self.help(&[&first, &second])?.is_some() {
                    found.push(vec![first.clone(), second]);
                }
            }
        }
        Ok(found)
    }

    /// The keys of a section of the configuration file by its header, or of the file itself (`""`). `None`: the section has
    /// no keys of its own.
    ///
    /// The program names them where a key is none of them.
    pub(super) fn keys(&self, header: &str) -> Result<Option<Vec<String>>> {
        const UNKNOWN: &str = "0 = 0";
        fs::write(self.folder.join("wasmrun.toml"), format!("{header}\n{UNKNOWN}"))?;
        let output = self.output(&["run", "--check", "--config", "wasmrun.toml"])?;
        let said = String::from_utf8_lossy(&output.stderr);
        let keys = said.trim_end().split_once("the keys here are ").map(|(_, keys)| keys);
        Ok(keys.map(|keys| keys.split(", ").map(str::to_owned).collect()))
    }
}

/// Words at the beginning of indented lines, which may be commands.
fn candidates(help: &str) -> Vec<String> {
    let words = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let is_command =
        |word: &&str| !word.is_empty() && *word != "help" && word.chars().all(|c| c.is_ascii_lowercase());
    words.filter(is_command).map(str::to_owned).collect()
}

/// The flags of a help in its long form, in which each has lines of its own below it.
pub(super) fn flags(help: &str) -> Result<Vec<Flag>> {
    let mut flags: Vec<Flag> = Vec::new();
    let mut group = String::new();
    for line in help.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        match indent {
            0 if line.starts_with("Example") => break,
            0 if line.ends_with(':') => group = line.trim_end_matches(':').to_owned(),
            0 => {}
            1..=6 => flags.push(flag(text, &group)),
            _ => {
                let flag = flags.last_mut().context("the help begins with a description")?;
                flag.text.push_str(if text.starts_with("- ") { "\n" } else { " " });
                flag.text.push_str(text);
            }
        }
    }
    for flag in &mut flags {
        flag.default = take(&mut flag.text, "[default: ");
        flag.variable = take(&mut flag.text, "[env: ").map(|variable| variable.replace('=', ""));
        take(&mut flag.text, "[possible values: ");
        flag.text = flag.text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if flags.is_empty() {
        bail!("the help has no flags");
    }
    Ok(flags)
}

fn flag(shown: &str, group: &str) -> Flag {
    let long = shown.split("--").nth(1).unwrap_or(shown);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name = long.trim_start_matches(['[', '<']);
    let name = name.split(|c| !is_name(c)).next().unwrap_or_default();
    Flag { group: group.into(), name: name.into(), shown: shown.into(), ..Flag::default() }
}

/// Takes what is in brackets out of a text.
fn take(text: &mut String, opening: &str) -> Option<String> {
    let start = text.find(opening)?;
    let end = start + text[start..].find(']')?;
    let taken = text[start + opening.len()..end].trim().to_owned();
    text.replace_range(start..=end, "");
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::{Flag, candidates, flags};

    #[test]
    fn a_flag_is_read_with_its_default_and_its_variable() {
        let help = "Run it\n\nUsage: wasmrun run\n\nLimits of a task:\n      --memory <SIZE>\n          All memories\n          \
                    together [default: 256MiB]\n          \n          [env: WASMRUN_MEMORY=]\n\nExamples:\n  wasmrun run\n";
        let expected = Flag {
            group: "Limits of a task".into(),
            name: "memory".into(),
            shown: "--memory <SIZE>".into(),
            text: "All memories together".into(),
            default: Some("256MiB".into()),
            variable: Some("WASMRUN_MEMORY".into()),
        };
        assert_eq!(flags(help).expect("flags"), [expected]);
    }

    #[test]
    fn names_are_read_without_dashes_and_values() {
        let help =
            "Arguments:\n  [COMPONENT]\n\nOptions:\n  -m, --message <TEXT>\n      --until-empty[=<BOOL>]\n";
        let flags = flags(help).expect("flags");
        let names: Vec<&str> = flags.iter().map(|flag| &*flag.name).collect();
        assert_eq!(names, ["COMPONENT", "message", "until-empty"]);
    }

    #[test]
    fn commands_are_the_first_words_of_indented_lines() {
        assert_eq!(candidates("Start here:\n  run          Work\n      --flag\n  help  Print\n"), ["run"]);
    }
}
