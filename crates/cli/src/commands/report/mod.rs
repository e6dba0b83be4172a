//! `wasmrun report`: prints totals, outcomes, the heaviest tasks and costs from usage files.
//!
//! The files may be huge, torn or hostile. Each is read once, line by line, in memory that doesn't grow with it. Lines
//! that aren't records are counted and skipped. Texts are escaped when they are printed.
//!
//! | module | owns |
//! |---|---|
//! | `totals`, `timeline` | add up all records; count outcomes over time |
//! | `split` | splits the totals by key, route or component |
//! | `cost` | the cost of the same work elsewhere |
//! | `text` | formats the report as text or JSON |

mod cost;
mod split;
mod text;
mod timeline;
mod totals;

use self::cost::Bill;
use self::split::Split;
use self::totals::Totals;

use crate::output::failure::Failure;
use crate::settings::flags::ReportArgs;
use crate::settings::log::LogSettings;
use crate::wiring::logging;
use crate::wiring::prices::Prices;
use crate::wiring::usage_records::{BadLines, no_record, read};
use std::process::ExitCode;

/// Number of tasks that are listed by default, for each quantity.
const TOP_TASKS: usize = 5;
/// Number of keys, routes or components that are listed by default.
const TOP_VALUES: usize = 20;

pub(crate) fn report(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let output = logging::start(&LogSettings::default())?;
    let prices = Prices::read(args.prices.as_deref())?;
    let mut totals =
        Totals::new(args.top.unwrap_or(TOP_TASKS), Bill::new(prices, args.fargate_size, args.lambda_size)?);
    totals.split = args.by.map(|by| Split::new(by, args.top.unwrap_or(TOP_VALUES)));
    let mut bad = BadLines::default();
    for path in &args.files {
        read(path, &mut bad, |record| totals.count(record))?;
    }
    if totals.tasks == 0 {
        return Err(no_record(&args.files, &bad));
    }
    output.print(&if args.json { text::json(&totals, &bad).to_string() } else { text::text(&totals, &bad) });
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::flags::ReportBy;
    use crate::wiring::usage_records::read_lines;
    use crate::wiring::usage_records::record;
    use proptest::prelude::*;

    fn report_of(input: &[u8]) -> (Totals, BadLines) {
        let (mut totals, mut bad) = (Totals::new(5, cost::tests::bill()), BadLines::default());
        totals.split = Some(Split::new(ReportBy::Key, 5));
        read_lines(input, "file", &mut bad, |record| totals.count(record)).expect("read");
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
        for name in ["message_id", "component", "key", "outcome", "limit", "reason"] {
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
