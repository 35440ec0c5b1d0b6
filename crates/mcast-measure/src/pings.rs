//! Round trips by multicast and by unicast, per responder.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::wire::ProbeReply;
use crate::{Histogram, LossCounter, SequenceOrder};

/// Maximum number of responders tracked.
const MAX_RESPONDERS: usize = 256;
/// Maximum number of probes whose send times are retained.
const MAX_TIMES: usize = 4_096;

/// The probes sent so far, with the send times of the latest.
#[derive(Clone, Debug, Default)]
pub struct SentProbes {
    discarded: u64,
    times: VecDeque<Duration>,
}

impl SentProbes {
    /// Counts a probe as sent now, and returns its number.
    pub fn record_probe(&mut self, now: Duration) -> u64 {
        if self.times.len() == MAX_TIMES {
            self.times.pop_front();
            self.discarded += 1;
        }
        let number = self.count();
        self.times.push_back(now);
        number
    }

    /// Returns the number of probes sent.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.discarded + self.times.len() as u64
    }

    /// Returns the send time of a probe, if it is still retained.
    fn time_of(&self, number: u64) -> Option<Duration> {
        let index = usize::try_from(number.checked_sub(self.discarded)?).ok()?;
        self.times.get(index).copied()
    }

    /// Returns the number of probes sent before `time`.
    fn before(&self, time: Duration) -> u64 {
        self.discarded + self.times.partition_point(|sent| *sent < time) as u64
    }
}

/// The replies to the probes sent by multicast, or to those sent by unicast.
#[derive(Clone, Debug)]
pub struct ProbeResults {
    /// The first probe that is included in the statistics.
    first: u64,
    replies: LossCounter,
    round_trips: Histogram,
}

impl ProbeResults {
    /// Creates empty results, which include the probes from `first` on.
    pub(crate) const fn new(first: u64) -> Self {
        Self { first, replies: LossCounter::of_session(), round_trips: Histogram::new() }
    }

    /// Records a reply; a duplicate has no round-trip time.
    pub(crate) fn record(&mut self, number: u64, round_trip: Duration) {
        if !matches!(self.replies.record(number), SequenceOrder::Duplicate | SequenceOrder::Stray) {
            self.round_trips.record_duration(round_trip);
        }
    }

    /// Returns the number of probes with a reply.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.replies.counts().received
    }

    /// Returns the number of duplicate replies.
    #[must_use]
    pub const fn duplicated(&self) -> u64 {
        self.replies.counts().duplicates
    }

    /// Returns the round-trip times.
    #[must_use]
    pub const fn round_trips(&self) -> &Histogram {
        &self.round_trips
    }

    /// Returns the number of probes to include: those that have been answered or whose timeout has passed.
    fn sent(&self, expired: u64) -> u64 {
        let end = expired.max(self.replies.next().unwrap_or(0));
        end.saturating_sub(self.first).max(self.received())
    }
}

/// A host that replies to probes.
#[derive(Clone, Debug)]
pub struct Responder {
    /// The address that it replies from.
    pub address: IpAddr,
    /// Its random id, because several responders may share an address.
    pub id: u64,
    /// The port on which it replies to unicast probes; 0 for none.
    pub unicast_port: u16,
    /// Minimum and maximum number of routers on the path, if both ends report hop limits.
    pub hops: Option<(u8, u8)>,
    /// Time from its join to the first probe that reached it, if it joined after probing started; `None` if
    /// it had joined before.
    pub join_to_first: Option<Duration>,
    multicast: ProbeResults,
    unicast: ProbeResults,
    sent: SentProbes,
}

impl Responder {
    /// Returns the results of the probes sent to the group.
    #[must_use]
    pub const fn multicast(&self) -> &ProbeResults {
        &self.multicast
    }

    /// Returns the results of the probes sent to this responder by unicast.
    #[must_use]
    pub const fn unicast(&self) -> &ProbeResults {
        &self.unicast
    }

    /// Counts a unicast probe to this responder as sent now, and returns its number.
    pub fn record_probe(&mut self, now: Duration) -> u64 {
        self.sent.record_probe(now)
    }

    fn update(&mut self, reply: &ProbeReply) {
        self.unicast_port = reply.unicast_port;
        self.hops = widened(self.hops, reply.hops());
    }
}

/// Returns the range extended to include `hops`.
pub(crate) fn widened(range: Option<(u8, u8)>, hops: Option<u8>) -> Option<(u8, u8)> {
    let Some(hops) = hops else { return range };
    let (min, max) = range.unwrap_or((hops, hops));
    Some((min.min(hops), max.max(hops)))
}

/// The probes sent and the responders, in bounded memory.
#[derive(Clone, Debug)]
pub struct Pings {
    timeout: Duration,
    sent: SentProbes,
    responders: Vec<Responder>,
    refused: u64,
}

impl Pings {
    /// Creates an empty session. A probe without a reply counts as lost after `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, sent: SentProbes::default(), responders: Vec::new(), refused: 0 }
    }

    /// Counts a probe to the group as sent now, and returns its number.
    pub fn record_probe(&mut self, now: Duration) -> u64 {
        self.sent.record_probe(now)
    }

    /// Returns the number of probes sent to the group.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.count()
    }

    /// Records a reply to the probe of this number. Returns the responder and whether it is new; `None` if no
    /// such probe was sent.
    pub fn record_reply(
        &mut self,
        address: IpAddr,
        number: u64,
        reply: &ProbeReply,
        round_trip: Duration,
    ) -> Option<(&Responder, bool)> {
        let known = self
            .responders
            .iter()
            .position(|responder| responder.address == address && responder.id == reply.responder);
        let index = match known {
            Some(index) => index,
            // Unicast probes are sent only to responders that have replied to the group before.
            None if reply.by_unicast || self.responders.len() == MAX_RESPONDERS => {
                self.refused += 1;
                return None;
            }
            None => self.add_responder(address, number, reply)?,
        };
        let responder = &mut self.responders[index];
        let sent = if reply.by_unicast { responder.sent.count() } else { self.sent.count() };
        if number >= sent {
            self.refused += 1;
            return None;
        }
        let results = if reply.by_unicast { &mut responder.unicast } else { &mut responder.multicast };
        results.record(number, round_trip);
        if !reply.by_unicast {
            responder.update(reply);
        }
        Some((responder, known.is_none()))
    }

    fn add_responder(&mut self, address: IpAddr, number: u64, reply: &ProbeReply) -> Option<usize> {
        let Some(sent) = self.sent.time_of(number) else {
            self.refused += 1;
            return None;
        };
        let start = self.sent.time_of(0).unwrap_or_default();
        let joined = sent.checked_sub(reply.joined).filter(|joined| *joined > start);
        let first = joined.map_or(0, |joined| self.sent.before(joined).min(number));
        self.responders.push(Responder {
            address,
            id: reply.responder,
            unicast_port: reply.unicast_port,
            hops: None,
            join_to_first: joined.map(|_| reply.joined),
            multicast: ProbeResults::new(first),
            unicast: ProbeResults::new(0),
            sent: SentProbes::default(),
        });
        Some(self.responders.len() - 1)
    }

    /// Returns the responders, in the order of their first reply.
    #[must_use]
    pub fn responders(&self) -> &[Responder] {
        &self.responders
    }

    /// Returns the responders, for sending unicast probes to them.
    pub fn responders_mut(&mut self) -> &mut [Responder] {
        &mut self.responders
    }

    /// Returns the number of group probes to include for this responder: those sent since it joined that have
    /// been answered or whose timeout has passed.
    #[must_use]
    pub fn sent_to_group(&self, responder: &Responder, now: Duration) -> u64 {
        responder.multicast.sent(self.sent.before(self.expired_before(now)))
    }

    /// Returns the number of unicast probes to include for this responder.
    #[must_use]
    pub fn sent_to(&self, responder: &Responder, now: Duration) -> u64 {
        responder.unicast.sent(responder.sent.before(self.expired_before(now)))
    }

    /// Returns the time before which probes without a reply count as lost.
    fn expired_before(&self, now: Duration) -> Duration {
        // A probe that is exactly as old as the timeout has expired.
        (now + Duration::from_nanos(1)).saturating_sub(self.timeout)
    }

    /// Returns whether every responder has replied to every probe.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let answered = |responder: &Responder| {
            let group = self.sent.count().saturating_sub(responder.multicast.first);
            responder.multicast.received() >= group && responder.unicast.received() >= responder.sent.count()
        };
        !self.responders.is_empty() && self.responders.iter().all(answered)
    }

    /// Returns the number of replies that match no probe, or came from more responders than are tracked.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn reply(by_unicast: bool, joined: Duration) -> ProbeReply {
        ProbeReply {
            responder: 1,
            hop_limit: 3,
            arrival_hop_limit: Some(1),
            by_unicast,
            unicast_port: 9,
            joined,
        }
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Returns a session with one probe per second, starting at 10 s.
    fn pings(count: u64) -> Pings {
        let mut pings = Pings::new(TIMEOUT);
        (0..count).for_each(|number| {
            let _ = pings.record_probe(seconds(10.0 + number as f64));
        });
        pings
    }

    fn reply_to(pings: &mut Pings, number: u64, by_unicast: bool, joined: f64) {
        pings.record_reply(address(2), number, &reply(by_unicast, seconds(joined)), seconds(0.001));
    }

    #[test]
    fn multicast_and_unicast_loss_are_separate() {
        let mut pings = pings(3);
        reply_to(&mut pings, 0, false, 100.0);
        (0..3).for_each(|number| {
            let _ = pings.responders_mut()[0].record_probe(seconds(10.0 + f64::from(number)));
        });
        reply_to(&mut pings, 2, false, 102.0);
        reply_to(&mut pings, 2, false, 102.0);
        reply_to(&mut pings, 0, true, 100.0);
        let responder = &pings.responders()[0];
        let now = seconds(13.0);
        assert_eq!((pings.sent_to_group(responder, now), responder.multicast().received()), (3, 2));
        assert_eq!((pings.sent_to(responder, now), responder.unicast().received()), (3, 1));
        assert_eq!(responder.multicast().duplicated(), 1);
        assert_eq!((responder.hops, responder.join_to_first), (Some((2, 2)), None));
        assert_eq!(responder.multicast().round_trips().count(), 2);
    }

    #[test]
    fn pending_probes_are_not_lost() {
        let mut pings = pings(3);
        reply_to(&mut pings, 0, false, 100.0);
        let sent = |pings: &Pings, now| pings.sent_to_group(&pings.responders()[0], seconds(now));
        assert_eq!((sent(&pings, 11.9), sent(&pings, 12.0), sent(&pings, 13.0)), (1, 2, 3));
        assert!(!pings.all_answered());
        [1, 2].into_iter().for_each(|number| reply_to(&mut pings, number, false, 100.0));
        assert!(pings.all_answered());
        assert_eq!(sent(&pings, 12.0), 3);
    }

    #[test]
    fn probes_before_the_join_are_not_lost() {
        let mut pings = pings(10);
        // The responder joined 1.5 s before the probe at 16 s, so the one at 15 s was lost in transit.
        reply_to(&mut pings, 6, false, 1.5);
        let responder = &pings.responders()[0];
        assert_eq!(responder.join_to_first, Some(seconds(1.5)));
        assert_eq!(pings.sent_to_group(responder, seconds(17.0)), 2);
    }

    #[test]
    fn replys_to_nothing_are_refused() {
        let mut pings = pings(2);
        reply_to(&mut pings, 2, false, 0.0);
        reply_to(&mut pings, u64::MAX, false, 0.0);
        reply_to(&mut pings, 0, true, 0.0);
        assert!(pings.responders().is_empty());
        reply_to(&mut pings, 0, false, 0.0);
        reply_to(&mut pings, 0, true, 0.0);
        reply_to(&mut pings, 2, false, 0.0);
        assert_eq!((pings.responders().len(), pings.refused()), (1, 5));
        assert_eq!(pings.responders()[0].unicast().received(), 0);
    }

    #[test]
    fn memory_is_bounded_under_forged_responders() {
        let mut pings = pings(1);
        for id in 0..1_000 {
            let reply = ProbeReply { responder: id, ..reply(false, Duration::ZERO) };
            pings.record_reply(address(1), 0, &reply, Duration::ZERO);
        }
        assert_eq!(pings.responders().len(), MAX_RESPONDERS);
        (0..10_000).for_each(|number| {
            let _ = pings.record_probe(seconds(20.0 + f64::from(number)));
        });
        assert_eq!((pings.sent.times.len(), pings.sent()), (MAX_TIMES, 10_001));
    }

    proptest! {
        #[test]
        fn received_never_exceeds_sent(
            answers in proptest::collection::vec(
                (0_u8..4, 0_u64..30, any::<bool>(), 0.0..40.0_f64, 0_u8..4), 0..200,
            ),
        ) {
            let mut pings = Pings::new(TIMEOUT);
            let mut now = seconds(100.0);
            for (last, number, by_unicast, joined, ask) in answers {
                now += seconds(0.3);
                if ask == 0 {
                    pings.record_probe(now);
                    pings.responders_mut().iter_mut().for_each(|responder| { let _ = responder.record_probe(now); });
                }
                pings.record_reply(address(last), number, &reply(by_unicast, seconds(joined)), seconds(0.1));
                for responder in pings.responders() {
                    let sent = pings.sent_to_group(responder, now);
                    prop_assert!(responder.multicast().received() <= sent && sent <= pings.sent());
                    let sent = pings.sent_to(responder, now);
                    prop_assert!(responder.unicast().received() <= sent && sent <= pings.sent());
                }
            }
        }
    }
}
