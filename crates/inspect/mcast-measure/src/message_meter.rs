//! What a subscriber measures of the messages of `mcast perf --stream`.

use std::time::Duration;

use crate::wire::{StreamMessage, UnixNanos};
use crate::{Histogram, Jitter};

/// Checks the messages of one publisher, and measures their rate, jitter and delays.
#[derive(Clone, Debug)]
pub struct MessageMeter {
    clock: u64,
    counts: MessageCounts,
    size: Option<usize>,
    first: Option<Duration>,
    last: Duration,
    jitter: Jitter,
    delays: Histogram,
    has_same_clock: bool,
}

/// Counts of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Messages received.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that differ from those published.
    pub wrong: u64,
}

impl MessageMeter {
    /// Creates a meter for a subscriber whose clock has this id (see
    /// [`SessionSettings::clock`](crate::wire::SessionSettings::clock)).
    #[must_use]
    pub fn new(clock: u64) -> Self {
        Self {
            clock,
            counts: MessageCounts::default(),
            size: None,
            first: None,
            last: Duration::ZERO,
            jitter: Jitter::default(),
            delays: Histogram::new(),
            has_same_clock: true,
        }
    }

    /// Records the message with this number, which arrived at `time` by the subscriber's clock. `now` counts from
    /// any fixed moment.
    pub fn record(&mut self, number: u64, message: &[u8], now: Duration, time: UnixNanos) {
        self.counts.messages += 1;
        self.counts.bytes += message.len() as u64;
        self.first.get_or_insert(now);
        self.last = now;
        let Some(metadata) = StreamMessage::read(number, message) else {
            self.counts.wrong += 1;
            return;
        };
        self.size.get_or_insert(message.len());
        let transit = time.since(metadata.time);
        self.jitter.record(transit);
        self.has_same_clock &= metadata.clock == self.clock && self.clock != 0;
        if self.has_same_clock {
            self.delays.record(u64::try_from(transit).unwrap_or(0));
        }
    }

    /// Returns the counts so far.
    #[must_use]
    pub const fn counts(&self) -> MessageCounts {
        self.counts
    }

    /// Returns the length of the first valid message.
    #[must_use]
    pub const fn size(&self) -> Option<usize> {
        self.size
    }

    /// Returns the time from the first message to the last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |first| self.last.saturating_sub(first))
    }

    /// Returns the interarrival jitter.
    #[must_use]
    pub const fn jitter(&self) -> Duration {
        self.jitter.value()
    }

    /// Returns the times from publication to arrival; `None` if a message has a time of another clock.
    #[must_use]
    pub fn delays(&self) -> Option<&Histogram> {
        self.has_same_clock.then_some(&self.delays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{STREAM_MESSAGE_LENGTH, SessionId};

    fn record(meter: &mut MessageMeter, number: u64, written: u64, clock: u64) {
        let mut message = vec![0; STREAM_MESSAGE_LENGTH + 10];
        let published = UnixNanos(number * 1_000);
        StreamMessage { session: SessionId(1), time: published, clock }.write(written, &mut message);
        let (now, arrived) = (Duration::from_secs(number), UnixNanos(published.0 + 30));
        meter.record(number, &message, now, arrived);
    }

    #[test]
    fn messages_are_counted_and_checked() {
        let mut meter = MessageMeter::new(5);
        for (number, written) in [(3, 3), (4, 9), (5, 5)] {
            record(&mut meter, number, written, 5);
        }
        assert_eq!(meter.counts(), MessageCounts { messages: 3, bytes: 150, wrong: 1 });
        assert_eq!((meter.size(), meter.elapsed()), (Some(50), Duration::from_secs(2)));
        assert_eq!(meter.jitter(), Duration::ZERO);
        assert_eq!(meter.delays().unwrap().min(), Some(Duration::from_nanos(30)));
    }

    #[test]
    fn delays_need_one_known_clock() {
        for (own, other) in [(5, 6), (0, 0)] {
            let mut meter = MessageMeter::new(own);
            record(&mut meter, 0, 0, other);
            assert!(meter.delays().is_none());
        }
    }
}
