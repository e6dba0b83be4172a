//! Prints the result of a task and the summary of a worker.

use super::Output;
use super::log_lines::LogFormat;
use super::show::{self, size};
use serde_json::json;
use std::fmt::Write as _;
use wasmrun_runtime::model::distribution::Quantity;
use wasmrun_runtime::model::outcome::OutcomeKind;
use wasmrun_runtime::task::component::Report;
use wasmrun_runtime::worker::{Counts, Summary};

impl Output {
    /// Prints how a task ended, and what it consumed.
    pub(crate) fn report(&self, report: &Report, as_json: bool) {
        if as_json {
            self.print(&report_json(report));
        } else {
            report_lines(report).iter().for_each(|line| self.line(line));
        }
    }

    /// Prints how a task ended to standard error, where standard output has the task's response.
    pub(crate) fn report_aside(&self, report: &Report, as_json: bool) {
        let lines = if as_json { vec![report_json(report)] } else { report_lines(report) };
        lines.iter().for_each(|line| self.note(line));
    }

    /// Prints the summary of a worker, as text or as a log line.
    pub(crate) fn summary(&self, summary: &Summary) {
        match self.format {
            LogFormat::Json => log_summary(summary),
            LogFormat::Text => self.print(&summary_text(summary)),
        }
    }
}

fn report_json(report: &Report) -> String {
    let Report { outcome, usage, host_error, route, .. } = report;
    let host_error = host_error.as_ref().map(|error| &error.text);
    let mut json = json!({"outcome": outcome.kind(), "reason": outcome.reason(), "host_error": host_error, "usage": usage});
    if let Some(route) = route {
        json["route"] = json!(&**route);
        json["component"] = json!(&*report.component);
    }
    json.to_string()
}

/// Returns the result of a task for people. The lines may hold text from a guest.
fn report_lines(report: &Report) -> Vec<String> {
    let Report { outcome, usage, host_error, route, .. } = report;
    let route = route.iter().map(|route| format!("route        {route} ({})", report.component));
    let host_error = host_error.iter().map(|error| format!("host error   {}", error.text));
    let rest = [
        format!("fuel         {}", usage.fuel),
        format!("CPU time     {:?}", usage.cpu),
        format!(
            "wall time    {:?}: {:?} to start, {:?} computing, {:?} waiting for the host",
            usage.wall, usage.start, usage.compute, usage.blocked
        ),
        format!("peak memory  {}", size(usage.peak_memory_bytes)),
        format!("read         {}", size(usage.bytes_read)),
        format!("written      {}", size(usage.bytes_written)),
    ];
    std::iter::once(format!("outcome      {outcome}")).chain(route).chain(host_error).chain(rest).collect()
}

/// Returns the seconds that a worker ran, and the tasks that ended per second.
fn throughput(summary: &Summary) -> (f64, f64) {
    let seconds = summary.elapsed.as_secs_f64().max(1e-6);
    (seconds, summary.tasks as f64 / seconds)
}

/// Logs the summary of a worker. The fields of an event must be known to the compiler, so each is written out.
fn log_summary(summary: &Summary) {
    let Summary { tasks, limits, counts, usage, spreads, .. } = summary;
    let (seconds, per_second) = throughput(summary);
    let [wall, queued, cpu, fuel, memory, bytes] = Quantity::ALL.map(|quantity| spreads.of(quantity));
    let limits: Vec<String> = limits.iter().map(|(limit, count)| format!("{limit}:{count}")).collect();
    tracing::info!(
        tasks,
        completed = summary.outcome(OutcomeKind::Completed),
        retry = summary.outcome(OutcomeKind::Retry),
        rejected = summary.outcome(OutcomeKind::Rejected),
        limit_exceeded = summary.outcome(OutcomeKind::LimitExceeded),
        timed_out = summary.outcome(OutcomeKind::TimedOut),
        trapped = summary.outcome(OutcomeKind::Trapped),
        host_failed = summary.outcome(OutcomeKind::HostFailed),
        cancelled = summary.outcome(OutcomeKind::Cancelled),
        expired = summary.outcome(OutcomeKind::Expired),
        repeated = summary.outcome(OutcomeKind::Repeated),
        limits = limits.join(" "),
        dead_lettered = counts.dead_lettered,
        notified = counts.notified,
        failed_notifications = counts.failed_notifications,
        complete_groups = counts.complete_groups,
        dropped_groups = counts.dropped_groups,
        uncounted_messages = counts.uncounted_messages,
        parked_messages = counts.parked_messages,
        released = counts.released,
        seconds,
        per_second,
        fuel = usage.fuel,
        cpu_seconds = usage.cpu.as_secs_f64(),
        peak_memory_bytes = usage.peak_memory_bytes,
        bytes_read = usage.bytes_read,
        bytes_written = usage.bytes_written,
        refusals = usage.refusals,
        wall_us_p50 = wall.p50,
        wall_us_p95 = wall.p95,
        wall_us_p99 = wall.p99,
        wall_us_max = wall.max,
        queued_us_p50 = queued.p50,
        queued_us_p95 = queued.p95,
        queued_us_p99 = queued.p99,
        queued_us_max = queued.max,
        cpu_us_p50 = cpu.p50,
        cpu_us_p95 = cpu.p95,
        cpu_us_p99 = cpu.p99,
        cpu_us_max = cpu.max,
        fuel_p50 = fuel.p50,
        fuel_p95 = fuel.p95,
        fuel_p99 = fuel.p99,
        fuel_max = fuel.max,
        peak_memory_bytes_p50 = memory.p50,
        peak_memory_bytes_p95 = memory.p95,
        peak_memory_bytes_p99 = memory.p99,
        peak_memory_bytes_max = memory.max,
        bytes_p50 = bytes.p50,
        bytes_p95 = bytes.p95,
        bytes_p99 = bytes.p99,
        bytes_max = bytes.max,
        "summary"
    );
}

/// Formats the summary of a worker as text.
fn summary_text(summary: &Summary) -> String {
    let Summary { tasks, outcomes, limits, counts, usage, spreads, .. } = summary;
    let Counts { dead_lettered, notified, released, .. } = counts;
    let (seconds, per_second) = throughput(summary);
    let mut text = format!("\ntasks          {tasks} in {seconds:.2} s: {per_second:.1} a second\n");
    for (index, (outcome, count)) in outcomes.iter().enumerate() {
        let _ = writeln!(text, "{:<15}{count} {outcome}", if index == 0 { "outcomes" } else { "" });
    }
    for (limit, count) in limits {
        let _ = writeln!(text, "{:<15}{count} ended by the limit of {limit}", "");
    }
    if *released > 0 {
        let _ = writeln!(text, "released       {released}");
    }
    if *dead_lettered > 0 {
        let _ = writeln!(text, "dead-lettered  {dead_lettered}");
    }
    if *notified > 0 {
        let _ = writeln!(text, "notified       {notified}");
    }
    if usage.refusals > 0 {
        let _ = writeln!(text, "refused        {} calls for want of a grant", usage.refusals);
    }
    let mean = |sum: f64| {
        if *tasks == 0 { 0.0 } else { sum / *tasks as f64 }
    };
    let _ = write!(
        text,
        "CPU time       {:.2} s, {:.2} ms a task\nfuel           {}, {} a task\npeak memory    {} (the largest task)\nread, written  {}, {}",
        usage.cpu.as_secs_f64(),
        mean(usage.cpu.as_secs_f64() * 1e3),
        show::count(usage.fuel),
        show::count(usage.fuel.checked_div(*tasks).unwrap_or_default()),
        size(usage.peak_memory_bytes),
        size(usage.bytes_read),
        size(usage.bytes_written),
    );
    if *tasks > 0 {
        let _ = write!(text, "\n\n{}", show::spreads(spreads, 15).trim_end());
    }
    text
}
