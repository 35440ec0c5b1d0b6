//! The order of RTP packets (RFC 3550): a packet that is late by a little is sent in its place, and each once.
//!
//! A sender that starts again with the same SSRC is recognized as in RFC 3550, appendix A.1: by two packets in a row that
//! do not continue the stream, but each other.

use std::collections::VecDeque;
use std::time::Duration;

use mcast_pace::ClockTime;
use mcast_packet::payload::Rtp;

/// How far ahead of a missing packet others are held back for it.
const MAX_HELD: usize = 32;
/// The longest time that a packet is held back.
const TIMEOUT: Duration = Duration::from_millis(100);
/// A packet up to this far ahead follows a loss (`MAX_DROPOUT` of RFC 3550).
const MAX_AHEAD: i16 = 3_000;
/// A packet up to this far behind may be late or repeated, as by a second path that is slower.
const MIN_DISTANCE: i16 = -512;
/// Packets of so few numbers are at most this far apart in time stamps: three minutes at 90 kHz.
const MAX_TIME: u32 = 1 << 24;
/// Another source is accepted if the present one has been silent for this time.
const SILENCE: Duration = Duration::from_millis(300);

/// Sorts the packets of one stream.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    source: Option<SourceState>,
    /// The packets after the missing one, each with its time of arrival. The last place is not empty.
    held: VecDeque<Option<(T, ClockTime)>>,
    /// Packets that did not arrive in time.
    pub(super) missing: u64,
    /// Packets that had been sent already, came too late, or were of another source.
    pub(super) discarded: u64,
}

#[derive(Clone, Copy, Debug)]
struct SourceState {
    ssrc: u32,
    /// The sequence number that is sent next.
    next: u16,
    /// The time stamp of the packet with the highest number.
    timestamp: u32,
    last: ClockTime,
    /// When a packet arrived last that continued the stream.
    continued: ClockTime,
    /// The number that would follow a packet that does not continue the stream: with it, the sender has started again.
    restart: Option<u16>,
}

impl SourceState {
    const fn start(now: ClockTime, packet: &Rtp<'_>, next: u16) -> Self {
        let (ssrc, timestamp) = (packet.ssrc, packet.timestamp);
        Self { ssrc, next, timestamp, last: now, continued: now, restart: None }
    }

    /// Returns whether a packet that is this far ahead of the next one cannot be late or repeated, nor follow a loss.
    fn is_unrelated(&self, now: ClockTime, packet: &Rtp<'_>, distance: i16) -> bool {
        let older = self.timestamp.wrapping_sub(packet.timestamp);
        match distance {
            0..=MAX_AHEAD => false,
            // A slower path does not pause while the other one does, and has no packets of later times.
            MIN_DISTANCE..0 => older > MAX_TIME || now >= self.continued + SILENCE,
            _ => true,
        }
    }
}

impl<T> Reorder<T> {
    pub(super) const fn new() -> Self {
        Self { source: None, held: VecDeque::new(), missing: 0, discarded: 0 }
    }

    /// Takes a packet with its content, and adds what can be sent.
    pub(super) fn push(&mut self, now: ClockTime, packet: &Rtp<'_>, content: T, out: &mut Vec<T>) {
        self.expire(now, out);
        let (ssrc, sequence) = (packet.ssrc, packet.sequence);
        let source = self.source.get_or_insert_with(|| SourceState::start(now, packet, sequence));
        if source.ssrc != ssrc {
            if now < source.last + SILENCE {
                self.discarded += 1;
            } else {
                self.restart(now, packet, content, out);
            }
            return;
        }
        source.last = now;
        let distance = sequence.wrapping_sub(source.next).cast_signed();
        if source.is_unrelated(now, packet, distance) {
            match source.restart.replace(sequence.wrapping_add(1)) {
                Some(expected) if expected == sequence => self.restart(now, packet, content, out),
                _ => self.discarded += 1,
            }
            return;
        }
        match usize::try_from(distance) {
            Ok(distance) => {
                (source.continued, source.restart) = (now, None);
                if distance >= self.held.len() {
                    source.timestamp = packet.timestamp;
                }
                self.place(now, distance, content, out);
            }
            Err(_) => self.discarded += 1,
        }
    }

    /// Restarts with a packet.
    fn restart(&mut self, now: ClockTime, packet: &Rtp<'_>, content: T, out: &mut Vec<T>) {
        out.extend(self.held.drain(..).flatten().map(|(content, _)| content));
        self.source = Some(SourceState::start(now, packet, packet.sequence.wrapping_add(1)));
        out.push(content);
    }

    /// Gives up packets for which others have been held back for too long.
    pub(super) fn expire(&mut self, now: ClockTime, out: &mut Vec<T>) {
        while self.deadline().is_some_and(|deadline| now >= deadline) {
            self.give_up(out);
        }
    }

    /// Returns when to call [`Self::expire`].
    pub(super) fn deadline(&self) -> Option<ClockTime> {
        self.held.iter().flatten().next().map(|(_, arrived)| *arrived + TIMEOUT)
    }

    /// Places a packet that is `distance` after the one that is sent next.
    fn place(&mut self, now: ClockTime, mut distance: usize, content: T, out: &mut Vec<T>) {
        while distance > MAX_HELD {
            distance -= self.give_up(out).min(distance);
        }
        let Some(place) = distance.checked_sub(1) else {
            out.push(content);
            self.advance(1);
            self.release(out);
            return;
        };
        if self.held.len() <= place {
            self.held.resize_with(place + 1, || None);
        }
        match &mut self.held[place] {
            Some(_) => self.discarded += 1,
            empty => *empty = Some((content, now)),
        }
    }

    /// Gives up the missing packet, and sends what follows it. Returns by how much the sequence has advanced.
    fn give_up(&mut self, out: &mut Vec<T>) -> usize {
        self.missing += 1;
        self.advance(1);
        1 + self.release(out)
    }

    /// Sends what is next, up to the packet that is missing then. Returns how many were sent.
    fn release(&mut self, out: &mut Vec<T>) -> usize {
        let mut count = 0;
        while let Some(Some((content, _))) = self.held.pop_front() {
            out.push(content);
            count += 1;
        }
        self.advance(count);
        count
    }

    const fn advance(&mut self, count: usize) {
        if let Some(source) = &mut self.source {
            source.next = source.next.wrapping_add(count as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(ssrc: u32, sequence: u16) -> Rtp<'static> {
        packet_at(ssrc, sequence, 0)
    }

    fn packet_at(ssrc: u32, sequence: u16, timestamp: u32) -> Rtp<'static> {
        let (marker, payload_type, csrc_count, extension) = (false, 33, 0, None);
        Rtp { marker, payload_type, sequence, timestamp, ssrc, csrc_count, extension, payload: &[] }
    }

    /// Packets of one source, each with its number as its content, one per millisecond.
    fn sorted(numbers: impl IntoIterator<Item = u16>) -> (Vec<u16>, Reorder<u16>) {
        let (mut reorder, mut out, mut now) = (Reorder::new(), Vec::new(), ClockTime::START);
        for number in numbers {
            now = now + Duration::from_millis(1);
            reorder.push(now, &packet(7, number), number, &mut out);
        }
        reorder.expire(now + TIMEOUT, &mut out);
        (out, reorder)
    }

    proptest! {
        #[test]
        fn packets_that_are_late_by_a_little_are_sorted_and_repeats_removed(
            first: u16, delays in prop::collection::vec((0_usize..16, any::<bool>()), 1..300)
        ) {
            let mut arrivals: Vec<(usize, u16)> = Vec::new();
            for (position, (delay, is_repeated)) in delays.iter().enumerate() {
                let number = first.wrapping_add(position as u16);
                // The first one defines the order.
                let delay = if position == 0 { 0 } else { *delay };
                arrivals.push((position + delay, number));
                arrivals.extend(is_repeated.then_some((position + 15, number)));
            }
            arrivals.sort_by_key(|(time, _)| *time);
            let (out, reorder) = sorted(arrivals.into_iter().map(|(_, number)| number));
            let expected: Vec<u16> = (0..delays.len()).map(|position| first.wrapping_add(position as u16)).collect();
            prop_assert_eq!(out, expected);
            prop_assert_eq!(reorder.missing, 0);
            let repeats = delays.iter().filter(|(_, is_repeated)| *is_repeated).count();
            prop_assert_eq!(reorder.discarded, repeats as u64);
        }

        #[test]
        fn any_packets_are_sent_at_most_once_and_few_are_held(
            packets in prop::collection::vec((0_u32..3, any::<u16>(), 0_u64..200), 0..300)
        ) {
            let (mut reorder, mut out, mut now) = (Reorder::new(), Vec::new(), ClockTime::START);
            for (number, (ssrc, sequence, pause)) in packets.iter().enumerate() {
                now = now + Duration::from_millis(*pause);
                reorder.push(now, &packet(*ssrc, *sequence), number, &mut out);
                prop_assert!(reorder.held.len() <= MAX_HELD);
                prop_assert!(reorder.held.back().is_none_or(Option::is_some));
            }
            reorder.expire(now + TIMEOUT, &mut out);
            prop_assert!(reorder.held.is_empty());
            prop_assert_eq!(out.len() as u64 + reorder.discarded, packets.len() as u64);
            out.sort_unstable();
            out.dedup();
            prop_assert_eq!(out.len() as u64 + reorder.discarded, packets.len() as u64);
        }
    }

    #[test]
    fn a_missing_packet_delays_others_only_for_a_time() {
        let (out, reorder) = sorted([65_534, 65_535, 2, 3]);
        assert_eq!((out, reorder.missing), (vec![65_534, 65_535, 2, 3], 2));
        let (mut reorder, mut out) = (Reorder::new(), Vec::new());
        reorder.push(ClockTime::START, &packet(7, 1), 1, &mut out);
        reorder.push(ClockTime::START, &packet(7, 5), 5, &mut out);
        reorder.push(ClockTime::START, &packet(7, 3), 3, &mut out);
        assert_eq!((&out[..], reorder.deadline()), (&[1][..], Some(ClockTime::START + TIMEOUT)));
        reorder.push(ClockTime::START + Duration::from_millis(50), &packet(7, 6), 6, &mut out);
        reorder.expire(ClockTime::START + TIMEOUT, &mut out);
        assert_eq!((&out[..], reorder.deadline()), (&[1, 3, 5, 6][..], None));
    }

    #[test]
    fn a_source_that_starts_again_is_followed_and_a_second_one_is_not() {
        let (out, reorder) = sorted([10, 11, 40_000, 40_001, 40_002]);
        assert_eq!((out, reorder.discarded), (vec![10, 11, 40_001, 40_002], 1));
        let (out, reorder) = sorted([10, 11, 40_000, 12, 13]);
        assert_eq!((out, reorder.discarded), (vec![10, 11, 12, 13], 1), "one packet is not a source");
        let (mut reorder, mut out) = (Reorder::new(), Vec::new());
        for millisecond in 0..100 {
            let now = ClockTime::START + Duration::from_millis(millisecond);
            reorder.push(now, &packet(1, millisecond as u16), 1, &mut out);
            reorder.push(now, &packet(2, 9_000 + millisecond as u16), 2, &mut out);
        }
        assert_eq!((out.len(), reorder.discarded), (100, 100));
        reorder.push(ClockTime::START + Duration::from_millis(99) + SILENCE, &packet(2, 9_999), 2, &mut out);
        assert_eq!(out.last(), Some(&2));
    }

    /// Returns how many of 400 packets are sent after a restart this far behind, and how far the first of them is.
    fn sent_after_a_restart(behind: u16, pause: Duration, timestamp: impl Fn(u16) -> u32) -> usize {
        let (mut reorder, mut out) = (Reorder::new(), Vec::new());
        let mut now = ClockTime::START;
        for number in 0..100 {
            now = now + Duration::from_millis(10);
            reorder.push(now, &packet_at(7, 30_000 + number, u32::from(number) * 3_600), (), &mut out);
        }
        assert_eq!(out.len(), 100);
        now = now + pause;
        for number in 0..400 {
            now = now + Duration::from_millis(10);
            reorder.push(
                now,
                &packet_at(7, (30_100_u16 + number).wrapping_sub(behind), timestamp(number)),
                (),
                &mut out,
            );
        }
        reorder.expire(now + TIMEOUT, &mut out);
        out.len() - 100
    }

    #[test]
    fn a_sender_that_starts_again_is_followed_from_its_second_packet_on_however_far_it_is_behind() {
        let soon = Duration::from_millis(20);
        for behind in [1, 2, 10, 32, 99, 100, 101, 500, 512, 513, 999, 1_000, 20_000, 32_768, 40_000, 65_535]
        {
            let (clock, zero) =
                (|number: u16| 360_000 + u32::from(number) * 3_600, |number| u32::from(number));
            let random = |number: u16| 0x8000_1234_u32.wrapping_add(u32::from(number) * 3_600);
            for (what, sent) in [
                ("the same clock", sent_after_a_restart(behind, soon, clock)),
                ("another clock", sent_after_a_restart(behind, soon, random)),
                ("a clock that starts again, after a pause", sent_after_a_restart(behind, SILENCE, zero)),
            ] {
                assert!(sent >= 399, "{behind} behind, {what}: {sent} of 400");
            }
        }
    }

    #[test]
    fn a_slower_second_path_is_not_a_restart() {
        for behind in [1_u16, 33, 100, 400, 500] {
            for burst in [1, 2, 8] {
                let (mut reorder, mut out) = (Reorder::new(), Vec::new());
                let mut now = ClockTime::START;
                let mut push = |number: u16| {
                    now = now + Duration::from_millis(1);
                    reorder.push(now, &packet_at(7, number, u32::from(number) * 360), number, &mut out);
                };
                for first in (0..4_000).step_by(usize::from(burst)) {
                    (first..first + burst).for_each(&mut push);
                    (first..first + burst)
                        .filter_map(|number| number.checked_sub(behind))
                        .for_each(&mut push);
                }
                assert_eq!(out, (0..4_000).collect::<Vec<_>>(), "{behind} behind, {burst} together");
            }
        }
    }

    #[test]
    fn a_loss_of_thousands_is_a_loss() {
        let (out, reorder) = sorted([10, 11, 2_500, 2_501]);
        assert_eq!((out, reorder.missing), (vec![10, 11, 2_500, 2_501], 2_488));
    }
}
