//! Settings of commands: arguments, exit codes and the objects on the standard streams.

use super::named::EXIT_CODE;
use super::text::{named_texts, written};
use crate::output::failure::Failure;
use clap::Args;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use wasmrun_runtime::task::command::{CommandOptions, ExitCodes, ExitMeaning};

/// Maximum number of bytes of all arguments together. The host holds them for each task.
const MAX_ARGUMENT_BYTES: usize = 64 << 10;

/// Flags of commands.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CommandArgs {
    /// Pass an argument to a command (a program with main)
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    arg: Vec<String>,
    /// Set the outcome of a command's exit code: completed, retry, rejected or trapped [default: 0 completed, 65
    /// rejected, 75 retry, others trapped]
    #[arg(long, value_name = "CODE=OUTCOME")]
    exit_code: Vec<String>,
    /// Connect a command's standard input to an object of a granted store; the key may hold {key}, {dir}, {name}, {stem} and
    /// {ext} of the announced object and the message's {id} [default: the announced object, or else the body]
    #[arg(long, value_name = "STORE:KEY", env = "WASMRUN_INPUT_OBJECT")]
    input_object: Option<String>,
    /// Write a command's standard output to an object of a granted store when the task completes; the key is as for
    /// --input-object [default: the log]
    #[arg(long, value_name = "STORE:KEY", env = "WASMRUN_OUTPUT_OBJECT")]
    output_object: Option<String>,
}

/// The table `command` of the configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct CommandTable {
    #[serde(deserialize_with = "texts")]
    arg: Vec<String>,
    #[serde(deserialize_with = "exit_codes_of_file")]
    exit_code: BTreeMap<String, String>,
    #[serde(deserialize_with = "written")]
    input_object: Option<String>,
    #[serde(deserialize_with = "written")]
    output_object: Option<String>,
}

impl CommandArgs {
    /// Merges the settings of commands. Arguments of the flags replace those of the file.
    pub(crate) fn resolve(self, file: CommandTable) -> Result<CommandOptions, Failure> {
        let exit_code = EXIT_CODE.merged(&self.exit_code, file.exit_code)?;
        let merged = CommandTable {
            arg: if self.arg.is_empty() { file.arg } else { self.arg },
            exit_code,
            input_object: self.input_object.or(file.input_object),
            output_object: self.output_object.or(file.output_object),
        };
        merged.options()
    }
}

impl CommandTable {
    /// Validates the settings.
    pub(crate) fn options(&self) -> Result<CommandOptions, Failure> {
        let bytes: usize = self.arg.iter().map(String::len).sum();
        if bytes > MAX_ARGUMENT_BYTES {
            return Err(Failure::usage(format!(
                "the arguments of --arg have {bytes} bytes, more than {MAX_ARGUMENT_BYTES}"
            )));
        }
        let mut exit_codes = ExitCodes::default();
        for (code, outcome) in &self.exit_code {
            let (code, meaning) = exit_code(code, outcome)
                .map_err(|wrong| Failure::usage(format!("--exit-code {code}={outcome}: {wrong}")))?;
            exit_codes.set(code, meaning);
        }
        let object = |flag: &str, value: &Option<String>| {
            let parse = |text: &String| {
                text.parse().map_err(|wrong: String| Failure::usage(format!("{flag} {text}: {wrong}")))
            };
            value.as_ref().map(parse).transpose()
        };
        Ok(CommandOptions {
            args: self.arg.clone(),
            exit_codes,
            input: object("--input-object", &self.input_object)?,
            output: object("--output-object", &self.output_object)?,
        })
    }
}

fn exit_code(code: &str, outcome: &str) -> Result<(u8, ExitMeaning), String> {
    let code = code.parse().map_err(|_| "an exit code is a number from 0 to 255".to_owned())?;
    Ok((code, outcome.parse()?))
}

/// Reads a list of texts.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Texts;

    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(SeqAccessDeserializer::new(list))
        }
    }

    deserializer.deserialize_any(Texts)
}

/// Reads the exit codes of the configuration file.
fn exit_codes_of_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |code, outcome| exit_code(code, outcome).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::read::toml_from;

    fn resolved(args: CommandArgs, file: &str) -> Result<CommandOptions, String> {
        let file = toml::from_str(file).map_err(|error| error.to_string())?;
        args.resolve(file).map_err(|failure| failure.to_string())
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "arg = ['-n']\nexit-code = { 3 = 'retry', 1 = 'rejected' }\noutput-object = 'out:{id}'";
        let from_file = resolved(CommandArgs::default(), file).expect("valid");
        assert_eq!(from_file.args, ["-n"]);
        assert_eq!(from_file.output, Some("out:{id}".parse().expect("a template")));
        let flags = CommandArgs {
            arg: vec!["-r".into()],
            exit_code: vec!["3=trapped".into()],
            input_object: Some("in:{key}".into()),
            output_object: Some("out:x".into()),
        };
        let typed = resolved(flags, file).expect("valid");
        let mut codes = ExitCodes::default();
        codes.set(3, ExitMeaning::Trapped);
        codes.set(1, ExitMeaning::Rejected);
        assert_eq!((&typed.args[..], &typed.exit_codes), (&["-r".to_owned()][..], &codes));
        assert_eq!(typed.output, Some("out:x".parse().expect("a template")));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let code = |text: &str| CommandArgs { exit_code: vec![text.into()], ..CommandArgs::default() };
        for (args, said) in [
            (code("256=retry"), "a number from 0 to 255"),
            (code("x=retry"), "a number from 0 to 255"),
            (code("3=again"), "unknown outcome \"again\""),
            (code("3"), "write --exit-code CODE=OUTCOME"),
            (
                CommandArgs { output_object: Some("out".into()), ..CommandArgs::default() },
                "--output-object out: expected",
            ),
            (
                CommandArgs { input_object: Some("in:{x}".into()), ..CommandArgs::default() },
                "unknown placeholder {x}",
            ),
            (CommandArgs { arg: vec!["x".repeat(1 << 20)], ..CommandArgs::default() }, "more than 65536"),
        ] {
            let error = resolved(args, "").expect_err(said);
            assert!(error.contains(said), "{error}");
        }
        for (toml, said) in [("arg = '-n'", "a list of texts"), ("arg = ['-n', 5]", "text in quotes")] {
            let error = toml_from::<CommandTable>(toml, "x").expect_err(said).to_string();
            assert!(error.contains(&format!(": expected {said}")), "{error}");
        }
        assert!(resolved(CommandArgs::default(), "exit-code = { 300 = 'retry' }").is_err());
    }
}
