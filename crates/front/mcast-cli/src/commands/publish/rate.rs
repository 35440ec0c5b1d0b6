//! The rate of a stream: fixed, or automatic.

use std::str::FromStr;
use std::time::{Duration, Instant};

use mcast::Rate;
use mcast_stream::publisher::{AutoRate, PublisherStatistics};
use mcast_stream::{Publisher, PublisherBuilder};
use serde::Serialize;

use super::acknowledgements::name_of;
use crate::exit::Failure;
use crate::log_lines::LogLines;

/// The time between two reports of the automatic rate.
const INTERVAL: Duration = Duration::from_secs(5);

/// The value of `--rate`.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamRate {
    Fixed(Rate),
    /// What the path to the slowest subscriber carries.
    Auto,
}

impl FromStr for StreamRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Fixed).map_err(|error| format!("{error}; or write `auto`")),
        }
    }
}

impl StreamRate {
    /// Returns the rate at which messages are taken from the input, if it is fixed.
    pub(super) const fn fixed(self) -> Option<Rate> {
        match self {
            Self::Fixed(rate) => Some(rate),
            Self::Auto => None,
        }
    }

    pub(super) fn apply_to(
        self,
        builder: PublisherBuilder,
        evict_below: Option<u64>,
    ) -> Result<PublisherBuilder, Failure> {
        match self {
            Self::Auto => Ok(builder.auto_rate(AutoRate { evict_below })),
            Self::Fixed(_) if evict_below.is_some() => {
                Err(Failure::usage("--evict-below has no effect with a fixed rate").remedy("use --rate auto"))
            }
            Self::Fixed(Rate::Bits(bits)) => Ok(builder.rate((bits / 8.0).ceil() as u64)),
            Self::Fixed(_) => Ok(builder),
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
                name_of(publisher, subscriber),
            ));
        }
    }
}

/// The automatic rate in the closing report.
#[derive(Debug, Serialize)]
pub(super) struct RateReport {
    bits_per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_by: Option<String>,
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
