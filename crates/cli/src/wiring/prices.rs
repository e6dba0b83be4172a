//! The price table: the built-in table, or the user's.

use crate::output::failure::Failure;
use crate::settings::flags::FargateSize;
use crate::settings::read::{MAX_TOML_BYTES, read_text, toml_from};
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;
use wasmrun_runtime::model::budget::PARTS_OF_CURRENCY;

/// Bytes of a GB, as AWS counts them.
pub(crate) const GB: f64 = (1u64 << 30) as f64;
const SHIPPED: &str = include_str!("../prices.toml");
/// Minimum price above zero: the smallest amount that a budget counts.
const MIN_PRICE: f64 = 1.0 / PARTS_OF_CURRENCY;
/// Maximum price: a higher price is a typing error.
const MAX_PRICE: f64 = 1e6;
/// Maximum number of entries in each list of sizes, as each costs time for each record. AWS has some hundred sizes.
const MAX_SIZES: usize = 64;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Prices {
    pub(crate) region: String,
    pub(crate) offer: String,
    pub(crate) currency: String,
    pub(crate) fargate: Fargate,
    pub(crate) lambda: Lambda,
    /// Not in tables that were written before `wasmrun simulate` existed.
    pub(crate) sqs: Option<Sqs>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Fargate {
    pub(crate) minimum_seconds: u32,
    pub(crate) vcpu_hour: Price,
    pub(crate) gb_hour: Price,
    sizes: Vec<FargateSizes>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FargateSizes {
    vcpu: f64,
    gb: Vec<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Lambda {
    pub(crate) minimum_milliseconds: u32,
    pub(crate) mb_per_vcpu: u32,
    pub(crate) timeout_seconds: u32,
    pub(crate) gb_second: Price,
    pub(crate) million_requests: Price,
    pub(crate) sizes_mb: Vec<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Sqs {
    pub(crate) million_requests: Price,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Price {
    pub(crate) price: f64,
    date: String,
    source: String,
}

impl Prices {
    /// Reads and checks the user's table, or the built-in table without a path.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let (shown, text) = match path {
            None => ("prices.toml".to_owned(), SHIPPED.to_owned()),
            Some(path) => {
                let shown = path.display().to_string();
                let text = read_text(path, &format!("the prices {shown}"), MAX_TOML_BYTES)?;
                (shown, text)
            }
        };
        let prices: Self = toml_from(&text, &format!("the prices {shown}"))?;
        prices.check().map_err(|wrong| Failure::usage(format!("in the prices {shown}: {wrong}")))?;
        Ok(prices)
    }

    fn check(&self) -> Result<(), String> {
        let sqs = self.sqs.as_ref().map(|sqs| ("sqs.million-requests", &sqs.million_requests));
        for (name, price) in self.all().into_iter().chain(sqs) {
            if price.price != 0.0 && !(MIN_PRICE..=MAX_PRICE).contains(&price.price) {
                // With an exponent: a number may have hundreds of digits.
                return Err(format!(
                    "{name} is {:?}: a price is 0, or {MIN_PRICE} to {MAX_PRICE}",
                    price.price
                ));
            }
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if price.date.len() < 7 || !price.date.split('-').all(digits) {
                return Err(format!("{name} has the date {:?}: write YYYY-MM or YYYY-MM-DD", price.date));
            }
        }
        if self.fargate.vcpu_hour.price + self.fargate.gb_hour.price == 0.0 {
            return Err("fargate.vcpu-hour and fargate.gb-hour are both 0, and no task would cost anything: give one of them a price".into());
        }
        let sizes = self.fargate.sizes();
        if sizes.is_empty() || !sizes.iter().all(|size| size.is_possible()) {
            return Err("fargate.sizes must be some, each of 0.001 to 10000 vCPU and GB".into());
        }
        let lambda = &self.lambda;
        if lambda.sizes_mb.is_empty() || lambda.sizes_mb.contains(&0) || lambda.mb_per_vcpu == 0 {
            return Err("lambda.sizes-mb must be some, and mb-per-vcpu a number, above 0".into());
        }
        if self.fargate.sizes.len().max(lambda.sizes_mb.len()) > MAX_SIZES {
            return Err(format!("fargate.sizes and lambda.sizes-mb are at most {MAX_SIZES}"));
        }
        Ok(())
    }

    fn all(&self) -> [(&'static str, &Price); 4] {
        [
            ("fargate.vcpu-hour", &self.fargate.vcpu_hour),
            ("fargate.gb-hour", &self.fargate.gb_hour),
            ("lambda.gb-second", &self.lambda.gb_second),
            ("lambda.million-requests", &self.lambda.million_requests),
        ]
    }

    /// Returns the date of the oldest price.
    pub(crate) fn date(&self) -> &str {
        self.all().iter().map(|(_, price)| price.date.as_str()).min().unwrap_or_default()
    }

    /// Returns the sources of the prices, each once.
    pub(crate) fn sources(&self) -> Vec<&str> {
        let mut sources: Vec<&str> = self.all().iter().map(|(_, price)| price.source.as_str()).collect();
        sources.dedup();
        sources
    }
}

/// Refuses a size that Fargate doesn't have. `flag` is the flag that names it.
pub(crate) fn check_size(prices: &Prices, chosen: FargateSize, flag: &str) -> Result<(), Failure> {
    let sizes = prices.fargate.sizes();
    if sizes.contains(&chosen) {
        return Ok(());
    }
    let FargateSize { vcpu, gb } = chosen;
    let gbs: Vec<String> =
        sizes.iter().filter(|size| size.vcpu == vcpu).map(|size| size.gb.to_string()).collect();
    let wrong = format!("{flag} {vcpu},{gb}: Fargate has no such size");
    Err(Failure::usage(if gbs.is_empty() {
        wrong
    } else {
        format!("{wrong}; with {vcpu} vCPU there may be {} GB", gbs.join(", "))
    }))
}

impl Fargate {
    /// Returns all sizes of Fargate tasks.
    pub(crate) fn sizes(&self) -> Vec<FargateSize> {
        let of = |sizes: &FargateSizes| {
            let vcpu = sizes.vcpu;
            sizes.gb.iter().map(move |gb| FargateSize { vcpu, gb: *gb }).collect::<Vec<_>>()
        };
        self.sizes.iter().flat_map(of).collect()
    }

    /// Returns the price of a size for an hour.
    pub(crate) fn hour(&self, size: FargateSize) -> f64 {
        size.vcpu * self.vcpu_hour.price + size.gb * self.gb_hour.price
    }

    /// Returns the least and the most GB that Fargate sells with a vCPU.
    pub(crate) fn gb_per_vcpu(&self) -> (f64, f64) {
        let ratios = self.sizes.iter().flat_map(|of| of.gb.iter().map(|gb| gb / of.vcpu));
        ratios.fold((f64::MAX, 0.0f64), |(least, most), ratio| (least.min(ratio), most.max(ratio)))
    }

    /// Returns the vCPU-hours and GB-hours of a service that are due to `some` of all tasks. Either CPU time or memory
    /// determines what all tasks need, and so the part of each.
    pub(crate) fn service_hours(&self, all: Consumed, some: Consumed) -> FargateSize {
        let (least, most) = self.gb_per_vcpu();
        let by_cpu = all.cpu_seconds >= all.gb_seconds / most;
        let vcpu = |of: Consumed| if by_cpu { of.cpu_seconds } else { of.gb_seconds / most };
        let by_memory = all.gb_seconds >= vcpu(all) * least;
        let gb = if by_memory { some.gb_seconds } else { vcpu(some) * least };
        FargateSize { vcpu: vcpu(some) / 3600.0, gb: gb / 3600.0 }
    }

    /// Returns the part of the cost of a service that is due to `some` of all tasks.
    pub(crate) fn service_cost(&self, all: Consumed, some: Consumed) -> f64 {
        self.hour(self.service_hours(all, some))
    }
}

/// What a service is billed for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Consumed {
    pub(crate) cpu_seconds: f64,
    pub(crate) gb_seconds: f64,
}

impl Consumed {
    /// Returns what a task has consumed, whose memory is its peak for all of its time.
    pub(crate) fn new(cpu: Duration, wall: Duration, peak_memory_bytes: u64) -> Self {
        let gb_seconds = peak_memory_bytes as f64 / GB * wall.as_secs_f64();
        Self { cpu_seconds: cpu.as_secs_f64(), gb_seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Prices, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("mine.toml");
        std::fs::write(&path, text).expect("written");
        Prices::read(Some(&path)).map_err(|failure| failure.to_string())
    }

    #[test]
    fn the_shipped_table_is_right() {
        let prices = Prices::read(None).expect("valid");
        let smallest = prices.fargate.sizes()[0];
        assert_eq!(smallest, FargateSize { vcpu: 0.25, gb: 0.5 });
        // A million tasks of the smallest size for a minute each: the sources give this figure.
        let million = 1e6 * prices.fargate.hour(smallest) / 60.0;
        assert!((205.0..207.0).contains(&million), "{million}");
        assert_eq!(prices.date(), "2026-05");
        assert_eq!(prices.sources().len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said() {
        for (from, to, said) in [
            ("0.04048", "-1.0", "fargate.vcpu-hour is -1"),
            ("0.04048", "inf", "fargate.vcpu-hour is inf"),
            ("0.04048", "nan", "fargate.vcpu-hour is NaN"),
            (
                "0.0000166667",
                "1e-13",
                "lambda.gb-second is 1e-13: a price is 0, or 0.000000000001 to 1000000",
            ),
            ("price = 0.20", "price = 1e300", "lambda.million-requests is 1e300: a price is"),
            ("price = 0.40", "price = 1000001", "sqs.million-requests is 1000001.0: a price is"),
            ("2026-06", "June", "has the date \"June\""),
            ("mb-per-vcpu = 1769", "mb-per-vcpu = 0", "mb-per-vcpu"),
            ("minimum-seconds", "minimum-second", "mine.toml, line"),
            ("vcpu = 0.25", "vcpu = 0", "fargate.sizes"),
            ("[128, 192,", "[0, 192,", "lambda.sizes-mb"),
        ] {
            let error = read(&SHIPPED.replace(from, to)).expect_err(to);
            assert!(error.contains(said), "{error:?} for {to}");
        }
    }

    #[test]
    fn a_table_in_which_fargate_costs_nothing_is_refused() {
        let without_cpu = SHIPPED.replace("0.04048", "0");
        assert!(read(&without_cpu).is_ok());
        let error = read(&without_cpu.replace("0.004445", "0")).expect_err("both are zero");
        assert!(error.contains("fargate.vcpu-hour and fargate.gb-hour are both 0"), "{error}");
    }
}
