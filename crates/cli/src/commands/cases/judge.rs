//! Compares what is seen of a task with what its case expects.

use super::diff::{difference, short};
use crate::output::show::{change, size};
use crate::settings::project::{ExpectedObject, SentMessage, Text};
use crate::wiring::cases::{Case, Observed, SeenObject};
use std::collections::{BTreeMap, BTreeSet};
use wasmrun_runtime::model::message::{AttributeValue, OutgoingMessage};
use wasmrun_runtime::model::outcome::OutcomeKind;

/// Part of an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Outcome,
    Reason,
    Log,
    Sent,
    Object,
    Fuel,
    Memory,
}

/// One difference between what was expected and what was seen.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) part: Part,
    /// `ALIAS/KEY` of an object.
    pub(super) object: Option<String>,
    pub(super) what: String,
    pub(super) lines: Vec<String>,
}

impl Finding {
    fn new(part: Part, what: String) -> Self {
        Self { part, object: None, what, lines: Vec::new() }
    }

    fn object(name: &str, what: &str, lines: Vec<String>) -> Self {
        let what = format!("object {}: {what}", short(name));
        Self { part: Part::Object, object: Some(name.to_owned()), what, lines }
    }
}

/// Returns all differences, in the order in which a user looks at them.
pub(super) fn judge(case: &Case, seen: &Observed) -> Vec<Finding> {
    let mut findings = Vec::new();
    outcome(case, seen, &mut findings);
    objects(case, seen, &mut findings);
    sent(case, seen, &mut findings);
    log(case, seen, &mut findings);
    budgets(case, seen, &mut findings);
    findings
}

fn outcome(case: &Case, seen: &Observed, findings: &mut Vec<Finding>) {
    let (expect, outcome) = (&case.file.expect, &seen.report.outcome);
    let expected = expect.outcome.unwrap_or(OutcomeKind::Completed);
    let reason = outcome.reason().unwrap_or_default();
    if outcome.kind() != expected {
        let mut finding = Finding::new(
            Part::Outcome,
            format!("outcome: {} expected, {} seen", expected.as_str(), outcome.kind().as_str()),
        );
        if !reason.is_empty() {
            finding.lines.push(format!("reason: {reason}"));
        }
        finding
            .lines
            .extend(seen.report.host_error.iter().map(|error| format!("host error: {}", error.text)));
        findings.push(finding);
    }
    if let Some(expected) = expect.reason.as_ref().filter(|expected| !expected.fits(reason)) {
        let what = format!("reason: {expected} expected, {reason:?} seen");
        findings.push(Finding::new(Part::Reason, what));
    }
}

/// What an object is expected to be.
#[derive(Default)]
struct Wanted<'a> {
    /// Neither is set: any content.
    bytes: Option<&'a [u8]>,
    text: Option<&'a Text>,
    content_type: Option<&'a str>,
    cache_control: Option<&'a str>,
    metadata: Option<&'a BTreeMap<String, String>>,
}

/// Returns what is expected of each store that the task may write to: the given objects, those in `expected`, and those
/// in the case's file. Returns `None` if the case mentions no object.
fn wanted<'a>(case: &'a Case, seen: &Observed) -> Option<BTreeMap<String, Wanted<'a>>> {
    let listed = &case.file.expect.objects;
    if case.expected.is_none() && listed.is_none() {
        return None;
    }
    let given = case.given.iter().filter(|(alias, _)| seen.objects.contains_key(*alias));
    let mut wanted = BTreeMap::new();
    for (alias, objects) in given.chain(case.expected.iter().flatten()) {
        for (key, content) in objects {
            let object = Wanted { bytes: Some(content), ..Wanted::default() };
            wanted.insert(format!("{alias}/{key}"), object);
        }
    }
    for (name, expected) in listed.iter().flatten() {
        let ExpectedObject { content, content_type, cache_control, metadata, absent } = expected;
        if *absent {
            wanted.remove(name);
            continue;
        }
        let in_file = is_in_expected(case, name);
        let object = wanted.entry(name.clone()).or_default();
        object.content_type = content_type.as_deref();
        object.cache_control = cache_control.as_deref();
        object.metadata = metadata.as_ref();
        // The content of a given object isn't expected any more, but that of a file in `expected` is.
        if content.is_some() || !in_file {
            (object.bytes, object.text) = (None, content.as_ref());
        }
    }
    Some(wanted)
}

fn is_in_expected(case: &Case, name: &str) -> bool {
    let Some((alias, key)) = name.split_once('/') else { return false };
    case.expected.as_ref().is_some_and(|all| all.get(alias).is_some_and(|objects| objects.contains_key(key)))
}

fn objects(case: &Case, seen: &Observed, findings: &mut Vec<Finding>) {
    let Some(wanted) = wanted(case, seen) else { return };
    let found: BTreeMap<String, &SeenObject> = seen
        .objects
        .iter()
        .flat_map(|(alias, objects)| {
            objects.iter().map(move |(key, object)| (format!("{alias}/{key}"), object))
        })
        .collect();
    let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    for name in names {
        match (wanted.get(name), found.get(name)) {
            (Some(wanted), Some(object)) => compare(name, wanted, object, findings),
            (Some(_), None) => findings.push(Finding::object(name, "it is missing", Vec::new())),
            (None, Some(object)) => {
                let what = format!("it was not expected, and has {}", size(object.content.len() as u64));
                findings.push(Finding::object(name, &what, Vec::new()));
            }
            (None, None) => {}
        }
    }
}

fn compare(name: &str, wanted: &Wanted<'_>, object: &SeenObject, findings: &mut Vec<Finding>) {
    let unlike = match (wanted.bytes, wanted.text) {
        (Some(bytes), _) => unlike_bytes("content", bytes, &object.content),
        (None, Some(text)) => unlike_text("content", text, &object.content),
        (None, None) => None,
    };
    findings.extend(unlike.map(|(what, lines)| Finding::object(name, &what, lines)));
    for (noun, expected, seen) in [
        ("content type", wanted.content_type, &object.content_type),
        ("cache control", wanted.cache_control, &object.cache_control),
    ] {
        if let Some(expected) = expected.filter(|expected| seen.as_deref() != Some(expected)) {
            let what =
                format!("{noun} {expected} expected, {} seen", short(seen.as_deref().unwrap_or("none")));
            findings.push(Finding::object(name, &what, Vec::new()));
        }
    }
    if let Some(expected) = wanted.metadata.filter(|expected| **expected != object.metadata) {
        let what = format!("metadata {expected:?} expected, {:?} seen", object.metadata);
        findings.push(Finding::object(name, &short(&what), Vec::new()));
    }
}

fn sent(case: &Case, seen: &Observed, findings: &mut Vec<Finding>) {
    let Some(expected) = &case.file.expect.sent else { return };
    let queues: BTreeSet<&String> = expected.keys().chain(seen.sent.keys()).collect();
    for queue in queues {
        let expected = expected.get(queue).map(Vec::as_slice).unwrap_or_default();
        let sent = seen.sent.get(queue).map(Vec::as_slice).unwrap_or_default();
        let shown = |message: &OutgoingMessage| vec![format!("+ {}", short(&message.body))];
        for number in 0..expected.len().max(sent.len()) {
            let place = format!("message {} to {queue}", number + 1);
            let finding = match (expected.get(number), sent.get(number)) {
                (Some(expected), Some(message)) => match unlike_message(expected, message) {
                    Some((what, lines)) => (format!("{place}: {what}"), lines),
                    None => continue,
                },
                (Some(SentMessage { body, .. }), None) => {
                    let body = body.iter().map(|body| format!("- {}", short(&body.to_string())));
                    (format!("{place}: it was not sent"), body.collect())
                }
                (None, Some(message)) => (format!("{place}: it was not expected"), shown(message)),
                (None, None) => continue,
            };
            findings.push(Finding { lines: finding.1, ..Finding::new(Part::Sent, finding.0) });
        }
    }
}

/// Returns how a body or content differs from what is expected, if it does. `noun` names it.
fn unlike_text(noun: &str, expected: &Text, seen: &[u8]) -> Option<(String, Vec<String>)> {
    if let Text::Exact(exact) = expected {
        return unlike_bytes(noun, exact.as_bytes(), seen);
    }
    let seen = String::from_utf8_lossy(seen);
    (!expected.fits(&seen)).then(|| (format!("{expected} expected"), vec![format!("+ {}", short(&seen))]))
}

fn unlike_bytes(noun: &str, expected: &[u8], seen: &[u8]) -> Option<(String, Vec<String>)> {
    (expected != seen).then(|| (format!("its {noun} differs"), difference(expected, seen)))
}

/// Returns how a message differs from what is expected, if it does.
fn unlike_message(expected: &SentMessage, message: &OutgoingMessage) -> Option<(String, Vec<String>)> {
    let SentMessage { body, attributes, group, delay_seconds } = expected;
    let unlike = body.as_ref().and_then(|body| unlike_text("body", body, message.body.as_bytes()));
    if unlike.is_some() {
        return unlike;
    }
    if let Some(expected) = attributes {
        let seen = attributes_of(message);
        let fits = expected.len() == seen.len()
            && expected.iter().all(|(name, value)| seen.get(name).is_some_and(|seen| value.fits(seen)));
        if !fits {
            let mut lines: Vec<String> =
                expected.iter().map(|(name, value)| short(&format!("- {name} = {value}"))).collect();
            lines.extend(seen.iter().map(|(name, value)| short(&format!("+ {name} = {value:?}"))));
            return Some(("its attributes differ".into(), lines));
        }
    }
    if group.is_some() && *group != message.group {
        return Some((format!("group {group:?} expected, {:?} seen", message.group), Vec::new()));
    }
    let delay = message.delay.map(|delay| delay.as_secs());
    (delay_seconds.is_some() && *delay_seconds != delay)
        .then(|| (format!("delay {delay_seconds:?} expected, {delay:?} seen"), Vec::new()))
}

/// Returns the attributes of a message as text.
pub(super) fn attributes_of(message: &OutgoingMessage) -> BTreeMap<String, String> {
    let text = |value: &AttributeValue| match value {
        AttributeValue::Text(text) | AttributeValue::Number(text) => text.clone(),
        AttributeValue::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    };
    message.attributes.iter().map(|attribute| (attribute.name.clone(), text(&attribute.value))).collect()
}

fn log(case: &Case, seen: &Observed, findings: &mut Vec<Finding>) {
    let mut lines = seen.log.iter().filter(|line| line.is_guests).map(|line| line.text.as_str());
    let mut after = String::new();
    for expected in case.file.expect.log.iter().flatten() {
        if !lines.any(|line| expected.fits(line)) {
            let what = format!("log: no line is {expected}{after}");
            findings.push(Finding::new(Part::Log, what));
            return;
        }
        after = format!(", after {expected}");
    }
}

fn budgets(case: &Case, seen: &Observed, findings: &mut Vec<Finding>) {
    let (expect, usage) = (&case.file.expect, &seen.report.usage);
    let tolerance = expect.tolerance();
    if let Some(most) = expect.max_fuel.filter(|most| expect.is_over(usage.fuel, *most)) {
        let what = format!(
            "fuel: at most {most} expected, {} seen: {}, with a tolerance of {tolerance} %",
            usage.fuel,
            change(usage.fuel, most)
        );
        findings.push(Finding::new(Part::Fuel, what));
    }
    let memory = usage.peak_memory_bytes;
    if let Some(most) = expect.max_memory.filter(|most| expect.is_over(memory, most.0)) {
        let what = format!(
            "memory: at most {} expected, {} seen: {}, with a tolerance of {tolerance} %",
            size(most.0),
            size(memory),
            change(memory, most.0)
        );
        findings.push(Finding::new(Part::Memory, what));
    }
}
