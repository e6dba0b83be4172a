//! `wasmrun report`: prints totals, outcomes, the heaviest tasks and costs from usage files.
//!
//! The files may be huge, torn or hostile. Each is read once, line by line, in memory that doesn't grow with it. Lines
//! that aren't records are counted and skipped. Texts are escaped when they are printed.
//!
//! | module | owns |
//! |---|---|
//! | `lines` | reads the lines of a file, however long |
//! | `record` | parses a line |
//! | `totals`, `timeline` | add up all records; count outcomes over time |
//! | `prices`, `cost` | the price table; the cost of the same work elsewhere |
//! | `text` | formats the report as text or JSON |

mod cost;
mod lines;
mod prices;
mod record;
mod text;
mod timeline;
mod totals;

use self::cost::Bill;
use self::lines::{Line, Lines, MAX_LINE_BYTES};
use self::prices::Prices;
use self::record::Record;
use self::totals::{Totals, cut};

use crate::output::failure::Failure;
use crate::settings::flags::ReportArgs;
use crate::settings::log::LogSettings;
use crate::wiring::logging;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

/// Lines that aren't records: their number, and the first.
#[derive(Debug, Default, Serialize)]
struct BadLines {
    count: u64,
    first: Option<BadLine>,
}

/// A line that isn't a record. `error` may quote the line.
#[derive(Debug, Serialize)]
struct BadLine {
    file: String,
    line: u64,
    error: String,
}

pub(crate) fn report(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&LogSettings::default())?;
    let prices = Prices::read(args.prices.as_deref())?;
    let mut totals = Totals::new(args.top, Bill::new(prices, args.fargate_size, args.lambda_size)?);
    let mut bad = BadLines::default();
    for path in &args.files {
        read(path, &mut totals, &mut bad)?;
    }
    if totals.tasks == 0 {
        return Err(Failure::usage(match &bad.first {
            Some(BadLine { file, line, error }) => {
                format!("there is no record of a task: line {line} of {file}: {error}")
            }
            None => {
                let files: Vec<_> = args.files.iter().map(|file| shown(file)).collect();
                format!("there is no record of a task: {} is empty", files.join(" and "))
            }
        }));
    }
    output.print(&if args.json { text::json(&totals, &bad).to_string() } else { text::text(&totals, &bad) });
    Ok(ExitCode::SUCCESS)
}

/// Returns the name of a file in errors.
fn shown(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() }
}

fn read(path: &Path, totals: &mut Totals, bad: &mut BadLines) -> Result<(), Failure> {
    let shown = shown(path);
    if path.as_os_str() == "-" {
        return read_lines(io::stdin().lock(), &shown, totals, bad);
    }
    let file = File::open(path).map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    read_lines(file, &shown, totals, bad)
}

fn read_lines(input: impl Read, shown: &str, totals: &mut Totals, bad: &mut BadLines) -> Result<(), Failure> {
    let mut lines = Lines::new(input);
    let mut number = 0;
    loop {
        let line = lines.next().map_err(|error| Failure::backend(format!("cannot read {shown}: {error}")))?;
        number += 1;
        let error = match line {
            None => return Ok(()),
            Some(Line::Whole(line)) if line.trim_ascii().is_empty() => continue,
            Some(Line::Whole(line)) => match Record::read(line) {
                Ok(record) => {
                    totals.count(&record);
                    continue;
                }
                Err(error) => error,
            },
            Some(Line::TooLong) => format!("it is longer than {MAX_LINE_BYTES} bytes"),
        };
        bad.count += 1;
        bad.first.get_or_insert_with(|| BadLine { file: shown.to_owned(), line: number, error: cut(&error) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn report_of(input: &[u8]) -> (Totals, BadLines) {
        let (mut totals, mut bad) = (Totals::new(5, cost::tests::bill()), BadLines::default());
        read_lines(input, "file", &mut totals, &mut bad).expect("read");
        (totals, bad)
    }

    #[test]
    fn bad_lines_are_counted_and_the_first_is_named() {
        let good = record::tests::record().to_string();
        let huge = "x".repeat(1 << 20);
        let input = format!("{good}\n\n   {good}  \n{{\"torn\n{huge}\n{good}\nnull\n{good}");
        let (totals, bad) = report_of(input.as_bytes());
        assert_eq!((totals.tasks, bad.count), (4, 3));
        let first = bad.first.expect("one");
        assert_eq!((first.file.as_str(), first.line), ("file", 4));
        assert!(first.error.contains("EOF"), "{}", first.error);
    }

    #[test]
    fn a_report_of_hostile_texts_forges_no_line() {
        let mut hostile = record::tests::record();
        for name in ["message_id", "component", "outcome", "limit", "reason"] {
            hostile[name] = "\u{1b}[2J\r\n\u{9b}2J\u{202e}tasks 0".into();
        }
        let input = format!("{{\"\u{1b}]0;x\u{7}\u{9b}\": \n{hostile}\n");
        let (totals, bad) = report_of(input.as_bytes());
        let text = text::text(&totals, &bad);
        assert!(!text.chars().any(|c| c != '\n' && wasmrun_runtime::model::text::is_unsafe(c)), "{text:?}");
        assert_eq!(text.lines().filter(|line| line.starts_with("tasks")).count(), 1, "{text}");
    }

    proptest! {
        /// Lines between records don't change the totals of the records.
        #[test]
        fn garbage_between_records_changes_nothing(garbage in prop::collection::vec("[^\n]{0,40}", 0..10)) {
            let good = record::tests::record().to_string();
            let mut input = format!("{good}\n");
            for line in &garbage {
                input += &format!("{line}\n{good}\n");
            }
            let (totals, bad) = report_of(input.as_bytes());
            prop_assert_eq!(totals.tasks, garbage.len() as u64 + 1);
            prop_assert_eq!(totals.sums.fuel, totals.tasks);
            let blank = garbage.iter().filter(|line| line.trim_ascii().is_empty()).count();
            prop_assert_eq!(bad.count as usize, garbage.len() - blank);
        }

        #[test]
        fn any_input_is_read_to_its_end(input in prop::collection::vec(any::<u8>(), 0..2000)) {
            let (totals, bad) = report_of(&input);
            text::text(&totals, &bad);
            text::json(&totals, &bad);
        }
    }
}
