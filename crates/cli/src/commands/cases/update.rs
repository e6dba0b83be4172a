//! Writes what was seen of a task into its case.

use super::judge::{Finding, Part, attributes_of};
use crate::output::files::replace;
use crate::settings::project::{CASE_FILE, CaseFile, Expect, ExpectedObject, SentMessage, Text, quoted};
use crate::wiring::cases::{Case, Observed, expected_path};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use wasmrun_runtime::model::message::OutgoingMessage;
use wasmrun_runtime::model::outcome::OutcomeKind;

/// Writes what was seen into a case that fails, or that has no budget yet: the latter gets everything that it doesn't
/// mention, the former what it mentions. What passes stays as it is. Returns whether anything was written.
///
/// # Errors
///
/// Says why the case can't be written.
pub(super) fn update(case: &Case, seen: &Observed, findings: &[Finding]) -> Result<bool, String> {
    let expect = &case.file.expect;
    if findings.is_empty() && expect.max_fuel.is_some() {
        return Ok(false);
    }
    let objects = Objects::of(case, seen, findings);
    let section = Section { expect, seen, findings, is_first: expect.max_fuel.is_none() };
    let text = with_section(&case.text, &section.text(&objects.listed))?;
    objects.write(case)?;
    let path = case.directory.join(CASE_FILE);
    // An empty file would be a valid case.
    write(&path, text.as_bytes()).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(true)
}

/// Replaces a file in one step.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    replace(path, None, |file| file.write_all(content)).map(drop)
}

/// The objects that a case expects from now on.
struct Objects<'a> {
    /// Entries of `[expect.objects]`, as TOML. `None` leaves the table out.
    listed: Option<BTreeMap<String, String>>,
    /// Alias, key and content of the files in `expected`.
    files: Vec<(&'a str, &'a str, &'a [u8])>,
}

impl<'a> Objects<'a> {
    fn of(case: &'a Case, seen: &'a Observed, findings: &[Finding]) -> Self {
        let expect = &case.file.expect;
        if case.expected.is_none() && expect.objects.is_none() && expect.max_fuel.is_some() {
            return Self { listed: None, files: Vec::new() };
        }
        let is_wrong = |name: &str| findings.iter().any(|finding| finding.object.as_deref() == Some(name));
        let kept: BTreeMap<&str, &ExpectedObject> = expect
            .objects
            .iter()
            .flatten()
            .map(|(name, object)| (name.as_str(), object))
            .filter(|(name, _)| !is_wrong(name))
            .collect();
        let mut listed: BTreeMap<String, String> =
            kept.iter().map(|(name, object)| ((*name).to_owned(), object.to_toml())).collect();
        let mut files = Vec::new();
        for (alias, objects) in &seen.objects {
            let given = case.given.get(alias);
            for (key, object) in objects {
                let is_given =
                    given.is_some_and(|given| given.get(key).is_some_and(|it| *it == object.content));
                let entry = kept.get(&*format!("{alias}/{key}"));
                let is_described = entry.is_some_and(|entry| entry.content.is_some());
                if !is_given && !is_described {
                    files.push((alias.as_str(), key.as_str(), object.content.as_slice()));
                }
            }
            for key in given.into_iter().flat_map(BTreeMap::keys).filter(|key| !objects.contains_key(*key)) {
                listed.insert(format!("{alias}/{key}"), "{ absent = true }".into());
            }
        }
        let is_needed = !listed.is_empty() || (files.is_empty() && !seen.objects.is_empty());
        Self { listed: is_needed.then_some(listed), files }
    }

    /// Replaces the files in `expected`.
    fn write(&self, case: &Case) -> Result<(), String> {
        let failed = |path: &Path, error| format!("cannot write {}: {error}", path.display());
        let paths: Vec<(PathBuf, &[u8])> = self
            .files
            .iter()
            .map(|(alias, key, content)| Ok((expected_path(&case.directory, alias, key)?, *content)))
            .collect::<Result<_, String>>()?;
        for (alias, objects) in case.expected.iter().flatten() {
            for key in objects.keys() {
                let path = expected_path(&case.directory, alias, key)?;
                if !paths.iter().any(|(kept, _)| *kept == path) {
                    fs::remove_file(&path).map_err(|error| failed(&path, error))?;
                    // Directories that aren't empty stay.
                    let above = path.ancestors().skip(1).take_while(|above| *above != case.directory);
                    let _ = above.map(fs::remove_dir).take_while(Result::is_ok).count();
                }
            }
        }
        for (path, content) in &paths {
            let parent = path.parent().unwrap_or(&case.directory);
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
            write(path, content).map_err(|error| failed(path, error))?;
        }
        Ok(())
    }
}

/// What the new table `[expect]` is made of.
struct Section<'a> {
    expect: &'a Expect,
    seen: &'a Observed,
    findings: &'a [Finding],
    /// What isn't mentioned is added.
    is_first: bool,
}

impl Section<'_> {
    fn failed(&self, part: Part) -> bool {
        self.findings.iter().any(|finding| finding.part == part)
    }

    /// Returns the expectation that stays as it is.
    fn kept<'a, T>(&self, expected: &'a Option<T>, part: Part) -> Option<&'a T> {
        expected.as_ref().filter(|_| !self.failed(part))
    }

    /// Returns whether what was seen is written.
    fn takes<T>(&self, expected: &Option<T>, part: Part) -> bool {
        if expected.is_some() { self.failed(part) } else { self.is_first }
    }

    /// Returns the table. `objects` are the entries of `[expect.objects]`.
    fn text(&self, objects: &Option<BTreeMap<String, String>>) -> String {
        let Self { expect, seen, .. } = self;
        let mut text = "[expect]\n".to_owned();
        let mut add = |key: &str, value: String| {
            let _ = writeln!(text, "{key} = {value}");
        };
        let (outcome, usage) = (&seen.report.outcome, &seen.report.usage);
        if outcome.kind() != OutcomeKind::Completed || expect.outcome.is_some() {
            add("outcome", quoted(outcome.kind().as_str()));
        }
        if let Some(expected) = self.kept(&expect.reason, Part::Reason) {
            add("reason", expected.to_toml());
        } else if let Some(reason) = outcome
            .reason()
            .filter(|_| self.takes(&expect.reason, Part::Reason) || self.failed(Part::Outcome))
        {
            add("reason", quoted(reason));
        }
        let fuel = self.kept(&expect.max_fuel, Part::Fuel).copied().unwrap_or(usage.fuel);
        add("max-fuel", fuel.to_string());
        let memory = self.kept(&expect.max_memory, Part::Memory).map(|size| size.0);
        let seen_memory = self.takes(&expect.max_memory, Part::Memory).then_some(usage.peak_memory_bytes);
        if let Some(bytes) = memory.or(seen_memory) {
            let is_round = bytes.is_multiple_of(1 << 10);
            add("max-memory", if is_round { format!("\"{}KiB\"", bytes >> 10) } else { bytes.to_string() });
        }
        if let Some(tolerance) = expect.tolerance {
            add("tolerance", format!("{tolerance:?}"));
        }
        let lines = seen.log.iter().filter(|line| line.is_guests).map(|line| quoted(&line.text));
        let seen_lines: Vec<String> = lines.collect();
        if let Some(lines) = self.kept(&expect.log, Part::Log) {
            add("log", list(lines.iter().map(Text::to_toml)));
        } else if self.takes(&expect.log, Part::Log) && !seen_lines.is_empty() {
            add("log", list(seen_lines));
        }
        if objects.as_ref().is_some_and(BTreeMap::is_empty) {
            add("objects", "{}".into());
        }
        let sent = self.sent();
        if sent.as_ref().is_some_and(Vec::is_empty) {
            add("sent", "{}".into());
        }
        if let Some(objects) = objects.as_ref().filter(|objects| !objects.is_empty()) {
            text.push_str("\n[expect.objects]\n");
            for (name, value) in objects {
                let _ = writeln!(text, "{} = {value}", quoted(name));
            }
        }
        for (queue, lines) in sent.iter().flatten() {
            let _ = writeln!(text, "\n[[expect.sent.{queue}]]\n{}", lines.join("\n"));
        }
        text
    }

    /// Returns the lines of each expected message, with its queue. `None`: messages aren't mentioned.
    fn sent(&self) -> Option<Vec<(&str, Vec<String>)>> {
        let Self { expect, seen, .. } = self;
        if let Some(sent) = self.kept(&expect.sent, Part::Sent) {
            return Some(by_queue(sent, SentMessage::to_toml));
        }
        let is_written = self.takes(&expect.sent, Part::Sent) && !seen.sent.is_empty();
        is_written.then(|| by_queue(&seen.sent, |message| SentMessage::exactly(message).to_toml()))
    }
}

/// Returns the lines of each message, with its queue.
fn by_queue<T>(
    sent: &BTreeMap<String, Vec<T>>,
    lines: impl Fn(&T) -> Vec<String>,
) -> Vec<(&str, Vec<String>)> {
    let messages = sent.iter().flat_map(|(queue, messages)| messages.iter().map(|it| (queue.as_str(), it)));
    messages.map(|(queue, message)| (queue, lines(message))).collect()
}

impl SentMessage {
    /// Returns the expectation of a message that was seen.
    fn exactly(message: &OutgoingMessage) -> Self {
        let attributes = attributes_of(message).into_iter().map(|(name, value)| (name, Text::Exact(value)));
        Self {
            body: Some(Text::Exact(message.body.clone())),
            attributes: (!message.attributes.is_empty()).then(|| attributes.collect()),
            group: message.group.clone(),
            delay_seconds: message.delay.map(|delay| delay.as_secs()),
        }
    }

    fn to_toml(&self) -> Vec<String> {
        let Self { body, attributes, group, delay_seconds } = self;
        let mut lines: Vec<String> = body.iter().map(|body| format!("body = {}", body.to_toml())).collect();
        lines.extend(attributes.iter().map(|attributes| {
            let attributes = attributes.iter().map(|(name, value)| (name, value.to_toml()));
            format!("attributes = {}", table(attributes))
        }));
        lines.extend(group.iter().map(|group| format!("group = {}", quoted(group))));
        lines.extend(delay_seconds.iter().map(|delay| format!("delay-seconds = {delay}")));
        lines
    }
}

fn table<'a>(entries: impl Iterator<Item = (&'a String, String)>) -> String {
    inline(entries.map(|(name, value)| format!("{} = {value}", quoted(name))).collect())
}

/// Formats the entries of a table on one line.
fn inline(entries: Vec<String>) -> String {
    if entries.is_empty() { "{}".into() } else { format!("{{ {} }}", entries.join(", ")) }
}

fn list(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<String> = values.into_iter().collect();
    match &values[..] {
        [] => "[]".into(),
        [only] => format!("[{only}]"),
        several => format!("[\n    {},\n]", several.join(",\n    ")),
    }
}

impl ExpectedObject {
    fn to_toml(&self) -> String {
        let Self { content, content_type, cache_control, metadata, absent } = self;
        let mut entries = Vec::new();
        entries.extend(content.iter().map(|content| format!("content = {}", content.to_toml())));
        entries.extend(content_type.iter().map(|kind| format!("content-type = {}", quoted(kind))));
        entries.extend(cache_control.iter().map(|value| format!("cache-control = {}", quoted(value))));
        entries.extend(metadata.iter().map(|metadata| {
            format!("metadata = {}", table(metadata.iter().map(|(name, value)| (name, quoted(value)))))
        }));
        if *absent {
            entries.push("absent = true".into());
        }
        inline(entries)
    }
}

/// Replaces the table `[expect]` at the end of a case's file, or adds it.
fn with_section(text: &str, section: &str) -> Result<String, String> {
    let is_head = |line: &str| line.starts_with("[expect") || line.starts_with("[[expect");
    let at: usize = text.split_inclusive('\n').take_while(|line| !is_head(line)).map(str::len).sum();
    let before = text[..at].trim_end();
    let new = if before.is_empty() { section.to_owned() } else { format!("{before}\n\n{section}") };
    // The rest of the file must mean the same as before.
    let rest = |text: &str| {
        let mut table: toml::Table = text.parse().ok()?;
        table.remove("expect");
        Some(table)
    };
    if rest(&new).is_none() || rest(&new) != rest(text) || CaseFile::parse(&new).is_err() {
        return Err(format!("cannot update {CASE_FILE}: move the table [expect] to its end"));
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_at_the_end_is_replaced_and_the_rest_stays() {
        let section = "[expect]\nmax-fuel = 7\n";
        for (before, after) in [
            ("", "[expect]\nmax-fuel = 7\n"),
            ("# a note\nmessage = 'x'\n", "# a note\nmessage = 'x'\n\n[expect]\nmax-fuel = 7\n"),
            (
                "message = 'x' # kept\n[expect]\nmax-fuel = 5\n[[expect.sent.next]]\nbody = 'b'\n",
                "message = 'x' # kept\n\n[expect]\nmax-fuel = 7\n",
            ),
        ] {
            assert_eq!(with_section(before, section).as_deref(), Ok(after));
        }
    }

    #[test]
    fn a_table_that_is_not_at_the_end_is_left_alone() {
        for text in [
            "[expect]\nmax-fuel = 5\n[limits]\nfuel = 9\n",
            "expect = { max-fuel = 5 }\n",
            "expect.max-fuel = 5\n",
        ] {
            let error = with_section(text, "[expect]\nmax-fuel = 7\n").expect_err(text);
            assert!(error.contains("move the table [expect] to its end"), "{error}");
        }
    }
}
