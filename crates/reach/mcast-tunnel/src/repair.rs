//! Repairs: what is kept for them, what is missing, and until when.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use mcast_pace::ClockTime;

use crate::frame::{MAX_RANGES, RepairMark};

/// Bytes kept for repairs.
const MAX_KEPT: usize = 8 << 20;
/// Pieces that may be missing at once. Beyond that, the oldest ones are given up.
const MAX_MISSING: usize = 4_096;
/// A piece that is overtaken is not requested before this time, or a tenth of its bound.
const REORDERING: Duration = Duration::from_millis(10);
/// How often the end of a burst is announced.
const TAILS: u8 = 4;

/// What was sent and may be requested again.
#[derive(Debug, Default)]
pub(crate) struct RepairBuffer {
    last: u64,
    kept: VecDeque<Kept>,
    bytes: usize,
    /// When to announce the end of a burst next, how often, and the bound of its last piece.
    tail: Option<(ClockTime, u8, u16)>,
}

#[derive(Debug)]
struct Kept {
    sequence: u64,
    until: ClockTime,
    sent: ClockTime,
    frame: Bytes,
}

impl RepairBuffer {
    /// Returns the mark of the next piece.
    pub(crate) const fn next_mark(&self, bound_ms: u16) -> RepairMark {
        RepairMark { sequence: self.last + 1, bound_ms }
    }

    /// Keeps the frame of a piece with [`Self::next_mark`].
    pub(crate) fn keep(&mut self, now: ClockTime, mark: RepairMark, frame: Bytes) {
        let bound = Duration::from_millis(mark.bound_ms.into());
        self.last = mark.sequence;
        self.bytes += frame.len();
        self.kept.push_back(Kept { sequence: mark.sequence, until: now + bound, sent: now, frame });
        self.tail = Some((now + tail_interval(mark.bound_ms), TAILS, mark.bound_ms));
        while self.bytes > MAX_KEPT || self.kept.front().is_some_and(|kept| kept.until <= now) {
            let Some(dropped) = self.kept.pop_front() else { break };
            self.bytes -= dropped.frame.len();
        }
    }

    /// Passes the frames of requested pieces that are still kept. One that has just been sent is not sent again.
    pub(crate) fn answer(
        &mut self,
        now: ClockTime,
        round_trip: Duration,
        (first, count): (u64, u16),
        mut send: impl FnMut(Bytes),
    ) {
        let pause = round_trip / 2;
        let end = first.saturating_add(count.into());
        let start = self.kept.partition_point(|kept| kept.sequence < first);
        for kept in self.kept.iter_mut().skip(start).take_while(|kept| kept.sequence < end) {
            // Only what was sent long enough ago can be missing.
            if now >= kept.sent + pause && now < kept.until {
                kept.sent = now;
                send(kept.frame.clone());
            }
        }
    }

    /// Returns the announcement of the end of a burst, if it is due.
    pub(crate) fn poll_tail(&mut self, now: ClockTime) -> Option<RepairMark> {
        let (_, left, bound_ms) = self.tail.filter(|(at, ..)| *at <= now)?;
        self.tail = (left > 1).then(|| (now + tail_interval(bound_ms), left - 1, bound_ms));
        Some(self.next_mark(bound_ms))
    }

    pub(crate) fn deadline(&self) -> Option<ClockTime> {
        self.tail.map(|(at, ..)| at)
    }
}

/// Four announcements, and then a repair, fit into the bound.
fn tail_interval(bound_ms: u16) -> Duration {
    Duration::from_millis(u64::from(bound_ms) / 10)
        .clamp(Duration::from_millis(5), Duration::from_millis(100))
}

/// What has not arrived.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// The greatest sequence that has arrived or is missing.
    last: u64,
    missing: BTreeMap<u64, Missing>,
    /// Pieces that were given up, since the last call of [`Self::take_lost`].
    lost: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    until: ClockTime,
    ask_at: ClockTime,
    was_asked: bool,
}

/// What a piece is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    New,
    Repaired,
    Duplicate,
}

impl Gaps {
    /// Handles the arrival of a piece.
    pub(crate) fn arrive(&mut self, now: ClockTime, mark: RepairMark) -> Arrived {
        if mark.sequence <= self.last {
            return match self.missing.remove(&mark.sequence) {
                Some(missing) if missing.was_asked => Arrived::Repaired,
                Some(_) => Arrived::New,
                None => Arrived::Duplicate,
            };
        }
        self.advance(now, mark);
        self.last = mark.sequence;
        Arrived::New
    }

    /// Handles that all pieces before this one were sent.
    pub(crate) fn advance(&mut self, now: ClockTime, next: RepairMark) {
        if next.sequence <= self.last + 1 {
            return;
        }
        let bound = Duration::from_millis(next.bound_ms.into());
        let ask_at = now + REORDERING.min(bound / 10);
        let missing = Missing { until: now + bound, ask_at, was_asked: false };
        // The oldest ones of a long gap are lost at once.
        let first = (self.last + 1).max(next.sequence.saturating_sub(MAX_MISSING as u64));
        self.lost += first - (self.last + 1);
        self.missing.extend((first..next.sequence).map(|sequence| (sequence, missing)));
        while self.missing.len() > MAX_MISSING {
            self.missing.pop_first();
            self.lost += 1;
        }
        self.last = next.sequence - 1;
    }

    /// Gives up what has been missing for too long; returns the ranges to request.
    pub(crate) fn poll(&mut self, now: ClockTime, round_trip: Duration) -> Vec<(u64, u16)> {
        let before = self.missing.len();
        self.missing.retain(|_, missing| missing.until > now);
        self.lost += (before - self.missing.len()) as u64;
        let pause = round_trip * 5 / 4 + REORDERING;
        let mut ranges: Vec<(u64, u16)> = Vec::new();
        for (sequence, missing) in self.missing.iter_mut().filter(|(_, missing)| missing.ask_at <= now) {
            let is_full = ranges.len() == MAX_RANGES;
            match ranges.last_mut() {
                Some((first, count)) if *first + u64::from(*count) == *sequence && *count < u16::MAX => {
                    *count += 1;
                }
                Some(_) if is_full => break,
                _ => ranges.push((*sequence, 1)),
            }
            (missing.ask_at, missing.was_asked) = (now + pause, true);
        }
        ranges
    }

    /// Returns the number of pieces given up since the last call.
    pub(crate) const fn take_lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }

    pub(crate) fn deadline(&self) -> Option<ClockTime> {
        self.missing.values().map(|missing| missing.until.min(missing.ask_at)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(milliseconds: u64) -> ClockTime {
        ClockTime(milliseconds * 1_000_000)
    }

    const fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    const fn mark(sequence: u64) -> RepairMark {
        RepairMark { sequence, bound_ms: 200 }
    }

    #[test]
    fn a_missing_piece_is_requested_until_its_bound_and_then_lost_once() {
        let mut gaps = Gaps::default();
        assert_eq!(gaps.arrive(at(0), mark(1)), Arrived::New);
        assert_eq!(gaps.arrive(at(0), mark(4)), Arrived::New);
        assert!(gaps.poll(at(5), ms(100)).is_empty(), "it may have been overtaken");
        assert_eq!(gaps.poll(at(10), ms(40)), [(2, 2)]);
        assert!(gaps.poll(at(40), ms(40)).is_empty());
        assert_eq!(gaps.arrive(at(50), mark(2)), Arrived::Repaired);
        assert_eq!(gaps.arrive(at(50), mark(2)), Arrived::Duplicate);
        assert_eq!(gaps.poll(at(70), ms(40)), [(3, 1)]);
        assert_eq!(gaps.take_lost(), 0);
        assert!(gaps.poll(at(200), ms(100)).is_empty());
        assert_eq!((gaps.take_lost(), gaps.take_lost()), (1, 0));
        assert_eq!(gaps.arrive(at(201), mark(3)), Arrived::Duplicate, "too late");
        assert_eq!(gaps.deadline(), None);
    }

    #[test]
    fn a_long_gap_is_bounded_and_counted() {
        let mut gaps = Gaps::default();
        gaps.arrive(at(0), mark(10_000_001));
        assert_eq!(gaps.missing.len(), MAX_MISSING);
        assert_eq!(gaps.take_lost(), 10_000_000 - MAX_MISSING as u64);
        gaps.advance(at(0), mark(u64::MAX));
        assert_eq!(gaps.missing.len(), MAX_MISSING);
    }

    #[test]
    fn the_buffer_keeps_what_can_be_repaired_in_time_and_not_too_much() {
        let mut buffer = RepairBuffer::default();
        for _ in 0..20 {
            let mark = buffer.next_mark(200);
            buffer.keep(at(0), mark, vec![0; 1 << 20].into());
        }
        assert!(buffer.bytes <= MAX_KEPT);
        let sent = |buffer: &mut RepairBuffer, now, range| {
            let mut sent = 0;
            buffer.answer(now, ms(40), range, |_| sent += 1);
            sent
        };
        assert_eq!(sent(&mut buffer, at(10), (1, 20)), 0, "just sent");
        assert_eq!(sent(&mut buffer, at(50), (1, 20)), 8);
        assert_eq!(sent(&mut buffer, at(60), (20, 1)), 0, "just sent again");
        assert_eq!(sent(&mut buffer, at(210), (1, 20)), 0, "too late");
        let mark = buffer.next_mark(200);
        buffer.keep(at(300), mark, Bytes::from("new"));
        assert_eq!(buffer.bytes, 3);
    }

    #[test]
    fn the_end_of_a_burst_is_announced() {
        let (mut buffer, mut gaps) = (RepairBuffer::default(), Gaps::default());
        let mark = buffer.next_mark(200);
        buffer.keep(at(0), mark, Bytes::from("the only one, lost"));
        let at = buffer.deadline().unwrap();
        let tail = buffer.poll_tail(at).unwrap();
        gaps.advance(at, tail);
        assert_eq!(gaps.poll(at + ms(10), ms(100)), [(1, 1)]);
        let mut tails = 1;
        while let Some(at) = buffer.deadline() {
            tails += usize::from(buffer.poll_tail(at).is_some());
        }
        assert_eq!(tails, usize::from(TAILS));
    }
}
