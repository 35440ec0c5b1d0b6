//! Probes and replies: the session of `mcast ping` and `mcast doctor --probe`.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::wire::{Header, Kind, Message, Probe, ProbeReply, SessionId, UnixNanos};
use crate::{Histogram, LossCounter, SequenceOrder};

/// Maximum number of responders tracked.
const MAX_RESPONDERS: usize = 256;
/// Maximum number of probes whose send times are retained.
const MAX_TIMES: usize = 4_096;
/// The results of a case that a session does not have.
static NO_RESULTS: ProbeResults = ProbeResults::new(0);

/// A combination of payload size and hop limit to probe with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeCase {
    /// Payload size in bytes.
    pub size: usize,
    /// The hop limit (IPv4: TTL).
    pub hop_limit: u8,
}

/// The probes sent so far, with the send times of the latest.
#[derive(Clone, Debug, Default)]
struct SentProbes {
    discarded: u64,
    times: VecDeque<Duration>,
}

impl SentProbes {
    /// Counts a probe as sent now, and returns its number.
    fn record(&mut self, now: Duration) -> u64 {
        if self.times.len() == MAX_TIMES {
            self.times.pop_front();
            self.discarded += 1;
        }
        let number = self.count();
        self.times.push_back(now);
        number
    }

    /// Returns the number of probes sent.
    fn count(&self) -> u64 {
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
    /// The address of its first reply.
    pub address: IpAddr,
    /// Its random id, because several responders may share an address.
    pub id: u64,
    /// The port on which it replies to unicast probes; 0 for none.
    pub unicast_port: u16,
    /// Minimum and maximum number of routers on the path, if both ends report hop limits.
    pub hops: Option<(u8, u8)>,
    /// The indices of the interfaces on which it received probes to the group, as reported by its host.
    pub interfaces: BTreeSet<u32>,
    /// Time from its join to the first probe that reached it, if it joined after probing started; `None` if
    /// it had joined before.
    pub join_to_first: Option<Duration>,
    multicast: Vec<ProbeResults>,
    unicast: ProbeResults,
    unicast_sent: SentProbes,
}

impl Responder {
    /// Returns the results of the probes of a case that were sent to the group; a ping has one case, 0.
    #[must_use]
    pub fn multicast(&self, case: usize) -> &ProbeResults {
        self.multicast.get(case).unwrap_or(&NO_RESULTS)
    }

    /// Returns the results of the probes sent to this responder by unicast.
    #[must_use]
    pub const fn unicast(&self) -> &ProbeResults {
        &self.unicast
    }

    fn update(&mut self, reply: &ProbeReply) {
        self.unicast_port = reply.unicast_port;
        if self.interfaces.len() < MAX_RESPONDERS {
            self.interfaces.insert(reply.interface);
        }
        if let Some(hops) = reply.hops() {
            let (min, max) = self.hops.unwrap_or((hops, hops));
            self.hops = Some((min.min(hops), max.max(hops)));
        }
    }
}

/// What a session of probes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Compares multicast with unicast. Replies are as long as probes, and each address of a host is a
    /// responder.
    Ping,
    /// Shows which sizes and hop limits arrive. Replies are short, so that only the way to the responder is
    /// tested. A host is one responder, although it replies from the address of the interface on which a
    /// probe arrived.
    PathTest,
}

/// Which datagram sizes arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    /// Every size arrived.
    None,
    /// Sizes up to `passes` arrived, and none from `lost` on.
    Between {
        /// The largest size that arrived.
        passes: usize,
        /// The smallest size that never arrived.
        lost: usize,
    },
    /// Nothing arrived, or arrivals do not depend on size.
    Unclear,
}

/// A reply that a session has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedReply {
    /// The index of the responder in [`ProbeSession::responders`].
    pub responder: usize,
    /// Whether this is its first reply.
    pub is_new: bool,
    /// The number of the probe.
    pub number: u64,
    /// The reply.
    pub reply: ProbeReply,
    /// The time from the probe to the reply.
    pub round_trip: Duration,
}

/// The probes sent and the responders, in bounded memory. All times count from the start of the session.
#[derive(Clone, Debug)]
pub struct ProbeSession {
    id: SessionId,
    purpose: Purpose,
    timeout: Duration,
    cases: Vec<ProbeCase>,
    sent: Vec<SentProbes>,
    responders: Vec<Responder>,
    foreign: u64,
    refused: u64,
}

impl ProbeSession {
    /// Creates a session with probes of one case, to a group and to each responder. A probe without a reply
    /// counts as lost after `timeout`.
    #[must_use]
    pub fn ping(id: SessionId, case: ProbeCase, timeout: Duration) -> Self {
        Self::new(id, Purpose::Ping, vec![case], timeout)
    }

    /// Creates a session that tests which cases reach the responders. Only the first 65,535 cases are used,
    /// because a probe identifies its case by 16 bits.
    #[must_use]
    pub fn path_test(id: SessionId, mut cases: Vec<ProbeCase>) -> Self {
        cases.truncate(usize::from(u16::MAX));
        Self::new(id, Purpose::PathTest, cases, Duration::ZERO)
    }

    fn new(id: SessionId, purpose: Purpose, cases: Vec<ProbeCase>, timeout: Duration) -> Self {
        let sent = vec![SentProbes::default(); cases.len()];
        Self { id, purpose, timeout, cases, sent, responders: Vec::new(), foreign: 0, refused: 0 }
    }

    /// Returns the cases to probe with.
    #[must_use]
    pub fn cases(&self) -> &[ProbeCase] {
        &self.cases
    }

    /// Returns the next probe of a case to the group; `None` if there is no such case.
    #[must_use]
    pub fn probe(&self, case: usize, now: Duration) -> Option<Vec<u8>> {
        let ProbeCase { size, hop_limit } = *self.cases.get(case)?;
        let probe = Probe { hop_limit, by_unicast: false, short_reply: self.purpose == Purpose::PathTest };
        Some(probe.encode(self.header(self.stream_of(case)?, self.sent(case), now), size))
    }

    /// Counts the next probe of a case as sent now.
    pub fn record_probe(&mut self, case: usize, now: Duration) {
        if let Some(sent) = self.sent.get_mut(case) {
            sent.record(now);
        }
    }

    /// Counts a unicast probe to a responder as sent now, and returns it; `None` if there is no such
    /// responder.
    pub fn unicast_probe(&mut self, responder: usize, now: Duration) -> Option<Vec<u8>> {
        let number = self.responders.get_mut(responder)?.unicast_sent.record(now);
        let size = self.cases.first()?.size;
        let probe = Probe { hop_limit: 0, by_unicast: true, short_reply: false };
        Some(probe.encode(self.header(0, number, now), size))
    }

    fn header(&self, stream: u16, sequence: u64, now: Duration) -> Header {
        let time = UnixNanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX));
        Header { kind: Kind::Probe, stream, session: self.id, sequence, time }
    }

    /// Returns the stream number of a case: 0 in a ping, from 1 on in a path test.
    fn stream_of(&self, case: usize) -> Option<u16> {
        u16::try_from(case).ok()?.checked_add(u16::from(self.purpose == Purpose::PathTest))
    }

    fn case_of(&self, stream: u16) -> Option<usize> {
        let case = stream.checked_sub(u16::from(self.purpose == Purpose::PathTest))?;
        Some(usize::from(case)).filter(|case| *case < self.cases.len())
    }

    /// Records a message that arrived now, by unicast or at the socket that probes the group. Returns the
    /// reply, if it answers a probe of this session.
    pub fn record(
        &mut self,
        message: &[u8],
        source: IpAddr,
        by_unicast: bool,
        now: Duration,
    ) -> Option<AcceptedReply> {
        let decoded = match Message::decode(message) {
            Ok((header, Message::Reply(reply)))
                if header.session == self.id && reply.by_unicast == by_unicast =>
            {
                // The reply echoes the send time of its probe.
                now.checked_sub(Duration::from_nanos(header.time.0))
                    .map(|round_trip| (header, reply, round_trip))
            }
            _ => None,
        };
        let Some((header, reply, round_trip)) = decoded else {
            self.foreign += 1;
            return None;
        };
        let accepted = self.accept(source, &header, reply, round_trip);
        self.refused += u64::from(accepted.is_none());
        accepted
    }

    fn accept(
        &mut self,
        source: IpAddr,
        header: &Header,
        reply: ProbeReply,
        round_trip: Duration,
    ) -> Option<AcceptedReply> {
        let case = self.case_of(header.stream)?;
        let number = header.sequence;
        if self.cases.get(case)?.size != reply.length as usize {
            return None;
        }
        let known = self.responders.iter().position(|responder| {
            responder.id == reply.responder
                && (self.purpose == Purpose::PathTest || responder.address == source)
        });
        let index = match known {
            Some(index) => index,
            // Unicast probes are sent only to responders that have replied to the group before.
            None if reply.by_unicast || self.responders.len() == MAX_RESPONDERS => return None,
            None => self.add_responder(source, case, number, &reply)?,
        };
        let sent_to_group = self.sent(case);
        let responder = self.responders.get_mut(index)?;
        let (sent, results) = match reply.by_unicast {
            true => (responder.unicast_sent.count(), &mut responder.unicast),
            false => (sent_to_group, responder.multicast.get_mut(case)?),
        };
        if number >= sent {
            return None;
        }
        results.record(number, round_trip);
        if !reply.by_unicast {
            responder.update(&reply);
        }
        Some(AcceptedReply { responder: index, is_new: known.is_none(), number, reply, round_trip })
    }

    fn add_responder(
        &mut self,
        address: IpAddr,
        case: usize,
        number: u64,
        reply: &ProbeReply,
    ) -> Option<usize> {
        let probes = self.sent.get(case)?;
        let sent = probes.time_of(number)?;
        let start = probes.time_of(0).unwrap_or_default();
        let joined = sent.checked_sub(reply.joined).filter(|joined| *joined > start);
        let first = joined.map_or(0, |joined| probes.before(joined).min(number));
        self.responders.push(Responder {
            address,
            id: reply.responder,
            unicast_port: reply.unicast_port,
            hops: None,
            interfaces: BTreeSet::new(),
            join_to_first: joined.map(|_| reply.joined),
            multicast: vec![ProbeResults::new(first); self.cases.len()],
            unicast: ProbeResults::new(0),
            unicast_sent: SentProbes::default(),
        });
        Some(self.responders.len() - 1)
    }

    /// Returns the number of probes of a case sent to the group.
    #[must_use]
    pub fn sent(&self, case: usize) -> u64 {
        self.sent.get(case).map_or(0, SentProbes::count)
    }

    /// Returns the responders, in the order of their first reply.
    #[must_use]
    pub fn responders(&self) -> &[Responder] {
        &self.responders
    }

    /// Returns the number of a ping's probes to the group to include for this responder: those sent since it
    /// joined that have been answered or whose timeout has passed.
    #[must_use]
    pub fn sent_to_group(&self, responder: &Responder, now: Duration) -> u64 {
        let expired = self.sent.first().map_or(0, |sent| sent.before(self.expired_before(now)));
        responder.multicast(0).sent(expired)
    }

    /// Returns the number of unicast probes to include for this responder.
    #[must_use]
    pub fn sent_to(&self, responder: &Responder, now: Duration) -> u64 {
        responder.unicast.sent(responder.unicast_sent.before(self.expired_before(now)))
    }

    /// Returns the time before which probes without a reply count as lost.
    fn expired_before(&self, now: Duration) -> Duration {
        // A probe that is exactly as old as the timeout has expired.
        (now + Duration::from_nanos(1)).saturating_sub(self.timeout)
    }

    /// Returns whether there is a responder and every responder has replied to every probe so far.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        let answered = |responder: &Responder| {
            let group = responder
                .multicast
                .iter()
                .zip(&self.sent)
                .all(|(results, sent)| results.received() >= sent.count().saturating_sub(results.first));
            group && responder.unicast.received() >= responder.unicast_sent.count()
        };
        !self.responders.is_empty() && self.responders.iter().all(answered)
    }

    /// Returns which sizes reach a responder with this hop limit.
    #[must_use]
    pub fn size_limit(&self, responder: &Responder, hop_limit: u8) -> SizeLimit {
        let mut sizes: Vec<(usize, bool)> = self
            .probed()
            .filter(|(_, case)| case.hop_limit == hop_limit)
            .map(|(index, case)| (case.size, responder.multicast(index).received() > 0))
            .collect();
        sizes.sort_unstable();
        let arrived = sizes.iter().take_while(|(_, arrived)| *arrived).count();
        let lost_after = sizes.iter().skip(arrived).all(|(_, arrived)| !*arrived);
        match (arrived, sizes.get(arrived)) {
            (0, _) => SizeLimit::Unclear,
            (_, None) => SizeLimit::None,
            (arrived, Some((lost, _))) if lost_after => {
                SizeLimit::Between { passes: sizes[arrived - 1].0, lost: *lost }
            }
            _ => SizeLimit::Unclear,
        }
    }

    /// Returns the lowest hop limit that reaches a responder, among the cases of the smallest size.
    #[must_use]
    pub fn min_hop_limit(&self, responder: &Responder) -> Option<u8> {
        let smallest = self.probed().map(|(_, case)| case.size).min()?;
        let arrived = self
            .probed()
            .filter(|(index, case)| case.size == smallest && responder.multicast(*index).received() > 0);
        arrived.map(|(_, case)| case.hop_limit).min()
    }

    /// Returns the cases with at least one probe; the system may have refused to send the others.
    fn probed(&self) -> impl Iterator<Item = (usize, ProbeCase)> {
        self.cases.iter().copied().enumerate().filter(|(index, _)| self.sent(*index) > 0)
    }

    /// Returns the number of messages that are not replies to this session.
    #[must_use]
    pub const fn foreign(&self) -> u64 {
        self.foreign
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

    const ID: SessionId = SessionId(7);
    const TIMEOUT: Duration = Duration::from_secs(1);
    const SIZES: [usize; 3] = [64, 1_472, 4_000];

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn reply() -> ProbeReply {
        ProbeReply {
            responder: 1,
            interface: 2,
            length: 64,
            hop_limit: 3,
            arrival_hop_limit: Some(1),
            by_unicast: false,
            unicast_port: 9,
            joined: Duration::ZERO,
        }
    }

    /// Delivers a reply to the probe of this stream and number, which was sent a millisecond before.
    fn deliver(
        session: &mut ProbeSession,
        from: IpAddr,
        stream: u16,
        number: u64,
        reply: &ProbeReply,
    ) -> bool {
        let header = session.header(stream, number, Duration::from_secs(99));
        let message = reply.encode(header, 64);
        session.record(&message, from, reply.by_unicast, Duration::from_millis(99_001)).is_some()
    }

    /// Returns a session with one probe per second, starting at 10 s.
    fn pings(count: u64) -> ProbeSession {
        let mut pings = ProbeSession::ping(ID, ProbeCase { size: 64, hop_limit: 3 }, TIMEOUT);
        (0..count).for_each(|number| pings.record_probe(0, seconds(10.0 + number as f64)));
        pings
    }

    fn reply_to(pings: &mut ProbeSession, number: u64, by_unicast: bool, joined: f64) -> bool {
        deliver(pings, address(2), 0, number, &ProbeReply { by_unicast, joined: seconds(joined), ..reply() })
    }

    /// Returns a path test with three probes per case.
    fn path(hop_limits: &[u8]) -> ProbeSession {
        let cases = hop_limits
            .iter()
            .flat_map(|hop_limit| SIZES.map(|size| ProbeCase { size, hop_limit: *hop_limit }));
        let mut path = ProbeSession::path_test(ID, cases.collect());
        for case in 0..path.cases().len() {
            (0..3).for_each(|_| path.record_probe(case, Duration::ZERO));
        }
        path
    }

    fn arrive(path: &mut ProbeSession, case: u16, number: u64) -> bool {
        let length = path.cases().get(usize::from(case)).map_or(64, |case| case.size) as u32;
        let stream = case.saturating_add(1);
        deliver(
            path,
            address(2),
            stream,
            number,
            &ProbeReply { length, hop_limit: 9, arrival_hop_limit: Some(7), ..reply() },
        )
    }

    #[test]
    fn a_reply_to_an_encoded_probe_has_a_round_trip() {
        let mut pings = pings(0);
        let probe = pings.probe(0, seconds(1.0)).unwrap();
        pings.record_probe(0, seconds(1.0));
        let (header, _) = Message::decode(&probe).unwrap();
        let message = reply().encode(header, probe.len());
        let accepted = pings.record(&message, address(2), false, seconds(1.25)).unwrap();
        assert_eq!((accepted.round_trip, accepted.is_new, accepted.number), (seconds(0.25), true, 0));
        assert_eq!(pings.record(&message, address(2), false, seconds(0.5)), None, "before its probe");
        assert_eq!(pings.record(&message, address(2), true, seconds(2.0)), None, "at the other socket");
        assert_eq!(pings.record(b"hello", address(2), false, seconds(2.0)), None);
        assert_eq!((pings.foreign(), pings.refused()), (3, 0));
        assert!(pings.probe(1, seconds(1.0)).is_none() && pings.unicast_probe(1, seconds(1.0)).is_none());
    }

    #[test]
    fn multicast_and_unicast_loss_are_separate() {
        let mut pings = pings(3);
        reply_to(&mut pings, 0, false, 100.0);
        (0..3).for_each(|number| drop(pings.unicast_probe(0, seconds(10.0 + f64::from(number)))));
        reply_to(&mut pings, 2, false, 102.0);
        reply_to(&mut pings, 2, false, 102.0);
        reply_to(&mut pings, 0, true, 100.0);
        let responder = &pings.responders()[0];
        let now = seconds(13.0);
        assert_eq!((pings.sent_to_group(responder, now), responder.multicast(0).received()), (3, 2));
        assert_eq!((pings.sent_to(responder, now), responder.unicast().received()), (3, 1));
        assert_eq!(responder.multicast(0).duplicated(), 1);
        assert_eq!((responder.hops, responder.join_to_first), (Some((2, 2)), None));
        assert_eq!(responder.multicast(0).round_trips().count(), 2);
    }

    #[test]
    fn pending_probes_are_not_lost() {
        let mut pings = pings(3);
        reply_to(&mut pings, 0, false, 100.0);
        let sent = |pings: &ProbeSession, now| pings.sent_to_group(&pings.responders()[0], seconds(now));
        assert_eq!((sent(&pings, 11.9), sent(&pings, 12.0), sent(&pings, 13.0)), (1, 2, 3));
        assert!(!pings.all_answered());
        for number in [1, 2] {
            reply_to(&mut pings, number, false, 100.0);
        }
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
    fn replies_to_nothing_are_refused() {
        let mut pings = pings(2);
        reply_to(&mut pings, 2, false, 0.0);
        reply_to(&mut pings, 1 << 62, false, 0.0);
        reply_to(&mut pings, 0, true, 0.0);
        assert!(pings.responders().is_empty());
        reply_to(&mut pings, 0, false, 0.0);
        reply_to(&mut pings, 0, true, 0.0);
        reply_to(&mut pings, 2, false, 0.0);
        assert_eq!((pings.responders().len(), pings.refused()), (1, 5));
        assert_eq!(pings.responders()[0].unicast().received(), 0);
    }

    #[test]
    fn an_address_is_a_responder_of_a_ping() {
        let mut pings = pings(1);
        assert!(
            deliver(&mut pings, address(2), 0, 0, &reply())
                && deliver(&mut pings, address(3), 0, 0, &reply())
        );
        assert_eq!(pings.responders().len(), 2);
    }

    #[test]
    fn a_host_is_a_responder_of_a_path_test() {
        let mut path = path(&[1]);
        for (last, interface) in [(2, 2), (3, 3)] {
            assert!(deliver(&mut path, address(last), 1, 0, &ProbeReply { interface, ..reply() }));
        }
        let [responder] = path.responders() else { panic!("{:?}", path.responders()) };
        let results = responder.multicast(0);
        assert_eq!((results.received(), results.duplicated(), responder.interfaces.len()), (1, 1, 2));
    }

    #[test]
    fn memory_is_bounded_under_forged_responders() {
        let mut pings = pings(1);
        for responder in 0..1_000 {
            deliver(&mut pings, address(1), 0, 0, &ProbeReply { responder, ..reply() });
        }
        assert_eq!(pings.responders().len(), MAX_RESPONDERS);
        (0..10_000).for_each(|number| pings.record_probe(0, seconds(20.0 + f64::from(number))));
        assert_eq!((pings.sent[0].times.len(), pings.sent(0)), (MAX_TIMES, 10_001));
    }

    #[test]
    fn size_limit_is_found() {
        let mut path = path(&[1]);
        assert_eq!(path.responders().len(), 0);
        arrive(&mut path, 0, 0);
        arrive(&mut path, 1, 2);
        let limit = |path: &ProbeSession| path.size_limit(&path.responders()[0], 1);
        assert_eq!(limit(&path), SizeLimit::Between { passes: 1_472, lost: 4_000 });
        assert_eq!(path.size_limit(&path.responders()[0], 9), SizeLimit::Unclear);
        arrive(&mut path, 2, 0);
        assert_eq!(limit(&path), SizeLimit::None);
        assert_eq!(
            (path.responders()[0].hops, path.responders()[0].multicast(0).received()),
            (Some((2, 2)), 1)
        );
    }

    #[test]
    fn inconsistent_sizes_are_unclear() {
        let mut path = path(&[1]);
        arrive(&mut path, 2, 0);
        assert_eq!(path.size_limit(&path.responders()[0], 1), SizeLimit::Unclear);
    }

    #[test]
    fn unsent_probes_are_not_lost() {
        let mut path =
            ProbeSession::path_test(ID, SIZES.map(|size| ProbeCase { size, hop_limit: 1 }).to_vec());
        path.record_probe(0, Duration::ZERO);
        path.record_probe(1, Duration::ZERO);
        arrive(&mut path, 0, 0);
        arrive(&mut path, 1, 0);
        assert_eq!(path.size_limit(&path.responders()[0], 1), SizeLimit::None);
        assert!(path.all_answered());
    }

    #[test]
    fn min_hop_limit_uses_the_smallest_size() {
        let mut path = path(&[1, 2, 8]);
        arrive(&mut path, 8, 0);
        assert_eq!(path.min_hop_limit(&path.responders()[0]), None);
        arrive(&mut path, 6, 0);
        assert_eq!(path.min_hop_limit(&path.responders()[0]), Some(8));
        arrive(&mut path, 3, 1);
        assert_eq!(path.min_hop_limit(&path.responders()[0]), Some(2));
    }

    #[test]
    fn unmatched_and_truncated_probes_are_refused() {
        let mut path = path(&[1]);
        assert!(!arrive(&mut path, 0, 3) && !arrive(&mut path, 3, 0) && !arrive(&mut path, u16::MAX, 0));
        assert!(!deliver(&mut path, address(2), 1, 0, &ProbeReply { length: 60, ..reply() }));
        assert!(!deliver(&mut path, address(2), 0, 0, &reply()), "path tests number their cases from 1");
        assert_eq!((path.responders().len(), path.refused()), (0, 5));
        assert!(arrive(&mut path, 0, 0) && arrive(&mut path, 0, 0));
        let results = path.responders()[0].multicast(0);
        assert_eq!((results.received(), results.duplicated()), (1, 1));
    }

    proptest! {
        #[test]
        fn a_ping_receives_no_more_than_it_sends(
            answers in proptest::collection::vec(
                (0_u8..4, 0_u64..30, any::<bool>(), 0.0..40.0_f64, 0_u8..4), 0..200,
            ),
        ) {
            let mut pings = pings(0);
            let mut now = seconds(100.0);
            for (last, number, by_unicast, joined, ask) in answers {
                now += seconds(0.3);
                if ask == 0 {
                    pings.record_probe(0, now);
                    (0..pings.responders().len()).for_each(|index| drop(pings.unicast_probe(index, now)));
                }
                let reply = ProbeReply { by_unicast, joined: seconds(joined), ..reply() };
                deliver(&mut pings, address(last), 0, number, &reply);
                for responder in pings.responders() {
                    let sent = pings.sent_to_group(responder, now);
                    prop_assert!(responder.multicast(0).received() <= sent && sent <= pings.sent(0));
                    let sent = pings.sent_to(responder, now);
                    prop_assert!(responder.unicast().received() <= sent && sent <= pings.sent(0));
                }
            }
        }

        #[test]
        fn a_path_test_receives_no_more_than_it_sends(
            answers in proptest::collection::vec((0_u16..12, 0_u64..5), 0..200),
        ) {
            let mut path = path(&[1, 4]);
            for (case, number) in answers {
                arrive(&mut path, case, number);
            }
            for responder in path.responders() {
                for case in 0..path.cases().len() {
                    prop_assert!(responder.multicast(case).received() <= path.sent(case));
                }
            }
        }
    }
}
