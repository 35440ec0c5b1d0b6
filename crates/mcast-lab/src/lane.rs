//! One direction of a bad link: which frames go on, when, and in what order. No system calls, no clock.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{
    Direction, Impairment, frame,
    impairment::{Fate, Scope},
};

/// How long a datagram that is to be overtaken waits for one that overtakes it.
const LONGEST_HOLD: Duration = Duration::from_millis(100);
const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// What has crossed one direction of a bad link. A datagram is counted when it is decided on.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) datagrams: AtomicU64,
    pub(crate) untouched: AtomicU64,
    pub(crate) forwarded: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) delayed: AtomicU64,
    pub(crate) duplicated: AtomicU64,
    pub(crate) reordered: AtomicU64,
    pub(crate) queue_full: AtomicU64,
    pub(crate) overruns: AtomicU64,
    pub(crate) unsent: AtomicU64,
}

/// What a lane works with for a moment: the time, what is to happen, and where frames go.
pub(crate) struct Moment<'a, S> {
    pub(crate) now: Instant,
    pub(crate) impairment: &'a Impairment,
    pub(crate) counters: &'a Counters,
    pub(crate) send: S,
}

/// One direction of a bad link.
#[derive(Debug)]
pub(crate) struct Lane {
    direction: Direction,
    /// How many datagrams have come this way.
    seen: u64,
    /// What is under way, in the order in which it arrives.
    under_way: VecDeque<(Instant, Vec<u8>)>,
    /// A datagram that the next one overtakes, and until when it waits for that.
    held: Option<(Instant, Vec<u8>)>,
    /// When the last frame under way arrives: no other overtakes it.
    last: Option<Instant>,
    /// Until when the wire is busy with the frames before.
    busy: Option<Instant>,
}

impl Lane {
    pub(crate) fn new(direction: Direction) -> Self {
        Self { direction, seen: 0, under_way: VecDeque::new(), held: None, last: None, busy: None }
    }

    /// Takes a frame that has come in, decides what becomes of it, and passes on what may go at once.
    pub(crate) fn take(&mut self, frame: &[u8], moment: &mut Moment<'_, impl FnMut(&[u8])>) {
        if moment.impairment.scope == Scope::Udp && !frame::is_udp(frame) {
            moment.counters.untouched.fetch_add(1, Relaxed);
            return (moment.send)(frame);
        }
        let fate = moment.impairment.fate(self.direction, self.seen);
        self.seen += 1;
        moment.counters.datagrams.fetch_add(1, Relaxed);
        if fate.lost {
            moment.counters.lost.fetch_add(1, Relaxed);
            return;
        }
        if fate.reordered && self.held.is_none() {
            self.held = Some((moment.now + LONGEST_HOLD, frame.to_vec()));
            return;
        }
        self.pass(frame, fate, moment);
        if let Some((_, overtaken)) = self.held.take() {
            moment.counters.reordered.fetch_add(1, Relaxed);
            self.pass(&overtaken, Fate { duplicated: false, ..fate }, moment);
        }
    }

    /// Passes on what is due.
    pub(crate) fn due(&mut self, moment: &mut Moment<'_, impl FnMut(&[u8])>) {
        if let Some((_, frame)) = self.held.take_if(|(until, _)| *until <= moment.now) {
            let delay = moment.impairment.delay;
            let fate = Fate { lost: false, duplicated: false, reordered: false, delay };
            self.pass(&frame, fate, moment);
        }
        while self.under_way.front().is_some_and(|(due, _)| *due <= moment.now) {
            if let Some((_, frame)) = self.under_way.pop_front() {
                (moment.send)(&frame);
            }
        }
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let under_way = self.under_way.front().map(|(due, _)| *due);
        let held = self.held.as_ref().map(|(until, _)| *until);
        under_way.into_iter().chain(held).min()
    }

    /// Puts a datagram on the wire, twice if that is its fate.
    fn pass(&mut self, frame: &[u8], fate: Fate, moment: &mut Moment<'_, impl FnMut(&[u8])>) {
        let counters = moment.counters;
        let Some(due) = self.arrival(frame.len(), fate.delay, moment.now, moment.impairment) else {
            counters.queue_full.fetch_add(1, Relaxed);
            return;
        };
        let copies = if fate.duplicated { 2 } else { 1 };
        if due <= moment.now && self.under_way.is_empty() {
            (0..copies).for_each(|_| (moment.send)(frame));
        } else {
            counters.delayed.fetch_add(1, Relaxed);
            self.under_way.extend((0..copies).map(|_| (due, frame.to_vec())));
        }
        // Last, so that what went at once is gone when it is counted.
        counters.duplicated.fetch_add(copies - 1, Relaxed);
        counters.forwarded.fetch_add(1, Relaxed);
    }

    /// When a frame arrives that comes in now; `None` if the queue before the wire is full.
    fn arrival(
        &mut self,
        bytes: usize,
        delay: Duration,
        now: Instant,
        impairment: &Impairment,
    ) -> Option<Instant> {
        let sent = match impairment.rate {
            Some(rate) => {
                let start = self.busy.map_or(now, |busy| busy.max(now));
                if waiting(start - now, rate) > impairment.queue as u128 {
                    return None;
                }
                let end = start + duration_of(bytes, rate);
                self.busy = Some(end);
                end
            }
            None => now,
        };
        let due = self.last.map_or(sent + delay, |last| (sent + delay).max(last));
        self.last = Some(due);
        Some(due)
    }
}

/// How many bytes go by in a time.
fn waiting(time: Duration, rate: u64) -> u128 {
    time.as_nanos() * u128::from(rate) / 8 / NANOSECONDS_PER_SECOND
}

/// How long a frame keeps the wire busy.
fn duration_of(bytes: usize, rate: u64) -> Duration {
    let nanoseconds = bytes as u128 * 8 * NANOSECONDS_PER_SECOND / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minimal UDP frame that carries a number.
    fn datagram(number: u16) -> Vec<u8> {
        let mut frame = vec![0; 100];
        frame[12] = 8;
        frame[14 + 9] = 17;
        frame[50..52].copy_from_slice(&number.to_be_bytes());
        frame
    }

    fn number(frame: &[u8]) -> u16 {
        u16::from_be_bytes([frame[50], frame[51]])
    }

    /// What a lane does in a moment.
    type Act<'a> = dyn FnMut(&mut Moment<'_, &mut dyn FnMut(&[u8])>) + 'a;

    /// Sends numbered datagrams, one each `gap`, and returns what arrives with the time it took since the start.
    fn cross(impairment: &Impairment, count: u16, gap: Duration) -> (Vec<(Duration, u16)>, Counters) {
        let (mut lane, counters) = (Lane::new(Direction::Forth), Counters::default());
        let start = Instant::now();
        let mut arrived = Vec::new();
        let mut at = |now: Instant, act: &mut Act<'_>| {
            let mut send = |frame: &[u8]| arrived.push((now - start, number(frame)));
            act(&mut Moment { now, impairment, counters: &counters, send: &mut send });
        };
        for sent in 0..count {
            let now = start + gap * u32::from(sent);
            while let Some(due) = lane.next_due().filter(|due| *due <= now) {
                at(due, &mut |moment| lane.due(moment));
            }
            at(now, &mut |moment| lane.take(&datagram(sent), moment));
        }
        while let Some(due) = lane.next_due() {
            at(due, &mut |moment| lane.due(moment));
        }
        (arrived, counters)
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_perfect_link_passes_everything_at_once() {
        let (arrived, counters) = cross(&Impairment::default(), 100, MILLISECOND);
        let expected: Vec<_> = (0..100).map(|n| (MILLISECOND * u32::from(n), n)).collect();
        assert_eq!(arrived, expected);
        assert_eq!(counters.forwarded.load(Relaxed), 100);
        assert_eq!(counters.delayed.load(Relaxed), 0);
    }

    #[test]
    fn loss_is_the_seeds() {
        let impairment = Impairment { loss: 0.2, seed: 3, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 1000, MILLISECOND);
        let survivors: Vec<u16> =
            (0..1000).filter(|n| !impairment.fate(Direction::Forth, u64::from(*n)).lost).collect();
        assert_eq!(arrived.iter().map(|(_, n)| *n).collect::<Vec<_>>(), survivors);
        assert_eq!(counters.lost.load(Relaxed) as usize, 1000 - survivors.len());
    }

    #[test]
    fn delay_and_jitter_keep_the_order() {
        let impairment =
            Impairment { delay: 5 * MILLISECOND, jitter: 20 * MILLISECOND, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 500, MILLISECOND);
        assert!(arrived.is_sorted_by_key(|(_, n)| *n));
        for (at, n) in arrived {
            let taken = at - MILLISECOND * u32::from(n);
            assert!(taken >= 5 * MILLISECOND && taken <= 25 * MILLISECOND, "{n} took {taken:?}");
        }
        assert_eq!(counters.delayed.load(Relaxed), 500);
    }

    #[test]
    fn reordering_swaps_neighbours() {
        let impairment = Impairment { reorder: 0.3, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 1000, MILLISECOND);
        let order: Vec<_> = arrived.iter().map(|(_, n)| *n).collect();
        let swapped = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert_eq!(counters.reordered.load(Relaxed) as usize, swapped);
        assert!(swapped > 100);
        assert!(order.iter().enumerate().all(|(place, n)| place.abs_diff(usize::from(*n)) <= 1));
    }

    #[test]
    fn the_last_datagram_does_not_wait_for_ever_to_be_overtaken() {
        let impairment = Impairment { reorder: 1.0, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 1, MILLISECOND);
        assert_eq!(arrived, [(LONGEST_HOLD, 0)]);
        assert_eq!(counters.reordered.load(Relaxed), 0);
    }

    #[test]
    fn duplicates_follow_each_other() {
        let impairment = Impairment { duplicate: 1.0, delay: MILLISECOND, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 3, MILLISECOND);
        assert_eq!(arrived.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
        assert_eq!(counters.duplicated.load(Relaxed), 3);
    }

    #[test]
    fn the_rate_spaces_frames_and_a_full_queue_drops() {
        // 100 bytes at 800 kbit/s take 1 ms each; 10 of them may wait.
        let impairment = Impairment { rate: Some(800_000), queue: 1000, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 100, Duration::ZERO);
        let expected: Vec<_> = (0..11).map(|n| (MILLISECOND * (u32::from(n) + 1), n)).collect();
        assert_eq!(arrived, expected);
        assert_eq!(counters.queue_full.load(Relaxed), 89);
    }

    #[test]
    fn what_is_no_udp_passes_untouched_unless_all_is_impaired() {
        let mut arp = datagram(0);
        arp[13] = 6;
        let mut passed = 0;
        let counters = Counters::default();
        let lossy = Impairment { loss: 1.0, ..Impairment::default() };
        for scope in [Scope::Udp, Scope::All] {
            let impairment = Impairment { scope, ..lossy };
            let mut lane = Lane::new(Direction::Back);
            let (now, send) = (Instant::now(), |_: &[u8]| passed += 1);
            lane.take(&arp, &mut Moment { now, impairment: &impairment, counters: &counters, send });
        }
        assert_eq!((passed, counters.untouched.load(Relaxed), counters.lost.load(Relaxed)), (1, 1, 1));
    }
}
