//! One run: a program on each host, and what it counted.

mod counters;
mod pair;
mod process;

pub use counters::UdpCounters;
pub use pair::{Judged, Reading, run_pair, wait_until_joined};
pub use process::{Cpu, Running, start, start_attended};

use serde::Deserialize;

/// What a contestant counted in its window.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    /// Datagrams.
    pub datagrams: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// The window, as it was.
    pub seconds: f64,
    /// Processor time that the program used in it.
    pub cpu_seconds: f64,
}

impl Counted {
    /// Datagrams a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.datagrams as f64 / self.seconds } else { 0.0 }
    }
}

/// What a ping counted; times in microseconds, there and back.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Pinged {
    /// Answers.
    pub count: u64,
    /// Answers that did not come.
    pub lost: u64,
    /// The median.
    pub p50: f64,
    /// Nine of ten were as fast.
    pub p90: f64,
    /// 99 of 100 were.
    pub p99: f64,
    /// 999 of 1,000 were.
    pub p999: f64,
}
