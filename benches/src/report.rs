//! Tables, and the pages of the documentation that show them.
//!
//! A page's text is written by hand. A benchmark replaces the parts between `<!-- NAME -->` and `<!-- end -->`, and writes
//! the same figures to a JSON file next to the page.

use crate::plot::Plot;
use crate::run::{Arguments, Size};
use crate::{repository, system};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::fs;

/// The version of what is measured.
pub const WASMRUN: &str = concat!("wasmrun ", env!("CARGO_PKG_VERSION"));

/// The results of a benchmark.
pub struct Report {
    name: &'static str,
    /// How much to measure.
    pub size: Size,
    is_whole: bool,
    /// When, where and with which versions the results were measured.
    captions: [String; 2],
    /// The new text for each part of the page.
    parts: Vec<(&'static str, String)>,
    plots: Vec<(&'static str, String)>,
    json: Map<String, Value>,
}

impl Report {
    /// Creates a report of today on this machine; `with` names versions.
    pub fn new(name: &'static str, arguments: &Arguments, with: &str) -> Self {
        let date: String = jiff::Timestamp::now().to_string().chars().take(10).collect();
        let machine = system::machine();
        let mut report = Self {
            name,
            size: arguments.size,
            is_whole: arguments.option("--only").is_none(),
            captions: [format!("{date}, {machine}"), with.to_owned()],
            parts: Vec::new(),
            plots: Vec::new(),
            json: Map::new(),
        };
        let with = if with.is_empty() { String::new() } else { format!(", with {with}") };
        report.text("measured", format!("Measured on {date} on {machine}{with}."));
        for (field, value) in [("date", date), ("machine", machine), ("with", with)] {
            report.data(field, value.into());
        }
        report
    }

    /// Adds a table, and prints it: see [`print()`].
    pub fn table(&mut self, name: &'static str, columns: &str, rows: impl IntoIterator<Item = Value>) {
        let rows: Vec<Value> = rows.into_iter().collect();
        println!("\n{}", table(columns, &rows, true));
        self.parts.push((name, table(columns, &rows, false)));
        self.data(name, rows.into());
    }

    /// Adds a text, and prints it.
    pub fn text(&mut self, name: &'static str, text: String) {
        println!("\n{text}");
        self.parts.push((name, text + "\n"));
    }

    /// Adds a plot, a file next to the page.
    pub fn plot(&mut self, name: &'static str, plot: &Plot<'_>) {
        self.plots.push((name, plot.svg(&self.captions)));
    }

    /// Adds a field to the JSON file.
    pub fn data(&mut self, name: &str, value: Value) {
        self.json.insert(name.to_owned(), value);
    }

    /// Writes the page, its plots and the JSON file of a full measurement of all parts.
    pub fn write(self) {
        if !self.is_whole {
            return;
        }
        let folder = repository().join("docs/src/benchmarks");
        let file = folder.join(self.name).with_extension("md");
        let mut page = fs::read_to_string(&file).expect("a page");
        for (name, text) in &self.parts {
            page = replace(&page, name, text)
                .unwrap_or_else(|| panic!("{} lacks <!-- {name} -->", file.display()));
        }
        if self.size == Size::Full {
            fs::write(&file, page).expect("a page");
            let json = serde_json::to_string_pretty(&self.json).expect("JSON");
            fs::write(file.with_extension("json"), json + "\n").expect("a JSON file");
            for (plot, svg) in &self.plots {
                fs::write(folder.join(format!("{}-{plot}.svg", self.name)), svg).expect("a plot");
            }
        }
    }
}

/// Prints a table that no page shows.
///
/// Its columns are `HEADING = FIELD`, with `|` between them. A field of the rows is a word: `wasmrun/p50_us` is in an object.
/// A number has a format: `p50_us:time` or `rss_bytes:size` with a unit, `ratio:percent` as its difference from 1, and `n:0`
/// with this number of decimals.
pub fn print(title: &str, columns: &str, rows: impl IntoIterator<Item = Value>) {
    println!("{title}\n\n{}", table(columns, &rows.into_iter().collect::<Vec<_>>(), true));
}

/// The page with another text in a part. Returns `None` if the page has no such part.
fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&format!("<!-- {name} -->\n"))?;
    let (_, after) = rest.split_once("<!-- end -->")?;
    Some(format!("{before}<!-- {name} -->\n\n{text}\n<!-- end -->{after}"))
}

/// A table in Markdown, with columns of even width for a terminal.
fn table(columns: &str, rows: &[Value], aligned: bool) -> String {
    let columns = || columns.split('|').map(|column| column.split_once('=').expect("a heading and a field"));
    let headings = columns().map(|(heading, _)| heading.trim().to_owned()).collect();
    let cells = |row: &Value| columns().map(|(_, field)| cell(row, field.trim())).collect();
    let lines: Vec<Vec<String>> = std::iter::once(headings).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|column| if aligned { width(column) } else { 0 }).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let cells: String =
            line.iter().zip(&widths).map(|(cell, width)| format!(" {cell:width$} |")).collect();
        text += &format!("|{cells}\n").replace("|  |", "| |");
        if index == 0 {
            let rules: String = widths.iter().map(|width| "-".repeat((width + 2).max(3)) + "|").collect();
            let _ = writeln!(text, "|{rules}");
        }
    }
    text
}

/// The content of a row's field, or a dash if the row doesn't have the field.
fn cell(row: &Value, field: &str) -> String {
    let (field, format) = field.split_once(':').unwrap_or((field, "0"));
    let value = row.pointer(&format!("/{field}"));
    if let Some(Value::String(text)) = value {
        return text.clone();
    }
    let Some(value) = value.and_then(Value::as_f64) else { return "–".into() };
    match format {
        "time" => time(value),
        "size" => size(value),
        "percent" => format!("{:+.1} %", (value - 1.0) * 100.0),
        "million" => format!("{:.2} million", value / 1e6),
        decimals => format!("{value:.*}", decimals.parse::<usize>().expect("a format")),
    }
}

/// Formats microseconds as a time with three digits.
pub fn time(micros: f64) -> String {
    let (value, unit) = match micros {
        _ if micros < 1.0 => (micros * 1e3, "ns"),
        _ if micros < 1e3 => (micros, "µs"),
        _ if micros < 1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

/// Formats bytes as KiB or MiB.
pub fn size(bytes: f64) -> String {
    let (value, unit) = match bytes {
        _ if bytes < 1024.0 => return format!("{bytes:.0} B"),
        _ if bytes < 1024.0 * 1024.0 => (bytes / 1024.0, "KiB"),
        _ => (bytes / (1024.0 * 1024.0), "MiB"),
    };
    let decimals = usize::from(value < 10.0 && value.fract() != 0.0);
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_part_of_a_page_is_replaced_and_the_rest_stays() {
        let page = "# Title\n\n<!-- part -->\nold\n<!-- end -->\n\n<!-- other -->\nkept\n<!-- end -->\n";
        let replaced = replace(page, "part", "new\n").expect("the part");
        assert_eq!(replaced, page.replace("\nold\n", "\n\nnew\n\n"));
        assert_eq!(replace(&replaced, "part", "new\n"), Some(replaced));
        assert_eq!(replace(page, "absent", "new\n"), None);
    }

    #[test]
    fn a_table_shows_fields_in_their_units_and_a_dash_for_what_was_not_measured() {
        let columns = "= what | median = p50/us:time | CPU = cpu_us:2 | ratio = ratio:percent";
        let rows = [json!({"what": "process", "p50": {"us": 521.4}, "cpu_us": null, "ratio": 1.076})];
        let plain = table(columns, &rows, false);
        assert_eq!(
            plain,
            "| | median | CPU | ratio |\n|---|---|---|---|\n| process | 521 µs | – | +7.6 % |\n"
        );
        assert!(table(columns, &rows, true).starts_with("|         | median | CPU |"));
    }

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!([0.00136, 16.13, 521.4, 180_200.0].map(time), ["1.36 ns", "16.1 µs", "521 µs", "180 ms"]);
        assert_eq!([12.0, 1536.0, 14_680_064.0].map(size), ["12 B", "1.5 KiB", "14 MiB"]);
    }
}
