//! Counts outcomes over time. The span is known only at the end, and memory doesn't grow with it.

use super::totals::Outcomes;
use std::collections::BTreeMap;

/// Maximum number of rows, which can be read at a glance.
const MAX_ROWS: i64 = 20;
/// Widths of a row in seconds, in familiar units. Each is a multiple of the one before. Larger widths double.
const WIDTHS: [i64; 11] = [1, 5, 15, 60, 300, 900, 3600, 10_800, 21_600, 86_400, 604_800];

/// Counts of outcomes by time, in rows of equal width.
#[derive(Debug)]
pub(super) struct Timeline {
    width: i64,
    rows: BTreeMap<i64, Outcomes>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width: WIDTHS[0], rows: BTreeMap::new() }
    }
}

impl Timeline {
    /// Counts a task that ended in `second`, in seconds since the Unix epoch.
    pub(super) fn count(&mut self, second: i64, outcome: usize) {
        self.rows.entry(second.div_euclid(self.width)).or_default()[outcome] += 1;
        while self.length() > MAX_ROWS {
            self.widen();
        }
    }

    /// Returns the width of a row in seconds.
    pub(super) fn width(&self) -> i64 {
        self.width
    }

    /// Returns all rows from the first task to the last, each with its first second.
    pub(super) fn rows(&self) -> impl Iterator<Item = (i64, Outcomes)> {
        let first = self.rows.keys().next().copied().unwrap_or_default();
        (first..first + self.length())
            .map(|row| (row * self.width, self.rows.get(&row).copied().unwrap_or_default()))
    }

    fn length(&self) -> i64 {
        match (self.rows.first_key_value(), self.rows.last_key_value()) {
            (Some((first, _)), Some((last, _))) => last - first + 1,
            _ => 0,
        }
    }

    fn widen(&mut self) {
        let wider = WIDTHS.into_iter().find(|width| *width > self.width).unwrap_or(self.width * 2);
        let factor = wider / self.width;
        for (row, outcomes) in std::mem::take(&mut self.rows) {
            let into = self.rows.entry(row.div_euclid(factor)).or_default();
            into.iter_mut().zip(outcomes).for_each(|(sum, count)| *sum += count);
        }
        self.width = wider;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timeline(seconds: impl IntoIterator<Item = i64>) -> Timeline {
        let mut timeline = Timeline::default();
        seconds.into_iter().for_each(|second| timeline.count(second, 0));
        timeline
    }

    #[test]
    fn rows_are_as_wide_as_the_span_needs() {
        let width = |span: i64| timeline((0..=span).step_by(1 + span as usize / 1000)).width();
        assert_eq!([0, 19, 20, 3600, 86_400, 30 * 86_400].map(width), [1, 1, 5, 300, 10_800, 604_800]);
    }

    #[test]
    fn a_time_in_which_nothing_ended_has_a_row_too() {
        let rows: Vec<(i64, u64)> =
            timeline([100, 103]).rows().map(|(from, counts)| (from, counts[0])).collect();
        assert_eq!(rows, [(100, 1), (101, 0), (102, 0), (103, 1)]);
    }

    proptest! {
        #[test]
        fn no_task_is_lost_whatever_the_times(seconds in prop::collection::vec(-377_705_116_800..=253_402_207_200i64, 1..60)) {
            let (first, last) = (*seconds.iter().min().expect("one"), *seconds.iter().max().expect("one"));
            let tasks = seconds.len() as u64;
            let timeline = timeline(seconds);
            let rows: Vec<(i64, Outcomes)> = timeline.rows().collect();
            prop_assert!(rows.len() as i64 <= MAX_ROWS);
            prop_assert_eq!(rows.iter().map(|(_, counts)| counts[0]).sum::<u64>(), tasks);
            prop_assert!(rows[0].0 <= first && last < rows[rows.len() - 1].0 + timeline.width());
        }
    }
}
