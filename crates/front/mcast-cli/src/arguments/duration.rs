//! Durations: `500ms`, `2s`, `1.5`.

use std::time::Duration;

/// Parses a number with a unit: `ns`, `us` (`µs`), `ms`, `s`, `m` (`min`), `h`. The default unit is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|character: char| !matches!(character, '0'..='9' | '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds_of_unit = match unit.trim_start() {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        _ => return Err("write a time such as 500ms, 2s, 1.5 (seconds), 5m or 1h".into()),
    };
    let number: f64 = number.parse().map_err(|_| "write a time such as 500ms, 2s or 1.5 (seconds)")?;
    Duration::try_from_secs_f64(number * seconds_of_unit).map_err(|_| "this time is too long".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_parsed() {
        let millis = |text| parse_duration(text).unwrap().as_secs_f64() * 1e3;
        assert_eq!(
            ["500ms", "2s", "1.5", "0.25", "2m", "1h"].map(millis),
            [500.0, 2e3, 1.5e3, 250.0, 120e3, 3.6e6]
        );
        assert_eq!(parse_duration("100us").unwrap(), Duration::from_micros(100));
        assert_eq!(parse_duration("0").unwrap(), Duration::ZERO);
    }

    #[test]
    fn invalid_times_are_refused() {
        for text in ["", "s", "-1", "1x", "1.2.3", "nan", "inf", "1e400s", "99999999999999999999999"] {
            parse_duration(text).unwrap_err();
        }
    }
}
