//! Rates: `200kpps`, `10Mbit`.

use std::time::Duration;

use mcast::Rate;

/// Parses a number, a prefix of `k`, `M` or `G` (powers of 1000), and `pps` or `bit` (also `/s`, `bit/s`, `bps`).
pub(crate) fn parse_rate(text: &str) -> Result<Rate, String> {
    let error = || "write a rate such as 1000pps, 200kpps, 64kbit or 10Mbit".to_owned();
    let split = text.find(|character: char| !matches!(character, '0'..='9' | '.')).ok_or_else(error)?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| error())?;
    let (factor, unit) = match unit.as_bytes()[0] {
        b'k' | b'K' => (1e3, &unit[1..]),
        b'M' => (1e6, &unit[1..]),
        b'G' => (1e9, &unit[1..]),
        _ => (1.0, unit),
    };
    let rate = number * factor;
    if !(rate > 0.0 && rate.is_finite()) {
        return Err(error());
    }
    match unit {
        "pps" | "/s" => Ok(Rate::Datagrams(rate)),
        "bit" | "bit/s" | "bps" => Ok(Rate::Bits(rate)),
        _ => Err(error()),
    }
}

/// Returns the rate of one datagram per `span`.
pub(crate) fn one_every(span: Duration) -> Rate {
    Rate::Datagrams(1.0 / span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_datagrams_and_bits() {
        assert_eq!(parse_rate("200kpps"), Ok(Rate::Datagrams(200e3)));
        assert_eq!(parse_rate("2.5/s"), Ok(Rate::Datagrams(2.5)));
        assert_eq!(parse_rate("10Mbit"), Ok(Rate::Bits(10e6)));
        assert_eq!(parse_rate("1Gbps"), Ok(Rate::Bits(1e9)));
    }

    #[test]
    fn invalid_rates_are_refused() {
        for text in ["", "10", "0pps", "-1pps", "pps", "10MB", "1.2.3pps", "10µbit", "10k"] {
            parse_rate(text).unwrap_err();
        }
    }

    #[test]
    fn a_span_is_a_rate() {
        assert_eq!(one_every(Duration::from_millis(20)).time_for(1), Duration::from_millis(20));
        assert_eq!(one_every(Duration::ZERO).time_for(1), Duration::ZERO);
    }
}
