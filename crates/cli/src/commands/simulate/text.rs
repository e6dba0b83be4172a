//! Formats the result of simulations as text or JSON.

use super::{Cost, Point};
use crate::output::show::{amount, count, number, time};
use crate::settings::flags::ModelArgs;
use crate::settings::simulate::Sweep;
use crate::wiring::prices::Prices;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use wasmrun_runtime::model::text::OneLine;
use wasmrun_simulate::report::{Mean, Report, Spread};

/// Width of the first column.
const NAMES: usize = 24;

fn seconds(seconds: f64) -> String {
    time((seconds * 1e6).round() as u64)
}

/// Formats one result.
pub(super) fn one(report: &Report, model: &ModelArgs, prices: &Prices) -> String {
    let mut text = String::new();
    counts(&mut text, report);
    spreads(&mut text, report);
    costs(&mut text, report, model, prices);
    if report.left > 0 {
        let left = count(report.left);
        let _ = write!(text, "\nThe fleet doesn't keep up: {left} messages were left at the end.");
    }
    text
}

/// Writes a line of one result.
fn row(text: &mut String, name: &str, value: String) {
    // Writing to a string doesn't fail.
    let _ = writeln!(text, "{name:<NAMES$}{value}");
}

/// Writes how many messages became what, and what happened to their tasks. Counts that are rarely above zero are left out
/// while they aren't.
fn counts(text: &mut String, report: &Report) {
    row(text, "simulated", seconds(report.simulated_seconds));
    row(text, "messages", count(report.counts.arrived));
    row(text, "completed", count(report.counts.completed));
    for (name, number) in [
        ("dead-lettered", report.counts.dead_lettered),
        ("not settled", report.left),
        ("retries", report.counts.retries),
        ("Spot interruptions", report.counts.interruptions),
        ("deploys", report.counts.deploys),
        ("cancelled tasks", report.counts.cancelled),
        ("starts for nothing", report.counts.stray_starts),
    ] {
        if number > 0 {
            row(text, name, count(number));
        }
    }
    if report.counts.cancelled > 0 {
        row(text, "time lost by them", seconds(report.counts.wasted_seconds));
    }
}

/// Writes how long messages waited, and how much was there.
fn spreads(text: &mut String, report: &Report) {
    let spread = |spread: Option<Spread>| {
        spread.map_or("none".to_owned(), |Spread { mean, p50, p95, p99, max }| {
            let [mean, p50, p95, p99, max] = [mean, p50, p95, p99, max].map(seconds);
            format!("{mean:>11}{p50:>11}{p95:>11}{p99:>11}{max:>11}")
        })
    };
    row(text, "", format!("{:>11}{:>11}{:>11}{:>11}{:>11}", "mean", "p50", "p95", "p99", "max"));
    row(text, "arrival to deletion", spread(report.latency));
    row(text, "arrival to start", spread(report.wait));
    let mean = |Mean { mean, max }| format!("{:>11}{:>44}", number(mean), number(max));
    row(text, "messages that wait", mean(report.backlog));
    row(text, "tasks that run", mean(report.concurrency));
    row(text, "workers", mean(report.workers));
}

/// Writes the work that is paid for, and what it costs.
fn costs(text: &mut String, report: &Report, model: &ModelArgs, prices: &Prices) {
    let counts = &report.counts;
    row(text, "worker hours", number(counts.worker_seconds / 3600.0));
    let [launched, idle] = [counts.launched, counts.idle_starts].map(count);
    row(text, "workers started", format!("{launched}, {idle} of them got no message"));
    row(text, "task seconds", number(report.task_seconds));
    let [receives, empty] = [counts.receives, counts.empty_receives].map(count);
    row(text, "receives", format!("{receives}, {empty} of them empty"));
    let (cost, currency) = (Cost::of(report, model, prices), &prices.currency);
    let per_million = cost
        .per_million(report)
        .map(|each| format!(", {} for a million messages", amount(each)))
        .unwrap_or_default();
    row(text, "cost", format!("{} {currency}{per_million}", amount(cost.total())));
    let size = model.fargate_size();
    let _ = write!(
        text,
        "\nCost: {} for the workers, each with {} vCPU and {} GB ({}, {}, {}; billed by the second, a minute at least), and {} for calls of the queue. Not counted: sending, logs, network.",
        amount(cost.workers),
        size.vcpu,
        size.gb,
        prices.region,
        prices.offer,
        prices.date(),
        amount(cost.requests)
    );
}

/// Formats the results of sweeps, a line each.
pub(super) fn table(results: &[(&Point, &Report)], sweeps: &[Sweep], prices: &Prices) -> String {
    let columns = [
        "p50",
        "p95",
        "p99",
        "most waiting",
        "tasks",
        "workers",
        "at most",
        "hours",
        "cost",
        "per million",
        "left",
    ];
    let mut rows: Vec<Vec<String>> =
        vec![sweeps.iter().map(|sweep| sweep.key.clone()).chain(columns.map(str::to_owned)).collect()];
    for (point, report) in results {
        let cost = Cost::of(report, &point.model, prices);
        let latency =
            |of: fn(Spread) -> f64| report.latency.map_or("none".to_owned(), |spread| seconds(of(spread)));
        let values = [
            latency(|spread| spread.p50),
            latency(|spread| spread.p95),
            latency(|spread| spread.p99),
            count(report.backlog.max as u64),
            number(report.concurrency.mean),
            number(report.workers.mean),
            number(report.workers.max),
            number(report.counts.worker_seconds / 3600.0),
            amount(cost.total()),
            cost.per_million(report).map_or("none".to_owned(), amount),
            count(report.left),
        ];
        rows.push(point.values.iter().cloned().chain(values).collect());
    }
    let currency = &prices.currency;
    format!(
        "{}\n\nLatency: from arrival to deletion. Tasks and workers: means over time. Hours: of all workers. Cost in {currency}.{}",
        aligned(&rows),
        tenants(results, sweeps)
    )
}

/// Formats the rows of tenants of all results, after an empty line; nothing without tenants.
pub(super) fn tenants(results: &[(&Point, &Report)], sweeps: &[Sweep]) -> String {
    if results.iter().all(|(_, report)| report.tenants.is_empty()) {
        return String::new();
    }
    let columns = ["tenant", "messages", "wait p50", "p95", "p99", "longest", "share", "most tasks"];
    let mut rows: Vec<Vec<String>> =
        vec![sweeps.iter().map(|sweep| sweep.key.clone()).chain(columns.map(str::to_owned)).collect()];
    for (point, report) in results {
        for row in &report.tenants {
            let name = OneLine(&row.name).to_string();
            let wait =
                |of: fn(Spread) -> f64| row.wait.map_or("none".to_owned(), |spread| seconds(of(spread)));
            let values = [
                if row.keys == 1 { name } else { format!("{name} ({})", row.keys) },
                count(row.arrived),
                wait(|spread| spread.p50),
                wait(|spread| spread.p95),
                wait(|spread| spread.p99),
                wait(|spread| spread.max),
                format!("{:.1} %", row.task_share * 100.0),
                count(row.most_tasks),
            ];
            rows.push(point.values.iter().cloned().chain(values).collect());
        }
    }
    format!(
        "\n\n{}\n\nWait: from arrival to the start of the first task. Share: of the time of tasks while messages arrive. Most tasks: at once, of all workers.",
        aligned(&rows)
    )
}

/// Formats rows as lines whose columns are aligned.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default())
        .collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().join("  ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the results as JSON: one, or a list with the values of the sweeps.
pub(super) fn json(results: &[(&Point, &Report)], sweeps: &[Sweep], prices: &Prices) -> Value {
    let of = |(point, report): &(&Point, &Report)| {
        let cost = Cost::of(report, &point.model, prices);
        let mut value = serde_json::to_value(report).unwrap_or_default();
        value["cost"] = json!({
            "currency": prices.currency,
            "workers": cost.workers,
            "requests": cost.requests,
            "total": cost.total(),
            "per_million": cost.per_million(report),
        });
        let values =
            sweeps.iter().map(|sweep| sweep.key.clone()).zip(point.values.iter().cloned().map(Value::from));
        if !sweeps.is_empty() {
            value["sweep"] = Value::Object(values.collect::<Map<_, _>>());
            // A sweep compares; the values over time are those of one simulation.
            if let Some(fields) = value.as_object_mut() {
                fields.remove("series");
            }
        }
        value
    };
    match results {
        [one] if sweeps.is_empty() => of(one),
        all => all.iter().map(of).collect(),
    }
}
