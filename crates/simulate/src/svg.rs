//! Draws backlog, concurrency and workers over time as one SVG without anything from elsewhere.
//!
//! Its colours follow the reader's colour scheme.

use crate::report::{Point, Report};
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 880.0;
const HEIGHT: f64 = 170.0;
const STYLE: &str = "
text{fill:#1f2328;font:13px sans-serif}.end{text-anchor:end}.middle{text-anchor:middle}.title{font-size:16px}
.ground{fill:#fff}.grid{stroke:#d0d7de}polyline{fill:none;stroke-width:1.5}.c0{stroke:#0969da}.c1{stroke:#bc4c00}.c2{stroke:#1a7f37}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}.grid{stroke:#30363d}
.c0{stroke:#58a6ff}.c1{stroke:#f0883e}.c2{stroke:#3fb950}}";

/// Returns a value of a point.
type Value = fn(&Point) -> f64;

/// Returns the drawing. `title` is text.
pub fn svg(report: &Report, title: &str) -> String {
    let panels: [(&str, Value); 3] = [
        ("messages that wait", |point| point.backlog),
        ("tasks that run", |point| point.concurrency),
        ("workers that are ready", |point| point.workers),
    ];
    let height = 60.0 + (HEIGHT + 60.0) * panels.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n<text class=\"title\" x=\"{LEFT}\" y=\"28\">{title}</text>\n",
        title = escaped(title)
    );
    for (index, (name, value)) in panels.into_iter().enumerate() {
        let top = 75.0 + (HEIGHT + 60.0) * index as f64;
        panel(&mut svg, report, index, name, top, value);
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, report: &Report, index: usize, name: &str, top: f64, value: Value) {
    let series = &report.series;
    let highest = nice(series.points.iter().map(value).fold(0.0, f64::max));
    let end = (series.step_seconds * series.points.len() as f64).max(1e-9);
    let bottom = top + HEIGHT;
    let y = |value: f64| bottom - value / highest * HEIGHT;
    let x = |seconds: f64| LEFT + seconds / end * (RIGHT - LEFT);
    // Writing to a string doesn't fail.
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\">{name}</text>", top - 10.0);
    for part in 0..=4 {
        let value = highest * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/><text class=\"end\" x=\"{1}\" y=\"{2:.1}\">{3}</text>",
            y(value),
            LEFT - 8.0,
            y(value) + 4.0,
            number(value)
        );
        let seconds = end * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x(seconds),
            bottom + 20.0,
            time(seconds)
        );
    }
    let points = series.points.iter().enumerate().map(|(step, point)| {
        format!("{:.1},{:.1}", x((step as f64 + 0.5) * series.step_seconds), y(value(point)))
    });
    let points: Vec<String> = points.collect();
    let _ = writeln!(svg, "<polyline class=\"c{index}\" points=\"{}\"/>", points.join(" "));
}

/// Rounds up to 1, 2, 4 or 8 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    [1.0, 2.0, 4.0, 8.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|nice| *nice >= value)
        .unwrap_or(10.0 * power)
}

fn number(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        ..10_000.0 => format!("{value:.0}"),
        ..10_000_000.0 => format!("{:.0}k", value / 1e3),
        _ => format!("{:.0}M", value / 1e6),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        ..600.0 => format!("{seconds:.0} s"),
        ..36_000.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// Escapes text for markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
