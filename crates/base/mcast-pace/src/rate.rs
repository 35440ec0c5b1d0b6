//! Rates: `200kpps`, `10Mbit`.

use core::{error, fmt, str::FromStr, time::Duration};

/// The rate of sending.
///
/// As text, it is a number, optionally a prefix `k`, `M` or `G` (powers of 1000), and a unit: `pps` or `/s` for datagrams
/// per second, `bit`, `bit/s` or `bps` for bits per second.
///
/// ```
/// use mcast_pace::Rate;
///
/// assert_eq!("200kpps".parse(), Ok(Rate::Datagrams(200e3)));
/// assert_eq!("10Mbit".parse(), Ok(Rate::Bits(10e6)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Datagrams per second.
    Datagrams(f64),
    /// Bits of payload per second.
    Bits(f64),
}

impl Rate {
    /// Returns the rate of one datagram per `interval`.
    #[must_use]
    pub fn one_per(interval: Duration) -> Self {
        Self::Datagrams(1.0 / interval.as_secs_f64())
    }

    /// Returns the time that a datagram of this size takes at this rate. A rate that is not
    /// positive takes forever.
    #[must_use]
    pub fn time_for(self, bytes: usize) -> Duration {
        let seconds = match self {
            Self::Datagrams(rate) => 1.0 / rate,
            Self::Bits(rate) => bytes as f64 * 8.0 / rate,
        };
        if seconds.is_nan() || seconds < 0.0 {
            return Duration::MAX;
        }
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Returns the rate in datagrams of this size per second.
    #[must_use]
    pub const fn datagrams_per_second(self, bytes: usize) -> f64 {
        match self {
            Self::Datagrams(rate) => rate,
            Self::Bits(rate) => rate / (bytes as f64 * 8.0),
        }
    }

    /// Returns the share of each of `number` senders that send at this rate together.
    #[must_use]
    pub const fn divided_by(self, number: usize) -> Self {
        match self {
            Self::Datagrams(rate) => Self::Datagrams(rate / number as f64),
            Self::Bits(rate) => Self::Bits(rate / number as f64),
        }
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let split = text
            .find(|character: char| !matches!(character, '0'..='9' | '.'))
            .ok_or(ParseRateError::NoUnit)?;
        let (number, unit) = text.split_at(split);
        let number: f64 = number.parse().map_err(|_| ParseRateError::Number)?;
        let (factor, unit) = match unit.as_bytes() {
            [b'k' | b'K', ..] => (1e3, &unit[1..]),
            [b'M', ..] => (1e6, &unit[1..]),
            [b'G', ..] => (1e9, &unit[1..]),
            _ => (1.0, unit),
        };
        let rate = number * factor;
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(ParseRateError::Number);
        }
        match unit {
            "pps" | "/s" => Ok(Self::Datagrams(rate)),
            "bit" | "bit/s" | "bps" => Ok(Self::Bits(rate)),
            _ => Err(ParseRateError::Unit),
        }
    }
}

/// A text is not a [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseRateError {
    /// The text does not begin with a positive number.
    Number,
    /// The number has no unit.
    NoUnit,
    /// The unit is unknown.
    Unit,
}

impl fmt::Display for ParseRateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "must begin with a positive number",
            Self::NoUnit => "has no unit",
            Self::Unit => "has an unknown unit",
        })?;
        f.write_str("; write a rate such as 1000pps, 200kpps, 64kbit or 10Mbit")
    }
}

impl error::Error for ParseRateError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_datagrams_and_bits() {
        for (text, rate) in [
            ("200kpps", Rate::Datagrams(200e3)),
            ("2.5/s", Rate::Datagrams(2.5)),
            ("10Mbit", Rate::Bits(10e6)),
            ("1Gbps", Rate::Bits(1e9)),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
        }
    }

    #[test]
    fn invalid_rates_are_refused_with_the_reason() {
        for (text, error) in [
            ("", ParseRateError::NoUnit),
            ("10", ParseRateError::NoUnit),
            ("pps", ParseRateError::Number),
            ("-1pps", ParseRateError::Number),
            ("0pps", ParseRateError::Number),
            ("1.2.3pps", ParseRateError::Number),
            ("10k", ParseRateError::Unit),
            ("10MB", ParseRateError::Unit),
            ("10\u{b5}bit", ParseRateError::Unit),
        ] {
            assert_eq!(text.parse::<Rate>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_interval_is_a_rate() {
        assert_eq!(Rate::one_per(Duration::from_millis(20)).time_for(1), Duration::from_millis(20));
        assert_eq!(Rate::one_per(Duration::ZERO).time_for(1), Duration::ZERO);
    }
}
