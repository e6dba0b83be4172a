//! Splits tasks, outcomes, consumption and costs by a field of records, in memory that doesn't grow with the file.
//!
//! Senders choose the keys of messages, so a file may hold any number of them. At most [`MOST_VALUES`] are counted one by
//! one. When there are more, the half with the smallest costs is counted together from then on.

use super::cost::{Bill, Work};
use super::totals::{Outcomes, Sums};
use crate::settings::flags::ReportBy;
use crate::wiring::usage_records::record::Record;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use wasmrun_runtime::model::key::Key;

/// Maximum number of values that are counted one by one. Each takes at most 2 KiB.
pub(super) const MOST_VALUES: usize = 4096;

/// The tasks of each value of a field.
#[derive(Debug)]
pub(super) struct Split {
    pub(super) by: ReportBy,
    groups: BTreeMap<Key, Group>,
    /// The tasks of all values that aren't counted one by one.
    others: Group,
    /// Whether each value was counted by itself from its first task to its last.
    exact: bool,
    most: usize,
}

/// Some of the tasks: their outcomes, their consumption, and the work that they are billed for.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) outcomes: Outcomes,
    pub(super) sums: Sums,
    pub(super) work: Work,
}

impl Group {
    /// Returns the number of tasks.
    pub(super) fn tasks(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, count)| *sum += count);
        self.sums.add(&other.sums);
        self.work.add(&other.work);
    }
}

impl Split {
    /// Creates a split by a field that lists at most `most` values.
    pub(super) fn new(by: ReportBy, most: usize) -> Self {
        Self { by, groups: BTreeMap::new(), others: Group::default(), exact: true, most }
    }

    /// Counts a task. A task without the field has the value `-`.
    pub(super) fn count(&mut self, record: &Record<'_>, outcome: usize, sums: &Sums, bill: &Bill) {
        let value = match self.by {
            ReportBy::Key => record.key.as_deref(),
            ReportBy::Route => record.route.as_deref(),
            ReportBy::Component => Some(&*record.component).filter(|component| !component.is_empty()),
        };
        let value = value.map_or_else(Key::none, Key::new);
        if self.groups.len() >= MOST_VALUES && !self.groups.contains_key(&value) {
            self.make_room(bill);
        }
        let group = self.groups.entry(value).or_default();
        group.outcomes[outcome] += 1;
        group.sums.add(sums);
        group.work.add(bill.last());
    }

    /// Counts the half of the values that has the smallest costs together with the others.
    fn make_room(&mut self, bill: &Bill) {
        let mut ranked = ranked(std::mem::take(&mut self.groups), bill);
        for (_, group) in ranked.split_off(MOST_VALUES / 2) {
            self.others.add(&group);
        }
        self.groups = ranked.into_iter().collect();
        self.exact = false;
    }

    /// Returns the listed values, largest cost first, and the sum of all others.
    pub(super) fn listed(&self, bill: &Bill) -> (Vec<(&Key, &Group)>, Group) {
        let mut listed = ranked(&self.groups, bill);
        let mut others = self.others.clone();
        for (_, group) in listed.split_off(self.most.min(listed.len())) {
            others.add(group);
        }
        (listed, others)
    }

    /// Returns whether the listed values have all of their tasks. Otherwise some may be among the others.
    pub(super) fn is_exact(&self) -> bool {
        self.exact
    }
}

/// Sorts groups by cost, the largest first. Equal costs are sorted by the number of tasks, then by value.
fn ranked<K, G: Borrow<Group>>(groups: impl IntoIterator<Item = (K, G)>, bill: &Bill) -> Vec<(K, G)> {
    let weighed = groups.into_iter().map(|(key, group)| {
        let some: &Group = group.borrow();
        (bill.service_cost(&some.work), some.tasks(), (key, group))
    });
    let mut weighed: Vec<_> = weighed.collect();
    weighed.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    weighed.into_iter().map(|(_, _, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::super::cost::tests::bill;
    use super::super::totals::Totals;
    use super::*;
    use crate::wiring::usage_records::record::tests::record;
    use proptest::prelude::*;

    /// Counts a task of this CPU time for each key.
    fn totals<'a>(most: usize, tasks: impl IntoIterator<Item = (Option<&'a str>, u64)>) -> Totals {
        let mut totals = Totals::new(1, bill());
        totals.split = Some(Split::new(ReportBy::Key, most));
        for (key, cpu_us) in tasks {
            let mut record = record();
            record["key"] = key.into();
            record["cpu_us"] = cpu_us.into();
            let line = record.to_string();
            totals.count(&Record::read(line.as_bytes()).expect("a record"));
        }
        totals
    }

    fn keys<'a>(listed: &[(&'a Key, &Group)]) -> Vec<&'a str> {
        listed.iter().map(|(key, _)| key.as_str()).collect()
    }

    #[test]
    fn keys_are_listed_by_cost_and_tasks_without_a_key_have_the_key_of_none() {
        let tasks = [(Some("a"), 10), (None, 3_000), (Some("-"), 1), (Some(""), 1), (Some("b"), 9_000_000)];
        let totals = totals(2, tasks);
        let (listed, others) = totals.split.as_ref().expect("keys").listed(&totals.bill);
        assert_eq!(keys(&listed), ["b", "-"]);
        assert_eq!((listed[1].1.tasks(), listed[1].1.sums.cpu_us), (3, 3_002));
        assert_eq!((others.tasks(), others.sums.cpu_us), (1, 10));
    }

    #[test]
    fn keys_without_end_take_bounded_memory_and_hide_no_large_key() {
        let numbers: Vec<String> = (0..3 * MOST_VALUES).map(|number| number.to_string()).collect();
        let flood = numbers.iter().flat_map(|number| [(Some(number.as_str()), 5), (Some("large"), 90_000)]);
        let totals = totals(1, flood);
        let split = totals.split.as_ref().expect("keys");
        assert!(split.groups.len() <= MOST_VALUES && !split.is_exact());
        let (listed, others) = split.listed(&totals.bill);
        assert_eq!((keys(&listed), listed[0].1.tasks()), (vec!["large"], 3 * MOST_VALUES as u64));
        assert_eq!(others.tasks(), 3 * MOST_VALUES as u64);
    }

    #[test]
    fn a_long_key_is_cut() {
        let long = "ü".repeat(10_000);
        let totals = totals(1, [(Some(long.as_str()), 1)]);
        let split = totals.split.as_ref().expect("keys");
        assert!(split.groups.keys().all(|key| key.as_str().len() <= wasmrun_runtime::model::key::MOST_BYTES));
    }

    proptest! {
        /// The keys and the others add up to the totals, costs included.
        #[test]
        fn the_parts_add_up_to_the_totals(
            tasks in prop::collection::vec((0u8..8, 0u64..20_000_000), 1..40),
            most in 1usize..10,
        ) {
            let named: Vec<_> = tasks.iter().map(|(key, cpu)| (key.to_string(), *cpu)).collect();
            let totals = totals(most, named.iter().map(|(key, cpu)| (Some(key.as_str()), *cpu)));
            let (listed, mut sum) = totals.split.as_ref().expect("keys").listed(&totals.bill);
            prop_assert!(listed.len() <= most);
            let costs = |group: &Group| totals.bill.parts(&group.work);
            let mut parts = costs(&sum);
            for (_, group) in listed {
                sum.add(group);
                parts.iter_mut().zip(costs(group)).for_each(|(sum, part)| *sum += part);
            }
            prop_assert_eq!((sum.outcomes, sum.sums.cpu_us), (totals.outcomes, totals.sums.cpu_us));
            for (part, cost) in parts.into_iter().zip(totals.bill.costs()) {
                prop_assert!((part - cost.total).abs() <= cost.total * 1e-9, "{part} {cost:?}");
            }
        }
    }
}
