//! The counts of a subscriber.

use std::time::{Duration, Instant};

use serde_json::json;

use super::source::{HEAD, LANE_SHIFT, LAST, MAX_LANES};
use super::{TIMEOUT, Work};
use crate::peers::sys;

/// Messages between two reads of the clock.
const UNTIMED: u64 = 1024;
/// The bits of a number that count within its lane.
const IN_LANE: u64 = (1 << LANE_SHIFT) - 1;
/// The next number of a lane that has ended, which no message has.
const ENDED: u64 = u64::MAX;

/// Counts messages, and checks that the numbers of each lane are consecutive, from 0 to one that is marked as the last.
#[derive(Debug)]
pub(super) struct Tally {
    received: u64,
    in_order: bool,
    /// The next number of each lane; of one that has ended, a number that no message has.
    next: [u64; MAX_LANES],
    lanes: u64,
    /// Lanes that have not ended.
    open: u64,
    opened: Instant,
    first: Option<Instant>,
    timeout: Duration,
    /// Nanoseconds from publishing to receiving, for messages that contain their time.
    delays: Vec<u64>,
}

impl Tally {
    pub(super) fn new(work: &Work) -> Self {
        Self {
            received: 0,
            in_order: true,
            next: [0; MAX_LANES],
            lanes: u64::from(work.threads),
            open: u64::from(work.threads),
            opened: Instant::now(),
            first: None,
            timeout: Duration::from_secs_f64(work.timeout),
            delays: Vec::new(),
        }
    }

    /// Counts a message; returns whether to continue.
    #[inline]
    pub(super) fn take(&mut self, message: &[u8]) -> bool {
        let Some(head) = message.first_chunk::<HEAD>() else {
            self.in_order = false;
            return true;
        };
        let [number, time] = [&head[..8], &head[8..]].map(little_endian);
        if self.received == 0 {
            self.first = Some(Instant::now());
        }
        let (lane, in_lane) = ((number & !LAST) >> LANE_SHIFT, number & IN_LANE);
        let next = &mut self.next[lane as usize % MAX_LANES];
        self.in_order &= lane < self.lanes && in_lane == *next;
        self.received += 1;
        if time != 0 {
            self.delays.push(sys::monotonic_nanoseconds().saturating_sub(time));
        }
        if number & LAST != 0 {
            self.open -= u64::from(*next != ENDED && self.open > 0);
            *next = ENDED;
        } else {
            *next = in_lane + 1;
        }
        self.open > 0 && (!self.received.is_multiple_of(UNTIMED) || !self.is_over())
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        match self.first {
            Some(first) => first.elapsed() >= self.timeout,
            None => self.opened.elapsed() >= TIMEOUT,
        }
    }

    /// Returns the counts as JSON; call it after the last message, or when the time is over.
    pub(super) fn report(mut self) -> serde_json::Value {
        let seconds = self.first.map_or(0.0, |first| first.elapsed().as_secs_f64());
        json!({
            "received": self.received,
            "in_order": self.in_order,
            "complete": self.open == 0,
            "seconds": seconds,
            "latency_us": quantiles(&mut self.delays),
        })
    }
}

/// Returns the quantiles of nanoseconds, in microseconds.
pub(super) fn quantiles(delays: &mut [u64]) -> serde_json::Value {
    delays.sort_unstable();
    let at = |part: f64| match delays.len() {
        0 => 0.0,
        count => delays[((count - 1) as f64 * part) as usize] as f64 / 1e3,
    };
    json!({ "p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": at(1.0) })
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64, time: u64) -> Vec<u8> {
        [number.to_le_bytes(), time.to_le_bytes()].concat()
    }

    /// Returns the report on these messages.
    fn tally(messages: &[Vec<u8>]) -> serde_json::Value {
        tally_of(1, messages)
    }

    fn tally_of(threads: u8, messages: &[Vec<u8>]) -> serde_json::Value {
        let mut tally = Tally::new(&Work { threads, ..Work::for_tests() });
        for message in messages {
            tally.take(message);
        }
        tally.report()
    }

    #[test]
    fn messages_without_a_gap_up_to_the_last_are_complete() {
        let report = tally(&[message(0, 0), message(1, 0), message(2 | LAST, 0)]);
        assert_eq!(
            (&report["received"], &report["in_order"], &report["complete"]),
            (&3.into(), &true.into(), &true.into())
        );
    }

    #[test]
    fn a_gap_a_copy_and_a_short_message_are_out_of_order() {
        for wrong in
            [vec![message(0, 0), message(2, 0)], vec![message(0, 0), message(0, 0)], vec![vec![0; 8]]]
        {
            let report = tally(&wrong);
            assert_eq!(
                (&report["in_order"], &report["complete"]),
                (&false.into(), &false.into()),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn messages_of_threads_may_alternate_but_each_must_be_complete() {
        const OTHER: u64 = 1 << LANE_SHIFT;
        let of = |numbers: &[u64]| {
            let report = tally_of(2, &numbers.iter().map(|number| message(*number, 0)).collect::<Vec<_>>());
            (report["in_order"] == true, report["complete"] == true)
        };
        assert_eq!(of(&[0, OTHER, OTHER | 1, 1, OTHER | 2 | LAST, 2 | LAST]), (true, true));
        assert_eq!(of(&[0, OTHER, 1 | LAST]), (true, false), "one has not ended");
        assert_eq!(of(&[0, OTHER, OTHER | 2 | LAST, 1 | LAST]), (false, true), "a gap");
        assert_eq!(of(&[0, OTHER, OTHER, OTHER | 1 | LAST, 1 | LAST]), (false, true), "a copy");
        assert_eq!(of(&[LAST, LAST]), (false, false), "one has ended twice");
        assert_eq!(of(&[LAST, OTHER | LAST, 1]), (false, true), "after its last");
        assert_eq!(of(&[2 * OTHER, LAST, OTHER | LAST]), (false, true), "a third");
    }

    #[test]
    fn only_messages_with_a_time_have_a_delay() {
        let long_ago = sys::monotonic_nanoseconds() - 5_000_000_000;
        let report = tally(&[message(0, long_ago), message(1, 0)]);
        assert!((5e6..60e6).contains(&report["latency_us"]["p50"].as_f64().unwrap()), "{report}");
        assert_eq!(tally(&[message(0, 0)])["latency_us"]["max"], 0.0);
    }
}
