//! Formatting of numbers.

use super::statistics::Spread;

/// Rounds a value to a number of significant digits.
pub(super) fn to_digits(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(digits - 1 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// Formats a number of datagrams per second: `23.4 M`, `285 k`.
pub(super) fn rate(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", short(value / 1e6)),
        value if value >= 1e3 => format!("{} k", short(value / 1e3)),
        value => short(value),
    }
}

/// Formats a number of microseconds: `33.3 µs`, `645 ms`.
pub(super) fn microseconds(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} s", short(value / 1e6)),
        value if value >= 1e3 => format!("{} ms", short(value / 1e3)),
        value => format!("{} µs", short(value)),
    }
}

/// Formats a value with three significant digits, without an exponent.
pub(super) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        value => (2 - value.log10().floor() as i32).clamp(0, 3),
    };
    format!("{value:.0$}", decimals as usize)
}

/// Formats a ratio with its quartiles: `0.98 (0.97–1.01)`.
pub(super) fn ratio(spread: Spread) -> String {
    let places = match spread.median {
        median if median >= 10.0 => 1,
        median if median >= 0.1 => 2,
        _ => 4,
    };
    self::spread(spread, |value| format!("{value:.places$}"))
}

/// Formats the median and its quartiles; omits the quartiles of a single round.
pub(super) fn spread(spread: Spread, notation: impl Fn(f64) -> String) -> String {
    if spread.lower == spread.upper {
        return notation(spread.median);
    }
    format!("{} ({}–{})", notation(spread.median), notation(spread.lower), notation(spread.upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [short(23.44), short(285.2), short(1.0), short(0.01234), short(0.0)],
            ["23.4", "285", "1.00", "0.012", "0"]
        );
        assert_eq!([microseconds(33.33), microseconds(645_400.0)], ["33.3 µs", "645 ms"]);
        assert_eq!([rate(23_440_000.0), rate(285_200.0), rate(12.0)], ["23.4 M", "285 k", "12.0"]);
    }

    #[test]
    fn rounding_keeps_significant_digits() {
        assert_eq!(
            [to_digits(123_456_789.0, 5), to_digits(0.001_234_567, 3), to_digits(0.0, 3)],
            [123_460_000.0, 0.001_23, 0.0]
        );
    }

    #[test]
    fn a_ratio_shows_its_quartiles() {
        assert_eq!(ratio(Spread { lower: 0.9, median: 1.0, upper: 1.1 }), "1.00 (0.90–1.10)");
        assert_eq!(ratio(Spread { lower: 20.0, median: 25.0, upper: 30.0 }), "25.0 (20.0–30.0)");
    }
}
