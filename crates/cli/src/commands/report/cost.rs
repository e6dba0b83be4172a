//! Estimates the cost of the same work elsewhere: one Fargate task for each message, a Fargate service, or Lambda.
//!
//! Billing rounds up the time of each task. The time depends on the size, as a part of a vCPU computes more slowly. The
//! largest task determines the size, and is known only at the end. So the time is added up for each speed that the
//! sizes have.
//!
//! The cost of all tasks is linear in their work, so that the costs of some of them add up to it.

use crate::output::failure::Failure;
use crate::output::show::{amount, number, size};
use crate::settings::flags::FargateSize;
use crate::wiring::prices::{Consumed, GB, Prices, check_size};
use crate::wiring::usage_records::record::Record;
use serde::Serialize;
use std::time::Duration;

const MB: f64 = (1u64 << 20) as f64;

/// Adds up the billed time and resources of tasks.
pub(super) struct Bill {
    prices: Prices,
    fargate_size: Option<FargateSize>,
    lambda_mb: Option<u32>,
    /// Speeds of Fargate's sizes in relation to the recording machine, at most 1. The recorded CPU time is divided by them.
    fargate: Vec<f64>,
    /// Speeds of Lambda's sizes.
    lambda: Vec<f64>,
    /// Number of tasks that would take longer than Lambda's timeout, for each of its speeds.
    too_long: Vec<u64>,
    all: Work,
    last: Work,
    peak_memory_bytes: u64,
}

/// What some of the tasks are billed for.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    tasks: u64,
    consumed: Consumed,
    /// Billed time for each speed of Fargate, in seconds, and then for each of Lambda, in milliseconds.
    times: Vec<f64>,
}

impl Work {
    /// Adds the work of other tasks.
    pub(super) fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.consumed.cpu_seconds += other.consumed.cpu_seconds;
        self.consumed.gb_seconds += other.consumed.gb_seconds;
        self.times.resize(other.times.len().max(self.times.len()), 0.0);
        self.times.iter_mut().zip(&other.times).for_each(|(sum, time)| *sum += time);
    }
}

/// Estimated cost of the work in one way.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    /// Name of the way in the text report.
    pub(super) way: &'static str,
    /// Name of the way in JSON.
    pub(super) name: &'static str,
    /// Cost of all tasks, in the currency of the prices.
    pub(super) total: f64,
    /// Cost of a million such messages.
    pub(super) per_million: f64,
    /// Assumptions of the estimate, as sentences.
    pub(super) assumptions: String,
}

impl Bill {
    /// Creates an empty bill with the user's sizes. Without them, it uses the smallest that hold the largest task.
    pub(super) fn new(
        prices: Prices,
        fargate_size: Option<FargateSize>,
        lambda_mb: Option<u32>,
    ) -> Result<Self, Failure> {
        let sizes = prices.fargate.sizes();
        if let Some(chosen) = fargate_size {
            check_size(&prices, chosen, "--fargate-size")?;
        }
        let fargate = match fargate_size {
            Some(size) => vec![size.vcpu],
            None => sizes.iter().map(|size| size.vcpu).collect(),
        };
        let lambda = match lambda_mb {
            Some(mb) => vec![mb],
            None => prices.lambda.sizes_mb.clone(),
        };
        let lambda = speeds(lambda.iter().map(|mb| lambda_vcpu(&prices, *mb)).collect());
        Ok(Self {
            prices,
            fargate_size,
            lambda_mb,
            fargate: speeds(fargate),
            too_long: vec![0; lambda.len()],
            lambda,
            all: Work::default(),
            last: Work::default(),
            peak_memory_bytes: 0,
        })
    }

    pub(super) fn prices(&self) -> &Prices {
        &self.prices
    }

    /// Adds a task.
    pub(super) fn add(&mut self, record: &Record<'_>) {
        let (waited, cpu) = (record.blocked_us as f64, record.cpu_us as f64);
        self.peak_memory_bytes = self.peak_memory_bytes.max(record.peak_memory_bytes);
        let last = &mut self.last;
        last.tasks = 1;
        let [cpu_time, wall] = [record.cpu_us, record.wall_us].map(Duration::from_micros);
        last.consumed = Consumed::new(cpu_time, wall, record.peak_memory_bytes);
        last.times.clear();
        last.times.extend(self.fargate.iter().map(|speed| {
            let seconds = (waited + cpu / speed) / 1e6;
            seconds.ceil().max(self.prices.fargate.minimum_seconds.into())
        }));
        for (speed, too_long) in self.lambda.iter().zip(&mut self.too_long) {
            let milliseconds = (waited + cpu / speed) / 1e3;
            last.times.push(milliseconds.ceil().max(self.prices.lambda.minimum_milliseconds.into()));
            *too_long += u64::from(milliseconds > f64::from(self.prices.lambda.timeout_seconds) * 1e3);
        }
        self.all.add(last);
    }

    /// Returns the work of the task that was added last.
    pub(super) fn last(&self) -> &Work {
        &self.last
    }

    /// Returns the part of each cost that is due to some of the tasks, in the order of [`costs`](Self::costs).
    pub(super) fn parts(&self, work: &Work) -> [f64; 3] {
        let tasks = self.fargate_tasks_cost(work, self.fargate_task_size());
        [tasks, self.service_cost(work), self.lambda_cost(work, self.lambda_size())]
    }

    /// Returns the part of the cost of a Fargate service that is due to some of the tasks.
    pub(super) fn service_cost(&self, work: &Work) -> f64 {
        self.prices.fargate.service_cost(self.all.consumed, work.consumed)
    }

    /// Returns the cost of each way.
    pub(super) fn costs(&self) -> [Cost; 3] {
        [self.fargate_tasks(), self.fargate_service(), self.lambda()]
    }

    fn fargate_task_size(&self) -> FargateSize {
        let fargate = &self.prices.fargate;
        let mut sizes = fargate.sizes();
        sizes.sort_by(|a, b| fargate.hour(*a).total_cmp(&fargate.hour(*b)));
        let holds = |size: &&FargateSize| size.gb * GB >= self.peak_memory_bytes as f64;
        let largest = || sizes.iter().max_by(|a, b| a.gb.total_cmp(&b.gb));
        let chosen = self.fargate_size.or_else(|| sizes.iter().find(holds).or_else(largest).copied());
        chosen.unwrap_or(FargateSize { vcpu: 1.0, gb: 1.0 })
    }

    fn fargate_tasks_cost(&self, work: &Work, size: FargateSize) -> f64 {
        let seconds = at_speed(&self.fargate, size.vcpu).and_then(|index| work.times.get(index));
        seconds.unwrap_or(&0.0) / 3600.0 * self.prices.fargate.hour(size)
    }

    fn fargate_tasks(&self) -> Cost {
        let chosen = self.fargate_task_size();
        let shown = format!("{} vCPU and {} GB", chosen.vcpu, chosen.gb);
        let assumptions = format!(
            "{}; {}; whole seconds, at least {}. Not counted: the pull of the image, which is billed too.",
            self.size_reason(&shown, self.fargate_size.is_some(), chosen.gb * GB),
            slowness(chosen.vcpu),
            self.prices.fargate.minimum_seconds
        );
        let total = self.fargate_tasks_cost(&self.all, chosen);
        self.cost("a Fargate task for each message", "fargate-tasks", total, assumptions)
    }

    fn fargate_service(&self) -> Cost {
        let (fargate, all) = (&self.prices.fargate, self.all.consumed);
        let ((least, most), size) = (fargate.gb_per_vcpu(), fargate.service_hours(all, all));
        let assumptions = format!(
            "always busy, as half as busy costs twice as much; {} vCPU-hours for their CPU time, {} GB-hours for their memory while they run, {} to {} GB for each vCPU. Not counted: the worker's own CPU time.",
            amount(size.vcpu),
            amount(size.gb),
            number(least),
            number(most)
        );
        self.cost("a Fargate service", "fargate-service", self.service_cost(&self.all), assumptions)
    }

    fn lambda_size(&self) -> u32 {
        let mut sizes = self.prices.lambda.sizes_mb.clone();
        sizes.sort_unstable();
        let holds = |mb: &&u32| f64::from(**mb) * MB >= self.peak_memory_bytes as f64;
        self.lambda_mb.or_else(|| sizes.iter().find(holds).or(sizes.last()).copied()).unwrap_or(1)
    }

    fn lambda_cost(&self, work: &Work, mb: u32) -> f64 {
        let lambda = &self.prices.lambda;
        let speed = at_speed(&self.lambda, lambda_vcpu(&self.prices, mb));
        let time = speed.and_then(|index| work.times.get(self.fargate.len() + index));
        let gb_seconds = time.unwrap_or(&0.0) / 1e3 * f64::from(mb) / 1024.0;
        gb_seconds * lambda.gb_second.price + work.tasks as f64 / 1e6 * lambda.million_requests.price
    }

    fn lambda(&self) -> Cost {
        let lambda = &self.prices.lambda;
        let chosen = self.lambda_size();
        let vcpu = lambda_vcpu(&self.prices, chosen);
        let too_long = at_speed(&self.lambda, vcpu).map(|index| self.too_long[index]);
        let mut assumptions = format!(
            "{}; {}; whole milliseconds. Not counted: cold starts, and what is free of charge.",
            self.size_reason(&format!("{chosen} MB"), self.lambda_mb.is_some(), f64::from(chosen) * MB),
            slowness(vcpu),
        );
        if let Some(tasks) = too_long.filter(|tasks| *tasks > 0) {
            assumptions += &format!(
                " Longer than the {} s that Lambda allows: {tasks} of the tasks.",
                lambda.timeout_seconds
            );
        }
        self.cost("Lambda", "lambda", self.lambda_cost(&self.all, chosen), assumptions)
    }

    fn size_reason(&self, shown: &str, asked_for: bool, bytes: f64) -> String {
        let peak = size(self.peak_memory_bytes);
        match (asked_for, bytes >= self.peak_memory_bytes as f64) {
            (true, true) => format!("{shown}, as you say"),
            (false, true) => {
                format!("{shown}, the smallest for the {peak} of the largest task with no memory to spare")
            }
            (_, false) => format!("{shown}, which does not hold the {peak} of the largest task"),
        }
    }

    fn cost(&self, way: &'static str, name: &'static str, total: f64, assumptions: String) -> Cost {
        let per_million = match self.all.tasks {
            0 => 0.0,
            tasks => total / tasks as f64 * 1e6,
        };
        Cost { way, name, total, per_million, assumptions }
    }
}

/// Returns each speed once. A task computes on one core, so more cores don't make it faster.
fn speeds(vcpus: Vec<f64>) -> Vec<f64> {
    let mut speeds: Vec<f64> = vcpus.into_iter().map(|vcpu| vcpu.min(1.0)).collect();
    speeds.sort_by(f64::total_cmp);
    speeds.dedup();
    speeds
}

fn at_speed(speeds: &[f64], vcpu: f64) -> Option<usize> {
    speeds.iter().position(|speed| *speed == vcpu.min(1.0))
}

fn lambda_vcpu(prices: &Prices, mb: u32) -> f64 {
    f64::from(mb) / f64::from(prices.lambda.mb_per_vcpu)
}

fn slowness(vcpu: f64) -> String {
    if vcpu < 1.0 {
        format!("computing takes {} times as long as here, waiting as long", number(1.0 / vcpu))
    } else {
        "computing and waiting take as long as here".to_owned()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wiring::usage_records::record::tests::record;
    use serde_json::json;

    pub(crate) fn bill() -> Bill {
        bill_of(None, None)
    }

    fn bill_of(fargate_size: Option<FargateSize>, lambda_mb: Option<u32>) -> Bill {
        Bill::new(Prices::read(None).expect("valid"), fargate_size, lambda_mb).expect("valid")
    }

    /// Adds tasks of this CPU time, waiting time and memory.
    fn add(bill: &mut Bill, tasks: usize, cpu_us: u64, waited_us: u64, memory: u64) {
        let mut value = record();
        value["cpu_us"] = json!(cpu_us);
        value["blocked_us"] = json!(waited_us);
        value["wall_us"] = json!(cpu_us + waited_us);
        value["peak_memory_bytes"] = json!(memory);
        let line = value.to_string();
        let record = Record::read(line.as_bytes()).expect("a record");
        (0..tasks).for_each(|_| bill.add(&record));
    }

    fn near(is: f64, expected: f64) {
        assert!((is - expected).abs() <= expected * 1e-9, "{is} is not {expected}");
    }

    #[test]
    fn a_short_task_is_billed_a_minute_of_the_smallest_size() {
        let mut bill = bill();
        add(&mut bill, 3, 10_000, 10_000, 10 << 20);
        let [tasks, _, _] = bill.costs();
        near(tasks.total, 3.0 * (0.25 * 0.04048 + 0.5 * 0.004445) / 60.0);
        near(tasks.per_million, tasks.total / 3.0 * 1e6);
        assert!(
            tasks.assumptions.starts_with("0.25 vCPU and 0.5 GB, the smallest for"),
            "{}",
            tasks.assumptions
        );
        assert!(tasks.assumptions.contains("4 times as long"), "{}", tasks.assumptions);
    }

    #[test]
    fn a_part_of_a_vcpu_computes_slower_and_waits_as_long() {
        let mut bill = bill();
        // 4 times 20 s, and 1.5 s: 81.5 s, which is 82 s.
        add(&mut bill, 1, 20_000_000, 1_500_000, 10 << 20);
        near(bill.costs()[0].total, 82.0 / 3600.0 * (0.25 * 0.04048 + 0.5 * 0.004445));
    }

    #[test]
    fn the_size_is_that_of_the_largest_task() {
        let mut bill = bill();
        add(&mut bill, 1, 1, 1, 10 << 20);
        add(&mut bill, 1, 1, 1, 3 << 30);
        let [tasks, _, lambda] = bill.costs();
        assert!(tasks.assumptions.starts_with("0.5 vCPU and 3 GB"), "{}", tasks.assumptions);
        assert!(lambda.assumptions.starts_with("3072 MB"), "{}", lambda.assumptions);
        add(&mut bill, 1, 1, 1, 1 << 40);
        for cost in [&bill.costs()[0], &bill.costs()[2]] {
            assert!(cost.assumptions.contains("does not hold"), "{}", cost.assumptions);
        }
    }

    #[test]
    fn a_service_is_billed_for_cpu_time_and_at_least_the_memory_that_goes_with_it() {
        let mut bill = bill();
        add(&mut bill, 10, 360_000_000, 0, 1 << 20);
        // An hour of one vCPU, which has 2 GB at least.
        near(bill.costs()[1].total, 0.04048 + 2.0 * 0.004445);
    }

    #[test]
    fn a_service_whose_tasks_wait_is_billed_for_their_memory() {
        let mut bill = bill();
        add(&mut bill, 16, 0, 3_600_000_000, 1 << 30);
        // 16 GB-hours, which need two vCPU-hours.
        near(bill.costs()[1].total, 2.0 * 0.04048 + 16.0 * 0.004445);
    }

    #[test]
    fn lambda_is_billed_by_the_millisecond_and_the_request() {
        let mut bill = bill_of(None, Some(1769));
        add(&mut bill, 1000, 1_000, 1_200, 1 << 20);
        near(bill.costs()[2].total, 3.0 * 1769.0 / 1024.0 * 0.000_016_666_7 + 1000.0 * 0.2e-6);
        let mut small = bill_of(None, None);
        add(&mut small, 1, 900_000_000, 0, 1 << 20);
        let [_, _, lambda] = small.costs();
        assert!(lambda.assumptions.contains("900 s that Lambda allows: 1 of"), "{}", lambda.assumptions);
    }

    #[test]
    fn a_size_that_fargate_does_not_have_is_refused_and_those_that_it_has_are_named() {
        let prices = || Prices::read(None).expect("valid");
        let error =
            Bill::new(prices(), Some(FargateSize { vcpu: 0.25, gb: 3.0 }), None).err().expect("refused");
        assert!(error.to_string().contains("with 0.25 vCPU there may be 0.5, 1, 2 GB"), "{error}");
        assert!(Bill::new(prices(), Some(FargateSize { vcpu: 3.0, gb: 3.0 }), None).is_err());
    }

    #[test]
    fn nothing_costs_nothing() {
        for cost in bill().costs() {
            assert_eq!((cost.total, cost.per_million), (0.0, 0.0));
        }
    }
}
