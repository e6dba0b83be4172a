//! The files of a guest's project: `guest.toml` says how the guest is built and what its cases are granted, and
//! `cases/NAME/case.toml` says what one case gives to the guest and what it expects.

use super::command::CommandTable;
use super::grants::table::directories;
use super::limit_flags::LimitSettings;
use super::named::well_formed_alias;
use super::read::{MAX_TOML_BYTES, read_text, toml_from};
use super::text::{Written, expected, named_texts, written};
use crate::output::failure::Failure;
use bytesize::ByteSize;
use regex_automata::meta::Regex;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::task::grant::Mode;

/// Name of the file of a project.
pub(crate) const PROJECT_FILE: &str = "guest.toml";
/// Name of the file of a case.
pub(crate) const CASE_FILE: &str = "case.toml";
/// Percentage by which a task may exceed `max-fuel` and `max-memory`.
const TOLERANCE: f64 = 2.0;
/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 4 << 10;
/// Maximum size of a compiled pattern, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// `guest.toml`: how a guest is built, and what all its cases are granted. A field for each key and each table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ProjectFile {
    /// The component's file, relative to the project's directory.
    #[serde(deserialize_with = "written")]
    pub(crate) component: Option<PathBuf>,
    /// Command that builds the component, for the shell.
    #[serde(deserialize_with = "written")]
    pub(crate) build: Option<String>,
    /// Files and directories whose changes start a build.
    pub(crate) watch: Vec<PathBuf>,
    #[serde(deserialize_with = "stores")]
    pub(crate) store: BTreeMap<String, String>,
    /// Stores that are granted as directories, by path.
    #[serde(deserialize_with = "directories")]
    pub(crate) dir: BTreeMap<String, String>,
    pub(crate) send: Vec<String>,
    pub(crate) keyvalue: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) config_value: BTreeMap<String, String>,
    pub(crate) command: CommandTable,
    pub(crate) limits: LimitSettings,
    pub(crate) raw_body: Option<bool>,
    pub(crate) deterministic: Option<bool>,
}

impl ProjectFile {
    /// Reads the file in a project's directory. Returns the defaults if there is none.
    pub(crate) fn read(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(PROJECT_FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let what = format!("the project {}", path.display());
        let file: Self = toml_from(&read_text(&path, &what, MAX_TOML_BYTES)?, &what)?;
        check_aliases(file.send.iter().chain(&file.keyvalue))
            .map_err(|error| Failure::usage(format!("in {what}: {error}")))?;
        Ok(file)
    }
}

/// `case.toml`: what a case gives to the guest, and what it expects. A field for each key and each table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct CaseFile {
    /// Body of the message.
    #[serde(deserialize_with = "written")]
    pub(crate) message: Option<String>,
    /// File with the body, relative to the case's directory.
    #[serde(deserialize_with = "written")]
    pub(crate) message_file: Option<PathBuf>,
    /// The given object that the message announces, as `ALIAS/KEY`.
    #[serde(deserialize_with = "written")]
    pub(crate) announce: Option<String>,
    #[serde(deserialize_with = "written")]
    pub(crate) id: Option<String>,
    #[serde(deserialize_with = "written")]
    pub(crate) sent_at: Option<Time>,
    #[serde(deserialize_with = "written")]
    pub(crate) receive_count: Option<u32>,
    #[serde(deserialize_with = "written")]
    pub(crate) group: Option<String>,
    pub(crate) attributes: BTreeMap<String, String>,
    #[serde(deserialize_with = "stores")]
    pub(crate) store: BTreeMap<String, String>,
    pub(crate) send: Vec<String>,
    pub(crate) keyvalue: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) config_value: BTreeMap<String, String>,
    pub(crate) limits: LimitSettings,
    pub(crate) raw_body: Option<bool>,
    pub(crate) deterministic: Option<bool>,
    pub(crate) expect: Expect,
}

impl CaseFile {
    /// Parses the text of a case's file.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let file: Self = toml_from(text, CASE_FILE)?;
        let of_queues = file.expect.sent.iter().flat_map(BTreeMap::keys);
        check_aliases(file.send.iter().chain(&file.keyvalue).chain(of_queues))
            .map_err(|error| Failure::usage(format!("in {CASE_FILE}: {error}")))?;
        Ok(file)
    }
}

/// What a case expects. What isn't mentioned isn't checked, except that the task completes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Expect {
    #[serde(deserialize_with = "written")]
    pub(crate) outcome: Option<OutcomeKind>,
    pub(crate) reason: Option<Text>,
    /// Log lines that appear in this order. There may be others between them.
    pub(crate) log: Option<Vec<Text>>,
    /// All messages that are sent, by the alias of their queue.
    pub(crate) sent: Option<BTreeMap<String, Vec<SentMessage>>>,
    /// Objects after the task, as `ALIAS/KEY`, in addition to those in the directory `expected`.
    pub(crate) objects: Option<BTreeMap<String, ExpectedObject>>,
    #[serde(deserialize_with = "written")]
    pub(crate) max_fuel: Option<u64>,
    #[serde(deserialize_with = "written")]
    pub(crate) max_memory: Option<ByteSize>,
    /// Percentage by which the task may exceed `max-fuel` and `max-memory`.
    pub(crate) tolerance: Option<f64>,
}

impl Expect {
    /// Returns whether an amount exceeds its budget by more than the tolerance.
    pub(crate) fn is_over(&self, amount: u64, budget: u64) -> bool {
        amount as f64 > budget as f64 * (1.0 + self.tolerance().max(0.0) / 100.0)
    }

    pub(crate) fn tolerance(&self) -> f64 {
        self.tolerance.filter(|percent| percent.is_finite()).unwrap_or(TOLERANCE)
    }
}

/// A message that is expected to be sent. Fields that aren't mentioned aren't checked.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct SentMessage {
    pub(crate) body: Option<Text>,
    pub(crate) attributes: Option<BTreeMap<String, Text>>,
    #[serde(deserialize_with = "written")]
    pub(crate) group: Option<String>,
    #[serde(deserialize_with = "written")]
    pub(crate) delay_seconds: Option<u64>,
}

/// An object that is expected to exist after the task.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ExpectedObject {
    /// Its content, if there is no file with it in the directory `expected`. Not mentioned: any.
    pub(crate) content: Option<Text>,
    #[serde(deserialize_with = "written")]
    pub(crate) content_type: Option<String>,
    #[serde(deserialize_with = "written")]
    pub(crate) cache_control: Option<String>,
    pub(crate) metadata: Option<BTreeMap<String, String>>,
    /// The object must not exist.
    pub(crate) absent: bool,
}

/// An expected text: exact, or by a regular expression that matches anywhere in it.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Exact(String),
    Matches(String, Box<Regex>),
}

impl Text {
    pub(crate) fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Matches(_, regex) => regex.is_match(text),
        }
    }

    /// Formats the value as TOML.
    pub(crate) fn to_toml(&self) -> String {
        match self {
            Self::Exact(text) => quoted(text),
            Self::Matches(pattern, _) => format!("{{ matches = {} }}", quoted(pattern)),
        }
    }
}

/// Formats a text as a TOML string on one line.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if wasmrun_runtime::model::text::is_unsafe(c) => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text:?}"),
            Self::Matches(pattern, _) => write!(f, "a match of {pattern:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const FORM: &str = "text in quotes, or { matches = \"PATTERN\" }";
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORM)
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text::Exact(text.to_owned()))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let wrong = || de::Error::custom(format_args!("expected {FORM}"));
                let Some((key, pattern)) = map.next_entry::<String, String>()? else { return Err(wrong()) };
                if key != "matches" || map.next_key::<String>()?.is_some() {
                    return Err(wrong());
                }
                pattern_of(&pattern)
                    .map(|regex| Text::Matches(pattern, Box::new(regex)))
                    .map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// Compiles a pattern. Matching takes time linear in the text.
fn pattern_of(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("the pattern is longer than {MAX_PATTERN_BYTES} bytes"));
    }
    let config = Regex::config().nfa_size_limit(Some(MAX_REGEX_BYTES)).hybrid_cache_capacity(MAX_REGEX_BYTES);
    Regex::builder()
        .configure(config)
        .build(pattern)
        .map_err(|_| format!("{pattern:?} is no regular expression, or too large a one"))
}

impl Written for OutcomeKind {
    const FORM: &'static str =
        "completed, retry, rejected, limit-exceeded, timed-out, trapped, host-failed or expired";

    fn read(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(expected::<Self>)
    }
}

/// A point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) SystemTime);

impl Written for Time {
    const FORM: &'static str = "a time such as \"2026-11-24T15:00:00Z\"";

    fn read(text: &str) -> Result<Self, String> {
        humantime::parse_rfc3339_weak(text).map(Self).map_err(|_| expected::<Self>())
    }
}

/// Grant of a store in a case: its mode, and the URL under which messages announce its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaseStore {
    /// Ends with `/`.
    pub(crate) url: String,
    pub(crate) mode: Mode,
}

/// Parses the grant of a store: `MODE` or `URL:MODE`.
pub(crate) fn case_store(alias: &str, value: &str) -> Result<CaseStore, String> {
    let (url, mode) = match value.rsplit_once(':') {
        Some((url, mode)) if !url.is_empty() => (url.trim_end_matches('/').to_owned(), mode),
        _ => (format!("memory:{alias}"), value),
    };
    let mode = mode.parse().map_err(|error| {
        format!("the store {alias} = {value:?} has an {error}, such as \"rw\" or \"s3://BUCKET:rw\"")
    })?;
    Ok(CaseStore { url: url + "/", mode })
}

fn stores<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    named_texts(deserializer, |alias, value| well_formed_alias(alias).and(case_store(alias, value).map(drop)))
}

fn check_aliases<'a>(aliases: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    aliases.into_iter().try_for_each(|alias| well_formed_alias(alias))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_exact_or_a_pattern() {
        let file =
            CaseFile::parse("[expect]\nreason = 'a.c'\nlog = [{ matches = '^a.c$' }]\n").expect("valid");
        let (reason, log) = (file.expect.reason.expect("a reason"), file.expect.log.expect("lines"));
        assert!(reason.fits("a.c") && !reason.fits("abc"));
        assert!(log[0].fits("abc") && !log[0].fits("abcd"));
        assert_eq!(log[0].to_toml(), "{ matches = \"^a.c$\" }");
    }

    #[test]
    fn a_quoted_text_is_read_as_it_was() {
        for text in ["", "a\"b\\c", "a\nb\tc\r\u{1b}\u{202e}ü\u{7f}", "'''\"\"\""] {
            let toml = format!("message = {}", quoted(text));
            assert_eq!(toml.lines().count(), 1);
            assert_eq!(CaseFile::parse(&toml).expect("valid").message.as_deref(), Some(text));
        }
    }

    #[test]
    fn a_budget_is_exceeded_beyond_its_tolerance() {
        let expect = Expect::default();
        assert!(!expect.is_over(1020, 1000) && expect.is_over(1021, 1000));
        let exact = Expect { tolerance: Some(0.0), ..Expect::default() };
        assert!(!exact.is_over(1000, 1000) && exact.is_over(1001, 1000));
        // A tolerance that makes no sense doesn't switch the check off.
        for wrong in [f64::NAN, f64::INFINITY, -50.0] {
            let wrong = Expect { tolerance: Some(wrong), ..Expect::default() };
            assert!(wrong.is_over(1021, 1000), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_case_is_said_with_its_line() {
        for (toml, says) in [
            ("mesage = 'x'", "line 1, at mesage: unknown key mesage: did you mean message?"),
            ("[expect]\noutcome = 'fine'", "line 2, at 'fine': expected completed, retry"),
            ("[expect]\nreason = { matches = '(' }", "no regular expression"),
            ("[expect]\nreason = { like = 'x' }", "expected text in quotes, or { matches"),
            ("[expect]\nreason = 5", "expected text in quotes, or { matches"),
            ("[store]\ninput = 'x'", "unknown mode"),
            ("[store]\nIn = 'ro'", "alias \"In\""),
            ("send = ['Next']", "alias \"Next\""),
            ("sent-at = 'noon'", "expected a time"),
        ] {
            let error = CaseFile::parse(toml).expect_err(toml).to_string();
            assert!(error.contains(says), "{toml}: {error}");
        }
    }

    #[test]
    fn a_store_has_a_mode_and_may_have_a_url() {
        let store = |value: &str| case_store("input", value).map(|store| (store.url, store.mode));
        assert_eq!(store("ro"), Ok(("memory:input/".into(), Mode::ReadOnly)));
        assert_eq!(store("s3://photos/:rw"), Ok(("s3://photos/".into(), Mode::ReadWrite)));
        assert!(store("s3://photos").is_err());
    }
}
