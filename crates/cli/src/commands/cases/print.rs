//! Prints the results of cases: as lines for people, as JSON, and as JUnit's XML for CI.

use super::Done;
use crate::output::Output;
use crate::output::show::{change, count, size, time};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use wasmrun_runtime::model::usage::Usage;

/// Maximum number of differences that are shown of a case.
const MAX_FINDINGS: usize = 20;
/// Maximum number of log lines that are shown of a case that fails.
const MAX_LOG_LINES: usize = 20;

/// Prints a line for each case, and what differs in those that fail. Shows the usage next to that in `before`.
pub(super) fn lines(output: &Output, done: &[Done], before: &BTreeMap<String, Usage>) {
    let width = done.iter().map(|done| done.name.chars().count()).max().unwrap_or_default().min(40);
    for case in done {
        let word = match &case.result {
            Ok(ran) if ran.is_updated => "updated",
            _ if case.passed() => "ok",
            _ => "FAILED",
        };
        let usage =
            case.result.as_ref().map(|ran| usage(&ran.usage, before.get(&case.name))).unwrap_or_default();
        output.line(format_args!("{word:<8}{:<width$}  {usage}", case.name));
        if word == "FAILED" {
            details(case).iter().for_each(|line| output.line(format_args!("        {line}")));
        }
    }
    let failed = done.iter().filter(|case| !case.passed()).count();
    let updated = done.iter().filter(|case| case.result.as_ref().is_ok_and(|ran| ran.is_updated)).count();
    let passed = done.len() - failed - updated;
    let updated = if updated > 0 { format!(", {updated} updated") } else { String::new() };
    output.line(format_args!("{passed} passed, {failed} failed{updated}"));
}

/// Formats the usage of a task, next to that of an earlier one.
pub(super) fn usage(usage: &Usage, before: Option<&Usage>) -> String {
    let changed = |now: u64, before: Option<u64>| match before.filter(|before| *before != now && *before > 0)
    {
        Some(before) => format!(" ({})", change(now, before)),
        None => String::new(),
    };
    format!(
        "{} fuel{}, {}{}, {}",
        count(usage.fuel),
        changed(usage.fuel, before.map(|before| before.fuel)),
        size(usage.peak_memory_bytes),
        changed(usage.peak_memory_bytes, before.map(|before| before.peak_memory_bytes)),
        time(usage.wall.as_micros().try_into().unwrap_or(u64::MAX)),
    )
}

/// Returns what differs in a case, and the end of its log.
fn details(case: &Done) -> Vec<String> {
    let ran = match &case.result {
        Ok(ran) => ran,
        Err(error) => return vec![error.clone()],
    };
    let mut lines = Vec::new();
    for finding in ran.findings.iter().take(MAX_FINDINGS) {
        lines.push(finding.what.clone());
        lines.extend(finding.lines.iter().map(|line| format!("  {line}")));
    }
    if ran.findings.len() > MAX_FINDINGS {
        lines.push(format!("… {} more differences", ran.findings.len() - MAX_FINDINGS));
    }
    if !ran.log.is_empty() {
        lines.push("log:".into());
        let hidden = ran.log.len().saturating_sub(MAX_LOG_LINES);
        if hidden > 0 {
            lines.push(format!("  … {hidden} earlier lines"));
        }
        lines.extend(ran.log[hidden..].iter().map(|line| format!("  {} {}", line.level, line.text)));
    }
    lines
}

pub(super) fn json(done: &[Done]) -> serde_json::Value {
    let case = |case: &Done| {
        let ran = case.result.as_ref().ok();
        let findings: Vec<_> = ran
            .map(|ran| ran.findings.iter())
            .into_iter()
            .flatten()
            .map(|finding| json!({"what": finding.what, "lines": finding.lines}))
            .collect();
        json!({
            "name": case.name,
            "passed": case.passed(),
            "updated": ran.is_some_and(|ran| ran.is_updated),
            "seconds": case.elapsed.as_secs_f64(),
            "error": case.result.as_ref().err(),
            "outcome": ran.map(|ran| ran.outcome),
            "reason": ran.and_then(|ran| ran.reason.as_ref()),
            "findings": findings,
            "log": ran.map(|ran| ran.log.iter().map(|line| &line.text).collect::<Vec<_>>()),
            "usage": ran.map(|ran| &ran.usage),
        })
    };
    let passed = done.iter().filter(|case| case.passed()).count();
    json!({
        "passed": passed,
        "failed": done.len() - passed,
        "cases": done.iter().map(case).collect::<Vec<_>>(),
    })
}

/// Formats the results as JUnit's XML, as CI systems read it.
pub(super) fn junit(done: &[Done]) -> String {
    let failed = done.iter().filter(|case| !case.passed()).count();
    let errors = done.iter().filter(|case| case.result.is_err()).count();
    let seconds: f64 = done.iter().map(|case| case.elapsed.as_secs_f64()).sum();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"wasmrun\" tests=\"{}\" failures=\"{}\" errors=\"{errors}\" time=\"{seconds:.6}\">\n",
        done.len(),
        failed - errors,
    );
    for case in done {
        let (name, seconds) = (escaped(&case.name), case.elapsed.as_secs_f64());
        let _ = write!(xml, "<testcase classname=\"cases\" name=\"{name}\" time=\"{seconds:.6}\"");
        if case.passed() {
            xml.push_str("/>\n");
            continue;
        }
        let kind = if case.result.is_err() { "error" } else { "failure" };
        let details = details(case);
        let first = escaped(details.first().map(String::as_str).unwrap_or_default());
        let all = escaped(&details.join("\n"));
        let _ = write!(xml, ">\n<{kind} message=\"{first}\">{all}</{kind}>\n</testcase>\n");
    }
    xml + "</testsuite>\n</testsuites>\n"
}

/// Escapes a text for XML 1.0. Characters that it doesn't allow become U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | ' '..='\u{FFFD}' | '\u{10000}'.. => escaped.push(c),
            _ => escaped.push('\u{FFFD}'),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn junit_holds_any_text() {
        let hostile = "</failure>\u{1b}[2J&\"\u{ffff}".to_owned();
        let done = [Done { name: "a<b".into(), elapsed: Duration::from_millis(1), result: Err(hostile) }];
        let xml = junit(&done);
        assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{xml}");
        assert!(
            xml.contains("name=\"a&lt;b\"") && xml.contains("&lt;/failure&gt;\u{fffd}[2J&amp;&quot;\u{fffd}"),
            "{xml}"
        );
    }
}
