//! Formats numbers for people: three digits and a unit.

use bytesize::ByteSize;
use wasmrun_runtime::model::distribution::{Quantity, Spreads};

/// Formats a time in microseconds.
pub(crate) fn time(micros: u64) -> String {
    let seconds = micros as f64 / 1e6;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", digits(seconds * 1e3)),
        1_000_000..600_000_000 => format!("{} s", digits(seconds)),
        600_000_000..36_000_000_000 => format!("{} min", digits(seconds / 60.0)),
        _ => format!("{} h", digits(seconds / 3600.0)),
    }
}

/// Formats a number of bytes.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// Formats an amount of fuel.
pub(crate) fn count(number: u64) -> String {
    match number {
        0..1_000_000 => number.to_string(),
        1_000_000..1_000_000_000 => format!("{} million", digits(number as f64 / 1e6)),
        _ => format!("{} billion", digits(number as f64 / 1e9)),
    }
}

/// Formats by how many percent an amount is above or below another: "+1.5 %".
pub(crate) fn change(now: u64, before: u64) -> String {
    format!("{:+.1} %", (now as f64 / before.max(1) as f64 - 1.0) * 100.0)
}

/// Formats a number of at least 1 with three digits, or its whole part if that has more digits.
fn digits(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        ..100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// Formats a number with at most two decimals, and with none from 100 on.
pub(crate) fn number(number: f64) -> String {
    match number {
        ..100.0 => format!("{number:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => format!("{number:.0}"),
    }
}

/// Formats an amount of money, or of vCPU-hours or GB-hours. Uses two decimals, or more if the amount would have fewer
/// than three significant digits.
pub(crate) fn amount(amount: f64) -> String {
    let leading_zeros = if amount > 0.0 { -amount.log10().floor() } else { 0.0 };
    let decimals = (leading_zeros + 2.0).clamp(2.0, 12.0) as usize;
    format!("{amount:.decimals$}")
}

/// Formats a table of percentiles, with a line break after each line. Its first column is `width` wide.
pub(crate) fn spreads(spreads: &Spreads, width: usize) -> String {
    let mut text = format!("{:<width$}{:>14}{:>14}{:>14}{:>14}\n", "", "p50", "p95", "p99", "max");
    for (quantity, spread) in spreads.iter() {
        let (name, shown): (_, fn(u64) -> String) = match quantity {
            Quantity::Wall => ("wall time", time),
            Quantity::Queued => ("in the queue", time),
            Quantity::Cpu => ("CPU time", time),
            Quantity::Fuel => ("fuel", count),
            Quantity::PeakMemory => ("memory", size),
            Quantity::Bytes => ("bytes", size),
        };
        let [p50, p95, p99, max] = [spread.p50, spread.p95, spread.p99, spread.max].map(shown);
        text.push_str(&format!("{name:<width$}{p50:>14}{p95:>14}{p99:>14}{max:>14}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let times = [0, 999, 1_500, 12_345, 999_999, 1_000_000, 59_900_000, 7_200_000_000, u64::MAX];
        let shown = times.map(time);
        let expected = [
            "0 µs",
            "999 µs",
            "1.50 ms",
            "12.3 ms",
            "1000 ms",
            "1.00 s",
            "59.9 s",
            "120 min",
            "5124095576 h",
        ];
        assert_eq!(shown, expected);
        assert_eq!(
            [0, 99_999, 1_234_567, 20_000_000_000].map(count),
            ["0", "99999", "1.23 million", "20.0 billion"]
        );
        assert_eq!([change(203, 200), change(1, 2), change(1, 0)], ["+1.5 %", "-50.0 %", "+0.0 %"]);
        assert_eq!([0.0, 1.5, 13.826, 99.999, 100.5].map(number), ["0", "1.5", "13.83", "100", "100"]);
        assert_eq!([0.0, 0.000_206_3, 0.5, 206.3].map(amount), ["0.00", "0.000206", "0.500", "206.30"]);
    }
}
