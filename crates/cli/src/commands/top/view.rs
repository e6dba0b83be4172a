//! Draws the screen of `wasmrun top`.

use super::history::History;
use crate::output::show::time;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph, Row, Table};
use serde_json::Value;
use std::time::Duration;
use wasmrun_runtime::model::text::OneLine;

const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);

pub(super) fn draw(frame: &mut Frame<'_>, history: &History) {
    let [head, numbers, charts, tables, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(8),
        Constraint::Min(8),
        Constraint::Length(12),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, history);
    draw_numbers(frame, numbers, history);
    let [left, right] = halves(charts);
    draw_chart(frame, left, " backlog ", Color::Yellow, &history.backlog());
    draw_chart(frame, right, " instances ", Color::Cyan, &history.instances());
    // The left one shows IDs as a whole, as `wasmrun cancel` needs them, if there is room.
    let [left, right] = Layout::horizontal([Constraint::Max(53), Constraint::Min(45)]).areas(tables);
    draw_running(frame, left, history.last());
    draw_failures(frame, right, history.last());
    let keys = match history.why_lost() {
        Some(why) => Line::styled(format!(" {}", OneLine(why)), BAD),
        None => Line::raw(" q: quit"),
    };
    frame.render_widget(keys, foot);
}

fn halves(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area)
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, history: &History) {
    let status = history.last();
    let uptime = Duration::from_secs(status["uptime_seconds"].as_f64().unwrap_or_default() as u64);
    let ready = &status["ready"];
    let state = match ready["is"].as_bool() {
        _ if history.why_lost().is_some() => Span::styled("no answer", BAD),
        Some(true) => Span::styled("ready", GOOD),
        _ => Span::styled(format!("not ready: {}", text(&ready["why"])), BAD),
    };
    let first = Line::from(vec![
        Span::styled(format!(" {}", text(&status["component"])), STRONG),
        Span::raw(format!(" on {}, up {}, ", text(&status["queue"]), humantime::format_duration(uptime))),
        state,
        Span::styled(failing_queues(status), BAD),
    ]);
    frame.render_widget(Paragraph::new(first), area);
}

/// Names those of several queues that fail.
fn failing_queues(status: &Value) -> String {
    let queues = status["queues"].as_array().into_iter().flatten();
    let failing: Vec<String> =
        queues.filter(|queue| !queue["failing"].is_null()).map(|queue| text(&queue["queue"])).collect();
    if failing.is_empty() { String::new() } else { format!(", failing: {}", failing.join(", ")) }
}

fn draw_numbers(frame: &mut Frame<'_>, area: Rect, history: &History) {
    let [left, middle, right] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Length(36), Constraint::Fill(2)]).areas(area);
    draw_now(frame, left, history);
    draw_percentiles(frame, middle, &history.last()["percentiles"]);
    draw_outcomes(frame, right, history.last());
}

fn draw_now(frame: &mut Frame<'_>, area: Rect, history: &History) {
    let (instances, depth) = (&history.last()["instances"], &history.last()["depth"]);
    let because = match text(&instances["because"]) {
        because if because.is_empty() => "fixed".to_owned(),
        because => because,
    };
    let [allowed, min, max] = ["allowed", "min", "max"].map(|name| number(&instances[name]));
    let rate = history.throughput().map_or_else(|| "-".into(), |rate| format!("{rate:.1}/s"));
    pairs(
        frame,
        area,
        " now ",
        &[
            ("running", number(&instances["running"])),
            ("allowed", format!("{allowed} of {min}..{max}: {because}")),
            ("visible", number(&depth["visible"])),
            ("in flight", number(&depth["in_flight"])),
            ("delayed", number(&depth["delayed"])),
            ("throughput", rate),
        ],
    );
}

fn draw_percentiles(frame: &mut Frame<'_>, area: Rect, spreads: &Value) {
    let spread = |name: &str, shown: fn(&Value) -> String| {
        let of = |percentile: &str| shown(&spreads[name][percentile]);
        format!("{:>8} {:>8} {:>8}", of("p50"), of("p95"), of("p99"))
    };
    pairs(
        frame,
        area,
        " of a task: p50, p95, p99 ",
        &[
            ("queued", spread("queued_us", micros)),
            ("wall", spread("wall_us", micros)),
            ("CPU", spread("cpu_us", micros)),
            ("memory", spread("peak_memory_bytes", bytes)),
            ("bytes", spread("bytes", bytes)),
        ],
    );
}

fn draw_outcomes(frame: &mut Frame<'_>, area: Rect, status: &Value) {
    let outcomes = status["outcomes"].as_object();
    let mut ended: Vec<(String, String)> = outcomes
        .into_iter()
        .flatten()
        .map(|(name, count)| (OneLine(name).to_string(), number(count)))
        .collect();
    for (name, count) in [("dead-lettered", "dead_lettered"), ("released", "released")] {
        if status["counts"][count].as_u64().is_some_and(|count| count > 0) {
            ended.push((name.into(), number(&status["counts"][count])));
        }
    }
    let ended: Vec<(&str, String)> =
        ended.iter().map(|(name, count)| (name.as_str(), count.clone())).collect();
    pairs(frame, area, " tasks ", &ended);
}

fn pairs(frame: &mut Frame<'_>, area: Rect, title: &str, pairs: &[(&str, String)]) {
    let longest = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let names = Constraint::Length(longest.min(14) as u16);
    let rows = pairs.iter().map(|(name, value)| Row::new([(*name).to_owned(), value.clone()]));
    let table = Table::new(rows, [names, Constraint::Fill(1)]).block(Block::bordered().title(title));
    frame.render_widget(table, area);
}

fn draw_chart(frame: &mut Frame<'_>, area: Rect, title: &str, colour: Color, points: &[(f64, f64)]) {
    let from = points.first().map_or(-60.0, |point| point.0.min(-60.0));
    let highest = points.iter().map(|point| point.1).fold(1.0, f64::max);
    let line = Dataset::default()
        .data(points)
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::new().fg(colour));
    let chart = Chart::new(vec![line])
        .block(Block::bordered().title(title))
        .x_axis(Axis::default().bounds([from, 0.0]).labels([format!("{from:.0} s"), "now".into()]))
        .y_axis(Axis::default().bounds([0.0, highest]).labels(["0".into(), format!("{highest:.0}")]));
    frame.render_widget(chart, area);
}

fn draw_running(frame: &mut Frame<'_>, area: Rect, status: &Value) {
    let rows = list(&status["running"]).map(|task| {
        Row::new([seconds(&task["age_seconds"]), number(&task["receive_count"]), text(&task["message_id"])])
    });
    let widths = [Constraint::Length(9), Constraint::Length(4), Constraint::Fill(1)];
    let table = Table::new(rows, widths)
        .header(Row::new(["age", "try", "message"]).style(STRONG))
        .block(Block::bordered().title(" slowest running tasks "));
    frame.render_widget(table, area);
}

fn draw_failures(frame: &mut Frame<'_>, area: Rect, status: &Value) {
    let rows = list(&status["failures"]).map(|task| {
        Row::new([
            seconds(&task["seconds_ago"]),
            text(&task["outcome"]),
            text(&task["message_id"]),
            text(&task["reason"]),
        ])
    });
    let widths = [Constraint::Length(9), Constraint::Length(14), Constraint::Max(12), Constraint::Fill(1)];
    let table = Table::new(rows, widths)
        .header(Row::new(["ago", "outcome", "message", "reason"]).style(STRONG))
        .block(Block::bordered().title(" last failures "));
    frame.render_widget(table, area);
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Returns a text of the worker's answer, escaped and on one line.
fn text(value: &Value) -> String {
    value.as_str().map(|text| OneLine(text).to_string()).unwrap_or_default()
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".into(), |number| number.to_string())
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".into(), |seconds| format!("{seconds:.1} s"))
}

fn bytes(value: &Value) -> String {
    value
        .as_u64()
        .map_or_else(|| "-".into(), |bytes| bytesize::ByteSize(bytes).display().iec_short().to_string())
}

fn micros(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".into(), time)
}
