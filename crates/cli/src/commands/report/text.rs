//! Formats the report as text or JSON.

use super::cost::Cost;
use super::split::{Group, MOST_VALUES, Split};
use super::totals::{Heaviest, HeavyTask, Outcomes, Totals, outcome_names};
use crate::output::show::{amount, count, size, spreads, time};
use crate::wiring::usage_records::record::{HttpTraffic, Traffic};
use crate::wiring::usage_records::{BadLines, cut};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::time::Duration;
use wasmrun_runtime::model::distribution::Quantity;
use wasmrun_runtime::model::text::OneLine;

/// Width of the first column.
const WIDTH: usize = 15;

pub(super) fn text(totals: &Totals, bad: &BadLines) -> String {
    let mut text = String::new();
    summary(&mut text, totals, bad);
    if totals.tasks > 0 {
        let _ = write!(text, "\n{}", spreads(&totals.distributions.spreads(), WIDTH));
        over_time(&mut text, totals);
        totals.heaviest.iter().for_each(|heaviest| heaviest_tasks(&mut text, heaviest));
        costs(&mut text, totals);
        if let Some(split) = &totals.split {
            split_by_field(&mut text, totals, split);
        }
    }
    text.trim_end().to_owned()
}

fn summary(text: &mut String, totals: &Totals, bad: &BadLines) {
    match totals.span {
        None => line(text, "tasks", "0".to_owned()),
        Some((first, last)) => {
            let span = u64::try_from(last.duration_since(first).as_micros()).unwrap_or(u64::MAX);
            let (first, last) = (shown_time(first.as_second()), shown_time(last.as_second()));
            line(text, "tasks", format!("{}, from {first} to {last} UTC, {}", totals.tasks, time(span)));
        }
    }
    if let Some(first) = &bad.first {
        let (file, error) = (OneLine(&first.file), OneLine(&first.error));
        let lines = if bad.count == 1 { "line that is no record" } else { "lines that are no records" };
        line(
            text,
            "skipped",
            format!("{} {lines}; the first is line {} of {file}: {error}", bad.count, first.line),
        );
    }
    let outcomes = outcome_names().zip(totals.outcomes).filter(|(_, count)| *count > 0);
    for (index, (outcome, count)) in outcomes.enumerate() {
        line(text, if index == 0 { "outcomes" } else { "" }, format!("{count} {outcome}"));
    }
    for (index, (limit, count)) in totals.limits.iter().enumerate() {
        line(text, if index == 0 { "limits hit" } else { "" }, format!("{count} {limit}"));
    }
    let sums = &totals.sums;
    line(text, "CPU time", time(sums.cpu_us));
    let [start, compute, blocked, ready] =
        [sums.start_us, sums.compute_us, sums.blocked_us, sums.ready_us].map(time);
    line(
        text,
        "wall time",
        format!(
            "{}: {start} to start, {compute} computing, {blocked} waiting for the host, {ready} waiting for a thread",
            time(sums.wall_us)
        ),
    );
    line(text, "fuel", count(sums.fuel));
    line(text, "read, written", format!("{}, {}", size(sums.bytes_read), size(sums.bytes_written)));
    line(
        text,
        "calls",
        format!(
            "{} to stores, queues and buckets, {} refused for want of a grant",
            sums.calls, sums.refusals
        ),
    );
    traffic(text, totals);
}

/// Writes what went to and came from stores, buckets, queues and HTTP servers.
fn traffic(text: &mut String, totals: &Totals) {
    for (title, all) in [("stores", &totals.stores), ("buckets", &totals.buckets)] {
        for (index, (alias, traffic)) in all.iter().enumerate() {
            let Traffic { calls, bytes_read, bytes_written, .. } = *traffic;
            let traffic =
                format!("{calls} calls, {} read, {} written", size(bytes_read), size(bytes_written));
            line(text, if index == 0 { title } else { "" }, format!("{alias}: {traffic}"));
        }
    }
    for (index, (alias, queue)) in totals.queues.iter().enumerate() {
        let Traffic { calls, messages, bytes_written, .. } = *queue;
        let traffic = format!("{calls} calls, {messages} messages, {} written", size(bytes_written));
        line(text, if index == 0 { "queues" } else { "" }, format!("{alias}: {traffic}"));
    }
    let HttpTraffic { requests, bytes_sent, bytes_received } = totals.http;
    if requests > 0 {
        let traffic = format!("{} sent, {} received", size(bytes_sent), size(bytes_received));
        line(text, "HTTP", format!("{requests} requests, {traffic}"));
    }
}

/// Writes a line with a title, which is empty where the line belongs to the previous one.
fn line(text: &mut String, title: &str, rest: String) {
    let _ = writeln!(text, "{title:<WIDTH$}{rest}");
}

fn over_time(text: &mut String, totals: &Totals) {
    let timeline = &totals.timeline;
    let width = humantime::format_duration(Duration::from_secs(timeline.width().unsigned_abs()));
    let columns = OutcomeColumns::of(totals);
    let heads = columns.heads();
    let _ = writeln!(text, "\noutcomes over time, each line {width}\n{:<21}{:>10}{heads}", "", "tasks");
    for (from, outcomes) in timeline.rows() {
        let (from, tasks, counts) =
            (shown_time(from), outcomes.iter().sum::<u64>(), columns.counts(&outcomes));
        let _ = writeln!(text, "{from:<21}{tasks:>10}{counts}");
    }
}

/// The outcomes that any task has, as the columns of a table.
struct OutcomeColumns(Vec<(usize, &'static str)>);

impl OutcomeColumns {
    fn of(totals: &Totals) -> Self {
        let there = outcome_names().enumerate().filter(|(outcome, _)| totals.outcomes[*outcome] > 0);
        Self(there.collect())
    }

    fn heads(&self) -> String {
        self.row(|_, name| name.to_owned())
    }

    fn counts(&self, outcomes: &[u64]) -> String {
        self.row(|outcome, _| outcomes[outcome].to_string())
    }

    fn row(&self, cell: impl Fn(usize, &str) -> String) -> String {
        let cell =
            |(outcome, name): &(usize, &str)| format!("{:>1$}", cell(*outcome, name), name.len().max(8) + 2);
        self.0.iter().map(cell).collect()
    }
}

fn heaviest_tasks(text: &mut String, heaviest: &Heaviest) {
    if heaviest.tasks.is_empty() {
        return;
    }
    let title = match heaviest.quantity {
        Quantity::PeakMemory => "memory",
        Quantity::Bytes => "bytes read and written",
        _ => "CPU time",
    };
    let _ = writeln!(text, "\nheaviest tasks by {title}");
    for task in &heaviest.tasks {
        let HeavyTask { message_id, receive_count, component, outcome, .. } = task;
        let weight = match heaviest.quantity {
            Quantity::PeakMemory => size(task.peak_memory_bytes),
            Quantity::Bytes => size(task.bytes),
            _ => time(task.cpu_us),
        };
        let why = task.limit.as_ref().or(task.reason.as_ref());
        let why = why.map_or_else(String::new, |why| format!(" ({})", OneLine(why)));
        let (message_id, component, outcome) = (OneLine(message_id), OneLine(component), OneLine(outcome));
        let _ = writeln!(
            text,
            "{weight:>13}  {message_id}, receive {receive_count}  {component}  {outcome}{why}"
        );
    }
}

fn costs(text: &mut String, totals: &Totals) {
    let prices = totals.bill.prices();
    let [region, offer, currency, date] =
        [&prices.region, &prices.offer, &prices.currency, prices.date()].map(OneLine);
    let costs = totals.bill.costs();
    let _ = writeln!(
        text,
        "\nwhat the same work costs elsewhere, in {currency}: prices of {region}, {offer}, as of {date}"
    );
    let _ = writeln!(text, "{:<35}{:>12}{:>24}", "", "these", "a million messages");
    for Cost { way, total, per_million, .. } in &costs {
        let _ = writeln!(text, "{way:<35}{:>12}{:>24}", amount(*total), amount(*per_million));
    }
    for Cost { way, assumptions, .. } in &costs {
        let _ = writeln!(text, "- {way}: {assumptions}");
    }
    let sources = prices.sources().join("; ");
    let _ =
        writeln!(text, "- Not counted: the queue, stores, traffic, logs. Prices from {}.", OneLine(&sources));
}

/// Writes the values of the field at the end of the lines, as they may be long.
fn split_by_field(text: &mut String, totals: &Totals, split: &Split) {
    let (listed, others) = split.listed(&totals.bill);
    // A sender may choose any key, also one that looks like the sum of the others.
    let quoted = |value: String| if value.starts_with('(') { format!("\"{value}\"") } else { value };
    let listed = listed.iter().map(|(value, group)| (quoted(cut(&value.to_string())), *group));
    let others = (others.tasks() > 0).then_some(("(others)".to_owned(), &others));
    let rows: Vec<(String, &Group)> = listed.chain(others).collect();
    let currency = OneLine(&totals.bill.prices().currency);
    let (field, fields) = (split.by.field(), split.by.fields());
    let _ = writeln!(text, "\nby {field}, largest cost of a Fargate service first, costs in {currency}");
    let _ = writeln!(
        text,
        "{:>9}{:>10}{:>12}{:>15}{:>17}{:>14}  {field}",
        "tasks", "CPU time", "bytes", "Fargate tasks", "Fargate service", "Lambda"
    );
    for (value, group) in &rows {
        let Group { sums, work, .. } = group;
        let bytes = size(sums.bytes_read.saturating_add(sums.bytes_written));
        let [tasks, service, lambda] = totals.bill.parts(work).map(amount);
        let (count, cpu) = (group.tasks(), time(sums.cpu_us));
        let _ = writeln!(text, "{count:>9}{cpu:>10}{bytes:>12}{tasks:>15}{service:>17}{lambda:>14}  {value}");
    }
    if !split.is_exact() {
        let _ = writeln!(
            text,
            "- There are more than {MOST_VALUES} {fields}: some tasks of a listed {field} may be counted under (others)."
        );
    }
    outcomes_by_field(text, totals, field, &rows);
}

fn outcomes_by_field(text: &mut String, totals: &Totals, field: &str, rows: &[(String, &Group)]) {
    let columns = OutcomeColumns::of(totals);
    let _ = writeln!(text, "\noutcomes by {field}\n{:>9}{}  {field}", "tasks", columns.heads());
    for (value, group) in rows {
        let _ = writeln!(text, "{:>9}{}  {value}", group.tasks(), columns.counts(&group.outcomes));
    }
}

/// Formats a time to the second, in UTC and without a time zone.
fn shown_time(second: i64) -> String {
    Timestamp::from_second(second)
        .map_or_else(|_| second.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

pub(super) fn json(totals: &Totals, bad: &BadLines) -> Value {
    let prices = totals.bill.prices();
    let spreads: Map<String, Value> = totals
        .distributions
        .spreads()
        .iter()
        .map(|(quantity, spread)| (quantity.as_str().to_owned(), json!(spread)))
        .collect();
    let heaviest: Map<String, Value> = totals
        .heaviest
        .iter()
        .map(|heaviest| (heaviest.quantity.as_str().to_owned(), json!(heaviest.tasks)))
        .collect();
    let rows: Vec<Value> = totals
        .timeline
        .rows()
        .map(|(from, outcomes)| json!({"from": iso(from), "tasks": outcomes.iter().sum::<u64>(), "outcomes": by_name(&outcomes)}))
        .collect();
    let mut report = json!({
        "tasks": totals.tasks,
        "bad_lines": bad,
        "first": totals.span.map(|(first, _)| first.to_string()),
        "last": totals.span.map(|(_, last)| last.to_string()),
        "outcomes": by_name(&totals.outcomes),
        "limits": totals.limits,
        "usage": totals.sums,
        "stores": totals.stores,
        "queues": totals.queues,
        "buckets": totals.buckets,
        "http": totals.http,
        "spreads": spreads,
        "over_time": {"seconds": totals.timeline.width(), "rows": rows},
        "heaviest": heaviest,
        "costs": {
            "region": prices.region,
            "offer": prices.offer,
            "currency": prices.currency,
            "date": prices.date(),
            "sources": prices.sources(),
            "ways": totals.bill.costs(),
        },
    });
    if let Some(split) = &totals.split {
        report[format!("by_{}", split.by.field())] = json_split(totals, split);
    }
    report
}

fn json_split(totals: &Totals, split: &Split) -> Value {
    let names = totals.bill.costs().map(|cost| cost.name);
    let json_of = |group: &Group| {
        let costs: Map<String, Value> = names
            .iter()
            .zip(totals.bill.parts(&group.work))
            .map(|(name, cost)| ((*name).to_owned(), json!(cost)))
            .collect();
        json!({
            "tasks": group.tasks(),
            "outcomes": by_name(&group.outcomes),
            "usage": group.sums,
            "costs": costs,
        })
    };
    let (listed, others) = split.listed(&totals.bill);
    let rows: Vec<Value> = listed
        .into_iter()
        .map(|(value, group)| {
            let mut row = json_of(group);
            row[split.by.field()] = json!(value.as_str());
            row
        })
        .collect();
    json!({split.by.fields(): rows, "others": json_of(&others), "exact": split.is_exact()})
}

/// Returns the counts of the outcomes that occurred, by name.
fn by_name(outcomes: &Outcomes) -> Map<String, Value> {
    outcome_names()
        .zip(outcomes)
        .filter(|(_, count)| **count > 0)
        .map(|(name, count)| (name.to_owned(), json!(count)))
        .collect()
}

fn iso(second: i64) -> Option<String> {
    Timestamp::from_second(second).ok().map(|time| time.to_string())
}
