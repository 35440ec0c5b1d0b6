//! Durations and rates with units: `20ms`, `1.5s`, `10Mbit`.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, de};

/// A duration, written with its unit: `ns`, `us`, `ms`, `s`, `m`, `min` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

/// Bits per second, written as a number or with `kbit`, `Mbit` or `Gbit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate(pub(super) u64);

impl Time {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let seconds = match unit {
            "ns" => number / 1e9,
            "us" => number / 1e6,
            "ms" => number / 1e3,
            "s" => number,
            "m" | "min" => number * 60.0,
            "h" => number * 3600.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(seconds).ok().map(Self)
    }
}

impl Rate {
    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split(text)?;
        let bits = match unit {
            "bit" => number,
            "kbit" => number * 1e3,
            "Mbit" => number * 1e6,
            "Gbit" => number * 1e9,
            _ => return None,
        };
        (1.0..=u64::MAX as f64).contains(&bits).then_some(Self(bits as u64))
    }
}

/// Splits a text into the number at its start and the unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let number: f64 = text[..end].trim().parse().ok()?;
    (number >= 0.0).then_some((number, &text[end..]))
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit, such as \"20ms\", \"1.5s\" or \"2min\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                Time::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate, such as \"10Mbit\", \"200kbit\" or a number of bits per second")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
                Rate::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_i64<E: de::Error>(self, bits: i64) -> Result<Rate, E> {
                let positive = u64::try_from(bits).ok().filter(|bits| *bits > 0);
                positive.map(Rate).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(bits), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let parse = |text| Time::parse(text).map(|time| time.0);
        assert_eq!(parse("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("7 us"), Some(Duration::from_micros(7)));
        assert_eq!(parse("2min"), Some(Duration::from_secs(120)));
        for invalid in ["", "20", "ms", "-1s", "1 d", "1e400s", "NaNs"] {
            assert_eq!(parse(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn rates_have_units() {
        let parse = |text| Rate::parse(text).map(|rate| rate.0);
        assert_eq!(parse("10Mbit"), Some(10_000_000));
        assert_eq!(parse("1.5 kbit"), Some(1500));
        for invalid in ["10", "0bit", "10MB", "-5kbit"] {
            assert_eq!(parse(invalid), None, "{invalid}");
        }
    }
}
