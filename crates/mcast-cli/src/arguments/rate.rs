//! Rates: `200kpps`, `10Mbit`.

use std::str::FromStr;
use std::time::Duration;

/// How fast to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    /// Datagrams a second.
    Datagrams(f64),
    /// Bits of payload a second.
    Bits(f64),
}

impl Rate {
    /// How long a datagram of so many bytes takes at this rate, as a float so that nothing adds
    /// up from rounding.
    pub(crate) fn seconds_for(self, bytes: usize) -> f64 {
        match self {
            Self::Datagrams(rate) => 1.0 / rate,
            Self::Bits(rate) => bytes as f64 * 8.0 / rate,
        }
    }

    /// One datagram each such span.
    pub(crate) fn every(span: Duration) -> Self {
        Self::Datagrams(1.0 / span.as_secs_f64())
    }
}

impl FromStr for Rate {
    type Err = String;

    /// A number, a prefix of `k`, `M` or `G` (thousands), and `pps` or `bit` (also `bit/s`,
    /// `bps`, `/s`).
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || "write a rate such as 1000pps, 200kpps, 64kbit or 10Mbit".to_owned();
        let split = text.find(|character: char| !matches!(character, '0'..='9' | '.')).ok_or_else(refused)?;
        let (number, unit) = text.split_at(split);
        let number: f64 = number.parse().map_err(|_| refused())?;
        let (factor, unit) = match unit.as_bytes()[0] {
            b'k' | b'K' => (1e3, &unit[1..]),
            b'M' => (1e6, &unit[1..]),
            b'G' => (1e9, &unit[1..]),
            _ => (1.0, unit),
        };
        let rate = number * factor;
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(refused());
        }
        match unit {
            "pps" | "/s" => Ok(Self::Datagrams(rate)),
            "bit" | "bit/s" | "bps" => Ok(Self::Bits(rate)),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_datagrams_and_bits() {
        assert_eq!("200kpps".parse(), Ok(Rate::Datagrams(200e3)));
        assert_eq!("2.5/s".parse(), Ok(Rate::Datagrams(2.5)));
        assert_eq!("10Mbit".parse(), Ok(Rate::Bits(10e6)));
        assert_eq!("1Gbps".parse(), Ok(Rate::Bits(1e9)));
        assert_eq!(Rate::Bits(8e3).seconds_for(1_000), 1.0);
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "10", "0pps", "-1pps", "pps", "10MB", "1.2.3pps", "10µbit", "10k"] {
            text.parse::<Rate>().unwrap_err();
        }
    }
}
