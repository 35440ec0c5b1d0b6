//! One run: a program on each host, and their counts.

mod counters;
mod pair;
mod process;

pub use counters::UdpCounters;
pub use pair::{MeasuredSide, Reading, run_pair, wait_until_joined};
pub use process::{Cpu, Running, start, start_with_input};

use serde::Deserialize;

/// The counts of a contestant in its measurement window.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// The actual length of the window.
    pub seconds: f64,
    /// CPU time that the program used in the window.
    pub cpu_seconds: f64,
}

impl Counted {
    /// Datagrams per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.datagrams as f64 / self.seconds } else { 0.0 }
    }
}

/// The result of a ping; round-trip times in microseconds.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Pinged {
    /// Replies received.
    pub count: u64,
    /// Replies lost.
    pub lost: u64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The 99.99th percentile, of those that report it.
    pub p9999: Option<f64>,
    /// The times until the other end received, of pings at a rate.
    pub one_way: Option<OneWay>,
}

/// Times one way, in microseconds.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct OneWay {
    /// The median.
    pub p50: f64,
    /// The 99.99th percentile.
    pub p9999: f64,
}
