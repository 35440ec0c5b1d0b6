//! The messages that a publisher sends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Work;
use super::tally::quantiles;
use crate::peers::sys;

/// Flag in the number of the last message.
pub(super) const LAST: u64 = 1 << 63;
/// A number consists of that of the thread, its lane, above these bits, and of the message's in its lane. The lane of a
/// publisher with one thread is 0.
pub(super) const LANE_SHIFT: u32 = 48;
/// The greatest number of threads that publish at once.
pub(super) const MAX_LANES: usize = 16;
/// Length of the number and the time at the start of a message.
pub(super) const HEAD: usize = 16;

/// Bytes of messages to generate at a time.
const AT_ONCE: usize = 64 << 10;
/// Messages between two reads of the clock if there is no rate.
const UNTIMED: u64 = 64;
const FILLING: u8 = 0x5a;

/// Generates numbered messages, evenly paced or on demand, until the time is over.
#[derive(Debug)]
pub(super) struct Source {
    buffer: Vec<u8>,
    size: usize,
    rate: Option<u32>,
    lane: u64,
    next: u64,
    begun: Instant,
    length: Duration,
    ended: bool,
    /// Nanoseconds from publishing until all subscribers had acknowledged a message.
    acknowledged: Vec<u64>,
}

impl Source {
    /// Starts now.
    pub(super) fn begin(work: &Work) -> Self {
        Self::begin_lane(work, 0)
    }

    /// Starts now, as one of several that are published at once.
    pub(super) fn begin_lane(work: &Work, lane: u8) -> Self {
        let size = work.size.max(HEAD);
        let count = (AT_ONCE / size).max(1);
        Self {
            buffer: vec![FILLING; size * count],
            size,
            rate: work.rate.filter(|rate| *rate > 0),
            lane: u64::from(lane) << LANE_SHIFT,
            next: 0,
            begun: Instant::now(),
            length: Duration::from_secs_f64(work.seconds),
            ended: false,
            acknowledged: Vec::new(),
        }
    }

    /// Notes that all subscribers have acknowledged the last message.
    pub(super) fn note_acknowledged(&mut self) {
        let time = self.buffer[8..HEAD].try_into().map_or(0, u64::from_le_bytes);
        self.acknowledged.push(sys::monotonic_nanoseconds().saturating_sub(time));
    }

    /// Returns the bytes per message.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Returns the next message when it is due; `None` after the last.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let (number, time) = self.number()?;
        let message = &mut self.buffer[..self.size];
        write(message, number, time);
        Some(message)
    }

    /// Returns the next consecutive messages, or just one if they are paced; `None` after the last.
    pub(super) fn next_many(&mut self) -> Option<&[u8]> {
        let max = if self.rate.is_some() { self.size } else { self.buffer.len() };
        let mut filled = 0;
        while filled < max {
            let Some((number, time)) = self.number() else { break };
            write(&mut self.buffer[filled..filled + self.size], number, time);
            filled += self.size;
        }
        (filled > 0).then(|| &self.buffer[..filled])
    }

    /// Returns the counts as JSON.
    pub(super) fn report(mut self) -> serde_json::Value {
        let seconds = self.begun.elapsed().as_secs_f64();
        let delays = (!self.acknowledged.is_empty()).then(|| quantiles(&mut self.acknowledged));
        json!({ "sent": self.next, "seconds": seconds, "latency_us": delays })
    }

    /// Returns the number and time of the next message when it is due.
    fn number(&mut self) -> Option<(u64, u64)> {
        if self.ended {
            return None;
        }
        let mut time = 0;
        if let Some(rate) = self.rate {
            let due = Duration::from_nanos(self.next * 1_000_000_000 / u64::from(rate));
            while self.begun.elapsed() < due {
                // The threads of the driver may need this processor.
                std::thread::yield_now();
            }
            self.ended = due >= self.length;
            time = sys::monotonic_nanoseconds();
        } else if self.next.is_multiple_of(UNTIMED) {
            self.ended = self.begun.elapsed() >= self.length;
        }
        let number = self.lane | self.next;
        self.next += 1;
        Some((if self.ended { number | LAST } else { number }, time))
    }
}

/// Returns the counts of sources that were published at once, as JSON.
pub(super) fn report_all(sources: &[Source]) -> serde_json::Value {
    let seconds = sources.iter().map(|source| source.begun.elapsed().as_secs_f64()).fold(0.0, f64::max);
    json!({ "sent": sources.iter().map(|source| source.next).sum::<u64>(), "seconds": seconds })
}

fn write(message: &mut [u8], number: u64, time: u64) {
    message[..8].copy_from_slice(&number.to_le_bytes());
    message[8..HEAD].copy_from_slice(&time.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(message: &[u8]) -> u64 {
        u64::from_le_bytes(message[..8].try_into().unwrap())
    }

    #[test]
    fn only_the_last_message_has_the_flag() {
        for rate in [None, Some(2_000)] {
            let mut source = Source::begin(&Work { rate, seconds: 0.01, ..Work::for_tests() });
            let mut numbers = Vec::new();
            while let Some(message) = source.next() {
                numbers.push(number(message));
            }
            let (last, others) = numbers.split_last().unwrap();
            assert_eq!(*last, others.len() as u64 | LAST);
            assert!(others.iter().copied().eq(0..others.len() as u64));
            assert_eq!(source.report()["sent"], numbers.len());
        }
    }

    #[test]
    fn each_thread_numbers_its_own_messages() {
        let work = Work { seconds: 0.0, ..Work::for_tests() };
        let mut sources = [0, 3].map(|lane| Source::begin_lane(&work, lane));
        let numbers = sources.each_mut().map(|source| number(source.next().unwrap()));
        assert_eq!(numbers, [LAST, LAST | 3 << LANE_SHIFT]);
        assert_eq!(report_all(&sources)["sent"], 2);
    }

    #[test]
    fn paced_messages_come_at_their_rate_and_carry_their_time() {
        let mut source = Source::begin(&Work { rate: Some(1_000), seconds: 0.05, ..Work::for_tests() });
        let begun = Instant::now();
        let mut count = 0;
        while let Some(messages) = source.next_many() {
            assert_ne!(messages[8..HEAD], [0; 8]);
            count += messages.len() / HEAD;
        }
        assert_eq!(count, 51);
        assert!(begun.elapsed() >= Duration::from_millis(49));
    }

    #[test]
    fn many_at_once_are_numbered_one_by_one() {
        let mut source = Source::begin(&Work { size: 64, ..Work::for_tests() });
        let messages = source.next_many().unwrap();
        assert_eq!(messages.len(), AT_ONCE);
        assert!(messages.chunks(64).map(number).eq(0..AT_ONCE as u64 / 64));
    }
}
