//! The rate of a stream, fixed or automatic, and what makes up for losses without feedback (`--fec`).

use std::str::FromStr;
use std::time::{Duration, Instant};

use mcast::Rate;
use mcast_stream::publisher::{AutoRate, Fec, KnownSubscribers, PublisherStatistics};
use mcast_stream::{Publisher, PublisherBuilder};
use serde::Serialize;

use crate::arguments::{parse_bits, parse_duration};
use crate::log_lines::LogLines;
use crate::output::record;

/// The time between two reports of the automatic rate.
const INTERVAL: Duration = Duration::from_secs(5);

/// The value of `--rate`.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamRate {
    Fixed(Rate),
    /// What the path to the slowest subscriber carries.
    Auto(AutoRate),
}

impl FromStr for StreamRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("auto") {
            Some("") => Ok(Self::Auto(AutoRate { evict_below: None })),
            Some(least) if least.starts_with(':') => {
                let evict_below = Some(parse_bits(&least[1..])?);
                Ok(Self::Auto(AutoRate { evict_below }))
            }
            _ => text.parse().map(Self::Fixed).map_err(|error| format!("{error}; or write `auto`")),
        }
    }
}

impl StreamRate {
    /// Returns the rate at which messages are taken from the input, if it is fixed.
    pub(super) const fn fixed(self) -> Option<Rate> {
        match self {
            Self::Fixed(rate) => Some(rate),
            Self::Auto(_) => None,
        }
    }

    pub(super) fn apply_to(self, builder: PublisherBuilder) -> PublisherBuilder {
        match self {
            Self::Auto(rate) => builder.auto_rate(rate),
            Self::Fixed(Rate::Bits(bits)) => builder.rate((bits / 8.0).ceil() as u64),
            Self::Fixed(_) => builder,
        }
    }
}

/// Reports the automatic rate now and then.
#[derive(Debug)]
pub(super) struct RateReporter {
    next: Instant,
}

impl RateReporter {
    pub(super) fn new() -> Self {
        Self { next: Instant::now() + INTERVAL }
    }

    pub(super) fn report(&mut self, publisher: &Publisher, lines: &LogLines<'_>) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let statistics = publisher.statistics();
        if let (Some(rate), Some(subscriber)) = (statistics.rate, statistics.limiting) {
            let queueing = statistics.queueing.as_secs_f64() * 1e3;
            lines.note(format_args!(
                "{:.1} Mbit/s, limited by subscriber {}, whose path has a queue of {queueing:.1} ms",
                rate as f64 * 8e-6,
                publisher.shown(subscriber, None),
            ));
        }
    }
}

/// The automatic rate in the closing report.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct RateReport {
    /// The rate, in bits per second
    bits_per_second: u64,
    /// The subscriber whose path limits it, if one does
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_by: Option<String>,
    /// The queueing delay on that path, in seconds
    queueing_seconds: f64,
}

impl RateReport {
    pub(super) fn of(statistics: &PublisherStatistics) -> Option<Self> {
        Some(Self {
            bits_per_second: statistics.rate?.saturating_mul(8),
            limited_by: statistics.limiting.map(|subscriber| subscriber.to_string()),
            queueing_seconds: statistics.queueing.as_secs_f64(),
        })
    }
}

/// The value of `--fec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Correction {
    pub(super) fec: Fec,
    /// How long a block waits to be full.
    delay: Option<Duration>,
}

impl FromStr for Correction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (fec, delay) = text.split_once(':').map_or((text, None), |(fec, delay)| (fec, Some(delay)));
        Ok(Self { fec: parse_fec(fec)?, delay: delay.map(parse_duration).transpose()? })
    }
}

impl Correction {
    pub(super) fn apply_to(self, builder: PublisherBuilder) -> PublisherBuilder {
        self.delay.into_iter().fold(builder.fec(self.fec), PublisherBuilder::fec_delay)
    }
}

fn parse_fec(text: &str) -> Result<Fec, String> {
    let size = |text: &str| text.parse::<u8>().ok().filter(|size| (1..=64).contains(size));
    match text {
        "off" => Ok(Fec::Off),
        "crowd" => Ok(Fec::Crowd),
        "auto" => Ok(Fec::Auto),
        _ => text
            .split_once('+')
            .and_then(|(data, parity)| Some(Fec::Fixed { data: size(data)?, parity: size(parity)? }))
            .ok_or_else(|| {
                "must be off, crowd, auto, or K+M with 1 to 64 datagrams and 1 to 64 symbols, such as 20+4"
                    .into()
            }),
    }
}

record! {
    pub(super) fn of(statistics: &PublisherStatistics) {}

    /// The parity that was sent without a request.
    #[derive(Clone, Copy)]
    pub(super) struct ParityReport {
        /// Parity datagrams sent without a request
        pub(super) datagrams: u64 = statistics.parity,
        /// Bytes of these datagrams
        bytes: u64 = statistics.parity_bytes,
        /// Multicast repairs that were parity
        requested: u64 = statistics.parity_repairs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_parity_have_1_to_64_datagrams() {
        assert_eq!(parse_fec("crowd"), Ok(Fec::default()));
        assert_eq!(parse_fec("20+4"), Ok(Fec::Fixed { data: 20, parity: 4 }));
        assert_eq!(parse_fec("64+64"), Ok(Fec::Fixed { data: 64, parity: 64 }));
        for wrong in ["0+4", "20+0", "65+1", "1+65", "20", "20+", "+4", "20+4+1", "on", ""] {
            assert!(parse_fec(wrong).is_err(), "{wrong}");
        }
    }
}
