//! The figures as pictures.
//!
//! They are SVG with a style that follows the reader's colour scheme; where styles aren't known, they are light.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::path::Path;

use crate::report::{Report, published, size, time};
use crate::ways::Task;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const TEXT: RGBColor = RGBColor(0x1f, 0x23, 0x28);
const GRID: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
const GROUND: RGBColor = RGBColor(0xff, 0xff, 0xff);
const FIRST: RGBColor = RGBColor(0x09, 0x69, 0xda);
const SECOND: RGBColor = RGBColor(0xbc, 0x4c, 0x00);
const THIRD: RGBColor = RGBColor(0x6e, 0x77, 0x81);
/// Each colour, and what stands for it in the dark.
const DARK: [(RGBColor, &str); 6] = [
    (TEXT, "#e6edf3"),
    (GRID, "#30363d"),
    (GROUND, "#0d1117"),
    (FIRST, "#58a6ff"),
    (SECOND, "#f0883e"),
    (THIRD, "#8b949e"),
];

const FONT: &str = "sans-serif";
const WIDTH: u32 = 860;
const ROW_HEIGHT: u32 = 46;
const NAMES_WIDTH: u32 = 250;
/// Two lines.
const CAPTION_HEIGHT: u32 = 36;

/// Draws all of them.
pub(crate) fn draw(report: &Report, folder: &Path) -> Result<()> {
    start(report, &folder.join("isolation-start.svg"))?;
    memory(report, &folder.join("isolation-memory.svg"))?;
    limits(report, &folder.join("isolation-limits.svg"))?;
    neighbours(report, &folder.join("isolation-neighbours.svg"))
}

/// A value in a row of a picture.
struct Dot {
    row: usize,
    value: f64,
    /// A line goes on to there.
    until: f64,
    label: String,
    /// Which colour and height, of how many.
    series: usize,
}

fn start(report: &Report, path: &Path) -> Result<()> {
    let mut rows: Vec<&str> = Vec::new();
    let mut dots = Vec::new();
    for found in &report.start {
        let row = row_of(&mut rows, found.what);
        dots.push(Dot {
            row,
            value: found.p50_us,
            until: found.p99_us,
            label: time(found.p50_us),
            series: series_of(found.task),
        });
    }
    let row = row_of(&mut rows, published::WHAT);
    let label = format!("≤ {} to boot", time(published::START_US));
    dots.push(Dot { row, value: published::START_US, until: published::START_US, label, series: 2 });
    let title = "A whole task, from asking for it to its end: median, and a line to the 99th percentile";
    let series = ["an empty task", "hash of a megabyte"];
    dotted(report, path, title, &series, &rows, &dots, (1e-3..1e7).log_scale(), 1e-3, &|micros| {
        power_of_time(*micros)
    })
}

fn memory(report: &Report, path: &Path) -> Result<()> {
    let mut rows: Vec<&str> = Vec::new();
    let mut dots = Vec::new();
    for found in &report.density {
        let row = row_of(&mut rows, found.what);
        let bytes = found.held.rss_bytes.max(1) as f64;
        let label = format!("{}: {} in 1 GiB", size(found.held.rss_bytes), fits(found));
        dots.push(Dot { row, value: bytes, until: bytes, label, series: series_of(found.task) });
    }
    let row = row_of(&mut rows, published::WHAT);
    let bytes = published::BYTES as f64;
    let label = format!("≤ {} beside the guest's own", size(published::BYTES));
    dots.push(Dot { row, value: bytes, until: bytes, label, series: 2 });
    let title = "What a waiting task keeps in memory, and how many fit in 1 GiB";
    let series = ["after an empty task", "after the hash of a megabyte"];
    let least = f64::from(1 << 14);
    let bounds = (least..f64::from(1 << 27)).log_scale().base(2.0);
    dotted(report, path, title, &series, &rows, &dots, bounds, least, &|bytes| size(bytes.round() as u64))
}

fn fits(found: &crate::density::Row) -> String {
    match found.held.ended_by {
        crate::density::End::Budget => found.held.fit.to_string(),
        _ => format!("> {}", found.held.fit),
    }
}

fn limits(report: &Report, path: &Path) -> Result<()> {
    let rows: Vec<&str> = report.limits.rows.iter().map(|row| row.what).collect();
    let percent = |ratio: f64| (ratio - 1.0) * 100.0;
    let dots: Vec<Dot> = report
        .limits
        .rows
        .iter()
        .enumerate()
        .map(|(row, found)| {
            let value = percent(found.ratio);
            Dot { row, value, until: 0.0, label: format!("{value:+.1} %"), series: 0 }
        })
        .collect();
    let most = dots.iter().map(|dot| dot.value.abs()).fold(10.0, f64::max);
    let least = -0.3 * most;
    let bounds: RangedCoordf64 = (least..1.3 * most).into();
    let title = "What each guard adds to the CPU time of a thumbnail";
    dotted(report, path, title, &[], &rows, &dots, bounds, least, &|percent| format!("{percent:+.0} %"))
}

/// Rows with a name each, and dots in them.
#[expect(clippy::too_many_arguments, reason = "all that a picture is made of, once")]
fn dotted<X>(
    report: &Report,
    path: &Path,
    title: &str,
    series: &[&str],
    rows: &[&str],
    dots: &[Dot],
    bounds: X,
    least: f64,
    format: &dyn Fn(&f64) -> String,
) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let height = ROW_HEIGHT * rows.len() as u32 + if series.is_empty() { 90 } else { 120 };
    picture(report, path, height, |area| {
        let area = area.titled(title, (FONT, 17).into_font().color(&TEXT))?;
        let legend_height = if series.is_empty() { 0 } else { 30 };
        let (legend, area) = area.split_vertically(legend_height);
        for (index, name) in series.iter().enumerate() {
            let at = (NAMES_WIDTH as i32 + 20 + 240 * index as i32, 14);
            legend.draw(&Circle::new(at, 5, colour(index).filled()))?;
            legend.draw(&Text::new((*name).to_owned(), (at.0 + 12, at.1), label_style(HPos::Left)))?;
        }
        let mut chart = ChartBuilder::on(&area)
            .margin_right(30)
            .margin_bottom(6)
            .y_label_area_size(NAMES_WIDTH)
            .x_label_area_size(30)
            .build_cartesian_2d(bounds, rows.len() as f64..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_labels(12)
            .x_label_formatter(format)
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 13).into_font().color(&TEXT))
            .draw()?;
        for (index, name) in rows.iter().enumerate() {
            let name = Text::new((*name).to_owned(), (-10, 0), label_style(HPos::Right));
            chart.draw_series([EmptyElement::at((least, index as f64 + 0.5)) + name])?;
        }
        for dot in dots {
            let in_row = dots.iter().filter(|other| other.row == dot.row).count();
            let place = dots.iter().filter(|other| other.row == dot.row && other.series < dot.series).count();
            let y = dot.row as f64 + (place as f64 + 1.0) / (in_row as f64 + 1.0);
            let colour = colour(dot.series);
            let line = colour.stroke_width(3);
            chart.draw_series([PathElement::new([(dot.value, y), (dot.until, y)], line)])?;
            let mark = Circle::new((0, 0), 5, colour.filled());
            chart.draw_series([EmptyElement::at((dot.value, y)) + mark])?;
            let label = Text::new(dot.label.clone(), (10, 0), label_style(HPos::Left));
            chart.draw_series([EmptyElement::at((dot.value.max(dot.until), y)) + label])?;
        }
        Ok(())
    })
}

fn neighbours(report: &Report, path: &Path) -> Result<()> {
    let tasks = &report.neighbours.tasks;
    // There is no zero on such a scale: alone is drawn at a third.
    let at = |neighbours: usize| if neighbours == 0 { 0.3 } else { neighbours as f64 };
    let most = tasks
        .iter()
        .flat_map(|row| [row.wasmrun.slowdown, row.processes.slowdown, row.fair])
        .fold(2.0, f64::max);
    picture(report, path, 420, |area| {
        let area = area.titled(
            "How many times slower a task is beside neighbours that spin",
            (FONT, 17).into_font().color(&TEXT),
        )?;
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .margin_right(30)
            .y_label_area_size(60)
            .x_label_area_size(46)
            .build_cartesian_2d((0.25..130.0).log_scale(), (0.8..most * 1.5).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("neighbours")
            .y_desc("times slower than alone")
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 13).into_font().color(&TEXT))
            .axis_desc_style((FONT, 13).into_font().color(&TEXT))
            .x_label_formatter(&|neighbours| format!("{neighbours:.0}"))
            .y_label_formatter(&|times| format!("{times:.0}"))
            .draw()?;
        let alone = Text::new("alone", (0, 16), label_style(HPos::Center));
        chart.draw_series([EmptyElement::at((at(0), 0.8)) + alone])?;
        let lines: [(&str, Vec<(f64, f64)>); 3] = [
            ("wasmrun", tasks.iter().map(|row| (at(row.neighbours), row.wasmrun.slowdown)).collect()),
            ("processes", tasks.iter().map(|row| (at(row.neighbours), row.processes.slowdown)).collect()),
            (
                "the same share of the cores for all",
                tasks.iter().map(|row| (at(row.neighbours), row.fair)).collect(),
            ),
        ];
        for (index, (name, points)) in lines.into_iter().enumerate() {
            let colour = colour(index);
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(4))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .margin(14)
            .label_font((FONT, 14).into_font().color(&TEXT))
            .draw()?;
        Ok(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A picture of that height, and below it where, when and with what it was measured: it may be shown without its page.
fn picture(
    report: &Report,
    path: &Path,
    height: u32,
    draw: impl FnOnce(Area<'_>) -> Result<()>,
) -> Result<()> {
    let mut picture = String::new();
    {
        let size = (WIDTH, height + CAPTION_HEIGHT);
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        area.fill(&GROUND)?;
        let (above, caption) = area.split_vertically(height);
        draw(above)?;
        let lines = [format!("{}, {}", report.machine.date, report.machine.description), report.versions()];
        for (line, y) in lines.into_iter().zip([8, 24]) {
            let style = (FONT, 11).into_font().color(&THIRD).pos(Pos::new(HPos::Left, VPos::Center));
            caption.draw(&Text::new(line, (10, y), style))?;
        }
        area.present()?;
    }
    save(path, &picture)
}

fn row_of<'a>(rows: &mut Vec<&'a str>, name: &'a str) -> usize {
    rows.iter().position(|row| *row == name).unwrap_or_else(|| {
        rows.push(name);
        rows.len() - 1
    })
}

fn series_of(task: Task) -> usize {
    Task::ALL.iter().position(|other| *other == task).unwrap_or_default()
}

fn colour(series: usize) -> RGBColor {
    [FIRST, SECOND, THIRD][series.min(2)]
}

fn label_style(horizontal: HPos) -> TextStyle<'static> {
    (FONT, 13).into_font().color(&TEXT).pos(Pos::new(horizontal, VPos::Center))
}

/// "10 µs", without decimals.
fn power_of_time(micros: f64) -> String {
    time(micros).replace(".00 ", " ").replace(".0 ", " ")
}

/// Writes a picture with its colours for the dark.
fn save(path: &Path, picture: &str) -> Result<()> {
    let dark: String = DARK
        .iter()
        .map(|(RGBColor(r, g, b), dark)| {
            let light = format!("#{r:02X}{g:02X}{b:02X}");
            format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
        })
        .collect();
    let style = format!("<style>@media (prefers-color-scheme: dark){{{dark}}}</style>");
    // After the picture's own tag.
    let end = picture.find('>').ok_or("no picture")? + 1;
    let tag_is_comment = picture[..end].starts_with("<?");
    let end = if tag_is_comment { picture[end..].find('>').ok_or("no picture")? + 1 + end } else { end };
    std::fs::write(path, format!("{}\n{style}{}", &picture[..end], &picture[end..]))?;
    Ok(())
}
