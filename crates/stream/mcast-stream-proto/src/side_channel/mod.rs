//! Which clients of a TCP server beside a stream are served, when the others may come back, and at which rate bytes are
//! sent, without sockets or clocks.
//!
//! `docs/protocol.md` specifies what clients see of it, under *Snapshot servers* and *History servers*.

mod admission;

use core::num::NonZeroU64;

use crate::{ClockTime, Nanos};

pub use admission::{
    Admission, AdmissionLimits, AdmissionQueue, ClientId, ConnectDecision, Excess, QueueToken,
};

/// Bytes that were not sent for this time may be sent later.
const BURST: Nanos = Nanos::from_millis(10);

/// Limits what a server sends to all of its clients. Those that always have something to receive get equal shares,
/// because each waits for its last frame.
#[derive(Clone, Copy, Debug)]
pub struct SharedPace {
    /// When everything that was sent may have been sent.
    due: ClockTime,
    /// Bytes per second.
    rate: NonZeroU64,
}

impl SharedPace {
    /// Bytes per second to all clients together by default: half of a link of 1 Gbit/s, so that the live stream has room
    /// beside them.
    pub const RATE: NonZeroU64 = NonZeroU64::new(64_000_000).unwrap();

    /// Returns the pace of a server that starts now, in bytes per second.
    #[must_use]
    pub const fn new(now: ClockTime, rate: NonZeroU64) -> Self {
        Self { due: now, rate }
    }

    /// Counts bytes that were sent to a client; returns how long to wait before more is sent to it.
    pub fn spend(&mut self, now: ClockTime, bytes: usize) -> Nanos {
        self.due = self.due.max(now - BURST) + bytes as u64 * Nanos::SECOND / self.rate.get();
        self.due.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: usize = 64_000;

    #[test]
    fn all_clients_together_get_64_mb_per_second_and_each_the_same() {
        let mut pace = SharedPace::new(ClockTime(0), SharedPace::RATE);
        let (mut sent, mut next) = ([0_u64; 3], [ClockTime(0); 3]);
        while let Some(client) = (0..3).min_by_key(|client| next[*client])
            && next[client] < ClockTime(0) + Nanos::SECOND
        {
            let now = next[client];
            sent[client] += MILLISECOND as u64;
            // What is sent takes time of its own.
            next[client] = now + pace.spend(now, MILLISECOND) + Nanos::from_micros(50);
        }
        let total: u64 = sent.iter().sum();
        assert!((64_000_000..66_000_000).contains(&total), "{total}");
        assert!(sent.iter().all(|sent| sent.abs_diff(total / 3) < total / 20), "{sent:?}");
    }

    #[test]
    fn an_idle_server_may_not_catch_up_for_longer_than_the_burst() {
        let mut pace = SharedPace::new(ClockTime(0), SharedPace::RATE);
        let now = ClockTime(0) + Nanos::from_secs(60);
        let without_waiting = (0..1_000).take_while(|_| pace.spend(now, MILLISECOND) == Nanos::ZERO).count();
        assert_eq!(without_waiting, 10);
    }

    #[test]
    fn the_rate_can_be_chosen() {
        let mut pace = SharedPace::new(ClockTime(0), NonZeroU64::new(1_000_000).unwrap());
        assert_eq!(pace.spend(ClockTime(0) + Nanos::SECOND, 500_000), Nanos::from_millis(490));
    }
}
