//! Plots: rows with a name, and in each row a dot for each series.
//!
//! They are SVG whose colours follow the reader's colour scheme.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
/// Where the names of the rows end, and where the scale starts and ends.
const NAMES_END: f64 = 250.0;
const SCALE: (f64, f64) = (265.0, 830.0);
const ROWS_BEGIN: f64 = 66.0;
const ROW_HEIGHT: f64 = 46.0;
const STYLE: &str = "
text{fill:#1f2328;font:13px sans-serif}.end{text-anchor:end}.middle{text-anchor:middle}
.title{font-size:17px;text-anchor:middle}.small{font-size:11px;fill:#6e7781}
.ground{fill:#fff}.grid{stroke:#d0d7de}line{stroke-width:3}.grid{stroke-width:1}
.s0{fill:#0969da;stroke:#0969da}.s1{fill:#bc4c00;stroke:#bc4c00}.s2{fill:#6e7781;stroke:#6e7781}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#8b949e}.ground{fill:#0d1117}.grid{stroke:#30363d}
.s0{fill:#58a6ff;stroke:#58a6ff}.s1{fill:#f0883e;stroke:#f0883e}.s2{fill:#8b949e;stroke:#8b949e}}";

/// A value in a row.
pub struct Dot {
    /// The row's name. Rows are in the order in which they first appear.
    pub row: String,
    /// Index of the plot's series.
    pub series: usize,
    /// The value.
    pub value: f64,
    /// End of a line that starts at the value.
    pub until: f64,
    /// The text next to the dot.
    pub label: String,
}

impl Dot {
    /// A dot without a line.
    pub fn at(row: impl Into<String>, series: usize, value: f64, label: impl Into<String>) -> Self {
        Self { row: row.into(), series, value, until: value, label: label.into() }
    }
}

/// A plot.
pub struct Plot<'a> {
    /// The title.
    pub title: &'a str,
    /// Names of the series. Without names, there is no legend.
    pub series: &'a [&'a str],
    /// Values labelled on the scale, in ascending order. The scale reaches from the first to the last.
    pub ticks: Vec<f64>,
    /// Whether equal distances are equal ratios.
    pub logarithmic: bool,
    /// Formats a value on the scale.
    pub format: fn(f64) -> String,
    /// The values.
    pub dots: Vec<Dot>,
}

impl Plot<'_> {
    /// The plot as SVG, with lines below it.
    pub fn svg(&self, captions: &[String]) -> String {
        let mut rows: Vec<&str> = Vec::new();
        for dot in &self.dots {
            if !rows.contains(&dot.row.as_str()) {
                rows.push(&dot.row);
            }
        }
        let rows_end = ROWS_BEGIN + ROW_HEIGHT * rows.len() as f64;
        let height = rows_end + 70.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
             <style>{STYLE}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n"
        );
        text(&mut svg, "title", WIDTH / 2.0, 20.0, self.title);
        for (index, name) in self.series.iter().enumerate() {
            let x = SCALE.0 + 200.0 * index as f64;
            circle(&mut svg, index, x, 46.0);
            text(&mut svg, "", x + 12.0, 46.0, name);
        }
        for tick in &self.ticks {
            let x = self.x(*tick);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{ROWS_BEGIN}\" y2=\"{rows_end}\"/>"
            );
            text(&mut svg, "middle", x, rows_end + 14.0, &(self.format)(*tick));
        }
        for (index, name) in rows.iter().enumerate() {
            let top = ROWS_BEGIN + ROW_HEIGHT * index as f64;
            text(&mut svg, "end", NAMES_END, top + ROW_HEIGHT / 2.0, name);
            let dots: Vec<&Dot> = self.dots.iter().filter(|dot| dot.row == *name).collect();
            for (place, dot) in dots.iter().enumerate() {
                let y = top + ROW_HEIGHT * (place + 1) as f64 / (dots.len() + 1) as f64;
                let (from, to) = (self.x(dot.value), self.x(dot.until));
                let _ = writeln!(
                    svg,
                    "<line class=\"s{}\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                    dot.series
                );
                circle(&mut svg, dot.series, from, y);
                text(&mut svg, "", from.max(to) + 10.0, y, &dot.label);
            }
        }
        for (caption, y) in captions.iter().zip([height - 30.0, height - 14.0]) {
            text(&mut svg, "small", 10.0, y, caption);
        }
        svg + "</svg>\n"
    }

    /// Position of a value on the scale. Values beyond an end are put at that end.
    fn x(&self, value: f64) -> f64 {
        let on_scale = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let ends = (self.ticks.first(), self.ticks.last());
        let (Some(first), Some(last)) = ends else { return SCALE.0 };
        let (first, last) = (on_scale(*first), on_scale(*last));
        SCALE.0 + (SCALE.1 - SCALE.0) * ((on_scale(value) - first) / (last - first)).clamp(0.0, 1.0)
    }
}

fn circle(svg: &mut String, series: usize, x: f64, y: f64) {
    let _ = writeln!(svg, "<circle class=\"s{series}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>");
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    // The middle of the letters, in a way that every viewer supports.
    let y = y + 4.5;
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_reaches_from_the_first_tick_to_the_last() {
        let mut plot = Plot {
            title: "a & b",
            series: &[],
            ticks: vec![1.0, 10.0, 100.0],
            logarithmic: true,
            format: |value| format!("{value}"),
            dots: vec![Dot::at("row", 0, 10.0, "< 11")],
        };
        let middle = f64::midpoint(SCALE.0, SCALE.1);
        assert_eq!([0.1, 1.0, 10.0, 1e3].map(|value| plot.x(value)), [SCALE.0, SCALE.0, middle, SCALE.1]);
        plot.logarithmic = false;
        assert_eq!(plot.x(50.5), middle);
        let svg = plot.svg(&[]);
        assert!(svg.contains(">a &amp; b<") && svg.contains(">&lt; 11<") && svg.contains(">row<"), "{svg}");
    }
}
