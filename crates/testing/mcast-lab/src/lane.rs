//! One direction of a bad link: which frames are forwarded, when, and in what order. No system calls, no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::impairment::{Fate, ImpairmentScope};
use crate::{Impairment, LinkDirection};

/// How long a datagram that must be overtaken waits for the next one.
const MAX_REORDER_WAIT: Duration = Duration::from_millis(100);
const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// The statistics of a bad link, for one direction or for both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatistics {
    /// Datagrams that entered the link. Each is also counted as forwarded, lost, or dropped at a full queue, unless it
    /// is still waiting to be overtaken.
    pub datagrams: u64,
    /// Datagrams that were forwarded, or are in flight.
    pub forwarded: u64,
    /// Datagrams that were lost as the seed decided.
    pub lost: u64,
    /// Forwarded datagrams that were delayed.
    pub delayed: u64,
    /// Forwarded datagrams that were duplicated.
    pub duplicated: u64,
    /// Forwarded datagrams that were overtaken.
    pub reordered: u64,
    /// Datagrams that were dropped because the queue of a rate-limited link was full.
    pub queue_full: u64,
    /// Frames that passed unchanged because they are outside the scope of the impairment.
    pub untouched: u64,
    /// Frames that the kernel dropped on their way into the link or out of it, because the machine was too slow. The
    /// seed did not decide these losses, so an experiment with overruns is not reproducible: it needs less traffic
    /// or a faster machine.
    pub overruns: u64,
    /// Frames that could not be sent: an interface was down, or the frame was too long or had no checksum, which
    /// happens after the offloads of an interface were turned on again.
    pub unsent: u64,
}

impl LinkStatistics {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            datagrams: self.datagrams + other.datagrams,
            forwarded: self.forwarded + other.forwarded,
            lost: self.lost + other.lost,
            delayed: self.delayed + other.delayed,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
            queue_full: self.queue_full + other.queue_full,
            untouched: self.untouched + other.untouched,
            overruns: self.overruns + other.overruns,
            unsent: self.unsent + other.unsent,
        }
    }
}

/// The context of one call to a lane: the time, the impairment, the counters, and where frames are sent.
pub(crate) struct LaneContext<'a, S> {
    pub(crate) now: Instant,
    pub(crate) impairment: &'a Impairment,
    pub(crate) counters: &'a mut LinkStatistics,
    pub(crate) send: S,
}

/// One direction of a bad link.
#[derive(Debug)]
pub(crate) struct Lane {
    direction: LinkDirection,
    /// How many datagrams have entered the lane.
    datagrams: u64,
    /// Delayed frames and when they arrive, in order of arrival.
    in_flight: VecDeque<(Instant, Vec<u8>)>,
    /// A datagram that the next one overtakes, and until when it waits for the next one.
    awaiting_next: Option<(Instant, Vec<u8>)>,
    /// When the last frame arrives; no later frame arrives before it.
    last_arrival: Option<Instant>,
    /// Until when a rate-limited link is busy with earlier frames.
    busy_until: Option<Instant>,
}

impl Lane {
    pub(crate) fn new(direction: LinkDirection) -> Self {
        Self {
            direction,
            datagrams: 0,
            in_flight: VecDeque::new(),
            awaiting_next: None,
            last_arrival: None,
            busy_until: None,
        }
    }

    /// Decides the fate of a frame that has entered the link, and sends the frames that are due at once.
    pub(crate) fn receive(&mut self, frame: &[u8], context: &mut LaneContext<'_, impl FnMut(&[u8])>) {
        if context.impairment.scope == ImpairmentScope::Udp && !is_udp(frame) {
            context.counters.untouched += 1;
            return (context.send)(frame);
        }
        // By the number of the datagram, not by time: the same seed has the same losses on a fast and on a slow machine.
        let fate = context.impairment.fate(self.direction, self.datagrams);
        self.datagrams += 1;
        context.counters.datagrams += 1;
        if fate.lost {
            context.counters.lost += 1;
            return;
        }
        // At most one waits, so that a datagram is overtaken by its successor and by no other.
        if fate.reordered && self.awaiting_next.is_none() {
            self.awaiting_next = Some((context.now + MAX_REORDER_WAIT, frame.to_vec()));
            return;
        }
        self.forward(frame, fate, context);
        if let Some((_, overtaken)) = self.awaiting_next.take() {
            context.counters.reordered += 1;
            self.forward(&overtaken, Fate { duplicated: false, ..fate }, context);
        }
    }

    /// Sends the frames that are due.
    pub(crate) fn send_due(&mut self, context: &mut LaneContext<'_, impl FnMut(&[u8])>) {
        if let Some((_, frame)) = self.awaiting_next.take_if(|(until, _)| *until <= context.now) {
            let delay = context.impairment.delay;
            // Nothing came that could overtake it: it arrives in its place, and does not count as reordered.
            let fate = Fate { lost: false, duplicated: false, reordered: false, delay };
            self.forward(&frame, fate, context);
        }
        while self.in_flight.front().is_some_and(|(due, _)| *due <= context.now) {
            if let Some((_, frame)) = self.in_flight.pop_front() {
                (context.send)(&frame);
            }
        }
    }

    /// Returns when the next frame is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let in_flight = self.in_flight.front().map(|(due, _)| *due);
        let awaiting_next = self.awaiting_next.as_ref().map(|(until, _)| *until);
        in_flight.into_iter().chain(awaiting_next).min()
    }

    /// Forwards a datagram at its time of arrival, twice if that is its fate.
    fn forward(&mut self, frame: &[u8], fate: Fate, context: &mut LaneContext<'_, impl FnMut(&[u8])>) {
        let counters = &mut *context.counters;
        let Some(due) = self.arrival(frame.len(), fate.delay, context.now, context.impairment) else {
            counters.queue_full += 1;
            return;
        };
        let copies = if fate.duplicated { 2 } else { 1 };
        // Never past frames in flight: the order is that of arrival, also if the thread was late to send them.
        if due <= context.now && self.in_flight.is_empty() {
            (0..copies).for_each(|_| (context.send)(frame));
        } else {
            counters.delayed += 1;
            self.in_flight.extend((0..copies).map(|_| (due, frame.to_vec())));
        }
        // Counted after sending, so that a datagram that is counted has been sent.
        counters.duplicated += copies - 1;
        counters.forwarded += 1;
    }

    /// Returns when a frame arrives that enters the link now, or `None` if the queue is full.
    fn arrival(
        &mut self,
        bytes: usize,
        delay: Duration,
        now: Instant,
        impairment: &Impairment,
    ) -> Option<Instant> {
        let sent = match impairment.rate {
            Some(rate) => {
                let start = self.busy_until.map_or(now, |busy| busy.max(now));
                if queued_bytes(start - now, rate) > impairment.queue as u128 {
                    return None;
                }
                let end = start + transmission_time(bytes, rate);
                self.busy_until = Some(end);
                end
            }
            None => now,
        };
        // Jitter alone does not reorder, as on a link with one queue; `reorder` does.
        let due = self.last_arrival.map_or(sent + delay, |last| (sent + delay).max(last));
        self.last_arrival = Some(due);
        Some(due)
    }
}

/// Returns how many bytes a link transmits in a time.
fn queued_bytes(time: Duration, rate: u64) -> u128 {
    time.as_nanos() * u128::from(rate) / 8 / NANOSECONDS_PER_SECOND
}

/// Returns how long a link is busy with a frame.
fn transmission_time(bytes: usize, rate: u64) -> Duration {
    let nanoseconds = bytes as u128 * 8 * NANOSECONDS_PER_SECOND / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

const ETHERNET_HEADER: usize = 14;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// Returns whether an Ethernet frame carries UDP, or a fragment of it, over IPv4 or IPv6.
pub(crate) fn is_udp(frame: &[u8]) -> bool {
    let Some((header, packet)) = frame.split_at_checked(ETHERNET_HEADER) else { return false };
    match u16::from_be_bytes([header[12], header[13]]) {
        IPV4 => packet.get(9) == Some(&UDP),
        IPV6 => ipv6_carries_udp(packet).unwrap_or(false),
        _ => false,
    }
}

/// Follows the chain of extension headers (RFC 8200, section 4). Returns `None` if the packet is cut off.
fn ipv6_carries_udp(packet: &[u8]) -> Option<bool> {
    let mut next = *packet.get(6)?;
    let mut rest = packet.get(40..)?;
    loop {
        let length = match next {
            UDP => return Some(true),
            FRAGMENT => 8,
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8 + 8 * usize::from(*rest.get(1)?),
            _ => return Some(false),
        };
        next = *rest.first()?;
        rest = rest.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a minimal UDP frame that carries a number.
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

    /// A call to a lane.
    type Call<'a> = dyn FnMut(&mut LaneContext<'_, &mut dyn FnMut(&[u8])>) + 'a;

    /// Sends numbered datagrams at intervals of `gap`, and returns the arrivals with their times since the start.
    fn cross(impairment: &Impairment, count: u16, gap: Duration) -> (Vec<(Duration, u16)>, LinkStatistics) {
        let (mut lane, mut counters) = (Lane::new(LinkDirection::Forward), LinkStatistics::default());
        let start = Instant::now();
        let mut arrived = Vec::new();
        let mut at = |now: Instant, call: &mut Call<'_>| {
            let mut send = |frame: &[u8]| arrived.push((now - start, number(frame)));
            call(&mut LaneContext { now, impairment, counters: &mut counters, send: &mut send });
        };
        for sent in 0..count {
            let now = start + gap * u32::from(sent);
            while let Some(due) = lane.next_deadline().filter(|due| *due <= now) {
                at(due, &mut |context| lane.send_due(context));
            }
            at(now, &mut |context| lane.receive(&datagram(sent), context));
        }
        while let Some(due) = lane.next_deadline() {
            at(due, &mut |context| lane.send_due(context));
        }
        (arrived, counters)
    }

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn a_perfect_link_forwards_everything_at_once() {
        let (arrived, counters) = cross(&Impairment::default(), 100, MILLISECOND);
        let expected: Vec<_> = (0..100).map(|n| (MILLISECOND * u32::from(n), n)).collect();
        assert_eq!(arrived, expected);
        assert_eq!(counters.forwarded, 100);
        assert_eq!(counters.delayed, 0);
    }

    #[test]
    fn the_seed_decides_which_datagrams_are_lost() {
        let impairment = Impairment { loss: 0.2, seed: 3, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 1000, MILLISECOND);
        let survivors: Vec<u16> =
            (0..1000).filter(|n| !impairment.fate(LinkDirection::Forward, u64::from(*n)).lost).collect();
        assert_eq!(arrived.iter().map(|(_, n)| *n).collect::<Vec<_>>(), survivors);
        assert_eq!(counters.lost as usize, 1000 - survivors.len());
    }

    #[test]
    fn delay_and_jitter_keep_the_order() {
        let impairment =
            Impairment { delay: 5 * MILLISECOND, jitter: 20 * MILLISECOND, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 500, MILLISECOND);
        assert!(arrived.is_sorted_by_key(|(_, n)| *n));
        for (at, n) in arrived {
            let delay = at - MILLISECOND * u32::from(n);
            assert!(delay >= 5 * MILLISECOND && delay <= 25 * MILLISECOND, "{n} took {delay:?}");
        }
        assert_eq!(counters.delayed, 500);
    }

    #[test]
    fn reordering_swaps_neighbours() {
        let impairment = Impairment { reorder: 0.3, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 1000, MILLISECOND);
        let order: Vec<_> = arrived.iter().map(|(_, n)| *n).collect();
        let swapped = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert_eq!(counters.reordered as usize, swapped);
        assert!(swapped > 100);
        assert!(order.iter().enumerate().all(|(index, n)| index.abs_diff(usize::from(*n)) <= 1));
    }

    #[test]
    fn a_last_datagram_waits_a_limited_time_to_be_overtaken() {
        let impairment = Impairment { reorder: 1.0, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 1, MILLISECOND);
        assert_eq!(arrived, [(MAX_REORDER_WAIT, 0)]);
        assert_eq!(counters.reordered, 0);
    }

    #[test]
    fn duplicates_follow_each_other() {
        let impairment = Impairment { duplicate: 1.0, delay: MILLISECOND, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 3, MILLISECOND);
        assert_eq!(arrived.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 0, 1, 1, 2, 2]);
        assert_eq!(counters.duplicated, 3);
    }

    #[test]
    fn the_rate_limit_spaces_frames_and_a_full_queue_drops_them() {
        // 100 bytes take 1 ms at 800 kbit/s, and 10 frames fit in the queue.
        let impairment = Impairment { rate: Some(800_000), queue: 1000, ..Impairment::default() };
        let (arrived, counters) = cross(&impairment, 100, Duration::ZERO);
        let expected: Vec<_> = (0..11).map(|n| (MILLISECOND * (u32::from(n) + 1), n)).collect();
        assert_eq!(arrived, expected);
        assert_eq!(counters.queue_full, 89);
    }

    #[test]
    fn frames_other_than_udp_pass_unchanged_unless_the_scope_is_all() {
        let mut arp = datagram(0);
        arp[13] = 6;
        let mut passed = 0;
        let mut counters = LinkStatistics::default();
        let lossy = Impairment { loss: 1.0, ..Impairment::default() };
        for scope in [ImpairmentScope::Udp, ImpairmentScope::All] {
            let impairment = Impairment { scope, ..lossy };
            let mut lane = Lane::new(LinkDirection::Reverse);
            let (now, send) = (Instant::now(), |_: &[u8]| passed += 1);
            lane.receive(
                &arp,
                &mut LaneContext { now, impairment: &impairment, counters: &mut counters, send },
            );
        }
        assert_eq!((passed, counters.untouched, counters.lost), (1, 1, 1));
    }

    fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend_from_slice(&kind.to_be_bytes());
        frame.extend_from_slice(packet);
        frame
    }

    fn ipv4(protocol: u8) -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[9] = protocol;
        ethernet(IPV4, &packet)
    }

    fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[6] = next;
        packet.extend_from_slice(rest);
        ethernet(IPV6, &packet)
    }

    #[test]
    fn udp_is_distinguished_from_other_protocols() {
        assert!(is_udp(&ipv4(UDP)));
        assert!(!is_udp(&ipv4(2)), "IGMP");
        assert!(is_udp(&ipv6(UDP, &[0; 8])));
        assert!(!is_udp(&ipv6(58, &[0; 8])), "ICMPv6");
        assert!(!is_udp(&ethernet(0x0806, &[UDP; 28])), "ARP");
    }

    #[test]
    fn extension_headers_are_passed_over() {
        let mut options = [0; 24];
        options[0] = UDP;
        options[1] = 1;
        assert!(is_udp(&ipv6(HOP_BY_HOP, &options)));
        assert!(is_udp(&ipv6(FRAGMENT, &[UDP, 0, 0, 8, 0, 0, 0, 1, 9])));
        // MLD: a hop-by-hop header with the router alert, then ICMPv6.
        assert!(!is_udp(&ipv6(HOP_BY_HOP, &[58, 0, 5, 2, 0, 0, 1, 0, 143])));
    }

    #[test]
    fn short_frames_are_not_udp() {
        for frame in [ipv4(UDP), ipv6(HOP_BY_HOP, &[UDP, 3])] {
            for length in 0..20 {
                assert!(!is_udp(&frame[..length]));
            }
        }
        assert!(!is_udp(&ipv6(HOP_BY_HOP, &[UDP, 3])));
    }
}
